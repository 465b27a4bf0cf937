"""A sweep's results in a folder: complete after any interruption, checked when they are read."""

import contextlib
import errno
import hashlib
import json
import os
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lrnn_jax.sweeps._outputs import fill_of
from lrnn_jax.sweeps._store import AbstractStore, StoreError, specs_of

try:
    import fcntl
except ImportError:  # no such locks on this system: chunks may be computed twice, to the same bytes
    fcntl = None

MANIFEST = {"function": str, "design": list, "static": list, "labels": dict, "versions": dict}
GROUP = {"cells": int, "chunk": int, "program": str, "variables": dict}
MARKER = {"start": int, "cells": int, "checksums": dict, "outcomes": dict, "raised": dict}
"""Fields that documents and markers hold at least."""


class Store(AbstractStore):
    """A folder that a sweep writes its results to, one chunk of cells at a time.

        manifest.json            what the sweep is: a store takes results of one sweep only
        groups/0.json            cells, variables and program of each group of cells
        data/0/loss, …           zarr arrays, shape (cells of the group, …), one chunk a unit
        done/0-000012.json       written after the data of that chunk, with their checksums
        locks/                   held while a chunk is computed, released when its process ends

    Each file is written beside its place and moved there, so it is whole or absent. Nothing is
    written before there is a result to keep: a finished store may lie on a disk that is read only.

    Arguments:
        path: the folder; made if need be.

    Errors: ImportError naming the extra when zarr is missing; StoreError, in all methods, for a
    full disk, missing rights, and files that are damaged or of something else, with their names.
    """

    def __init__(self, path: str | os.PathLike):
        try:
            import zarr.errors
        except ImportError as error:
            raise ImportError(
                "A sweep's store needs zarr: pip install 'lrnn_jax[sweep]'."
            ) from error
        self._zarr: Any = zarr
        self.path = Path(path)
        self._documents: dict[str, dict[str, Any]] = {}
        self._arrays: dict[tuple[int, str, str], Any] = {}
        self._markers: dict[tuple[int, int], dict[str, Any]] = {}

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the sweep is; None for a new store."""
        return self.document("manifest")

    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        if (marker := self._known(index, unit)) is None:
            return None
        others = marker["checksums"].keys() - {"result"}
        if name == "result" and any(self._is_lost(index, unit, other) for other in others):
            return None
        start, expected = marker["start"], marker["checksums"].get(name, "")
        try:
            array = self._array(index, name, "r")
            values = np.asarray(array[start : start + marker["cells"]])
            return values if _checksum(values, expected) == expected else None
        except (MemoryError, StoreError):
            raise
        except Exception:  # whatever a damaged file makes the decoder say
            return None

    def write(
        self, index: int, unit: int, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]
    ) -> None:
        sums, start = {}, note["start"]
        with self._guard():
            for name, values in arrays.items():
                if values.dtype.kind in "fc" and np.isnan(values).all():
                    values = np.full_like(values, np.nan)  # of one sign and payload
                self._array(index, name, "r+")[start : start + len(values)] = values
                sums[name] = _checksum(values)
            marker = {**note, "checksums": sums, "host": socket.gethostname(), "time": time.time()}
            path = self._marker(index, unit)
            os.replace(_beside(path, marker), path)

    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The markers of all complete chunks, by (group, chunk)."""
        names = (path.stem.partition("-") for path in (self.path / "done").glob("*-*.json"))
        places = [(int(i), int(u)) for i, _, u in names if i.isdecimal() and u.isdecimal()]
        return {place: mark for place in places if (mark := self._known(*place)) is not None}

    def is_done(self, index: int, unit: int) -> bool:
        return self._known(index, unit) is not None

    def damaged(self, share: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
        """The chunks that are marked complete, but whose data are not what was written; of n
        shares of each group, the i-th."""
        return sorted(
            place
            for place, marker in self.done().items()
            if place[1] % share[1] == share[0]
            and any(self.read(*place, name) is None for name in marker["checksums"])
        )

    def discard(self, place: tuple[int, int]) -> None:
        """Count a chunk as not computed."""
        with self._guard():
            self._marker(*place).unlink(missing_ok=True)
        self._markers.pop(place, None)

    @contextlib.contextmanager
    def lock(self, index: int, unit: int) -> Iterator[bool]:
        """Hold a chunk while it is computed; False where another process holds it.

        The operating system releases it when its process ends, however it ends.
        """
        if fcntl is None:
            yield True
            return
        path = self.path / "locks" / f"{index}-{unit:06d}"
        with self._guard():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except OSError as error:
                free = error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # or no locks here
            yield free
            if free:
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def held(self) -> int:
        """How many chunks are in the hands of processes; what a killed one left does not count."""
        count = 0
        for path in (self.path / "locks").glob("*-*"):
            index, _, unit = path.name.partition("-")
            with self.lock(int(index), int(unit)) as free:
                count += not free
        return count

    def document(self, name: str) -> dict[str, Any] | None:
        if name not in self._documents:
            of_group = {} if name.endswith(".coordinates") else GROUP
            fields = MANIFEST if name == "manifest" else of_group
            if (content := _read(self.path / f"{name}.json", fields)) is None:
                return None
            self._documents[name] = content
        return self._documents[name]

    def keep(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if self.document(name) is None:
            path = self.path / f"{name}.json"
            with self._guard():
                temporary = _beside(path, content)
                with contextlib.suppress(FileExistsError):  # another process was first
                    os.link(temporary, path)
                os.unlink(temporary)
        return self.document(name) or {}

    def _array(self, index: int, name: str, mode: str) -> Any:
        """The zarr array of a group's variable; made, to write to, where it is not there."""
        if (index, name, mode) not in self._arrays:
            folder = self.path / "data" / str(index) / name
            try:
                if mode == "r+" and not (folder / "zarr.json").exists():
                    self._make_array(index, name)
                self._arrays[index, name, mode] = self._zarr.open_array(folder, mode=mode)
            except OSError:
                raise
            except Exception as error:  # whatever a damaged file makes zarr say
                raise StoreError(
                    f"{folder / 'zarr.json'} is damaged: {error}. Restore it; or delete {folder} "
                    f"and resume, which computes what it held again."
                ) from error
        return self._arrays[index, name, mode]

    def _make_array(self, index: int, name: str) -> None:
        record = self.document(f"groups/{index}") or {}
        spec = specs_of(record)[name]
        group = self._zarr.open_group(self.path / "data", mode="a", zarr_format=3)
        with contextlib.suppress(self._zarr.errors.ContainsArrayError):  # another process was first
            group.create_array(
                f"{index}/{name}",
                shape=(record["cells"], *spec.shape),
                chunks=(record["chunk"], *(max(n, 1) for n in spec.shape)),
                dtype=spec.dtype,
                fill_value=fill_of(spec.dtype),
                dimension_names=("cell", *spec.dims),
            )

    def _is_lost(self, index: int, unit: int, name: str) -> bool:
        """Whether the file of a chunk of a variable is gone; one of nothing but NaN has none."""
        try:
            after = ["0"] * (self._array(index, name, "r").ndim - 1)
        except FileNotFoundError:
            return True
        file = self.path.joinpath("data", str(index), name, "c", str(unit), *after)
        return not file.exists() and self.read(index, unit, name) is None

    def _marker(self, index: int, unit: int) -> Path:
        return self.path / "done" / f"{index}-{unit:06d}.json"

    def _known(self, index: int, unit: int) -> dict[str, Any] | None:
        """The marker of a chunk; None where there is none, or none that can be read."""
        if (index, unit) not in self._markers:
            with contextlib.suppress(StoreError):
                if (marker := _read(self._marker(index, unit), MARKER)) is not None:
                    self._markers[index, unit] = marker
        return self._markers.get((index, unit))

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Say what to do about files that cannot be written."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            reason = "the disk is full" if full else (error.strerror or str(error))
            todo = "Make room" if full else "Make it writable, or choose another folder,"
            raise StoreError(
                f"Cannot write to the store {self.path}: {reason}. All chunks marked complete are "
                f"kept. {todo} and resume."
            ) from error


def _read(path: Path, fields: Mapping[str, type]) -> dict[str, Any] | None:
    """The content of a JSON file; None when there is none.

    Errors: StoreError when it is damaged, or lacks one of these fields.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. Restore it, or start a new store."
        ) from error
    lacks = ["an object"] if not isinstance(content, dict) else []
    lacks = lacks or [f for f, kind in fields.items() if not isinstance(content.get(f), kind)]
    if lacks:
        raise StoreError(
            f"{path} is no part of a sweep's store: it lacks {', '.join(lacks)}. Restore it, or "
            f"choose another folder for the store."
        )
    return content


def _beside(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
    except BaseException:
        os.unlink(temporary)
        raise
    return Path(temporary)


def _checksum(values: np.ndarray, like: str = "crc32:") -> str:
    """A checksum of dtype, shape and bytes, of the same kind as another one.

    The default costs a twentieth of reading the data; others, of earlier versions, are hashes, for
    which NaN is NaN, whatever its sign and payload.
    """
    values = np.ascontiguousarray(values)
    head = f"{values.dtype.str}{values.shape}".encode()
    if like.startswith("crc32:"):
        data = memoryview(values.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
        return f"crc32:{zlib.crc32(data, zlib.crc32(head)):08x}"
    if values.dtype.kind in "fc":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()
