"""Descent on the visible overlaps alone: the shortcut that learning does not take."""

from jaxtyping import Array, Float

from lrnn_jax.networks import AbstractRNN, AbstractSpace, LeafSpace, Weights
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.rules._base import AbstractMemoryless, EpochLoss


class VisibleOnly(AbstractMemoryless):
    """The gradient with respect to the visible overlaps themselves, invisible ones ignored.

        S' = S − η ∂L/∂S      with `Descent(lr, rule=VisibleOnly())`

    This is *not* how a network learns: its steps are weighted by the invisible overlaps. It is here
    to be compared with, and for losses that are studied as functions of a few overlaps.

    Errors: ValueError, when learning starts, for a model that is not a `ReducedRNN`, or one with
    frozen columns.

    Source: [LR] fig. 5 ("direct"), [CL] sec. 4 (stage 3).

    >>> direct = lrnn.Descent(0.05, rule=rules.VisibleOnly())
    >>> alone = lrnn.learn(reduction, task, direct, epochs=20)
    >>> bool((alone["uu"] == alone["uu"][0]).all())  # what is invisible stays
    True
    """

    def space(self, model: AbstractRNN) -> AbstractSpace:
        if not isinstance(model, ReducedRNN) or model.frozen:
            raise ValueError(
                f"`VisibleOnly` moves the visible overlaps of a reduction: give it a ReducedRNN "
                f"without frozen columns; got a {type(model).__name__}."
            )
        return LeafSpace(model)  # Q itself, as if its entries were free

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        value, slopes = space.gradient(loss, weights)
        assert space.roles is not None
        sees = visible(space.roles)
        beside = {name: slope for name, slope in slopes.items() if name == "c"}
        moved = {name: sees.project(g + g.T) for name, g in slopes.items() if name != "c"}
        return value, beside | moved, None
