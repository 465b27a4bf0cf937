"""The pipeline of a sweep: going through chunks of cells, beside others that do the same.

A worker computes chunks, a store keeps them, and a job brings both together for one group of cells.
"""

import contextlib
import itertools
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lrnn_jax._devices import along
from lrnn_jax.sweeps._grid import Design, Group
from lrnn_jax.sweeps._outputs import NOT_RUN, RAISED, Labelled, Spec, fill_of, variables
from lrnn_jax.sweeps._plan import Compiled, Traced, cell_key
from lrnn_jax.sweeps._store import AbstractStore, group_record

TRIES = 8
"""So many cells raise errors, and none does not, before a chunk is given up."""


class Chunk(NamedTuple):
    """The results of one chunk.

    Fields: arrays, by variable, shape (cells, …); coordinates, by name; raised, messages by place;
    specs, by variable, where only running the function tells them.
    """

    arrays: dict[str, np.ndarray]
    coordinates: dict[str, np.ndarray]
    raised: dict[int, str]
    specs: dict[str, Spec] | None = None


class AbstractWorker(eqx.Module):
    """What computes chunks of cells."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A digest of what is computed: a store takes the results of one computation only."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Chunks at a time."""

    @abstractmethod
    def start(self, chunks: Sequence[np.ndarray]) -> Callable[[], list[Chunk]]:
        """Begin to compute chunks, given by their cells.

        Returns: a function that waits for the results. It raises the function's own error when
        every cell raises it, MemoryError when a device is out of memory; single cells that raise
        errors are marked instead.
        """


class Batches(AbstractWorker):
    """Runs chunks of cells through a compiled program, one chunk on each device."""

    design: Design
    traced: Traced
    compiled: Compiled
    key: PRNGKeyArray

    @property
    def identity(self) -> str:
        return self.traced.digest

    @property
    def width(self) -> int:
        return self.compiled.mesh.size

    def start(self, chunks: Sequence[np.ndarray]) -> Callable[[], list[Chunk]]:
        pending: Sequence[Array] | Exception
        try:
            pending = self._launch([_padded(chunk, self.compiled.batch) for chunk in chunks])
        except jax.errors.JaxRuntimeError as error:
            pending = error
        return lambda: self._finish(chunks, pending)

    def _finish(
        self, chunks: Sequence[np.ndarray], pending: Sequence[Array] | Exception
    ) -> list[Chunk]:
        try:
            if isinstance(pending, Exception):
                raise pending
            values = [np.asarray(x) for x in pending]
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise MemoryError(
                    f"A device ran out of memory with chunks of {self.compiled.batch} cells: take "
                    f"a smaller `chunk`. What was complete is kept."
                ) from error
            return [self._isolated(chunk) for chunk in chunks]
        batch = self.compiled.batch
        rows = [slice(i * batch, i * batch + len(chunk)) for i, chunk in enumerate(chunks)]
        return [self._chunk([x[r] for x in values], {}) for r in rows]

    def _launch(self, padded: list[np.ndarray]) -> Sequence[Array]:
        cells = np.concatenate([*padded, *[padded[-1]] * (self.compiled.mesh.size - len(padded))])
        numbers = [
            self.design.values(name, cells).astype(struct.dtype)
            for name, struct in zip(self.traced.names, self.traced.structs)
        ]
        shared = jax.device_put((self.design.key_words(cells), *numbers), along(self.compiled.mesh))
        return self.compiled.call(jr.key_data(self.key), *shared)

    def _chunk(self, values: list[np.ndarray], raised: dict[int, str]) -> Chunk:
        arrays, coordinates = {}, {}
        for (name, spec), value in zip(self.traced.specs.items(), values):
            if not spec.coordinate:
                arrays[name] = value
                continue
            good = [i for i in range(len(value)) if i not in raised]
            if len(good) and (value[good] != value[good[0]]).any():
                raise ValueError(f"The coordinate {name!r} must be the same in all cells.")
            if len(good):
                coordinates[name] = value[good[0]]
        return Chunk(arrays, coordinates, raised)

    def _isolated(self, chunk: np.ndarray) -> Chunk:
        """A chunk with cells that raise errors: find them by halves, mark them, keep the others.

        A cell keeps its place in the batch, the others are replaced: its result stays the same
        to the last bit.
        """
        specs = self.traced.specs
        shapes = [((len(chunk), *spec.shape), spec.dtype) for spec in specs.values()]
        values = [np.full(shape, fill_of(dtype), dtype) for shape, dtype in shapes]
        raised: dict[int, str] = {}
        parts, fine = [np.arange(len(chunk))], 0
        while parts:
            part = parts.pop()
            cells = np.full(len(chunk), chunk[part[0]])
            cells[part] = chunk[part]
            try:
                pending = self._launch([_padded(cells, self.compiled.batch)])
                computed = [np.asarray(x) for x in pending]
            except jax.errors.JaxRuntimeError as error:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                raised[int(part[0])] = _message(error)
                if len(raised) >= TRIES and not fine:
                    raise
                continue
            fine += len(part)
            for kept, value in zip(values, computed):
                kept[part] = value[part]
        values[list(specs).index("result")][list(raised)] = RAISED
        return self._chunk(values, raised)


