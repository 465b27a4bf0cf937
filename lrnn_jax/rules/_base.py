"""The contract of a learning rule."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Weights
from lrnn_jax.tasks import AbstractObjective


class EpochLoss(eqx.Module):
    """The loss of one epoch, as a function of the model.

    Arguments:
        objective: what is learned.
        batch: the epoch's data.
        evaluate: (model, objective, batch) → L, on as many devices and in as little memory as asked
            for.
    """

    objective: AbstractObjective
    batch: Any
    evaluate: Callable[[AbstractRNN, AbstractObjective, Any], Float[Array, ""]]

    def __call__(self, model: AbstractRNN) -> Float[Array, ""]:
        return self.evaluate(model, self.objective, self.batch)


class AbstractRule(AbstractReadable):
    """How the direction of learning is computed; a method decides what is made of it.

    Updates take −direction for the way that weights go: that of `Gradient` is XΓ.
    """

    @abstractmethod
    def space(self, model: AbstractRNN) -> AbstractSpace:
        """What moves when a model learns by this rule.

        Errors: ValueError, with the reason, for a model that it is not for.
        """

    @abstractmethod
    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights
    ) -> tuple[Float[Array, ""], Weights]:
        """The loss, and the direction against which weights X go."""
