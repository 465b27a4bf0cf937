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
from lrnn_jax.sweeps._grid import LARGEST, Design
from lrnn_jax.sweeps._outputs import Spec
from lrnn_jax.sweeps._store import StoreError

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
"""The last entry: the checksum of what comes before it."""
SPEC = {
    "shape": list, "dtype": str, "dims": list, "long_name": str, "units": str, "coordinate": bool,
    "labels": (dict, type(None)),
}  # fmt: skip
"""What a group's variables hold."""
NONSENSE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def read_document(path: Path, kind: str) -> dict[str, Any] | None:
    """The content of a JSON file of one of the kinds of `FIELDS`; None when there is none.

    Errors: StoreError when it is damaged, or something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): restore it, or start a new store."
        ) from error
    if lacks := _lacks(content, FIELDS[kind]):
        raise StoreError(
            f"{path} is no part of a sweep's store, it lacks {', '.join(lacks)}: restore it, or "
            f"choose another folder for the store."
        )
    try:
        if content.pop(SUM, None) is None:  # files of earlier versions have none
            _check(content, kind)
        elif text != _summed(text[: text.rfind(f', "{SUM}"')] + "}"):
            raise ValueError("its checksum is another one")
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
            file.write(_summed(json.dumps(content)))
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


def _summed(text: str) -> str:
    return f'{text[:-1]}, "{SUM}": "{zlib.crc32(text.encode()):08x}"}}'


def _see(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _lacks(content: Any, fields: Mapping[str, Any]) -> list[str]:
    if not isinstance(content, dict):
        return ["an object"]
    return [name for name, sort in fields.items() if not isinstance(content.get(name), sort)]


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
        whole(content["chunk"], "chunk", 1, LARGEST)
        ended = content["variables"].get("result") or {}
        _see(ended.get("dims") == [] and not ended.get("coordinate"), "it has no `result`")
        for fields in content["variables"].values():
            lacks = _lacks(fields, SPEC)
            _see(not lacks, f"a variable lacks {', '.join(lacks)}")
            _see(len(fields["dims"]) == 1 or not fields["coordinate"], "positions have one axis")
            _texts(fields["dims"], "names of axes")
            sizes = dict(zip(fields["dims"], fields["shape"], strict=True))
            for dim, size in sizes.items():
                whole(size, dim, 0)
            for dim, names in (fields["labels"] or {}).items():
                _texts(names, "labels")
                _see(len(names) == sizes.get(dim, len(names)), "labels are too few or too many")
            _see(np.dtype(fields["dtype"]).kind in "fiubc", "a dtype is not one of numbers")
            Spec(**fields)
    elif kind == "coordinates":
        for places in content.values():
            known = isinstance(places, list) and all(
                isinstance(place, (bool, int, float, str)) for place in places
            )
            _see(known, "positions are neither numbers nor texts")
    else:
        _texts([*content["checksums"].values(), *content["raised"].values()], "checksums")
        for code, count in content["outcomes"].items():
            whole(int(code), "outcomes", 0)
            whole(count, "outcomes", 0)
