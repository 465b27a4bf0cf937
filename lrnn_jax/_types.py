"""Axis letters and small converters shared by every layer.

Axis names used in shape annotations throughout the package:

- `n`: neurons (N); `k`: loading vectors, k = d_out + r + d_in + r; `r`: rank
- `inputs`, `outputs`: channels d_in and d_out
- `time`: Euler steps; `trial`: members of a minibatch; `epoch`: parameter updates
- `cell`: members of a sweep; `*batch`: any leading axes
"""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

Scalar = Float[Array, ""]
Gram = Float[Array, "*batch k k"]


def is_traced(*trees: object) -> bool:
    """Whether any array in the trees is a tracer (its values cannot be inspected yet)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def as_float(x: ArrayLike) -> Array:
    """An array of x in its own floating dtype; integers, Python numbers get JAX's default one."""
    if isinstance(x, (list, tuple)):
        x = jnp.asarray(x)
    if isinstance(x, (int, float)) or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return jnp.asarray(x, dtype=jnp.result_type(float))
    return jnp.asarray(x)


def as_columns(x: ArrayLike, name: str) -> Array:
    """An N×c array of loading vectors; one vector of shape (N,) becomes one column.

    Errors: ValueError when the array has another number of axes, no rows or columns, or (outside a
    trace) an entry that is not finite.
    """
    x = as_float(x)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`{name}` must hold loading vectors as columns, shape (neurons, columns) or "
            f"(neurons,), with at least one of each; got shape {x.shape}."
        )
    check_finite(x, name)
    return x


def check_finite(x: ArrayLike, name: str) -> None:
    """Raise ValueError naming the first entry of x that is NaN or infinite (outside a trace)."""
    if is_traced(x):
        return
    values = np.asarray(x)
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"`{name}` must be finite, but entry {where} is {values[where]}: look for a diverged "
            f"training run or missing data."
        )


def as_scale(scale: ArrayLike) -> Array:
    """The scale s as an array.

    Errors: ValueError unless it is finite and positive (outside a trace).
    """
    scale = as_float(scale)
    if (
        not is_traced(scale)
        and not ((np.asarray(scale) > 0) & np.isfinite(np.asarray(scale))).all()
    ):
        raise ValueError(f"`scale` must be positive and finite; got {scale}.")
    return scale


def check_dt(dt: ArrayLike) -> None:
    """Raise ValueError unless 0 < dt <= 1 (outside a trace)."""
    if is_traced(dt):
        return
    if not (np.asarray(dt) > 0).all() or not (np.asarray(dt) <= 1).all():
        raise ValueError(
            f"`dt` is the Euler step in membrane time constants and must lie in (0, 1]; got {dt}. "
            f"Divide your step in seconds by the time constant in seconds."
        )


def small_matmul(a: Float[Array, "... i j"], b: Float[Array, "... j k"]) -> Float[Array, "... i k"]:
    """a @ b as a sum of products, which compiles into the operations around it.

    For the few rows and columns of overlaps a call of a matrix routine costs more than the product.
    """
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def tiny_matmul(a: Float[Array, "... i j"], b: Float[Array, "... j k"]) -> Float[Array, "... i k"]:
    """The same without a reduction, which is faster still under vmap.

    For short chains of products only: in long ones each product would be computed many times.
    """
    terms = [a[..., :, j, None] * b[..., None, j, :] for j in range(a.shape[-1])]
    return sum(terms[1:], terms[0])
