"""The controllers and the loops that the closed-loop experiments share."""

import dataclasses
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax.environments import ClosedLoop, KIntegrator
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.tasks import Evaluation


def low_rank_controller(n: int, *, key: PRNGKeyArray) -> LowRankRNN:
    """A linear rank-1 controller: M, Z entries U(±1/√N), U, V ~ N(0, 1/N), s = 1, M frozen.

    Source: [CL] methods.

    >>> controller = experiments.low_rank_controller(100, key=key)
    >>> controller.frozen, float(controller.scale)
    (('m',), 1.0)
    """
    keys, bound = jr.split(key, 4), 1 / np.sqrt(n)
    z, m = (jr.uniform(k, (n, 1), minval=-bound, maxval=bound) for k in keys[:2])
    v, u = (bound * jr.normal(k, (n, 1)) for k in keys[2:])
    return LowRankRNN(z, v, m, u, 1.0, dt=1.0, frozen=("m",))


def double_integrator(steps: int, width: float, **options: Any) -> ClosedLoop:
    """The loop of [CL]: double integrator, dt = 1, x_0 ~ U(−width, width)².

    >>> loop = experiments.double_integrator(50, 1.0)
    >>> loop.horizon, float(loop.plant.dt)
    (50, 1.0)
    """
    return ClosedLoop(KIntegrator(2, dt=1.0, start=width), steps, **options)


def trial_by_trial(loop: ClosedLoop) -> ClosedLoop:
    """The same loop, every trial simulated: to compare with what is known of all of them."""
    return dataclasses.replace(loop, evaluation=Evaluation.ROLLOUT)


def initial_states(
    loop: ClosedLoop, epochs: int, batch: int, *, key: PRNGKeyArray
) -> Float[Array, "epoch trial start"]:
    """Where the trials of each epoch start, one epoch more for the final loss."""
    return loop.plant.sample(key, (epochs + 1) * batch).reshape(epochs + 1, batch, -1)
