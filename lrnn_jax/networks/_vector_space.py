"""What learning moves in a low-rank network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Array, Float

from lrnn_jax.networks._base import AbstractRNN
from lrnn_jax.networks._space import (
    AbstractOwnSpace,
    AbstractSpace,
    Feedback,
    Weights,
    column_rates,
    with_readout,
)
from lrnn_jax.overlaps import Roles


class VectorSpace(AbstractOwnSpace):
    """Loading vectors of a low-rank network: X = Θ, M = 1/s.

    >>> networks.VectorSpace(net).start.shape
    (40, 4)
    """

    network: Any
    fixed: Feedback
    realisable = True
    coefficients: Any = property(
        lambda self: self.network.bulk is not None and self.network.bulk.few
    )

    def __init__(self, network: Any, fixed: Feedback = Feedback()):
        self.network, self.fixed = network, fixed

    @property
    def start(self) -> Weights:
        return self.network.vectors

    @property
    def uneven(self) -> bool:
        return self.network.scale.ndim > 0

    def model_at(self, point: Weights) -> AbstractRNN:
        return self.network.with_vectors(point)

    def direction(self, weights: Weights, slope: Weights) -> Weights:
        return slope * self.network.scale.astype(weights.dtype).reshape(-1, 1)

    @property
    def roles(self) -> Roles:
        return replace(self.network.roles, **self.fixed.columns)

    def metric(self, weights: Weights) -> Weights:
        return self.network.weighted(weights)

    def blocks(self, weights: Weights) -> dict[str, Float[Array, "..."]]:
        return self.network.roles.split(weights)

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return self.network.roles.join(blocks)

    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        theta = self.fixed.beside(weights, self.network.roles.means)
        return theta.T @ self.metric(theta)

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        return column_rates(self.network, values)


def vectors_and_bias(network: Any, fixed: Feedback = Feedback()) -> AbstractSpace:
    """What learns in a `LowRankRNN`."""
    return with_readout(VectorSpace(network, fixed))
