"""What keeps a sweep's results, chunk by chunk: the contract, and the one in memory."""

import abc
import contextlib
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lrnn_jax.sweeps._grid import Group
from lrnn_jax.sweeps._outputs import Spec

FORMAT = 1


class StoreError(RuntimeError):
    """The store could not be read or written; what was complete stays complete."""


class AbstractStore(abc.ABC):
    """Keeps the results of one sweep, chunk by chunk, by group of cells and number in the group."""

    @property
    @abc.abstractmethod
    def in_memory(self) -> bool:
        """Whether results are held in memory, and gone with the process."""

    @property
    @abc.abstractmethod
    def manifest(self) -> dict[str, Any] | None:
        """What the sweep is; None for a new store."""

    @abc.abstractmethod
    def claim(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest unless there is one, and return the one that is there."""

    @abc.abstractmethod
    def group(self, index: int) -> dict[str, Any] | None:
        """What was written down about a group of cells (`group_record`); None before."""

    @abc.abstractmethod
    def add_group(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write down a group unless it is there, make its arrays, and return what is there."""

    @abc.abstractmethod
    def coordinates(self, index: int) -> dict[str, list[Any]]:
        """The positions along a group's axes, such as recorded epochs."""

    @abc.abstractmethod
    def keep_coordinates(self, index: int, positions: Mapping[str, np.ndarray]) -> None:
        """Write down the positions along a group's axes, the first time.

        Errors: ValueError for positions that differ from those of other cells.
        """

    @abc.abstractmethod
    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        """A variable in the cells of a chunk, as it was written; None for a chunk that is not
        complete, or no longer what was written."""

    @abc.abstractmethod
    def is_there(self, index: int, unit: int) -> bool:
        """Whether a chunk is complete and, as far as is seen without reading it, nothing of it
        lost."""

    @abc.abstractmethod
    def write(
        self, index: int, unit: int, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]
    ) -> None:
        """Write one chunk of cells, then the marker that it is complete.

        Arguments:
            index, unit: which group and chunk.
            arrays: values by variable, shape (cells of the chunk, …).
            note: the marker, with `start`, the first cell's place in the group, and `cells`.
        """

    @abc.abstractmethod
    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The markers of all complete chunks, by (group, chunk)."""

    @abc.abstractmethod
    def is_done(self, index: int, unit: int) -> bool:
        """Whether a chunk is complete; a marker that cannot be read counts for nothing."""

    @abc.abstractmethod
    def damaged(self, share: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
        """The chunks that are marked complete, but whose data are not what was written.

        Arguments:
            share: (i, n) to look at each n-th chunk of a group only, from the i-th on.
        """

    @abc.abstractmethod
    def forget(self, index: int, unit: int) -> None:
        """Count a chunk as not computed."""

    @abc.abstractmethod
    def lock(self, index: int, unit: int) -> contextlib.AbstractContextManager[bool]:
        """Hold a chunk while it is computed; False where another process holds it."""


class MemoryStore(AbstractStore):
    """Results held in memory, for sweeps without a folder."""

    def __init__(self) -> None:
        self._manifest: dict[str, Any] | None = None
        self._groups: dict[int, dict[str, Any]] = {}
        self._positions: dict[int, dict[str, list[Any]]] = {}
        self._arrays: dict[tuple[int, str], np.ndarray] = {}
        self._done: dict[tuple[int, int], dict[str, Any]] = {}

    @property
    def in_memory(self) -> bool:
        return True

    @property
    def manifest(self) -> dict[str, Any] | None:
        return self._manifest

    def claim(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self._manifest = dict(manifest)
        return self._manifest

    def group(self, index: int) -> dict[str, Any] | None:
        return self._groups.get(index)

    def add_group(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        if index not in self._groups:
            self._groups[index] = dict(record)
            for name, spec in specs_of(record).items():
                if not spec.coordinate:
                    shape = (record["cells"], *spec.shape)
                    self._arrays[index, name] = np.full(shape, spec.fill, spec.dtype)
        return self._groups[index]

    def coordinates(self, index: int) -> dict[str, list[Any]]:
        return self._positions.get(index, {})

    def keep_coordinates(self, index: int, positions: Mapping[str, np.ndarray]) -> None:
        listed = {name: values.tolist() for name, values in positions.items()}
        check_same(self._positions.setdefault(index, listed), listed)

    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        if (marker := self._done.get((index, unit))) is None:
            return None
        return self._arrays[index, name][marker["start"] : marker["start"] + marker["cells"]]

    def is_there(self, index: int, unit: int) -> bool:
        return self.is_done(index, unit)

    def write(
        self, index: int, unit: int, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]
    ) -> None:
        for name, values in arrays.items():
            self._arrays[index, name][note["start"] : note["start"] + len(values)] = values
        self._done[index, unit] = dict(note)

    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        return self._done

    def is_done(self, index: int, unit: int) -> bool:
        return (index, unit) in self._done

    def damaged(self, share: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
        return []

    def forget(self, index: int, unit: int) -> None:
        self._done.pop((index, unit), None)

    def lock(self, index: int, unit: int) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(True)


def group_record(
    group: Group, chunk: int, specs: Mapping[str, Spec], program: str
) -> dict[str, Any]:
    """What a store keeps about a group: its cells, their variables, and what computes them."""
    return {
        "statics": group.labels,
        "cells": len(group.cells),
        "chunk": chunk,
        "program": program,
        "variables": {name: spec.to_json() for name, spec in specs.items()},
    }


def specs_of(record: Mapping[str, Any]) -> dict[str, Spec]:
    """The variables of a group, from what was written down about it."""
    return {name: Spec.from_json(fields) for name, fields in record["variables"].items()}


def checksum(values: np.ndarray, like: str = "crc32:") -> str:
    """A checksum of an array's dtype, shape and bytes.

    Arguments:
        values: the array.
        like: a checksum of the kind wanted. The default costs a twentieth of reading the data;
            other ones are hashes, for which NaN is NaN, whatever its sign and payload.
    """
    values = np.ascontiguousarray(values)
    head = f"{values.dtype.str}{values.shape}".encode()
    if like.startswith("crc32:"):
        data = memoryview(values.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
        return f"crc32:{zlib.crc32(data, zlib.crc32(head)):08x}"
    if values.dtype.kind in "fc":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return hashlib.blake2b(head + values.tobytes(), digest_size=16).hexdigest()


def check_same(kept: Mapping[str, list[Any]], positions: Mapping[str, list[Any]]) -> None:
    """Raise ValueError where positions along an axis differ from those that were kept."""
    for name, values in positions.items():
        if kept.get(name, values) != values:
            raise ValueError(
                f"The positions along {name!r} differ between cells: let all cells of a sweep "
                f"record the same ones, or name what decides them in `static`."
            )
