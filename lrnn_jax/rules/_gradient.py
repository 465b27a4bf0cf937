"""The gradient of the loss."""

from jaxtyping import Array, Float

from lrnn_jax.networks import AbstractRNN, AbstractSpace, Weights, weight_space
from lrnn_jax.rules._base import AbstractRule, EpochLoss


class Gradient(AbstractRule):
    """The gradient in the space's metric, XΓ: backpropagation through time."""

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return weight_space(model)

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights
    ) -> tuple[Float[Array, ""], Weights]:
        return space.gradient(loss, weights)
