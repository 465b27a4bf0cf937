"""Tasks made of random trials with a scored part."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks._base import AbstractObjective, check_channels, check_same_dt


class Trials(NamedTuple):
    """A minibatch: what goes in, what should come out, and where that counts.

    Fields: inputs, target, shape (trial, time, 1); mask, 1 where scored, shape (trial, time).
    """

    inputs: Float[Array, "*epoch trial time inputs"]
    target: Float[Array, "*epoch trial time outputs"]
    mask: Float[Array, "*epoch trial time"]


class AbstractTrialTask(AbstractObjective):
    """A task with one input and one output, drawn afresh in each epoch.

        L = Σ mask (y − y*)² / Σ mask      over trials and steps

    Source: [LR] methods.
    """

    dt: eqx.AbstractVar[Float[Array, ""]]
    batch: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def duration(self) -> int:
        """T, the number of steps of a trial."""

    @abstractmethod
    def sample(self, key: PRNGKeyArray) -> Trials:
        """Trials of one epoch."""

    @property
    def stochastic(self) -> bool:
        return True

    def check(self, model: AbstractRNN) -> None:
        check_channels(self, model, 1, 1)
        check_same_dt(self, self.dt, model)

    def loss(self, model: AbstractRNN, batch: Trials) -> Float[Array, ""]:
        """L on the trials of one epoch."""
        error = model.rollout(batch.inputs) - batch.target.astype(model.dtype)
        mask = batch.mask.astype(model.dtype)
        return jnp.sum(mask * jnp.sum(error**2, axis=-1)) / jnp.sum(mask)
