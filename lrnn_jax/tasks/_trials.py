"""Tasks made of random trials with a scored part."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks._base import AbstractTask, Trials, check_channels, check_same_dt


class AbstractTrialTask(AbstractTask):
    """A task with one input and one output, drawn afresh in each epoch.

        L = Σ mask (y − y*)² / Σ mask      over trials and steps

    Source: [LR] methods.
    """

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
        return self.score(self.output(model, batch), batch)

    def inputs(self, batch: Trials) -> Float[Array, "trial time inputs"]:
        return batch.inputs

    def score(self, output: Float[Array, "trial time outputs"], batch: Trials) -> Float[Array, ""]:
        """L of outputs y.

        Errors: ValueError (outside a trace) for trials whose mask is zero everywhere.
        """
        if not is_traced(batch.mask) and not np.asarray(batch.mask).any():
            raise ValueError(
                "Nothing is scored: the mask of these trials is zero everywhere. Set it to 1 where "
                "the output counts."
            )
        # time first, as simulations make outputs and tasks make targets: no copies to reorder them
        error = jnp.swapaxes(output, 0, 1) - jnp.swapaxes(batch.target, 0, 1).astype(output.dtype)
        mask = jnp.swapaxes(batch.mask, 0, 1).astype(output.dtype)
        total = jnp.sum(mask)
        mean = jnp.sum(mask * jnp.sum(error**2, axis=-1)) / jnp.where(total > 0, total, 1)
        return jnp.where(total > 0, mean, jnp.nan)

    def weight(self, batch: Trials) -> Float[Array, ""]:
        """Σ mask."""
        return jnp.sum(batch.mask)

    def trials(self, batch: Trials) -> Trials:
        """The data of one epoch are trials already."""
        return batch


def time_first(
    inputs: Float[Array, "time trial"],
    target: Float[Array, "time trial"],
    mask: Float[Array, "time trial"],
) -> Trials:
    """`Trials` of one input and output from arrays that lie time first."""
    return Trials(inputs.T[..., None], target.T[..., None], mask.T)
