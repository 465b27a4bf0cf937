"""Few neurons with given overlaps, and what learning moves in them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
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


@jax.custom_jvp
def square_root(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The symmetric R with RR = Q; its derivative does not mind equal eigenvalues."""
    values, vectors = jnp.linalg.eigh(gram)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T


@square_root.defjvp
def _square_root_jvp(primals: Any, tangents: Any) -> Any:
    """R dR + dR R = dQ."""
    (gram,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(gram)
    root = jnp.sqrt(jnp.maximum(values, 0))
    total = root[:, None] + root[None, :]
    inside = vectors.T @ change @ vectors / jnp.where(total > 0, total, 1)
    inside = jnp.where(total > 0, inside, 0)
    return (vectors * root[None]) @ vectors.T, vectors @ inside @ vectors.T
