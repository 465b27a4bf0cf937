"""The small files of a store: JSON, whole or absent, and seen to be what was written."""

import contextlib
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lrnn_jax._checks import whole
from lrnn_jax.sweeps._grid import Design
from lrnn_jax.sweeps._store import StoreError, specs_of

FIELDS = {
    "manifest": {
        "function": str, "design": list, "static": list, "labels": dict, "versions": dict,
        "dtype": str, "hash": str,
    },
    "groups": {"cells": int, "chunk": int, "program": str, "variables": dict},
    "coordinates": {},
    "done": {"start": int, "cells": int, "checksums": dict, "outcomes": dict, "raised": dict},
}  # fmt: skip
"""What each kind of file holds at least."""
SUM = "crc32"
"""The entry with the checksum of all others."""
NONSENSE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def read_document(path: Path, kind: str) -> dict[str, Any] | None:
    """The content of a JSON file of one of the kinds of `FIELDS`; None when there is none.

    Errors: StoreError when it is damaged, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): restore it, or start a new store."
        ) from error
    lacks = ["an object"] if not isinstance(content, dict) else []
    fields = FIELDS[kind].items()
    lacks = lacks or [f for f, sort in fields if not isinstance(content.get(f), sort)]
    if lacks:
        raise StoreError(
            f"{path} is no part of a sweep's store, it lacks {', '.join(lacks)}: restore it, or "
            f"choose another folder for the store."
        )
    try:
        expected = content.pop(SUM, None)  # files of earlier versions have none
        _see(expected in (None, _sum(content)), "its checksum is another one")
        _check(content, kind)
    except NONSENSE as error:
        raise StoreError(
            f"{path} is damaged ({error}): restore it, or start a new store."
        ) from error
    return content


def write_beside(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file beside its place, for a move there; it gets a new file's permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump({**content, SUM: _sum(content)}, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """A hash of what makes a sweep what it is."""
    others = ("hash", "labels", "chunk", "program")
    same = {name: value for name, value in manifest.items() if name not in others}
    text = json.dumps(same, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _sum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content).encode()):08x}"


def _see(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _texts(values: Any, what: str) -> None:
    _see(all(isinstance(value, str) for value in values), f"{what} are no texts")


def _check(content: dict[str, Any], kind: str) -> None:
    """Raise one of `NONSENSE` for what cannot be used."""
    if kind == "manifest":
        _see(manifest_hash(content) == content["hash"], "its hash is another one")
        columns = Design.from_json(content["design"]).columns
        _see(set(content["static"]) <= set(columns), "`static` names other axes")
        _texts([text for pair in content["labels"].values() for text in pair], "labels")
    elif kind == "groups":
        whole(content["cells"], "cells")
        whole(content["chunk"], "chunk")
        for spec in specs_of(content).values():
            _see(np.dtype(spec.dtype).kind in "fiubc", "a dtype is not one of numbers")
            _texts([spec.long_name, spec.units, *spec.dims], "names")
            sizes = {dim: whole(size, dim, 0) for dim, size in zip(spec.dims, spec.shape)}
            _see(len(spec.dims) == len(spec.shape), "axes and names differ in number")
            for dim, names in (spec.labels or {}).items():
                _texts(names, "labels")
                _see(len(names) == sizes.get(dim, len(names)), "labels are too few or too many")
    elif kind == "coordinates":
        places = [place for places in content.values() for place in places]
        known = all(isinstance(place, (bool, int, float, str)) for place in places)
        _see(known, "positions are neither numbers nor texts")
    else:
        _texts([*content["checksums"].values(), *content["raised"].values()], "checksums")
        for code, count in content["outcomes"].items():
            whole(int(code), "outcomes", 0)
            whole(count, "outcomes", 0)
