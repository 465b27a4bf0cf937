"""How far learning can move the overlaps: the leaf that all tasks together can reach."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax.overlaps._coupling import coupling
from lrnn_jax.overlaps._overlaps import Overlaps, from_vector
from lrnn_jax.overlaps._roles import Roles

_Field = Callable[[Any], Any]


class Leaf(NamedTuple):
    """The leaf of overlap space that gradient flows on all tasks of a kind can reach.

    Fields: dimension; of, the dimension of overlap space, k(k+1)/2; function, how many of the
    leaf's dimensions a loss can see (those of learning's own directions); growth, the rank after
    each order of Lie brackets. `dimension − function` dimensions hold memory without noise: they
    are moved by learning, and no loss fixes them.
    """

    dimension: int
    of: int
    function: int
    growth: tuple[int, ...]


def leaf(
    overlaps: Overlaps,
    functions: Callable[[Overlaps], Float[Array, " function"]] | None = None,
    *,
    depth: int = 6,
    tolerance: float = 1e-8,
) -> Leaf:
    """Dimension of the leaf through a point, from nested Lie brackets of learning's fields.

    A loss of f(Q) moves the overlaps along X_i = −C(q) ∇f_i(q), C the `coupling`; alternating
    between tasks also moves them along [X_i, X_j] = ∂X_j X_i − ∂X_i X_j and so on. The rank of all
    of these at a point where it is locally constant (a generic one) is the dimension of the leaf
    (orbit theorem). Rank 1: 5 of 10.

    Arguments:
        overlaps: Q, a generic point; shape (k, k).
        functions: what losses depend on, f(Q); default `markov_parameters`, which a loss of a
            linear network's output depends on.
        depth: highest order of brackets; they stop by themselves when one adds nothing.
        tolerance: singular values below this share of the largest are zero (use float64).

    Returns: `Leaf`.

    Errors: ValueError for batched overlaps.

    Source: ours.
    """
    if overlaps.gram.ndim != 2:
        raise ValueError(f"leaf takes one Gram matrix; got shape {overlaps.gram.shape}.")
    roles = overlaps.roles
    first = _learning_fields(roles, functions or markov_parameters)
    points = jnp.stack([overlaps.vector(), *_other_points(roles, overlaps.gram.dtype)])
    newest, values = _independent(first, np.zeros((0, points.size)), points, tolerance)
    growth = [_rank(values, points.shape[1], tolerance)]

    while newest and len(growth) < depth:
        brackets = [_bracket(x, y) for x in first for y in newest if x is not y]
        newest, values = _independent(brackets, values, points, tolerance)
        growth.append(_rank(values, points.shape[1], tolerance))
        if growth[-1] == growth[-2]:
            break
    return Leaf(growth[-1], len(roles.names), growth[0], tuple(growth))


def markov_parameters(overlaps: Overlaps) -> Float[Array, " parameter"]:
    """S_zm and S_zu (S_vu)ʲ S_vm, j = 0 … 2r − 1: they determine a linear network's response.

    For rank 1, functions of (zm, zu·vm, vu).
    """
    zm, zu = overlaps.block("z", "m"), overlaps.block("z", "u")
    vm, vu = overlaps.block("v", "m"), overlaps.block("v", "u")
    parts = [zm.ravel()]
    for _ in range(2 * overlaps.roles.rank):
        parts.append((zu @ vm).ravel())
        zu = zu @ vu
    return jnp.concatenate(parts)


def _learning_fields(roles: Roles, functions: Callable[[Overlaps], Any]) -> list[_Field]:
    """X_i(q) = −C(q) ∇f_i(q), one a function."""
    map_of = coupling(roles)

    def value(q: Array) -> Array:
        return functions(Overlaps(from_vector(q, roles), roles))

    def field(i: int) -> _Field:
        return lambda q: -map_of.matrix(q) @ jax.grad(lambda p: value(p)[i])(q)

    count = jax.eval_shape(value, jnp.zeros(len(roles.names))).shape[0]
    return [field(i) for i in range(count)]


def _bracket(x: _Field, y: _Field) -> _Field:
    """[X, Y] = ∂Y X − ∂X Y."""

    def field(q: Array) -> Array:
        return jax.jvp(y, (q,), (x(q),))[1] - jax.jvp(x, (q,), (y(q),))[1]

    return field


def _other_points(roles: Roles, dtype: Any) -> list[Array]:
    """Generic Gram matrices, to tell fields apart."""
    rng = np.random.default_rng(0)
    grams = (a.T @ a / len(a) for a in rng.normal(size=(3, roles.size + 2, roles.size)))
    return [Overlaps(jnp.asarray(g, dtype), roles).vector() for g in grams]


def _independent(
    candidates: list[_Field],
    values: Float[np.ndarray, "field value"],
    points: Float[Array, "point overlap"],
    tolerance: float,
) -> tuple[list[_Field], Float[np.ndarray, "more value"]]:
    """Those candidates that are no combinations of the fields so far, and all their values."""
    found = np.asarray(
        jax.jit(jax.vmap(lambda q: jnp.stack([field(q) for field in candidates]), out_axes=1))(
            points
        )
    ).reshape(len(candidates), -1)
    kept = []
    for field, value in zip(candidates, found):
        size = np.linalg.norm(value)
        if size == 0:
            continue
        more = np.concatenate([values, value[None] / size])
        if np.linalg.matrix_rank(more, tol=tolerance) > len(values):
            kept, values = [*kept, field], more
    return kept, values


def _rank(values: Float[np.ndarray, "field value"], size: int, tolerance: float) -> int:
    """The fields' rank at the first point."""
    here = values[:, :size]
    here = here / np.maximum(np.linalg.norm(here, axis=1, keepdims=True), 1e-300)
    return int(np.linalg.matrix_rank(here, tol=tolerance))
