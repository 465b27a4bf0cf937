"""Checks of what users hand over: one sentence that names the argument, what came, what to do.

What is known before tracing raises ValueError, inside a trace too; of what is traced, only shape
and type are looked at.
"""

import contextlib
import importlib
import operator
import reprlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._types import is_key, is_traced

Kind = TypeVar("Kind")
INF = float("inf")
KNOWN: dict[int, np.ndarray] = {}
"""All values that traced arrays will have, by their ids, where these are known beforehand."""


@contextlib.contextmanager
def known_beforehand(arrays: Sequence[Any], values: Sequence[np.ndarray]) -> Iterator[None]:
    """Let checks of traced arrays look at all values that these will have, shape (cells, …)."""
    KNOWN.update(zip(map(id, arrays), values))
    try:
        yield
    finally:
        for array in arrays:
            del KNOWN[id(array)]


def shown(x: Any) -> str:
    """What came, in a few words, for messages."""
    if isinstance(x, (jax.Array, np.ndarray)) and x.ndim:
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    if isinstance(x, type):
        return f"the class {x.__name__}"
    if type(x).__module__.startswith("lrnn_jax."):
        return f"{'an' if type(x).__name__[0] in 'AEIOU' else 'a'} {type(x).__name__}"
    return reprlib.repr(x)


def component(x: Any, kind: type[Kind] | tuple[type[Kind], ...], name: str, such_as: str) -> Kind:
    """x itself, an object of this kind.

    Errors: ValueError for anything else; with the spelling for a class in place of an object.
    """
    if isinstance(x, kind):
        return x
    hint = f": write {x.__name__}(…)" if isinstance(x, type) and issubclass(x, kind) else ""
    raise ValueError(f"`{name}` must be such as {such_as}; got {shown(x)}{hint}.")


def flag(x: Any, name: str) -> bool:
    """True or False."""
    return bool(component(x, (bool, np.bool_), name, "True or False"))


def function(x: Any, name: str, of: str, also: str = "") -> Any:
    """x itself, which can be called; `also` says what else would be allowed."""
    if not callable(x):
        raise ValueError(f"`{name}` must be a function of {of}{also}; got {shown(x)}.")
    return x


def shape_of(function: Any, *shape: int) -> Any:
    """The shape of what a function makes of an array of this shape, or the error from it."""
    try:
        return jax.eval_shape(function, jnp.zeros(shape)).shape
    except Exception as error:
        return f"{type(error).__name__} from it"


def names(x: Any, name: str, known: Collection[str] | None = None) -> tuple[str, ...]:
    """A tuple of names, all of them known ones.

    Errors: ValueError for anything else, also for a single string.
    """
    if not isinstance(x, (tuple, list)) or not all(isinstance(item, str) for item in x):
        like = f' such as ("{x}",)' if isinstance(x, str) else ""
        raise ValueError(f"`{name}` must be a tuple of names{like}; got {shown(x)}.")
    if known is not None and (unknown := [item for item in x if item not in known]):
        raise ValueError(f"`{name}` takes names among {', '.join(known)}; got {unknown}.")
    return tuple(x)


