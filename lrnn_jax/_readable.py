"""What components consist of: shown as the call that makes them, and told apart by field."""

import contextlib
import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lrnn_jax._types import is_traced

ARRAYS = jax.Array, np.ndarray, np.generic


def arguments(x: Any) -> dict[str, Any]:
    """What a dataclass was made of: its fields, by the names that its constructor has for them."""
    return {f.metadata.get("argument", f.name): getattr(x, f.name) for f in dataclasses.fields(x)}


class AbstractReadable(eqx.Module):
    """A component that is shown as the call that makes it: numbers, and larger arrays by shape.

    `ExponentialFilter(rate=0.2, dt=0.05, steps=400)`: arguments that have their defaults are left
    out.
    """

    def __repr__(self) -> str:
        return called(self)


def of_part(part: str, name: str) -> Any:
    """A property, or method, of a component that is that of a part of it."""
    return property(lambda self: getattr(getattr(self, part), name))


def called(x: Any) -> str:
    """A dataclass as the call that makes it."""
    parameters = inspect.signature(type(x)).parameters.values()
    there = arguments(x)
    for name in (p.name for p in parameters if isinstance(vars(type(x)).get(p.name), property)):
        with contextlib.suppress(TypeError, AttributeError):  # of objects without their arrays
            there[name] = getattr(x, name)
    told = [
        f"{p.name}={readable(there[p.name])}"
        for p in parameters
        if p.name in there and not _is_default(p, there)
    ]
    return f"{type(x).__name__}({', '.join(told)})"


def readable(x: Any) -> str:
    """A value in a few words: one number as such, more of them by dtype and shape."""
    if isinstance(x, ARRAYS):
        known = x.size == 1 and not is_traced(x) and _is_numeric(x)
        return f"{np.asarray(x).item():.6g}" if known else f"{x.dtype}{list(x.shape)}"
    if isinstance(x, enum.Enum):
        return str(x)
    if isinstance(x, Mapping):
        return f"{{{', '.join(f'{k!r}: {readable(v)}' for k, v in x.items())}}}"
    if isinstance(x, tuple) and type(x) is not tuple:  # such as an optimiser
        return type(x).__name__
    if isinstance(x, (list, tuple)):
        inside = ", ".join(map(readable, x)) + "," * (type(x) is tuple and len(x) == 1)
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    if dataclasses.is_dataclass(x) and type(x).__module__.startswith("lrnn_jax."):
        return called(x)
    if inspect.isroutine(x):
        return x.__name__
    return repr(x)


def _is_default(parameter: inspect.Parameter, there: Mapping[str, Any]) -> bool:
    """Whether a value is what its argument has by default, as its class keeps it."""
    x, default = there[parameter.name], parameter.default
    if isinstance(x, ARRAYS):
        if is_traced(x) or x.size != 1 or not isinstance(default, (int, float)):
            return False
        return bool(np.asarray(default, x.dtype) == np.asarray(x).item())
    if isinstance(x, (dict, tuple)) and not x:  # no rates, nothing frozen
        return default is None or default == x
    if isinstance(x, AbstractReadable) and default is None:  # it stands for another argument
        others = (value for name, value in there.items() if name != parameter.name)
        return any(type(y) is type(x) and readable(y) == readable(x) for y in others)
    return x is default or (type(x) is type(default) and readable(x) == readable(default))


def _is_numeric(x: Any) -> bool:
    return not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def facts(x: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All that tells one component from another, by where it is: classes, plain values, arrays."""
    if isinstance(x, Mapping):
        parts = {f"{name}[{key!r}]": value for key, value in x.items()}
    elif dataclasses.is_dataclass(x) and not isinstance(x, type):
        parts = {f"{name}.{key}": value for key, value in arguments(x).items()}
    elif isinstance(x, (list, tuple)):
        parts = {f"{name}[{i}]": value for i, value in enumerate(x)}
    else:
        yield name, x if isinstance(x, ARRAYS) else plain(x)
        return
    yield name, type(x).__qualname__
    for place, value in parts.items():
        yield from facts(value, place)


def plain(x: Any) -> Any:
    """A number as it is; anything else as text, without addresses."""
    if isinstance(x, (bool, int, float)):
        return x
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(x))
