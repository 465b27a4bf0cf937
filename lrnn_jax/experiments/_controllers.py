"""The controllers and the loops that the closed-loop experiments share."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax.environments import ClosedLoop, KIntegrator, LoopTrials
from lrnn_jax.networks import AbstractActivation, AbstractRNN, LowRankRNN, Tanh, at_rest
from lrnn_jax.stability import effective_gains, loop_matrix
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


class LoopMeter(eqx.Module):
    """Loss in the loop on fixed trials, coupled matrix and effective gains of a controller (of its
    first output)."""

    loop: ClosedLoop
    trials: Float[Array, "trial start"] | LoopTrials | None

    def __call__(self, model: AbstractRNN) -> tuple[Array, Array, Array]:
        gains = effective_gains(model, self.loop, self.trials)
        return self.loop.loss(model, self.trials), loop_matrix(model, self.loop), gains[0]


class GatedController(AbstractRNN):
    """Equinox's GRU cell without biases, and a linear read-out, as a network of one's own.

        r, z = σ(W_r h + M_r x), σ(W_z h + M_z x),   c = tanh(M_c x + r ⊙ W_c h)
        h' = c + z ⊙ (h − c),      y = W_out h

    Arguments:
        w: W_r, W_z, W_c below each other, shape (3 N, N).
        w_in: M_r, M_z, M_c likewise, shape (3 N, inputs).
        w_out: W_out, shape (outputs, N).
        dt: time that a step stands for, in the plant's units.

    Source: ours.

    >>> gated = experiments.GatedController(np.eye(6, 2), np.ones((6, 1)), np.ones((1, 2)), dt=0.1)
    >>> gated.rollout(jnp.ones((5, 1))).shape
    (5, 1)
    """

    cell: eqx.nn.GRUCell
    w_out: Float[Array, "outputs n"]
    dt: Float[Array, ""]
    activation: AbstractActivation = Tanh()
    initial_state = at_rest

    def __init__(self, w: Any, w_in: Any, w_out: Any, *, dt: Any):
        w, w_in, self.w_out, self.dt = (jnp.asarray(x, float) for x in (w, w_in, w_out, dt))
        cell = eqx.nn.GRUCell(w_in.shape[1], w.shape[1], use_bias=False, key=jr.key(0))
        self.cell = eqx.tree_at(lambda c: (c.weight_hh, c.weight_ih), cell, (w, w_in))

    @property
    def inputs(self) -> int:
        return self.cell.input_size

    @property
    def outputs(self) -> int:
        return self.w_out.shape[0]

    @property
    def state_size(self) -> int:
        return self.cell.hidden_size

    @property
    def dtype(self) -> jnp.dtype:
        return self.w_out.dtype

    @property
    def biased(self) -> bool:
        return False

    def step(
        self, state: Float[Array, "*batch state"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch state"]:
        return jnp.vectorize(self.cell, signature="(i),(n)->(n)")(x, state)

    def readout(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch outputs"]:
        return state @ self.w_out.T
