"""A sweep's results in a folder: complete after any interruption, checked when they are read."""

import contextlib
import errno
import hashlib
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lrnn_jax._checks import extra
from lrnn_jax.sweeps._documents import read_document, write_beside
from lrnn_jax.sweeps._outputs import Spec, fill_of
from lrnn_jax.sweeps._store import AbstractStore, StoreError, specs_of

try:
    import fcntl
except ImportError:  # no such locks on this system: chunks may be computed twice, to the same bytes
    fcntl = None
try:
    import google_crc32c
except ImportError:  # it comes with zarr
    google_crc32c = None

CRC: dict[str, Callable[[int, Any], int]] = {"crc32": lambda crc, data: zlib.crc32(data, crc)}
CHECKSUM = "crc32"
if google_crc32c is not None:
    CRC["crc32c"] = google_crc32c.extend
    # without its C code it is slow
    CHECKSUM = "crc32c" if google_crc32c.implementation == "c" else "crc32"


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

    >>> data = lrnn.sweep({"x": [1.0, 2.0]}, lambda x: {"y": x**2}, store="kept", progress=False)
    >>> sweeps.Store("kept").damaged()
    []
    """

    def __init__(self, path: Any):
        self.path = as_path(path, "path")
        self._zarr = extra("zarr", "A sweep's store needs")
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
        if self.is_done(index, unit):
            return  # another process was first
        sums, start = {}, note["start"]
        with self._guard():
            for name, values in arrays.items():
                if values.dtype.kind in "fc" and np.isnan(values).all():
                    values = np.full_like(values, np.nan)  # of one sign and payload
                self._array(index, name, "r+")[start : start + len(values)] = values
                sums[name] = _checksum(values)
            about = {"host": socket.gethostname(), "time": time.time()}
            marker = {**note, "checksums": sums, "of": self._identity(index), **about}
            path = self._marker(index, unit)
            os.replace(write_beside(path, marker), path)

    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The markers of all complete chunks, by (group, chunk)."""
        marks = {place: self._known(*place) for place in self._places("done")}
        return {place: mark for place, mark in marks.items() if mark is not None}

    def _places(self, folder: str) -> list[tuple[int, int]]:
        """The chunks that the files of a folder are named after."""
        names = (path.stem.partition("-") for path in (self.path / folder).glob("*-*"))
        return [(int(i), int(unit)) for i, _, unit in names if i.isdecimal() and unit.isdecimal()]

    def is_done(self, index: int, unit: int) -> bool:
        return self._known(index, unit) is not None

    def damaged(self, share: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
        """The chunks that are marked complete, but whose data are not what was written; of n
        shares of each group, the i-th."""
        return sorted(
            place
            for place, marker in self.done().items()
            if sum(place) % share[1] == share[0]
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
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
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
        for place in self._places("locks"):
            with contextlib.suppress(StoreError), self.lock(*place) as free:  # a disk to read only
                count += not free
        return count

    def document(self, name: str) -> dict[str, Any] | None:
        if name not in self._documents:
            of_group = "coordinates" if name.endswith(".coordinates") else "groups"
            kind = "manifest" if name == "manifest" else of_group
            if (content := read_document(self.path / f"{name}.json", kind)) is None:
                return None
            self._documents[name] = content
        return self._documents[name]

    def keep(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if self.document(name) is None:
            path = self.path / f"{name}.json"
            with self._guard():
                if name == "manifest":
                    self._check_empty()
                temporary = write_beside(path, content)
                with contextlib.suppress(FileExistsError):  # another process was first
                    os.link(temporary, path)
                os.unlink(temporary)
        return self.document(name) or {}

    def _array(self, index: int, name: str, mode: str) -> Any:
        """The zarr array of a group's variable; made, to write to, where it is not there."""
        if (index, name, mode) not in self._arrays:
            folder = self.path / "data" / str(index) / name
            record = self.document(f"groups/{index}") or {}
            spec = specs_of(record)[name]
            layout = {
                "shape": (record["cells"], *spec.shape),
                "chunks": (record["chunk"], *(max(n, 1) for n in spec.shape)),
                "dtype": np.dtype(spec.dtype),
            }
            try:
                if mode == "r+" and not (folder / "zarr.json").exists():
                    self._make_array(index, name, spec, layout)
                array: Any = self._zarr.open_array(folder, mode=mode)
                if layout != {"shape": array.shape, "chunks": array.chunks, "dtype": array.dtype}:
                    raise ValueError(f"it does not fit groups/{index}.json")
            except OSError:
                raise
            except Exception as error:  # whatever a damaged file makes zarr say
                raise StoreError(
                    f"{folder / 'zarr.json'} is damaged ({error}): restore it, or delete {folder} "
                    f"and resume, which computes what it held again."
                ) from error
            self._arrays[index, name, mode] = array
        return self._arrays[index, name, mode]

    def _make_array(self, index: int, name: str, spec: Spec, layout: Mapping[str, Any]) -> None:
        data, errors = self.path / "data", self._zarr.errors
        with contextlib.suppress(errors.ContainsGroupError):  # another process was first, here and
            self._zarr.open_group(data, mode="a", zarr_format=3)
        group = self._zarr.open_group(data, mode="r+", zarr_format=3)
        names, fill = ("cell", *spec.dims), fill_of(spec.dtype)
        with contextlib.suppress(errors.ContainsArrayError):  # below
            group.create_array(f"{index}/{name}", fill_value=fill, dimension_names=names, **layout)

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
        """The marker of a chunk; None where there is none, or none of it that can be read."""
        if (index, unit) not in self._markers:
            marker = None
            with contextlib.suppress(StoreError):
                marker = read_document(self._marker(index, unit), "done")
            if marker is not None and self._fits(index, unit, marker):
                self._markers[index, unit] = marker
        return self._markers.get((index, unit))

    def _fits(self, index: int, unit: int, marker: dict[str, Any]) -> bool:
        """Whether a marker is of this chunk of this sweep, and no copy of another one's."""
        if (record := self.document(f"groups/{index}")) is None:
            return False
        start = unit * record["chunk"]
        cells = min(record["chunk"], record["cells"] - start)
        facts = {"start": start, "cells": cells, "of": self._identity(index)}
        names = {name for name, spec in record["variables"].items() if not spec["coordinate"]}
        same = all(marker.get(name, fact) == fact for name, fact in facts.items())
        return same and marker["checksums"].keys() >= names

    def _identity(self, index: int) -> str:
        """What the chunks of a group are results of."""
        manifest, record = self.document("manifest") or {}, self.document(f"groups/{index}") or {}
        return f"{manifest.get('hash')} {record.get('program')}"

    def _check_empty(self) -> None:
        """Raise StoreError for a folder of something else, which has no manifest."""
        names = sorted(path.name for path in self.path.glob("[!.]*"))
        if names and "manifest.json" not in names:
            raise StoreError(
                f"{self.path} holds {', '.join(names[:3])}{', …' * (len(names) > 3)} and no sweep: "
                f"choose another folder for the store."
            )

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


def as_path(path: Any, name: str) -> Path:
    """A path; ValueError for what cannot be one."""
    if isinstance(path, (str, os.PathLike)) and str(path) and "\0" not in str(path):
        return Path(path)
    raise ValueError(f"`{name}` is a path, such as 'runs/rates'; got {path!r}.")


def _checksum(values: np.ndarray, like: str = CHECKSUM) -> str:
    """A checksum of dtype, shape and bytes, of the same kind as another one.

    CRC-32C costs a twentieth of reading the data; others are of earlier versions, of which the
    oldest are hashes, for which NaN is NaN, whatever its sign and payload.
    """
    values = np.ascontiguousarray(values)
    head, kind = f"{values.dtype.str}{values.shape}".encode(), like.partition(":")[0]
    if kind == "crc32c" and kind not in CRC:
        raise StoreError("This store needs google-crc32c: pip install 'lrnn_jax[sweep]'.")
    if kind in CRC:
        data: Any = values.reshape(-1).view(np.uint8)
        return f"{kind}:{CRC[kind](CRC[kind](0, head), data):08x}"
    if values.dtype.kind in "fc":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()
