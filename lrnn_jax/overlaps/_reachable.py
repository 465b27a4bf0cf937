"""In how many directions learning can move the overlaps, all tasks taken together."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lrnn_jax._checks import function, number, whole
from lrnn_jax.overlaps._coupling import coupling
from lrnn_jax.overlaps._overlaps import Overlaps, from_vector, one_set
from lrnn_jax.overlaps._roles import Roles


class ReachableDimensions(NamedTuple):
    """The set of overlaps that gradient flows on all tasks of a kind can reach from a point.

    Fields: dimension of that set (an orbit); total, the dimension of overlap space, k(k+1)/2;
    visible, how many of the dimensions a loss can see (those of learning's own directions); growth,
    the rank after each order of Lie brackets.

    >>> found = lrnn.overlaps.reachable_dimensions(overlaps.random_overlaps(key=key))
    >>> found.dimension, found.total
    (5, 10)
    """

    dimension: int
    total: int
    visible: int
    growth: tuple[int, ...]

    @property
    def memory(self) -> int:
        """Dimensions that hold memory: learning moves them, and no loss fixes them."""
        return self.dimension - self.visible


def reachable_dimensions(
    overlaps: Overlaps,
    functions: Callable[[Overlaps], Float[Array, " function"]] | None = None,
    *,
    depth: int = 6,
    tolerance: float | None = None,
) -> ReachableDimensions:
    """How many dimensions learning can reach from a point, from nested Lie brackets of its fields.

    A loss of f(Q) moves the overlaps along X_i = −C(q) ∇f_i(q), C the `coupling`; alternating
    between tasks also moves them along [X_i, X_j] = ∂X_j X_i − ∂X_i X_j and so on. The rank of all
    of these at a point where it is locally constant (a generic one) is the dimension of the orbit
    (orbit theorem of Nagano and Sussmann). Rank 1: 5 of 10.

    Arguments:
        overlaps: Q, a generic point; shape (k, k).
        functions: what losses depend on, f(Q); default `markov_parameters`, which a loss of a
            linear network's output depends on.
        depth: highest order of brackets; they stop by themselves when one adds nothing.
        tolerance: singular values of the fields, each scaled to length 1, below this are zero, and
            brackets (of fields of length 1, with Q in units of its largest entry) that are shorter
            vanish; default √ε (ε: the dtype's machine epsilon).

    Returns: `ReachableDimensions`.

    Errors: ValueError for batched overlaps.

    Source: ours.

    >>> lrnn.overlaps.reachable_dimensions(overlaps.random_overlaps(key=key)).dimension
    5
    """
    one_set(overlaps)
    whole(depth, "depth")
    if functions is not None:
        function(functions, "functions", "overlaps")
    roles, q = overlaps.roles, overlaps.vector()
    small = jnp.sqrt(jnp.finfo(q.dtype).eps) if tolerance is None else tolerance
    tolerance = float(number(small, "tolerance", 0, open_start=True))
    first, unit = _learning_fields(roles, functions or markov_parameters, q)
    fields, growth = np.zeros((0, q.size)), []
    while len(growth) < depth:
        fields = np.concatenate([fields, _bracketed(first, len(growth), q / unit)])
        growth.append(_rank(fields, tolerance))
        if growth[-2:-1] == growth[-1:]:
            break
    return ReachableDimensions(growth[-1], q.size, growth[0], tuple(growth))


def markov_parameters(overlaps: Overlaps) -> Float[Array, " parameter"]:
    """S_zm and S_zu (S_vu)ʲ S_vm, j = 0 … 2r − 1: they determine a linear network's response.

    For rank 1, functions of (zm, zu·vm, vu).

    >>> overlaps.markov_parameters(net.overlaps).shape
    (3,)
    """
    zm, zu = overlaps.block("z", "m"), overlaps.block("z", "u")
    vm, vu = overlaps.block("v", "m"), overlaps.block("v", "u")
    parts = [zm.ravel()]
    for _ in range(2 * overlaps.roles.rank):
        parts.append((zu @ vm).ravel())
        zu = zu @ vu
    return jnp.concatenate(parts)


class _Fields(eqx.Module):
    """x → all X_i = −C ∇f_i, shape (function, overlap), at overlaps x times `unit`.

    Fields: lengths, by which each is divided; seen: whether it moves anything.
    """

    roles: Roles = eqx.field(static=True)
    functions: Callable[[Overlaps], Any]
    unit: Float[Array, ""]
    lengths: Float[Array, "function 1"] | float = 1.0
    seen: Bool[Array, "function 1"] | bool = True

    def slopes(self, x: Float[Array, " overlap"]) -> Float[Array, "function overlap"]:
        """All ∇f_i."""

        def value(x: Array) -> Array:
            return self.functions(Overlaps(from_vector(self.unit * x, self.roles), self.roles))

        return jax.jacrev(value)(x)

    def __call__(self, x: Float[Array, " overlap"]) -> Float[Array, "function overlap"]:
        fields = -self.slopes(x) @ coupling(self.roles).matrix(x).T
        return jnp.where(self.seen, fields / self.lengths, 0)


@eqx.filter_jit
def _learning_fields(
    roles: Roles, functions: Callable[[Overlaps], Any], q: Float[Array, " overlap"]
) -> tuple[_Fields, Float[Array, ""]]:
    """The fields of learning, of length 1 at the point q, and the largest overlap, their unit."""
    unit = jnp.max(jnp.abs(q))
    plain, x = _Fields(roles, functions, unit), q / unit
    lengths, slopes = (
        jnp.linalg.norm(a, axis=1, keepdims=True) for a in (plain(x), plain.slopes(x))
    )
    # a function whose slope C maps to nothing moves nothing, whatever the function's units
    size = jnp.linalg.norm(coupling(roles).matrix(x))
    seen = lengths > jnp.finfo(q.dtype).eps * size * slopes
    return _Fields(roles, functions, unit, jnp.where(seen, lengths, 1), seen), unit


@eqx.filter_jit
def _bracketed(
    first: _Fields, order: int, x: Float[Array, " overlap"]
) -> Float[Array, "field overlap"]:
    """All brackets of an order: [X, Y] = ∂Y X − ∂X Y of X in `first` and Y of the order before."""
    level: Callable[[Any], Any] = first
    for _ in range(order):
        level = partial(_brackets, first, level)
    return level(x)


def _brackets(first: Callable[[Any], Any], level: Callable[[Any], Any], q: Array) -> Array:
    """All [X, Y] of X in `first` and Y in `level`."""
    x, y = first(q), level(q)
    dx, dy = jax.jacfwd(first)(q), jax.jacfwd(level)(q)
    bracket = jnp.einsum("jab,ib->ija", dy, x) - jnp.einsum("iab,jb->ija", dx, y)
    return bracket.reshape(-1, q.size)


def _rank(fields: Float[np.ndarray, "field overlap"], tolerance: float) -> int:
    """The number of independent fields among those given, each scaled to length 1."""
    size = np.linalg.norm(fields, axis=1, keepdims=True)
    fields = np.where(size > tolerance, fields / np.where(size > 0, size, 1), 0)
    return int(np.linalg.matrix_rank(fields, tol=tolerance))
