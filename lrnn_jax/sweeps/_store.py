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
MANIFEST = {"function": str, "design": list, "static": list, "labels": dict, "versions": dict}
GROUP = {"cells": int, "chunk": int, "program": str, "variables": dict}
"""Fields that documents hold at least."""


class StoreError(RuntimeError):
    """The store could not be read or written; what was complete stays complete."""


class AbstractStore(abc.ABC):
    """Keeps the results of one sweep, chunk by chunk, by group of cells and number in the group.

    Beside them it keeps documents, each written once: the manifest, a record (`group_record`) and
    the coordinates of each group.
    """

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the sweep is; None for a new store."""
        return self._document("manifest", MANIFEST)

    def claim(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest unless there is one, and return the one that is there."""
        return self._keep("manifest", MANIFEST, manifest)

    def group(self, index: int) -> dict[str, Any] | None:
        """What was written down about a group of cells; None before."""
        return self._document(f"groups/{index}", GROUP)

    def add_group(self, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write down a group unless it is there, make its arrays, and return what is there."""
        record = self._keep(f"groups/{index}", GROUP, record)
        specs = {name: spec for name, spec in specs_of(record).items() if not spec.coordinate}
        self._make_arrays(index, specs, record["cells"], record["chunk"])
        return record

    def coordinates(self, index: int) -> dict[str, list[Any]]:
        """The positions along a group's axes, such as recorded epochs."""
        return self._document(f"groups/{index}.coordinates", {}) or {}

    def keep_coordinates(self, index: int, positions: Mapping[str, np.ndarray]) -> None:
        """Write down the positions along a group's axes, the first time.

        Errors: ValueError for positions that differ from those of other cells.
        """
        listed = {name: values.tolist() for name, values in positions.items()}
        there = self._keep(f"groups/{index}.coordinates", {}, listed)
        for name, values in listed.items():
            if there.get(name, values) != values:
                raise ValueError(
                    f"The positions along {name!r} differ between cells: let all cells of a sweep "
                    f"record the same ones, or name what decides them in `static`."
                )

    @abc.abstractmethod
    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        """A variable in the cells of a chunk, as it was written; None for a chunk that is not
        complete, or no longer what was written. `result` is None, too, where as far as is seen
        without reading them other variables are lost."""

    @abc.abstractmethod
    def write(
        self, index: int, unit: int, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]
    ) -> None:
        """Write one chunk of cells, then the marker that it is complete.

        Arguments:
            index, unit: which group and chunk.
            arrays: values by variable, shape (cells of the chunk, …).
            note: for the marker, with `start`, the first cell's place in the group, and `cells`.
        """

    @abc.abstractmethod
    def done(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The markers of all complete chunks, by (group, chunk)."""

    @abc.abstractmethod
    def is_done(self, index: int, unit: int) -> bool:
        """Whether a chunk is complete; a marker that cannot be read counts for nothing."""

    @abc.abstractmethod
    def discard_damaged(self, share: tuple[int, int]) -> None:
        """Count chunks that are no longer what was written as not computed.

        Arguments:
            share: (i, n) to look at each n-th chunk of a group, from the i-th on.
        """

    @abc.abstractmethod
    def lock(self, index: int, unit: int) -> contextlib.AbstractContextManager[bool]:
        """Hold a chunk while it is computed; False where another process holds it."""

    @abc.abstractmethod
    def _document(self, name: str, fields: Mapping[str, type]) -> dict[str, Any] | None:
        """A document, which holds these fields at least; None where there is none."""

    @abc.abstractmethod
    def _keep(
        self, name: str, fields: Mapping[str, type], content: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write a document unless it is there, whoever is first, and return what is there."""

    @abc.abstractmethod
    def _make_arrays(self, index: int, specs: Mapping[str, Spec], cells: int, chunk: int) -> None:
        """Make the arrays of a group's variables, those that are not there."""


class MemoryStore(AbstractStore):
    """Results held in memory, for sweeps without a folder."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Any]] = {}
        self._arrays: dict[tuple[int, str], np.ndarray] = {}
        self._done: dict[tuple[int, int], dict[str, Any]] = {}

    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        if (marker := self._done.get((index, unit))) is None:
            return None
        return self._arrays[index, name][marker["start"] : marker["start"] + marker["cells"]]

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

    def discard_damaged(self, share: tuple[int, int]) -> None:
        """There is no damage in memory."""

    def lock(self, index: int, unit: int) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(True)

    def _document(self, name: str, fields: Mapping[str, type]) -> dict[str, Any] | None:
        return self._documents.get(name)

    def _keep(
        self, name: str, fields: Mapping[str, type], content: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._documents.setdefault(name, dict(content))

    def _make_arrays(self, index: int, specs: Mapping[str, Spec], cells: int, chunk: int) -> None:
        for name, spec in specs.items():
            array = np.full((cells, *spec.shape), spec.fill, spec.dtype)
            self._arrays.setdefault((index, name), array)


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