def extra(module: str, needs: str) -> Any:
    """A package of the extra `sweep`; ImportError that says what needs it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{needs} {module}: pip install 'lrnn_jax[sweep]'.") from error


def one_key(key: Any, name: str = "key") -> Any:
    """The random key itself.

    Errors: ValueError for anything else, e.g. a whole number.
    """
    if isinstance(key, (jax.Array, np.ndarray)):
        new = is_key(key) and key.ndim == 0
        if new or (key.dtype == np.uint32 and key.ndim == 1):
            return key
    raise ValueError(f"`{name}` must be one random key, use jax.random.key(0); got {shown(key)}.")


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
        raise ValueError(f"`{name}` must be a whole number {bounds}{also}; got {shown(x)}.")
    return value


def whole_or_none(x: Any, name: str, none_means: str) -> int | None:
    """None, or a whole number of at least 1."""
    return None if x is None else whole(x, name, also=f", or None for {none_means}")


def as_float(x: Any, name: str = "x") -> Array:
    """An array of x in its own floating dtype; integers, Python numbers get JAX's default one.

    Lists, and tensors of other libraries (whatever has `__array__`), become arrays. What is known
    stays known inside a trace.

    Errors: ValueError for what holds no real numbers: bool, complex, text, objects.
    """
    try:
        array = x if isinstance(x, jax.Array) else (jnp if is_traced(x) else np).asarray(x)
    except Exception:
        raise ValueError(f"`{name}` must hold real numbers; got {shown(x)}.") from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"`{name}` must hold real numbers; got complex ones: {shown(x)}.")
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    if not floating and not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"`{name}` must hold real numbers; got {shown(x)}.")
    if not floating or isinstance(x, (int, float)) or array.dtype.itemsize > 8:
        array = array.astype(jnp.result_type(float))
    if is_traced(array):
        return jnp.asarray(array)
    with jax.ensure_compile_time_eval():  # so that it can be looked at inside a trace
        return jnp.asarray(array)


def shaped(x: Any, name: str, *shape: int | str) -> Array:
    """Real numbers as an array of this shape.

    Arguments:
        x, name: the numbers and the argument's name.
        shape: lengths of axes; the same word for axes of the same length; "…" first: any before.

    Errors: ValueError for another shape.
    """
    x = as_float(x, name)
    last = shape[1:] if shape[:1] == ("…",) else shape
    fits = x.ndim >= len(last) if len(last) < len(shape) else x.ndim == len(shape)
    known: dict[int | str, int] = {}
    for length, wanted in zip(x.shape[::-1], last[::-1]):
        known.setdefault(wanted, wanted if isinstance(wanted, int) else length)
        fits = fits and known[wanted] == length
    if not fits:
        wanted = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"`{name}` must have shape ({wanted}); got {shown(x)}.")
    return x


def same_dtype(*arrays: Array | None) -> list[Any]:
    """The arrays in the widest of their dtypes."""
    widest = max((a.dtype for a in arrays if a is not None), key=lambda dtype: dtype.itemsize)
    return [None if a is None else a.astype(widest) for a in arrays]


def real_array(
    x: Any,
    name: str,
    low: int | float = -INF,
    high: int | float = INF,
    *,
    open_start: bool = False,
    open_end: bool = False,
    meaning: str = "",
    advice: str = "",
) -> Array:
    """Finite real numbers within bounds, as an array of their shape.

    Arguments:
        x, name: the numbers and the argument's name.
        low, high: bounds, included unless `open_start`, `open_end`.
        meaning, advice: what they are, and what to do, for the message.

    Errors: ValueError naming the first number that is outside, NaN or infinite.
    """
    given, x = x, as_float(x, name)
    values = KNOWN.get(id(given)) if is_traced(x) else np.asarray(x)
    if values is None:
        return x
    inside = (values > low if open_start else values >= low) & (
        values < high if open_end else values <= high
    )
    bad = np.argwhere(~(inside & np.isfinite(values)))
    if not len(bad):
        return x
    place = tuple(bad[0].tolist())
    got = values[place]
    if low == -INF and high == INF:
        meaning, bounds = f"{meaning} must be finite", ""
        advice = advice or "look for a diverged training run or missing data"
    else:
        start = "(" if open_start or low == -INF else "["
        end = ")" if open_end or high == INF else "]"
        bounds = f" must lie in {start}{low}, {high}{end}"
    what = f"; got {got}" if not place else f", but entry {place} is {got}"
    raise ValueError(f"`{name}`{meaning}{bounds}{what}{': ' * bool(advice)}{advice}.")


def number(x: Any, name: str, *bounds: int | float, **options: Any) -> Float[Array, ""]:
    """One finite number as an array (one trace for all its values); else as for `real_array`.

    Errors: ValueError for an array of several, and for a value outside the range.
    """
    array = as_float(x, name)
    if array.ndim:
        meaning = options.get("meaning", "").removesuffix(" and")
        raise ValueError(f"`{name}`{meaning} is one number; got {shown(array)}.")
    return real_array(x, name, *bounds, **options)


def optional(x: Any, name: str, *bounds: int | float, **options: Any) -> Array | None:
    """`number`, or None where x is None."""
    return None if x is None else number(x, name, *bounds, **options)


def check_finite(x: ArrayLike, name: str) -> None:
    """Raise ValueError naming the first entry of x that is NaN or infinite."""
    real_array(x, name)


def as_columns(x: Any, name: str) -> Array:
    """An N×c array of loading vectors; one vector of shape (N,) becomes one column.

    Errors: ValueError when the array has another number of axes, no rows or columns, or an entry
    that is not finite.
    """
    x = real_array(x, name)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`{name}` must hold loading vectors as columns, shape (neurons, columns) or "
            f"(neurons,), with at least one of each; got shape {x.shape}."
        )
    return x


def as_readout_bias(c: Any, outputs: int) -> Array | None:
    """The bias of the read-out, one number for each output, or None."""
    return None if c is None else shaped(real_array(c, "c"), "c", outputs)


def as_scale(scale: Any) -> Array:
    """The scale s as an array of positive numbers."""
    return real_array(scale, "scale", 0, open_start=True)


def as_dt(dt: Any) -> Float[Array, ""]:
    """The Euler step, 0 < dt ≤ 1, as an array."""
    return number(
        dt,
        "dt",
        0,
        1,
        open_start=True,
        meaning=" is the Euler step in membrane time constants and",
        advice="divide your step in seconds by the time constant in seconds",
    )
