"""Descent on the visible overlaps alone: the shortcut that learning does not take."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax.learning._coordinates import AbstractCoordinates, Loss, Weights
from lrnn_jax.learning._descent import AbstractUpdate, LearningRate, descend, learning_rate, rate_at
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import ReducedRNN


class DirectCoordinates(AbstractCoordinates):
    """The Gram matrix itself, as if its visible entries were free parameters: X = Q."""

    reduction: ReducedRNN

    @property
    def start(self) -> Weights:
        return self.reduction.overlaps.gram

    def model(self, x: Weights) -> AbstractRNN:
        return self.reduction.with_gram(x)

    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        value, slope = jax.value_and_grad(lambda q: loss(self.reduction.with_gram(q)))(x)
        return value, visible(self.reduction).project(slope + slope.T)

    def metric(self, x: Weights) -> Weights:
        return x

    def blocks(self, x: Weights) -> dict[str, Float[Array, "_ _"]]:
        return {"gram": x}

    def join(self, blocks: dict[str, Float[Array, "_ _"]]) -> Weights:
        return blocks["gram"]

    def gram(self, x: Weights) -> Float[Array, "k k"]:
        return x

    def transform(self, x: Weights) -> None:
        return None

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        assert not values
        return None


class DirectDescent(AbstractUpdate):
    """Gradient descent on the visible overlaps themselves, invisible ones ignored.

        S' = S − η ∂L/∂S

    This is *not* how a network learns: its steps are weighted by the invisible overlaps. It is here
    to be compared with, and for losses that are studied as functions of a few overlaps.

    Arguments:
        lr: η per epoch, a number or an optax schedule.

    Errors: ValueError, when learning starts, for a model that is not a `ReducedRNN`, or one with
    frozen columns.

    Source: [LR] fig. 5 ("direct"), [CL] sec. 4 (stage 3).
    """

    lr: LearningRate

    def __init__(self, lr: ArrayLike | Callable[[Any], Any]):
        self.lr = learning_rate(lr)

    def check(self, where: AbstractCoordinates) -> None:
        if not isinstance(where, DirectCoordinates) or where.reduction.frozen:
            raise ValueError(
                "DirectDescent moves the visible overlaps of a reduction; give it a ReducedRNN "
                "without frozen columns."
            )

    def init(self, where: AbstractCoordinates) -> None:
        return None

    def update(
        self,
        where: AbstractCoordinates,
        x: Weights,
        gradient: Weights,
        memory: Any,
        epoch: Any,
        loss: Any,
    ) -> tuple[Weights, Any]:
        return descend(x, gradient, rate_at(self.lr, epoch)), memory


def direct_coordinates(model: AbstractRNN) -> AbstractCoordinates:
    """Coordinates for `DirectDescent`.

    Errors: ValueError for anything but a reduction.
    """
    if not isinstance(model, ReducedRNN):
        raise ValueError(f"DirectDescent takes a ReducedRNN; got {type(model).__name__}.")
    return DirectCoordinates(model)
