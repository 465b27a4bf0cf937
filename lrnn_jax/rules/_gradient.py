"""The gradient of the loss."""

from jaxtyping import Array, Float

from lrnn_jax.networks import AbstractRNN, AbstractSpace, Weights, weight_space
from lrnn_jax.rules._base import AbstractMemoryless, Backward, EpochLoss


class Gradient(AbstractMemoryless):
    """The gradient in the space's metric, XΓ: backpropagation through time.

    >>> lrnn.Descent(0.05).rule
    Gradient()
    """

    backward = Backward()

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return weight_space(model)

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        return *space.gradient(loss, weights, loss.at), None
