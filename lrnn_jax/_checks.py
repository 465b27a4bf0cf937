"""Checks of what users hand over: one sentence that names the argument, what came, what to do.

What is known before tracing raises ValueError; values inside a trace are not looked at.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._types import is_traced


def whole(x: Any, name: str, least: int = 1, most: int | None = None, also: str = "") -> int:
    """A whole number as a Python int: Python's own, NumPy's, or an array of one; no bool.

    Arguments:
        x, name: the value and the argument's name.
        least, most: bounds, both included.
        also: what else would be allowed, for the message, e.g. ", or None for …".

    Errors: ValueError for anything else.
    """
    try:
        value = None if isinstance(x, (bool, np.bool_)) else operator.index(x)
    except TypeError:
        value = None
    if value is None or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be a whole number {bounds}{also}; got {x!r}.")
    return value


def whole_or_none(x: Any, name: str, none_means: str) -> int | None:
    """None, or a whole number of at least 1.

    Errors: ValueError for anything else.
    """
    return None if x is None else whole(x, name, also=f", or None for {none_means}")


def as_float(x: ArrayLike, name: str = "x") -> Array:
    """An array of x in its own floating dtype; integers, Python numbers get JAX's default one.

    Lists, and tensors of other libraries (whatever has `__array__`), become arrays.

    Errors: ValueError for complex numbers.
    """
    if isinstance(x, (list, tuple)):
        x = jnp.asarray(x)
    elif not isinstance(x, (jax.Array, np.ndarray, np.generic, int, float, complex)):
        x = np.asarray(x)
    if jnp.iscomplexobj(x):
        raise ValueError(f"`{name}` must hold real numbers; got complex ones: {x}.")
    if isinstance(x, (int, float)) or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return jnp.asarray(x, dtype=jnp.result_type(float))
    return jnp.asarray(x)


def number(
    x: ArrayLike,
    name: str,
    low: int | float = float("-inf"),
    high: int | float = float("inf"),
    *,
    open_start: bool = False,
    open_end: bool = False,
    meaning: str = "",
) -> Float[Array, ""]:
    """One finite number as an array (one trace for all its values), checked against its range.

    Arguments:
        x, name: the value and the argument's name.
        low, high: bounds, included unless `open_start`, `open_end`.
        meaning: what it is, for the message.

    Errors: ValueError for an array of several, and for a value outside the range.
    """
    given, x = x, as_float(x, name)
    if x.ndim:
        raise ValueError(f"`{name}`{meaning} is one number; got an array of shape {x.shape}.")
    if is_traced(given):
        return x
    value = float(np.asarray(given))  # inside a trace x itself may be traced already
    inside = (value > low if open_start else value >= low) and (
        value < high if open_end else value <= high
    )
    if not (inside and np.isfinite(value)):
        start = "(" if open_start or low == float("-inf") else "["
        end = ")" if open_end or high == float("inf") else "]"
        raise ValueError(f"`{name}`{meaning} must lie in {start}{low}, {high}{end}; got {value}.")
    return x


def optional(x: ArrayLike | None, name: str, *bounds: int | float, **ends: Any) -> Array | None:
    """`number`, or None where x is None."""
    return None if x is None else number(x, name, *bounds, **ends)


def non_negative(x: Any, name: str) -> Array:
    """x as a float array of any shape.

    Errors: ValueError where it is negative or not finite.
    """
    given, x = x, as_float(x, name)
    if (
        not is_traced(given)
        and not ((np.asarray(given) >= 0) & np.isfinite(np.asarray(given))).all()
    ):
        raise ValueError(f"`{name}` must be finite and not negative; got {given}.")
    return x


def check_finite(x: ArrayLike, name: str) -> None:
    """Raise ValueError naming the first entry of x that is NaN or infinite."""
    if is_traced(x):
        return
    values = np.asarray(x)
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"`{name}` must be finite, but entry {place} is {values[place]}: look for a diverged "
            f"training run or missing data."
        )


def as_columns(x: ArrayLike, name: str) -> Array:
    """An N×c array of loading vectors; one vector of shape (N,) becomes one column.

    Errors: ValueError when the array has another number of axes, no rows or columns, or an entry
    that is not finite.
    """
    x = as_float(x, name)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`{name}` must hold loading vectors as columns, shape (neurons, columns) or "
            f"(neurons,), with at least one of each; got shape {x.shape}."
        )
    check_finite(x, name)
    return x


def as_scale(scale: ArrayLike) -> Array:
    """The scale s as an array.

    Errors: ValueError unless it is finite and positive.
    """
    given, scale = scale, as_float(scale, "scale")
    if not is_traced(given):
        values = np.asarray(given)
        if not ((values > 0) & np.isfinite(values)).all():
            raise ValueError(f"`scale` must be positive and finite; got {given}.")
    return scale


def as_dt(dt: ArrayLike) -> Float[Array, ""]:
    """The Euler step as an array.

    Errors: ValueError unless 0 < dt <= 1.
    """
    if not is_traced(dt) and not (np.ndim(dt) == 0 and 0 < float(np.asarray(dt)) <= 1):
        raise ValueError(
            f"`dt` is the Euler step in membrane time constants and must lie in (0, 1]; got {dt}. "
            f"Divide your step in seconds by the time constant in seconds."
        )
    return as_float(dt)
