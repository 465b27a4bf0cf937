"""The law of random overlaps by its first three cumulants, and nodes that stand for it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from lrnn_jax.networks import gauss_hermite

_FITS = 6  # rounds of the fit of the third cumulant; each gains a factor of 3 at least
_NEGLIGIBLE = 1e-4  # variances below this share of the largest: skewness is not followed


class Law(NamedTuple):
    """Cumulants of a random vector q.

    Arguments:
        mean: μ, shape (overlap,).
        covariance: P, shape (overlap, overlap).
        third: κ = E (q−μ)⊗(q−μ)⊗(q−μ), shape (overlap, overlap, overlap).

    >>> law = learning.Law.certain(jnp.ones(2))
    >>> law.mean.shape, float(law.covariance.sum())
    ((2,), 0.0)
    """

    mean: Float[Array, " overlap"]
    covariance: Float[Array, "overlap overlap"]
    third: Float[Array, "overlap overlap overlap"]

    @classmethod
    def certain(cls, q: Float[Array, " overlap"]) -> "Law":
        """The law of a vector that is not random."""
        n = q.size
        return cls(q, jnp.zeros((n, n), q.dtype), jnp.zeros((n, n, n), q.dtype))


class Nodes(NamedTuple):
    """Nodes that stand for a law in the directions in which it varies most.

    Arguments:
        q: nodes, shape (node, overlap).
        weights: Σ w = 1, shape (node,).
        rest: P less the covariance of the nodes, shape (overlap, overlap).
    """

    q: Float[Array, "node overlap"]
    weights: Float[Array, " node"]
    rest: Float[Array, "overlap overlap"]


def nodes(law: Law, directions: int) -> Nodes:
    """Nodes with the mean, variances and third cumulants of a law in its principal directions.

        q = μ + Σ_i r_i x_i,    x = whitened(z + ½ H : zz),    z a Gauss–Hermite rule

    r_i are the principal axes of P, longest first, and H makes E x_i x_j x_l the third cumulant in
    units of them: a Gaussian bent by a quadratic map. The longest axis gets directions + 1 nodes,
    each shorter one a node less: (directions + 1)! in all. The shortest, with two nodes, stays
    symmetric on its own; skewness that it shares with others is kept.

    >>> law = learning.Law(jnp.ones(2), jnp.eye(2), jnp.zeros((2, 2, 2)))
    >>> found = learning.nodes(law, 2)
    >>> bool(jnp.allclose(found.weights @ found.q, law.mean))
    True
    """
    grid, weights = gauss_hermite(range(directions + 1, 1, -1))
    z, w = (jnp.asarray(a, law.mean.dtype) for a in (grid, weights))
    if not directions:
        return Nodes(law.mean[None], w, law.covariance)
    values, vectors = jax.lax.stop_gradient(jnp.linalg.eigh(law.covariance))
    values, vectors = values[::-1][:directions], vectors[:, ::-1][:, :directions]
    seen = values > _NEGLIGIBLE * values[0]
    pair, eye = seen[:, None] & seen[None, :], jnp.eye(directions, dtype=values.dtype)
    root = jnp.linalg.cholesky(jnp.where(pair, vectors.T @ law.covariance @ vectors, eye))
    seen = seen.astype(values.dtype)
    unit = solve_triangular(root, vectors.T, lower=True) * seen[:, None]
    wanted = jnp.einsum("abc,ia,jb,lc->ijl", law.third, unit, unit, unit)
    x, bend = _whitened(z, w), jnp.zeros_like(wanted)
    for _ in range(_FITS):
        bend = bend + (wanted - third_moment(x, w)) / 3
        x = _whitened(z + jnp.einsum("ijl,nj,nl->ni", bend, z, z) / 2, w)
    axes = vectors @ (root * seen[None, :])
    return Nodes(law.mean[None] + x @ axes.T, w, law.covariance - axes @ axes.T)


def third_moment(
    x: Float[Array, "node i"], weights: Float[Array, " node"]
) -> Float[Array, "i i i"]:
    """E x⊗x⊗x over nodes.

    >>> x, weights = jnp.array([[-1.0], [1.0]]), jnp.array([0.5, 0.5])
    >>> float(learning.third_moment(x, weights)[0, 0, 0])
    0.0
    """
    return jnp.einsum("n,ni,nj,nl->ijl", weights, x, x, x)


def symmetric(t: Float[Array, "*batch i i i"]) -> Float[Array, "*batch i i i"]:
    """t_ijl + t_ilj + t_lji, for t symmetric in its first two axes."""
    return t + jnp.swapaxes(t, -1, -2) + jnp.swapaxes(t, -1, -3)


def _whitened(x: Float[Array, "node i"], weights: Float[Array, " node"]) -> Float[Array, "node i"]:
    """An affine image of x with mean 0 and covariance 1 over the nodes."""
    x = x - (weights @ x)[None]
    root = jnp.linalg.cholesky(x.T @ (weights[:, None] * x))
    return solve_triangular(root, x.T, lower=True).T
