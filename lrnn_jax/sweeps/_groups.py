"""Many of one computation at once: side by side, as far as XLA keeps small products together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun, jaxprs_in_params

from lrnn_jax._types import FEW

FUSED = 24_576
"""Bytes of a product of small matrices, over all that is side by side, which XLA sums on a CPU
while it multiplies. From 32 kB on it is written out first, and all takes four to ten times as
long."""

LEAST = 16
"""As many are side by side at least: fewer leave most of the time to calls."""

MOST = 256
"""As many are side by side at most: reductions gain nothing from more, and memory grows."""


def in_groups(one: Callable[..., Any], *xs: Any, platform: str | None = None) -> Any:
    """one(*x) for each x along the first axes, as by `jax.vmap`: on a CPU in groups that suit it.

    Of many reductions at once, of rank 2 or in closed loops, XLA writes out every product of small
    matrices once these take 32 kB together; groups stay below, and have 256 at most. Within
    `jax.jit`, results are those of `vmap` but for rounding.

    Arguments:
        one: from arrays to arrays, or trees of them; traced once, so that it must not look at
            numbers.
        xs: arrays, or trees of them, whose first axes are equally long.
        platform: "cpu", …; default: where JAX computes.

    Errors: ValueError when first axes differ, or there are none.

    >>> def final_loss(lr):
    ...     return lrnn.learn(reduction, task, lrnn.Descent(lr), epochs=10, throw=False).loss[-1]
    >>> rates = jnp.linspace(1e-3, 5e-3, 100)
    >>> jax.jit(lambda rates: sweeps.in_groups(final_loss, rates))(rates).shape
    (100,)
    """
    leaves, form = jax.tree.flatten(xs)
    lengths = {x.shape[0] if x.ndim else None for x in map(jnp.asarray, leaves)}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            "`xs` need arrays with equally long first axes; got shapes "
            f"{', '.join(str(jnp.shape(x)) for x in leaves) or 'of no array'}."
        )
    single = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in leaves]
    program, told = jax.make_jaxpr(lambda *x: one(*form.unflatten(x)), return_shape=True)(*single)
    many, count, groups = jax.vmap(jaxpr_as_fun(program)), len(leaves[0]), 1
    if (platform or jax.default_backend()) == "cpu":
        products = FUSED // max(1, _largest_product(program.jaxpr))
        groups = -(-count // min(max(LEAST, products), MOST))
    if groups == 1:
        found = many(*leaves)
    else:
        size = -(-count // groups)
        at = np.minimum(np.arange(groups * size), count - 1).reshape(groups, size)
        found = jax.lax.map(lambda x: many(*x), [x[at] for x in leaves])
        found = [x.reshape(-1, *x.shape[2:])[:count] for x in found]
    return jax.tree.unflatten(jax.tree.structure(told), found)


def _largest_product(program: Any) -> int:
    """Bytes of the largest product of small matrices, before its sum, anywhere in a program."""
    found = [0]
    for line in program.eqns:
        x = line.invars[0].aval if line.primitive.name == "reduce_sum" else None
        if x is not None and x.ndim > 2 and max(x.shape) <= FEW:
            found.append(x.size * x.dtype.itemsize)
        found += [_largest_product(inner) for inner in jaxprs_in_params(line.params)]
    return max(found)
