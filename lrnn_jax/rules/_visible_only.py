"""Descent on the visible overlaps alone: the shortcut that learning does not take."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lrnn_jax.networks import AbstractRNN, AbstractSpace, Loss, Weights
from lrnn_jax.overlaps import Roles, visible
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.rules._base import AbstractRule, EpochLoss


class OverlapSpace(AbstractSpace):
    """The Gram matrix itself, as if its visible entries were free parameters: X = Q, M = 1."""

    reduction: ReducedRNN
    coefficients = False

    @property
    def start(self) -> Weights:
        return self.reduction.overlaps.gram

    @property
    def roles(self) -> Roles:
        return self.reduction.roles

    @property
    def realisable(self) -> Bool[Array, ""]:
        return jnp.array(True)  # no vectors are asked for

    def model(self, weights: Weights) -> ReducedRNN:
        return self.reduction.with_gram(weights)

    def gradient(self, loss: Loss, weights: Weights) -> tuple[Float[Array, ""], Weights]:
        value, slope = jax.value_and_grad(lambda q: loss(self.model(q)))(weights)
        return value, visible(self.reduction).project(slope + slope.T)

    def metric(self, weights: Weights) -> Weights:
        return weights

    def blocks(self, weights: Weights) -> dict[str, Float[Array, "k k"]]:
        return {"gram": weights}

    def join(self, blocks: dict[str, Float[Array, "k k"]]) -> Weights:
        return blocks["gram"]

    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        return weights

    def transform(self, weights: Weights) -> None:
        return None

    def rates(self, values: Mapping[str, Any]) -> None:
        if values:
            raise ValueError("`rates` are for vectors; `VisibleOnly` moves overlaps, all alike.")


class VisibleOnly(AbstractRule):
    """The gradient with respect to the visible overlaps themselves, invisible ones ignored.

        S' = S − η ∂L/∂S      with `Descent(lr, rule=VisibleOnly())`

    This is *not* how a network learns: its steps are weighted by the invisible overlaps. It is here
    to be compared with, and for losses that are studied as functions of a few overlaps.

    Errors: ValueError, when learning starts, for a model that is not a `ReducedRNN`, or one with
    frozen columns.

    Source: [LR] fig. 5 ("direct"), [CL] sec. 4 (stage 3).
    """

    def space(self, model: AbstractRNN) -> OverlapSpace:
        if not isinstance(model, ReducedRNN) or model.frozen:
            raise ValueError(
                f"`VisibleOnly` moves the visible overlaps of a reduction: give it a ReducedRNN "
                f"without frozen columns; got a {type(model).__name__}."
            )
        return OverlapSpace(model)

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights
    ) -> tuple[Float[Array, ""], Weights]:
        return space.gradient(loss, weights)
