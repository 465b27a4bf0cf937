"""Few neurons with given overlaps, and what learning moves in them."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from lrnn_jax._readable import of_part
from lrnn_jax.networks import AbstractSpace, Feedback, LowRankRNN, Weights
from lrnn_jax.overlaps import Roles


class AbstractFewSpace(AbstractSpace):
    """A space whose weights are those of a network of a few neurons, that of `vectors`."""

    vectors: eqx.AbstractVar[AbstractSpace]

    start, direction, metric = (of_part("vectors", n) for n in ("start", "direction", "metric"))
    blocks, join = of_part("vectors", "blocks"), of_part("vectors", "join")
    gram, rates = of_part("vectors", "gram"), of_part("vectors", "rates")

    @property
    def neurons(self) -> AbstractSpace:
        return self.vectors

    def point(self, weights: Weights) -> Weights:
        return weights


def fixed_of(loadings: Float[Array, "n k"], roles: Roles) -> Feedback:
    """The columns of F, C and G."""
    return Feedback(*(loadings[:, roles.slices[x]] if x in roles.sizes else None for x in "fcg"))


def network_of(
    loadings: Float[Array, "n k"], roles: Roles, scale: Any, like: Any, bulk: Any = None
) -> LowRankRNN:
    """A network with these loadings and this bulk; all else as in another one."""
    options = {"dt": like.dt, "readout": like.readout_activation, "c": like.c, "bulk": bulk}
    return LowRankRNN.from_stack(loadings, roles, scale, frozen=like.frozen, **options)
