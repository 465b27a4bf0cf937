"""A sweep's results on disk: whole chunks or none, found again after any interruption."""

import contextlib
import errno
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lrnn_jax.sweeps._outputs import Spec

try:
    import fcntl
except ImportError:  # no such locks on this system: chunks may be computed twice, to the same bytes
    fcntl = None

FORMAT = 1


class StoreError(RuntimeError):
    """The store could not be read or written; what was complete stays complete."""


class Store:
    """A folder that a sweep writes its results to, one chunk of cells at a time.

        manifest.json            what the sweep is: a store takes results of one sweep only
        groups/0.json            cells, variables and program of each group of cells
        data/0/loss, …           zarr arrays, shape (cells of the group, …), one chunk a unit
        done/0-000012.json       written after the data of that chunk, with their checksums
        locks/                   held while a chunk is computed, released when its process ends

    Each file is written beside its place and moved there, so it is whole or absent.

    Arguments:
        path: the folder; made if need be.

    Errors: ImportError naming the extra when zarr is missing; StoreError when the folder cannot
    be made.
    """

    def __init__(self, path: str | os.PathLike):
        try:
            import zarr
        except ImportError as error:
            raise ImportError(
                "A sweep's store needs zarr: pip install 'lrnn_jax[sweep]'."
            ) from error
        self._zarr = zarr
        self.path = Path(path)
        with self._guard():
            for folder in ("groups", "done", "locks"):
                (self.path / folder).mkdir(parents=True, exist_ok=True)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the sweep is; None for a new store."""
        return _read(self.path / "manifest.json")

    def claim(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest unless there is one, and return the one that is there."""
        return self._create(self.path / "manifest.json", manifest)

    def group(self, index: int) -> dict[str, Any] | None:
        """What was written down about a group of cells; None before."""
        return _read(self.path / "groups" / f"{index}.json")

    def add_group(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write down a group unless it is there, make its arrays, and return what is there."""
        record = self._create(self.path / "groups" / f"{index}.json", record)
        from zarr.errors import ContainsArrayError

        with self._guard():
            root = self._zarr.open_group(self.path / "data", mode="a", zarr_format=3)
            for name, spec in specs_of(record).items():
                if spec.coordinate or f"{index}/{name}" in root:
                    continue
                with contextlib.suppress(ContainsArrayError):
                    root.create_array(
                        f"{index}/{name}",
                        shape=(record["cells"], *spec.shape),
                        chunks=(record["chunk"], *(max(n, 1) for n in spec.shape)),
                        dtype=spec.dtype,
                        fill_value=spec.fill,
                        dimension_names=("cell", *spec.dims),
                    )
        return record

    def coordinates(
        self, index: int, found: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The positions along a group's axes, such as recorded epochs; kept the first time.

        Errors: ValueError for positions that differ from those of other cells.
        """
        path = self.path / "groups" / f"{index}.coordinates.json"
        if found is not None:
            _same_positions(self._create(path, _listed(found)), found)
        return _read(path) or {}

    def array(self, index: int, name: str) -> Any:
        """The zarr array of a group's variable."""
        return self._zarr.open_array(self.path / "data" / str(index) / name, mode="r+")

    def write(
        self,
        index: int,
        unit: int,
        start: int,
        arrays: Mapping[str, np.ndarray],
        note: dict[str, Any],
    ) -> None:
        """Write one chunk of cells, then the marker that it is complete.

        Arguments:
            index, unit: which group and chunk.
            start: its first cell's place in the group.
            arrays: values by variable, shape (cells of the chunk, …).
            note: kept with the marker.

        Errors: StoreError for a full disk, a lost folder, missing rights.
        """
        with self._guard():
            for name, values in arrays.items():
                self.array(index, name)[start : start + len(values)] = values
            sums = {name: checksum(values) for name, values in arrays.items()}
            done = {"start": start, "checksums": sums, "host": socket.gethostname(), **note}
            _replace(self._marker(index, unit), done | {"time": time.time()})

    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The markers of all complete chunks, by (group, chunk)."""
        found = {}
        for path in (self.path / "done").glob("*.json"):
            index, _, unit = path.stem.partition("-")
            if (marker := _read(path)) is not None:
                found[int(index), int(unit)] = marker
        return found

    def is_done(self, index: int, unit: int) -> bool:
        """Whether a chunk is complete; a marker that cannot be read counts for nothing."""
        return _read(self._marker(index, unit)) is not None

    def damaged(self, only: Any = None) -> list[tuple[int, int]]:
        """The chunks that are marked complete, but whose data are not what was written.

        Arguments:
            only: look at these (group, chunk) alone.
        """
        out = []
        for (index, unit), marker in self.done().items():
            if (only is None or (index, unit) in only) and not self._intact(index, marker):
                out.append((index, unit))
        return sorted(out)

    def forget(self, index: int, unit: int) -> None:
        """Count a chunk as not computed."""
        self._marker(index, unit).unlink(missing_ok=True)

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
        for path in (self.path / "locks").iterdir():
            index, _, unit = path.name.partition("-")
            with self.lock(int(index), int(unit)) as free:
                count += not free
        return count

    def _intact(self, index: int, marker: Mapping[str, Any]) -> bool:
        start, stop = marker["start"], marker["start"] + marker["cells"]
        try:
            return all(
                checksum(np.asarray(self.array(index, name)[start:stop])) == expected
                for name, expected in marker["checksums"].items()
            )
        except Exception:  # whatever a damaged file makes the decoder say
            return False

    def _marker(self, index: int, unit: int) -> Path:
        return self.path / "done" / f"{index}-{unit:06d}.json"

    def _create(self, path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write a file unless it exists, whoever is first, and return what it holds."""
        with self._guard():
            temporary = _beside(path, content)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            os.unlink(temporary)
        found = _read(path)
        if found is None:
            raise StoreError(f"{path} is not readable. Start a new store, or restore the file.")
        return found

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


class Memory:
    """Results held in memory, for sweeps without a store; the same methods as far as needed."""

    def __init__(self) -> None:
        self.manifest: dict[str, Any] | None = None
        self._groups: dict[int, dict[str, Any]] = {}
        self._coordinates: dict[int, dict[str, Any]] = {}
        self._arrays: dict[tuple[int, str], np.ndarray] = {}
        self._done: dict[tuple[int, int], dict[str, Any]] = {}

    def claim(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self.manifest = dict(manifest)
        return self.manifest

    def group(self, index: int) -> dict[str, Any] | None:
        return self._groups.get(index)

    def add_group(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        if index in self._groups:
            return self._groups[index]
        self._groups[index] = dict(record)
        for name, spec in specs_of(record).items():
            if not spec.coordinate:
                shape = (record["cells"], *spec.shape)
                self._arrays[index, name] = np.full(shape, spec.fill, spec.dtype)
        return self._groups[index]

    def coordinates(
        self, index: int, found: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        if found is not None:
            _same_positions(self._coordinates.setdefault(index, _listed(found)), found)
        return self._coordinates.get(index, {})

    def array(self, index: int, name: str) -> np.ndarray:
        return self._arrays[index, name]

    def write(
        self,
        index: int,
        unit: int,
        start: int,
        arrays: Mapping[str, np.ndarray],
        note: dict[str, Any],
    ) -> None:
        for name, values in arrays.items():
            self._arrays[index, name][start : start + len(values)] = values
        self._done[index, unit] = {"start": start, **note}

    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        return self._done

    def is_done(self, index: int, unit: int) -> bool:
        return (index, unit) in self._done

    @contextlib.contextmanager
    def lock(self, index: int, unit: int) -> Iterator[bool]:
        yield True


def checksum(values: np.ndarray) -> str:
    """A hash of an array's dtype, shape and bytes; NaN is NaN, whatever its sign and payload."""
    values = np.ascontiguousarray(values)
    if values.dtype.kind in "fc":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    head = f"{values.dtype.str}{values.shape}".encode()
    return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()


def _listed(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: values.tolist() for name, values in found.items()}


def _same_positions(kept: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> None:
    for name, values in _listed(found).items():
        if kept.get(name, values) != values:
            raise ValueError(
                f"The positions along {name!r} differ between cells: let all cells of a sweep "
                f"record the same ones, or name what decides them in `static`."
            )


def specs_of(record: Mapping[str, Any]) -> dict[str, Spec]:
    """The variables of a group, from what was written down about it."""
    return {name: Spec.from_json(fields) for name, fields in record["variables"].items()}


def _read(path: Path) -> Any:
    """The content of a JSON file; None when there is none, or it is broken."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _beside(path: Path, content: Mapping[str, Any]) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
    except BaseException:
        os.unlink(temporary)
        raise
    return Path(temporary)


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    os.replace(_beside(path, content), path)
