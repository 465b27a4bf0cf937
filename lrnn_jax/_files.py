"""One file format for models and curves: plain arrays by path, and a header that explains them.

A file is an `.npz` without anything pickled. The entry "header" is JSON: classes of this package by
name with their fields, and for each array its entry. What a file cannot name (a class or a function
of your own) is taken from a model of the same structure: `like`.
"""

import dataclasses
import enum
import json
import math
import os
import sys
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lrnn_jax._checks import component
from lrnn_jax._readable import arguments
from lrnn_jax._results import RESULTS, outcome

FORMAT = 2
BROKEN = (
    OSError, ValueError, EOFError, AttributeError, TypeError, LookupError, MemoryError,
    NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What reading a damaged or foreign file may raise."""
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
YOURS = " (yours)"
LARGE = 2**30
"""Bytes that a file may unpack into, however few it holds; beyond, a hundred for each one."""


def save_tree(tree: Any, path: str | os.PathLike, write: Callable[..., None] = np.savez) -> None:
    """Write a module, or containers of arrays, into one file: what was there before, or this.

    Arguments:
        tree, path: what is written, and where.
        write: puts arrays into an open file, write(file, **arrays); "header" among them is text.

    Errors: OSError when the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    content = _encode(tree, "", arrays)
    arrays["header"] = np.array(json.dumps({"format": FORMAT, "content": content}))
    path = os.path.realpath(component(path, (str, os.PathLike), "path", '"network.npz"'))
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(temporary, "xb") as file:
            write(file, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def read_arrays(
    path: str | os.PathLike, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, Any]:
    """Arrays of an `.npz` file; of other entries than the wanted ones None, unread.

    Errors: ValueError when there is no such file, or it is damaged, pickled, holds no arrays, or is
    too large for what it says.
    """
    component(path, (str, os.PathLike), "path", '"network.npz"')
    if not os.path.exists(path):
        raise ValueError(f"There is no file {path}.")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a readable .npz file, but a folder or a device.")
    try:
        with zipfile.ZipFile(path) as file:
            entries = {info.filename: info for info in file.infolist()}
            foreign = [name for name in entries if not name.endswith(".npy")]
            if foreign:
                raise ValueError(
                    f"its entry {foreign[0]!r} is no NumPy array (is it a PyTorch checkpoint?)"
                )
            names = {name: name.removesuffix(".npy") for name in entries}
            read = [entries[name] for name, short in names.items() if wanted(short)]
            size, packed = sum(entry.file_size for entry in read), os.path.getsize(path)
            if size > max(LARGE, 100 * packed):
                raise ValueError(f"its {packed} bytes would unpack into {size}")
            return {
                short: _read(file, entries[name]) if wanted(short) else None
                for name, short in names.items()
            }
    except BROKEN as error:
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays ({why}): write them with "
            f"numpy.savez(path, name=array, …)."
        ) from None


def _read(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """An array, refused before anything is allocated unless the entry is as long as it says."""
    with file.open(entry) as stream:
        header = HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = header(stream)
        if dtype.hasobject:
            raise ValueError(f"its entry {entry.filename!r} is pickled")
        if math.prod(shape) * dtype.itemsize != entry.file_size - stream.tell():
            raise ValueError(f"its entry {entry.filename!r} is not as long as it says")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


def has_header(arrays: dict[str, Any]) -> bool:
    """Whether these are the arrays of a file that `save_tree` wrote."""
    header = arrays.get("header")
    return header is not None and header.dtype.kind == "U"


def load_tree(
    path: str | os.PathLike, like: Any = None, arrays: dict[str, Any] | None = None
) -> Any:
    """What `save_tree` wrote.

    Arguments:
        path: of the file.
        arrays: what it holds, where that was read already; None: it is an `.npz`.
        like: the same structure with any values, or that of a part of it, such as a curve's model,
            for classes that are not of this package, and activations made of functions; its arrays
            are replaced.

    Errors: ValueError for another file, for classes that need `like`, and a `like` that differs.
    """
    arrays = read_arrays(path) if arrays is None else dict(arrays)
    try:
        assert has_header(arrays)
        header = json.loads(str(arrays.pop("header")))
        assert header["format"] == FORMAT
        content = header["content"]
    except (*BROKEN, AssertionError):
        raise ValueError(f"{path} was not saved by this package, or by another version.") from None
    kind = "" if like is None else type(like).__name__
    if kind and not {kind, kind + YOURS} & _kinds(content):
        return _fill(like, arrays, "", path)
    if unknown := sorted(_kinds(content, kind) - set(_classes())):
        raise ValueError(
            f"{path} holds what a file cannot name, {', '.join(unknown)}: pass `like`, a model of "
            f"the same structure, whose arrays are replaced by the file's."
        )
    try:
        return _decode(content, arrays, like, path)
    except Unlike:
        raise
    except BROKEN as error:
        raise ValueError(f"{path} is damaged: {error}") from None


class Unlike(ValueError):
    """`like` has another structure than a file."""


def survives_file(tree: Any) -> bool:
    """Whether a tree of arrays comes back from a file as it was (your classes: with `like`)."""
    arrays: dict[str, Any] = {}
    try:
        content = json.loads(json.dumps(_encode(tree, "", arrays)))
        for name, array in arrays.items():
            arrays[name] = array.astype(np.dtype(np.lib.format.dtype_to_descr(array.dtype)))
        again = (
            _fill(tree, arrays, "", "")
            if _kinds(content) - set(_classes())
            else _decode(content, arrays)
        )
    except BROKEN:
        return False
    same = jax.tree.structure(again) == jax.tree.structure(tree)
    leaves = zip(jax.tree.leaves(again), jax.tree.leaves(tree))
    return same and all(a.dtype == b.dtype and a.shape == b.shape for a, b in leaves)


def path_name(path: Any) -> str:
    """Where a leaf of a tree is: "w", "cell.w", "layers[0].w"."""
    return jax.tree_util.keystr(path).removeprefix(".")


def _encode(x: Any, name: str, arrays: dict[str, Any]) -> Any:
    """JSON of an object; its arrays are collected by where they are."""
    entry = name.removeprefix(".") or "value"
    if isinstance(x, RESULTS):
        arrays[entry] = np.array(outcome(x))
        return {"result": entry}
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        arrays[entry] = np.asarray(x)
        return {"array": entry}
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, enum.Enum):
        return {"class": _kind_of(x), "fields": {"value": x.value}}
    if type(x) in (list, tuple):
        kind = type(x).__name__
        return {kind: [_encode(value, f"{name}[{i}]", arrays) for i, value in enumerate(x)]}
    if type(x) is dict:
        return {"dict": {k: _encode(v, f"{name}[{k!r}]", arrays) for k, v in x.items()}}
    named = issubclass(type(x), tuple)
    if named or (dataclasses.is_dataclass(x) and not isinstance(x, type)):
        given: Any = x
        fields = given._asdict() if named else arguments(x)
        encoded = {k: _encode(v, f"{name}.{k}", arrays) for k, v in fields.items()}
        return {"class": _kind_of(x), "fields": encoded}
    return {"class": type(x).__name__ + YOURS, "fields": {}}


def _kind_of(x: Any) -> str:
    kind = type(x).__name__
    return kind if kind in _classes() else kind + YOURS


def _decode(content: Any, arrays: dict[str, Any], like: Any = None, path: Any = "") -> Any:
    """What `_encode` put down; an object of the class of `like` is that, with the file's arrays."""
    kind_of_like = type(like).__name__

    def decode(x: Any, name: str) -> Any:
        if not isinstance(x, dict):
            return x
        kind, value = next(iter(x.items()))
        if kind == "array":
            return jnp.asarray(arrays[value])
        if kind == "result":
            return RESULTS._name_to_item[str(arrays[value])]
        if kind in ("list", "tuple"):
            items = (decode(item, f"{name}[{i}]") for i, item in enumerate(value))
            return list(items) if kind == "list" else tuple(items)
        if kind == "dict":
            return {key: decode(item, f"{name}[{key!r}]") for key, item in value.items()}
        if like is not None and x["class"].removesuffix(YOURS) == kind_of_like:
            return _fill(like, arrays, name, path)
        fields = {key: decode(item, f"{name}.{key}") for key, item in x["fields"].items()}
        return _classes()[x["class"]](**fields)

    return decode(content, "")


def _kinds(content: Any, but: str = "") -> set[str]:
    """The classes in a header, without those inside of the class `but`."""
    if isinstance(content, list):
        return set().union(*(_kinds(value, but) for value in content))
    if not isinstance(content, dict):
        return set()
    mine = content.get("class")
    if but and isinstance(mine, str) and mine.removesuffix(YOURS) == but:
        return set()
    inside = set().union(*(_kinds(value, but) for value in content.values()))
    return inside | {mine} if isinstance(mine, str) else inside


def _classes() -> dict[str, type]:
    """The package's own dataclasses, named tuples and enumerations by name."""
    modules = [m for name, m in list(sys.modules.items()) if name.startswith("lrnn_jax.")]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and (dataclasses.is_dataclass(value) or issubclass(value, (tuple, enum.Enum)))
        and value.__module__.startswith("lrnn_jax.")
        and not name.startswith("_")
    }


def _fill(like: Any, arrays: dict[str, Any], where: str, path: Any) -> Any:
    """`like` with the arrays that a file has at a place."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(like, lambda x: isinstance(x, RESULTS))
    new = []
    for place, leaf in leaves:
        name = f"{where}{jax.tree_util.keystr(place)}".removeprefix(".")
        if isinstance(leaf, RESULTS):
            new.append(RESULTS._name_to_item[str(arrays[name])])
            continue
        if not eqx.is_array(leaf):
            new.append(leaf)
            continue
        if name not in arrays or arrays[name].shape != leaf.shape:
            there = arrays[name].shape if name in arrays else "nothing"
            raise Unlike(f"`like` has `{name}` of shape {leaf.shape}; {path} has {there}.")
        new.append(jnp.asarray(arrays[name], leaf.dtype))
    return tree.unflatten(new)
