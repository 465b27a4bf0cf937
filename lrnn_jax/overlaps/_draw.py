"""Random overlaps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import number, one_key, real_array
from lrnn_jax._types import is_traced
from lrnn_jax.overlaps._overlaps import Overlaps
from lrnn_jax.overlaps._roles import Roles

DRAWS = 10_000
"""Draws after which `random_overlaps` gives up."""


def random_overlaps(
    rank: int = 1,
    inputs: int = 1,
    outputs: int = 1,
    *,
    std: ArrayLike = 0.4,
    norms: tuple[float, float] = (0.5, 2.0),
    key: PRNGKeyArray,
) -> Overlaps:
    """Overlaps drawn one by one until vectors with these overlaps exist.

        q_ij = |σ ξ_ij|, ξ ~ N(0, 1) (i ≠ j),      q_ii ~ U(norms),      again while λ_min(Q) < 0

    With rank 1 and the defaults 13 % of draws are drawn again; the share grows quickly with σ and
    the number of vectors.

    Arguments:
        rank, inputs, outputs: r, d_in, d_out.
        std: σ of the off-diagonal overlaps.
        norms: (lowest, highest) squared norm q_ii.
        key: draws.

    Errors: ValueError for norms that are not 0 < lowest ≤ highest, or σ < 0 (outside a trace); at
    run time (`eqx.error_if`) when none of 10 000 draws is realisable.

    Source: [LR] methods (memory); drawing again: ours.

    >>> q = overlaps.random_overlaps(rank=1, key=key)
    >>> bool(overlaps.is_realisable(q.gram))
    True
    """
    bounds = real_array(norms, "norms", 0, open_start=True)
    if bounds.shape != (2,) or (not is_traced(bounds) and np.diff(np.asarray(bounds)) < 0):
        raise ValueError(f"`norms` is (lowest, highest) squared norm, positive; got {norms}.")
    roles, std = Roles(outputs=outputs, rank=rank, inputs=inputs), number(std, "std", 0)
    return Overlaps(_drawn(roles.size, std, bounds.astype(std.dtype), one_key(key)), roles)


@eqx.filter_jit
def _drawn(
    k: int, std: Float[Array, ""], norms: Float[Array, "2"], key: PRNGKeyArray
) -> Float[Array, "k k"]:
    """One program: step by step, this would be thirty."""
    rows, columns = np.triu_indices(k, 1)

    def draw(key: Array) -> Float[Array, "k k"]:
        off_key, norm_key = jr.split(key)
        off = jnp.abs(std * jr.normal(off_key, (len(rows),), std.dtype))
        gram = jnp.diag(jr.uniform(norm_key, (k,), std.dtype, norms[0], norms[1]))
        return gram.at[rows, columns].set(off).at[columns, rows].set(off)

    def unrealisable(gram: Array) -> Array:
        return jnp.linalg.eigvalsh(gram)[0] < 0

    def again(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        after, use = jr.split(now[0])
        return after, draw(use), now[2] + 1

    def not_yet(now: tuple[Array, Array, Array]) -> Array:
        return unrealisable(now[1]) & (now[2] < DRAWS)

    start = again((key, jnp.eye(k, dtype=std.dtype), jnp.zeros((), int)))
    gram = jax.lax.while_loop(not_yet, again, start)[1]
    message = (
        f"None of {DRAWS} random Gram matrices was positive semidefinite: lower `std`, raise "
        f"`norms`, or take fewer vectors."
    )
    return eqx.error_if(gram, unrealisable(gram), message)
