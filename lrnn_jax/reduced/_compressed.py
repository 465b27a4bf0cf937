"""Few neurons that learn as N do: exact for what commutes with rotations of the neurons."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from lrnn_jax._checks import number, whole
from lrnn_jax._readable import of_part
from lrnn_jax.networks import (
    AbstractRNN,
    AbstractSpace,
    Weights,
    square_root,
    weight_space,
)
from lrnn_jax.overlaps import Overlaps, is_realisable
from lrnn_jax.reduced._base import AbstractReduction
from lrnn_jax.reduced._few import AbstractFewSpace, fixed_of, network_of
from lrnn_jax.reduced._reduced import ReducedRNN


class Crowd(eqx.Module):
    """N neurons with noise of their own, for which a few rows stand: exact in the law of overlaps.

    k rows lie in the span of the loading vectors, others beyond it. Standard normal noise ξ (N×m)
    has, together with them, the scalar products of [G; H], with G (k×m) standard normal and H
    (min(m, N − k) × m) the Bartlett factor of a Wishart matrix of N − k degrees of freedom.

    Arguments:
        neurons: N ≥ 2k.

    >>> reduced.Crowd(neurons=1000).noise(4, 4, key).shape
    (8, 4)
    """

    neurons: int = eqx.field(static=True)

    def noise(
        self, inside: int, columns: int, key: PRNGKeyArray, dtype: Any = float
    ) -> Float[Array, "rows columns"]:
        """[G; H], of k rows inside the span and as many beyond as it takes."""
        freedom = self.neurons - inside
        beyond = min(columns, freedom)
        normal_key, length_key = jr.split(key)
        normal = jr.normal(normal_key, (inside + beyond, columns), dtype)
        diagonal = jnp.arange(beyond)
        squares = jr.chisquare(
            length_key, (freedom - diagonal).astype(normal.dtype), dtype=normal.dtype
        )
        h = jnp.triu(normal[inside:], 1).at[diagonal, diagonal].set(jnp.sqrt(squares))
        return jnp.concatenate([normal[:inside], h])

    def turned(self, weights: Float[Array, "rows k"]) -> Float[Array, "rows k"]:
        """2k rows turned so that the lower half is zero: new noise meets the span of the new."""
        return self.folded(jnp.zeros((0, weights.shape[1]), weights.dtype), weights)

    def folded(
        self, inside: Float[Array, "inside k"], beyond: Float[Array, "beyond k"]
    ) -> Float[Array, "rows k"]:
        """Rows beyond the span turned into as few as they need: 2k in all."""
        few = jnp.linalg.qr(beyond)[1]
        rows = 2 * beyond.shape[1] - len(inside) - len(few)
        return jnp.concatenate([inside, few, jnp.zeros((rows, few.shape[1]), few.dtype)])


class CompressedSpace(AbstractFewSpace):
    """A linear reduction as a network of k neurons: X = R (k×k), Q = RᵀR/s, M = 1/s.

    For rules that are written for neurons: they move `neurons`. R starts as the root of Q_0, and
    T = 1 + R_0⁺ (R − R_0); s is 1 if nothing else is said. A crowd adds k rows of zeros, and has no
    T, as its noise leaves the span of Θ_0.

    >>> reduced.CompressedSpace(reduction).start.shape
    (4, 4)
    """

    network: AbstractReduction
    vectors: AbstractSpace
    crowd: Crowd | None
    first: Float[Array, "k k"]
    inverse: Float[Array, "k k"]
    coefficients = True
    roles = of_part("network", "roles")

    def __init__(self, reduction: ReducedRNN, crowd: Crowd | None = None, scale: ArrayLike = 1.0):
        roles = reduction.roles
        self.network, self.crowd = reduction, crowd
        self.first = square_root(reduction.overlaps.gram)
        few = len(self.first) * float(jnp.finfo(reduction.dtype).eps) ** 0.5
        self.inverse = jnp.linalg.pinv(self.first, rtol=few, hermitian=True)
        scale = jnp.asarray(scale, reduction.dtype)
        loadings = jnp.sqrt(scale) * self.first
        if crowd is not None:
            loadings = jnp.concatenate([loadings, jnp.zeros_like(loadings)])
        small = network_of(loadings, roles, scale, reduction)
        self.vectors = weight_space(small, fixed_of(loadings, roles))

    @property
    def realisable(self) -> Bool[Array, ""]:
        return is_realisable(jax.lax.stop_gradient(self.network.laws.gram))

    def model_at(self, point: Weights) -> AbstractRNN:
        reduction = self.network.with_gram(self.gram(point))
        if self.network.c is None:
            return reduction
        return eqx.tree_at(lambda net: net.c, reduction, self.vectors.model(point).c)

    def spread_out(self, weights: Weights, rows: int) -> AbstractSpace:
        """That of the network with this many rows beyond the span of its loadings, all zero."""
        network: Any = self.vectors.model(weights)
        inside = network.vectors[: len(self.first)]
        more = jnp.zeros((rows, inside.shape[1]), inside.dtype)
        loadings = jnp.concatenate([inside, more])
        return weight_space(network_of(loadings, network.roles, network.scale, self.network))

    def transform(self, weights: Weights) -> Float[Array, "k k"] | None:
        if self.crowd is not None:
            return None
        network: Any = self.vectors.model(weights)
        now = self.vectors.fixed.beside(network.vectors, False)
        return jnp.eye(len(now), dtype=now.dtype) + self.inverse @ (now - self.first)


def as_neurons(reduction: AbstractReduction, feedback: bool, through: bool) -> CompressedSpace:
    """A reduction as a few neurons, with the fixed vectors that a rule needs.

    Those that the reduction has no overlaps of are as those of infinitely many neurons: orthogonal
    to all others, with squared norm s.

    Arguments: the reduction; whether the rule needs F, and C and G.

    Errors: ValueError, with the reason, unless a few neurons learn as the reduction.

    >>> space = reduced.as_neurons(reduction, feedback=True, through=False)
    >>> space.start.shape  # F has a column of its own
    (5, 4)
    """
    reduction, roles = _compressible(reduction), reduction.roles
    more = {
        "feedback": roles.feedback or roles.outputs * feedback,
        "through": roles.through or roles.rank * through,
    }
    wanted = replace(roles, **more)
    gram = jnp.eye(wanted.size, dtype=reduction.dtype)
    old = jnp.array([wanted.labels.index(label) for label in roles.labels])
    gram = gram.at[old[:, None], old[None, :]].set(reduction.overlaps.gram)
    return CompressedSpace(eqx.tree_at(lambda r: r.overlaps, reduction, Overlaps(gram, wanted)))


def as_crowd(
    reduction: AbstractReduction, neurons: int, scale: ArrayLike | None
) -> CompressedSpace:
    """A reduction as rows that stand for N neurons, each with noise of its own.

    Arguments: the reduction; N; s, N if None.

    Errors: ValueError, with the reason, unless its overlaps have the law of such a network.

    >>> space = reduced.as_crowd(reduction, 1000, None)
    >>> space.crowd.neurons
    1000
    """
    reduction = _compressible(reduction)
    if reduction.c is not None:
        raise ValueError("A read-out bias gets no noise in a reduction: let the network learn.")
    own = eqx.tree_at(lambda r: r.overlaps, reduction, reduction.overlaps.own)
    crowd = Crowd(whole(neurons, "neurons", 2 * own.roles.size))
    scale = neurons if scale is None else number(scale, "scale", 0, open_start=True)
    return CompressedSpace(own, crowd, scale)


def _compressible(reduction: AbstractReduction) -> ReducedRNN:
    """The reduction itself, unless it is not one that a few neurons learn as."""
    if isinstance(reduction, ReducedRNN) and reduction.linear and not reduction.roles.means:
        return reduction
    raise ValueError(
        f"This rule is exact on overlaps for linear φ and one Gram matrix without means; got a "
        f"{type(reduction).__name__} with φ = {type(reduction.activation).__name__}. Let "
        f"population(…) learn, the limit of infinitely many neurons for any φ."
    )
