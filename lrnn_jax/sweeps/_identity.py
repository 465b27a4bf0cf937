"""What tells one sweep from another: its manifest, a digest of its program, or of its function."""

import contextlib
import functools
import hashlib
import inspect
import json
import re
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from lrnn_jax._types import is_key

ARRAYS = (np.ndarray, np.generic, jax.Array)
PLAIN = (str, bytes, int, float, complex, type(None), *ARRAYS)
"""Values of a module's variables that count as a part of the functions that use them."""
LIBRARIES = ("jax", "equinox")
"""Their own callbacks raise errors, and hold where they were traced."""


def program_digest(program: ClosedJaxpr) -> str:
    """A hash of a program with all its constants: it changes when the computation does.

    Of host callbacks it sees what `function_digest` does.
    """
    digest = hashlib.blake2b(_shown(program).encode(), digest_size=16)
    for part in _constants(program):
        for piece in _told([part], {}) if callable(part) else [_array_bytes(part)]:
            digest.update(piece)
    return digest.hexdigest()


def function_digest(function: Callable[..., Any]) -> str:
    """A hash of an untraced function, as far as it can be seen, and of this package's version.

    Seen are its source, defaults, closure and partial arguments, the plain values (numbers, texts,
    arrays) among the variables of its module that it uses, and the same of functions in these.
    Not seen are functions without source (of a shell's prompt, or compiled ones), and the code of
    other functions that it calls.
    """
    from lrnn_jax import __version__

    digest = hashlib.blake2b(__version__.encode(), digest_size=16)
    for part in _told([function, type(function).__call__], {}):
        digest.update(part)
    return digest.hexdigest()


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two sweeps, in sentences."""
    before, after = _facts(there), _facts(now)
    after["chunk"] = after["chunk"] or before.get("chunk")  # what is not asked for may be anything
    if before.get("function") == f"functools.{after['function']}":  # of files, in earlier versions
        before["function"] = after["function"]
    # as text: NaN is the same NaN
    different = [
        name
        for name in dict.fromkeys([*before, *after])
        if json.dumps(before.get(name)) != json.dumps(after.get(name))
    ]
    if not different and json.dumps(there["design"]) != json.dumps(now["design"]):
        return ["The axes are combined in another way or order."]
    return [f"{n}: {_short(before.get(n))} there, {_short(after.get(n))} now." for n in different]


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a sweep what it is, by name."""
    axes = [axis["columns"] for axis in manifest["design"]]
    columns = {f"Axis {name!r}": v for columns in axes for name, v in columns.items()}
    others = ("design", "hash", "labels", "program")
    return columns | {name: value for name, value in manifest.items() if name not in others}


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    size = f"{len(value)} value(s) " if isinstance(value, list) else ""
    return size + textwrap.shorten(str(value), 60, placeholder="…")


def _constants(program: ClosedJaxpr | Jaxpr) -> Iterator[Any]:
    """All arrays and host callbacks that a program holds, those of programs inside it included."""
    if isinstance(program, ClosedJaxpr):
        yield from program.consts
    programs = (ClosedJaxpr, Jaxpr)
    for equation in program.eqns:
        if equation.primitive.name in ("pure_callback", "io_callback"):
            with contextlib.suppress(AttributeError):
                function = equation.params["callback"].callback_func
                if function.__module__.split(".")[0] not in LIBRARIES:
                    yield function
        parameters = list(equation.params.values())
        for inner in jax.tree.leaves(parameters, is_leaf=lambda x: isinstance(x, programs)):
            if isinstance(inner, programs):
                yield from _constants(inner)


def _array_bytes(array: Any) -> bytes:
    if isinstance(array, jax.Array) and is_key(array):
        array = jr.key_data(array)
    array = np.asarray(array)
    return f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes()


def _shown(value: Any) -> str:
    """A value as text, without addresses."""
    return re.sub(r"0x[0-9a-fA-FX]+", "", repr(value))


def _told(value: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    """What a value says of itself, piece by piece; `seen` keeps it from going round in circles,
    and the values it names alive."""
    leaves, structure = jax.tree.flatten(value, is_leaf=lambda x: isinstance(x, Mapping))
    yield _shown(structure).encode()
    for leaf in leaves:
        if isinstance(leaf, ARRAYS) and leaf.dtype != object:
            yield _array_bytes(leaf)
        elif isinstance(leaf, PLAIN):
            yield repr(leaf).encode()
        elif id(leaf) not in seen:
            seen[id(leaf)] = leaf
            yield from _told(list(_parts(leaf)), seen)


def _parts(value: Any) -> Iterator[Any]:
    """What a value consists of."""
    if isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__, _state(value.__self__))
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, Set):
        yield from sorted(map(_shown, value))
    elif callable(value) and inspect.unwrap(value) is not value:  # such as a jitted function
        yield inspect.unwrap(value)
    else:
        yield _shown(value)
        if callable(value) and not isinstance(value, type):
            yield from (type(value).__call__, _state(value))


def _parts_of_function(function: types.FunctionType) -> Iterator[Any]:
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):
        yield function.__qualname__
    yield from (function.__defaults__, function.__kwdefaults__)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            yield cell.cell_contents
    used = {name: function.__globals__.get(name) for name in sorted(_names(function.__code__))}
    yield {name: value for name, value in used.items() if isinstance(value, PLAIN)}


def _names(code: types.CodeType) -> set[str]:
    """The names that a function uses, and those inside it."""
    inside = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*map(_names, inside))


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object that has some of its own."""
    try:
        return {} if isinstance(value, (type, types.ModuleType)) else vars(value)
    except TypeError:
        return {}
