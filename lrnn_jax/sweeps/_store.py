"""What keeps a sweep's results, chunk by chunk: the contract, and the one in memory."""

import abc
import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from lrnn_jax.sweeps._grid import Group
from lrnn_jax.sweeps._outputs import Spec


class StoreError(RuntimeError):
    """The store could not be read or written; what was complete stays complete.

    >>> try:
    ...     sweeps.open_sweep("nowhere")
    ... except sweeps.StoreError as error:
    ...     print(error)
    ...
    nowhere holds no sweep: it has no manifest.json.
    """


class AbstractStore(abc.ABC):
    """Keeps the results of one sweep, chunk by chunk, by group of cells and number in the group.

    Beside them it keeps documents, each written once: "manifest", and of each group its record
    (`group_record`), "groups/0", and the positions along its axes, "groups/0.coordinates".

    >>> sorted(sweeps.AbstractStore.__abstractmethods__)
    ['document', 'is_done', 'keep', 'lock', 'read', 'write']
    """

    @abc.abstractmethod
    def document(self, name: str) -> dict[str, Any] | None:
        """A document; None where there is none."""

    @abc.abstractmethod
    def keep(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write a document unless it is there, whoever is first, and return what is there."""

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
    def is_done(self, index: int, unit: int) -> bool:
        """Whether a chunk is complete; a marker that cannot be read counts for nothing."""

    @abc.abstractmethod
    def lock(self, index: int, unit: int) -> contextlib.AbstractContextManager[bool]:
        """Hold a chunk while it is computed; False where another process holds it."""


class MemoryStore(AbstractStore):
    """Results held in memory, for sweeps without a folder."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Any]] = {}
        self._chunks: dict[tuple[int, int], Mapping[str, np.ndarray]] = {}

    def document(self, name: str) -> dict[str, Any] | None:
        return self._documents.get(name)

    def keep(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return self._documents.setdefault(name, dict(content))

    def read(self, index: int, unit: int, name: str) -> np.ndarray | None:
        return self._chunks.get((index, unit), {}).get(name)

    def write(
        self, index: int, unit: int, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]
    ) -> None:
        self._chunks[index, unit] = arrays

    def is_done(self, index: int, unit: int) -> bool:
        return (index, unit) in self._chunks

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
        "variables": {name: asdict(spec) for name, spec in specs.items()},
    }


def specs_of(record: Mapping[str, Any]) -> dict[str, Spec]:
    """The variables of a group, from what was written down about it."""
    return {name: Spec(**fields) for name, fields in record["variables"].items()}
