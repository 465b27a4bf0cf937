"""Loading vectors with given overlaps."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._types import as_float, is_traced
from lrnn_jax.overlaps import Overlaps, gram_rank, root


def vectors_with_overlaps(
    overlaps: Overlaps, n: int, scale: ArrayLike, *, key: PRNGKeyArray
) -> Float[Array, "n k"]:
    """Loading vectors Θ with exactly the given overlaps, in a random orientation.

        Θ = √s E A,   E: N×min(N, k) with orthonormal columns (Haar),   AᵀA = Q

    Arguments:
        overlaps: Q, shape (k, k).
        n: N, at least rank(Q).
        scale: s.
        key: draws E.

    Returns: Θ with ΘᵀΘ/s = Q to rounding.

    Errors: ValueError when N < rank(Q).

    Source: ours.
    """
    gram, k = overlaps.gram, overlaps.roles.size
    if n < k and not is_traced(gram) and n < (needed := gram_rank(gram)):
        raise ValueError(
            f"These overlaps span {needed} dimensions, so they need at least {needed} neurons; "
            f"got n = {n}."
        )
    rows = min(n, k)
    gaussian = jr.normal(key, (n, rows), gram.dtype)
    q, r = jnp.linalg.qr(gaussian)
    frame = q * jnp.sign(jnp.diagonal(r))[None, :]
    return jnp.sqrt(as_float(scale).astype(gram.dtype)) * frame @ root(gram, rows)
