"""Loading vectors with given overlaps: new ones, and the nearest to given ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_scale
from lrnn_jax._types import is_traced
from lrnn_jax.overlaps import Overlaps, gram_rank, root


def vectors_with_overlaps(
    overlaps: Overlaps, n: int, scale: ArrayLike, *, key: PRNGKeyArray
) -> Float[Array, "n k"]:
    """N×k loading vectors Θ of `LowRankRNN.with_overlaps`.

    >>> vectors = networks.vectors_with_overlaps(net.overlaps, 30, 30.0, key=key)
    >>> bool(jnp.allclose(vectors.T @ vectors / 30, net.overlaps.gram))
    True
    """
    gram, k = overlaps.gram, overlaps.roles.size
    if n < k and not is_traced(gram) and n < (needed := gram_rank(gram)):
        raise ValueError(
            f"These overlaps span {needed} dimensions, so they need at least {needed} neurons; "
            f"got n = {n}."
        )
    theta = _drawn(gram, n, as_scale(scale).astype(gram.dtype), key)
    return _reflected(theta) if overlaps.roles.means else theta


@eqx.filter_jit
def _drawn(
    gram: Float[Array, "k k"], n: int, scale: Array, key: PRNGKeyArray
) -> Float[Array, "n k"]:
    rows = min(n, len(gram))
    q, r = jnp.linalg.qr(jr.normal(key, (n, rows), gram.dtype))
    frame = q * jnp.sign(jnp.diagonal(r))[None, :]
    return jnp.sqrt(scale) * frame @ root(gram, rows)


def transport(
    theta: Float[Array, "n k"], old: Float[Array, "k k"], new: Float[Array, "k k"]
) -> Float[Array, "n k"]:
    """Θ R with RᵀQR = Q', R symmetric: the nearest vectors with the new Gram matrix.

        R = Q^{-½} (Q^½ Q' Q^½)^½ Q^{-½}

    Errors: ValueError for vectors that are linearly dependent (outside a trace).
    """
    values = jnp.linalg.eigvalsh(old)
    if not is_traced(values) and values[0] < 1e-10 * values[-1]:
        raise ValueError(
            "The loading vectors are linearly dependent, so they cannot be turned into vectors "
            "with the new overlaps. Use LowRankRNN.with_overlaps(degenerate_twin(net.overlaps, …))."
        )
    half = square_root(old)
    inverse = jnp.linalg.inv(half)
    return theta @ (inverse @ square_root(half @ new @ half) @ inverse)


@jax.custom_jvp
def square_root(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The positive A = Aᵀ with A² = Q, whose derivative is that of A dA + dA A = dQ.

    Eigenvectors have none where eigenvalues are equal, as those of a unit matrix; A has.

    >>> a = networks.square_root(net.overlaps.gram)
    >>> bool(jnp.allclose(a @ a, net.overlaps.gram))
    True
    """
    values, vectors = jnp.linalg.eigh(gram)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T


@square_root.defjvp
def _slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(primals[0])
    roots = jnp.sqrt(jnp.maximum(values, 0))
    sums = roots[:, None] + roots[None]
    slope = vectors.T @ tangents[0] @ vectors / jnp.where(sums > 0, sums, 1.0)
    slope = jnp.where(sums > 0, slope, 0)
    return square_root(primals[0]), vectors @ slope @ vectors.T


def _reflected(theta: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Θ reflected in the hyperplane that maps its last column to ones."""
    ones = jnp.ones_like(theta[:, -1])
    if not is_traced(theta) and abs(float(jnp.mean(theta[:, -1] ** 2)) - 1) > 1e-4:
        raise ValueError(
            "Vectors with given means take the scaling s = N, in which the column of ones has "
            "squared norm 1: leave `scale` out, and let the last entry of Q be 1."
        )
    normal = theta[:, -1] - ones
    square = jnp.sum(normal**2)
    along = normal @ theta / jnp.where(square > 0, square, 1.0)
    return (theta - 2 * jnp.outer(normal, along)).at[:, -1].set(1)
