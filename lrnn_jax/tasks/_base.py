"""What learning needs to know of a task or an environment."""

import enum
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractRNN, describe


class Evaluation(enum.Enum):
    """How the loss of a linear reduction is computed; all agree to rounding.

    AUTO takes the fastest that applies. ROLLOUT simulates the latents step by step: any target.
    DOUBLING sums the trajectory's covariance in O(log T) products of small matrices: targets with
    a generator. CLOSED_FORM uses sums of geometric series of the eigenvalues: rank 1 and targets
    made of exponentials. Full networks are always simulated.
    """

    AUTO = enum.auto()
    ROLLOUT = enum.auto()
    DOUBLING = enum.auto()
    CLOSED_FORM = enum.auto()


class AbstractObjective(eqx.Module):
    """A loss that a network can learn to reduce: a task, or a plant to control.

    The loss depends on the network through its outputs only. Data of one epoch (inputs, targets,
    noise) are drawn by `sample`, so that a network and its reduction see the same.
    """

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether each epoch draws fresh data, so that learning needs a key or batches."""

    @abstractmethod
    def check(self, model: AbstractRNN) -> None:
        """Raise ValueError, naming both sides, unless the model fits the objective."""

    @abstractmethod
    def sample(self, key: PRNGKeyArray) -> Any:
        """Data of one epoch; None for a deterministic objective."""

    @abstractmethod
    def output(self, model: AbstractRNN, batch: Any = None) -> Float[Array, "..."]:
        """Everything the loss looks at, on the data of one epoch; channels on the last axis."""

    @abstractmethod
    def loss(self, model: AbstractRNN, batch: Any = None) -> Float[Array, ""]:
        """The loss of a model on the data of one epoch."""

    @abstractmethod
    def weight(self, batch: Any) -> Float[Array, ""] | None:
        """What the loss of some trials counts in that of all: L = Σ w_i L_i / Σ w_i over parts.

        None where data are no trials (along the first axis of every array): they have no parts.
        """


class Trials(NamedTuple):
    """What goes in, what should come out, and where that counts.

    Fields: inputs, shape (trial, time, inputs); target, shape (trial, time, outputs); mask, 1 where
    scored, shape (trial, time). With several epochs of them, that axis first.
    """

    inputs: Float[Array, "*epoch trial time inputs"]
    target: Float[Array, "*epoch trial time outputs"]
    mask: Float[Array, "*epoch trial time"]


class AbstractTask(AbstractObjective):
    """An objective in open loop: given inputs, wanted outputs.

    L = score(y),      y: outputs on `inputs`
    """

    dt: eqx.AbstractVar[Float[Array, ""]]

    @abstractmethod
    def inputs(self, batch: Any = None) -> Float[Array, "trial time inputs"]:
        """What goes in on the data of one epoch."""

    @abstractmethod
    def score(
        self, output: Float[Array, "trial time outputs"], batch: Any = None
    ) -> Float[Array, ""]:
        """L of outputs, on the data of one epoch."""

    def output(self, model: AbstractRNN, batch: Any = None) -> Float[Array, "trial time outputs"]:
        """y on the data of one epoch."""
        return model.rollout(self.inputs(batch))

    @abstractmethod
    def trials(self, batch: Any = None) -> Trials:
        """The trials of one epoch, from its data (None for a deterministic task): to be drawn."""


def check_channels(objective: AbstractObjective, model: AbstractRNN, inputs: int, outputs: int):
    """Raise ValueError unless the model has these numbers of channels."""
    if (model.inputs, model.outputs) != (inputs, outputs):
        raise ValueError(
            f"{type(objective).__name__} has {inputs} input(s) and {outputs} output(s), but the "
            f"model is a {describe(model)}. Give the model or the task the other's channels."
        )


def check_same_dt(objective: AbstractObjective, dt: Float[Array, ""], model: AbstractRNN) -> None:
    """Raise ValueError unless the model takes the objective's Euler step (outside a trace)."""
    if is_traced(dt, model.dt):
        return
    if not np.allclose(np.asarray(dt), np.asarray(model.dt), rtol=1e-6, atol=0):
        raise ValueError(
            f"{type(objective).__name__} is sampled at dt = {dt}, but the {type(model).__name__} "
            f"takes steps of dt = {model.dt}. Give both the same dt."
        )
