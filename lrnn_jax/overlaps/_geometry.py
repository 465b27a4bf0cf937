"""The cone of realisable Gram matrices: tests, roots, distances, reachable values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lrnn_jax._types import Gram, is_traced


def tolerance(gram: Gram) -> Float[Array | np.ndarray, "*batch"]:
    """Rounding level of Q: 100 k ε times its largest entry (ε: the dtype's machine epsilon)."""
    k, eps = gram.shape[-1], jnp.finfo(gram.dtype).eps
    xp = jnp if is_traced(gram) else np  # a known Q has a known tolerance, also inside a trace
    return xp.asarray(100 * k * eps * xp.max(xp.abs(gram), axis=(-2, -1)))


def is_realisable(gram: Gram) -> Bool[Array, "*batch"]:
    """Whether loading vectors with this Gram matrix exist: Q symmetric, finite, λ_min(Q) ≥ 0.

    Both up to `tolerance` (theory: Q = ΘᵀΘ/s for some Θ if and only if Q is positive semidefinite).

    >>> bool(overlaps.is_realisable(jnp.array([[1.0, 2.0], [2.0, 1.0]])))
    False
    """
    slack = tolerance(gram)
    asymmetry = jnp.max(jnp.abs(gram - jnp.swapaxes(gram, -1, -2)), axis=(-2, -1))
    return (asymmetry <= slack) & (jnp.linalg.eigvalsh(gram)[..., 0] >= -slack)


def check_gram(gram: Gram) -> Gram:
    """Q itself, refused unless symmetric and positive semidefinite.

    Errors: ValueError with the largest asymmetry or the smallest eigenvalue; inside a trace,
    `eqx.error_if` at run time.

    >>> overlaps.check_gram(jnp.eye(2)).shape
    (2, 2)
    >>> overlaps.check_gram(jnp.array([[1.0, 2.0], [2.0, 1.0]]))
    Traceback (most recent call last):
        ...
    ValueError: No loading vectors have these overlaps: a Gram matrix must be ...
    """
    if is_traced(gram):
        message = "The Gram matrix must be symmetric and positive semidefinite to be realisable."
        return eqx.error_if(gram, ~is_realisable(gram), message)
    q, slack = np.asarray(gram), np.asarray(tolerance(gram))
    apart = np.abs(q - np.swapaxes(q, -1, -2))
    if (apart.max(axis=(-2, -1)) > slack).any():
        *_, i, j = np.unravel_index(apart.argmax(), q.shape)
        raise ValueError(
            f"A Gram matrix is symmetric, but entries ({i}, {j}) and ({j}, {i}) differ by "
            f"{apart.max():.3g}. Pass (Q + Q.T) / 2 if the difference is noise."
        )
    smallest = np.linalg.eigvalsh(q)[..., 0]
    if (smallest < -slack).any():
        raise ValueError(
            f"No loading vectors have these overlaps: a Gram matrix must be positive semidefinite, "
            f"but its smallest eigenvalue is {smallest.min():.6g}. Reduce the off-diagonal "
            f"overlaps or increase the squared norms on the diagonal."
        )
    return gram


def root(gram: Gram, rows: int | None = None) -> Float[Array, "*batch rows k"]:
    """A matrix A with AᵀA = Q: row i is √λ_i times the i-th eigenvector, largest eigenvalue first.

    Arguments:
        gram: Q, shape (..., k, k), positive semidefinite (negative rounding is cut off).
        rows: keep only this many eigenvalues (at least the rank of Q for an exact root).

    >>> a = overlaps.root(net.overlaps.gram)
    >>> bool(jnp.allclose(a.T @ a, net.overlaps.gram))
    True
    """
    return _root(gram)[..., :rows, :]


@jax.jit
def _root(gram: Gram) -> Gram:
    values, vectors = jnp.linalg.eigh(gram)
    scaled = jnp.sqrt(jnp.maximum(values, 0))[..., None, :] * vectors
    return jnp.swapaxes(scaled, -1, -2)[..., ::-1, :]


def gram_rank(gram: Gram) -> int:
    """rank(Q): the number of eigenvalues above `tolerance`; the fewest neurons that realise Q.

    >>> overlaps.gram_rank(jnp.ones((3, 3)))
    1
    """
    return int((np.linalg.eigvalsh(np.asarray(gram)) > np.asarray(tolerance(gram))).sum())


def range_projector(gram: Gram) -> Gram:
    """Q⁺Q, the projector onto the range of Q; 1 where Q is regular, or traced and so not known.

    >>> print(overlaps.range_projector(2 * jnp.ones((2, 2))).round(6))
    [[0.5 0.5]
     [0.5 0.5]]
    """
    eye = jnp.asarray(np.broadcast_to(np.eye(gram.shape[-1]), gram.shape), gram.dtype)
    if is_traced(gram):
        return eye
    values, vectors = np.linalg.eigh(np.asarray(gram))
    inside = values > np.asarray(tolerance(gram))[..., None]
    if inside.all():
        return eye
    kept = vectors * inside[..., None, :]
    return jnp.asarray(kept @ np.swapaxes(kept, -1, -2))


def reachable_interval(gram: Float[Array, "k k"], i: int, j: int) -> tuple[float, float] | None:
    """Interval of values of entry (i, j) for which Q stays realisable, the others being kept.

    With B the Gram matrix of the other vectors and a_i, a_j their overlaps with vectors i and j,
    the entry lies within √(ρ_i ρ_j) of a_iᵀB⁺a_j, where ρ = q − aᵀB⁺a is the squared norm that the
    other vectors leave unexplained; a squared norm (i = j) is at least aᵀB⁺a.

    Returns: (lowest, highest), or None when no value of this entry alone makes Q realisable.

    >>> low, high = overlaps.reachable_interval(jnp.eye(3), 0, 1)
    >>> round(low, 6), round(high, 6)
    (-1.0, 1.0)
    """
    q, slack = np.asarray(gram), float(tolerance(gram))
    rest = [c for c in range(q.shape[0]) if c not in (i, j)]
    block, across = q[np.ix_(rest, rest)], q[np.ix_(rest, [i, j])]
    if rest and np.linalg.eigvalsh(block)[0] < -slack:
        return None
    inverse = np.linalg.pinv(block, rcond=1e-12, hermitian=True)
    explained = across.T @ inverse @ across
    if np.abs(block @ inverse @ across - across).max(initial=0.0) > 1e6 * slack:
        return None
    if i == j:
        return float(explained[0, 0]), np.inf
    left = q[[i, j], [i, j]] - np.diagonal(explained)
    if left.min() < -slack:
        return None
    centre, radius = explained[0, 1], np.sqrt(np.prod(np.maximum(left, 0)))
    return float(centre - radius), float(centre + radius)