class OneByOne(AbstractWorker):
    """Calls a function on the host, for each cell of a group that shares all its parameters: for
    functions that JAX cannot trace. Without `key` where the function takes none."""

    design: Design
    group: Group
    function: Callable[..., Any]
    key: PRNGKeyArray | None
    digest: str

    @property
    def identity(self) -> str:
        return self.digest

    @property
    def width(self) -> int:
        return 1

    def start(self, chunks: Sequence[np.ndarray]) -> Callable[[], list[Chunk]]:
        return lambda: [self._call(cells) for cells in chunks]

    def _call(self, cells: np.ndarray) -> Chunk:
        keyed, raised = {}, {}
        if self.key is not None:
            keyed["key"] = cell_key(self.key, self.design.key_words(cells)[0])
        try:
            outputs = variables(self.function(**keyed, **self.group.statics))
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raised = {0: _message(error)}
            outputs = {"result": Labelled(np.asarray(RAISED), long_name="outcome")}
        specs = {name: Spec.of(variable) for name, variable in outputs.items()}
        values = {name: np.asarray(variable.value) for name, variable in outputs.items()}
        coordinates = {name: x for name, x in values.items() if specs[name].coordinate}
        arrays = {name: x[None] for name, x in values.items() if name not in coordinates}
        return Chunk(arrays, coordinates, raised, specs)


@dataclass(frozen=True)
class Job:
    """One group of cells on its way into a store.

    Arguments:
        store: where results go; several processes may share it.
        group: the cells.
        worker: what computes them.
        chunk: cells of each chunk.
        share: (i, n): this process is the i-th of n, and takes every n-th chunk.
        advance: told how many more cells are done.
    """

    store: AbstractStore
    group: Group
    worker: AbstractWorker
    chunk: int
    share: tuple[int, int]
    advance: Callable[[int], None]

    def run(self) -> None:
        """Compute the chunks that nobody has computed, then wait for those in work."""
        waiting = list(self.group.units(self.chunk, self.share))
        while waiting:
            held = self._go_through(waiting)
            if len(held) == len(waiting):
                time.sleep(0.2)  # all that is left is in the hands of other processes
            waiting = held

    def _go_through(self, units: list[int]) -> list[int]:
        """Go through chunks once; returns those that other processes hold.

        While one step is written, the next is computed.
        """
        held: list[int] = []
        locks: dict[int, contextlib.ExitStack] = {}
        free, flight = self._free(units, locks, held), None
        try:
            while step := list(itertools.islice(free, self.worker.width)):
                started = time.perf_counter()
                results = self.worker.start([self.group.part(u, self.chunk) for u in step])
                if flight is not None:
                    self._finish(*flight, locks)
                flight = step, results, started
            if flight is not None:
                self._finish(*flight, locks)
        finally:
            for lock in locks.values():
                lock.close()
        return held

    def _free(
        self, units: list[int], locks: dict[int, contextlib.ExitStack], held: list[int]
    ) -> Iterator[int]:
        """Those of the chunks that are to be computed here, locked."""
        for unit in units:
            place = self.group.index, unit
            if self.store.is_done(*place):
                self.advance(len(self.group.part(unit, self.chunk)))
                continue
            lock = contextlib.ExitStack()
            if lock.enter_context(self.store.lock(*place)) and not self.store.is_done(*place):
                locks[unit] = lock
                yield unit
            else:
                lock.close()
                held.append(unit)

    def _finish(
        self,
        step: list[int],
        results: Callable[[], list[Chunk]],
        started: float,
        locks: dict[int, contextlib.ExitStack],
    ) -> None:
        for unit, result in zip(step, results()):
            index, cells = self.group.index, self.group.part(unit, self.chunk)
            if result.specs is not None:
                record = group_record(self.group, self.chunk, result.specs, self.worker.identity)
                self.store.keep(f"groups/{index}", record)
            if result.coordinates:
                self._keep_coordinates(result.coordinates)
            note = {
                "start": unit * self.chunk,
                "cells": len(cells),
                "outcomes": _outcomes(result.arrays["result"]),
                "raised": {str(int(cells[i])): text for i, text in result.raised.items()},
                "seconds": time.perf_counter() - started,
            }
            self.store.write(index, unit, result.arrays, note)
            locks.pop(unit).close()
            self.advance(len(cells))

    def _keep_coordinates(self, positions: Mapping[str, np.ndarray]) -> None:
        """Write down the positions along the group's axes, or see that they are the same."""
        listed = {name: values.tolist() for name, values in positions.items()}
        there = self.store.keep(f"groups/{self.group.index}.coordinates", listed)
        for name, values in listed.items():
            if there.get(name, values) != values:
                raise ValueError(
                    f"The positions along {name!r} differ between cells: let all cells of a sweep "
                    f"record the same ones, or name what decides them in `static`."
                )


@contextlib.contextmanager
def progress_bar(cells: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar with cells per second and remaining time, silent off a terminal.

    Yields: a function that is told how many more cells are done.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        show = False
    if not show:
        yield lambda more: None
        return
    with tqdm(total=cells, unit="cell", unit_scale=True, disable=None) as bar:
        yield lambda more: (bar.update(more), None)[1]


def _outcomes(codes: np.ndarray) -> dict[str, int]:
    """How many cells of a chunk ended in which way, by code."""
    kinds, counts = np.unique(codes[codes != NOT_RUN], return_counts=True)
    return {str(kind): count for kind, count in zip(kinds.tolist(), counts.tolist())}


def _padded(cells: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([cells, np.full(batch - len(cells), cells[-1], cells.dtype)])


def _message(error: Exception) -> str:
    """The line that says what went wrong, out of a long report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "RuntimeError: " in line]
    line = (named or lines or [type(error).__name__])[0]
    return line.partition("RuntimeError: ")[2] or line
