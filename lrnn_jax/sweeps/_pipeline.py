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
from lrnn_jax.sweeps._outputs import (
    NOT_RUN,
    RAISED,
    Labelled,
    Spec,
    check_names,
    fill_of,
    variables,
)
from lrnn_jax.sweeps._plan import Compiled, Traced, cell_key
from lrnn_jax.sweeps._store import AbstractStore, group_record, specs_of

TRIES = 8
"""So many cells raise errors, and none does not, before a chunk is given up."""


class Chunk(NamedTuple):
    """The results of one chunk: arrays by variable, shape (cells, …), messages of what was raised
    by place, and specs by variable."""

    arrays: dict[str, np.ndarray]
    raised: dict[int, str]
    specs: dict[str, Spec]


class AbstractWorker(eqx.Module):
    """What computes chunks of cells, `width` at a time. `identity` is a digest of what is computed:
    a store takes the results of one computation only.

    >>> sorted(sweeps.AbstractWorker.__abstractmethods__)
    ['start']
    """

    identity: eqx.AbstractVar[str]
    width: eqx.AbstractVar[int]

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
    identity: str
    width: int

    def start(self, chunks: Sequence[np.ndarray]) -> Callable[[], list[Chunk]]:
        pending = None
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # raised again when waited for
            pending = self._launch(chunks)
        return lambda: self._finish(chunks, pending)

    def _finish(self, chunks: Sequence[np.ndarray], pending: Sequence[Array] | None) -> list[Chunk]:
        try:
            values = [np.asarray(x) for x in pending or self._launch(chunks)]
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise MemoryError(
                    f"A device ran out of memory with chunks of {self.compiled.batch} cells: take "
                    f"a smaller `chunk`. What was complete is kept."
                ) from error
            return [self._isolated(chunk) for chunk in chunks]
        starts = itertools.count(0, self.compiled.batch)
        return [
            self._chunk([x[start : start + len(chunk)] for x in values], {})
            for start, chunk in zip(starts, chunks)
        ]

    def _launch(self, chunks: Sequence[np.ndarray]) -> Sequence[Array]:
        """Start the program on all devices; what is left of a batch repeats its last cell."""
        batch, missing = self.compiled.batch, self.width - len(chunks)
        padded = [np.pad(chunk, (0, batch - len(chunk)), "edge") for chunk in chunks]
        cells = np.concatenate([*padded, *[padded[-1]] * missing])
        numbers = [
            self.design.values(name, cells).astype(struct.dtype)
            for name, struct in self.traced.numbers.items()
        ]
        shared = jax.device_put((self.design.key_words(cells), *numbers), along(self.compiled.mesh))
        return self.compiled.call(jr.key_data(self.key), *shared)

    def _chunk(self, values: list[np.ndarray], raised: dict[int, str]) -> Chunk:
        return Chunk(dict(zip(self.traced.specs, values)), raised, self.traced.specs)

    def _isolated(self, chunk: np.ndarray) -> Chunk:
        """A chunk with cells that raise errors: find them by halves, mark them, keep the others.

        A cell keeps its place in the batch, the others are replaced: its result stays the same
        to the last bit.
        """
        specs = self.traced.specs
        values = [_empty(spec, len(chunk)) for spec in specs.values()]
        raised: dict[int, str] = {}

        def compute(part: np.ndarray) -> None:
            cells = np.full(len(chunk), chunk[part[0]])
            cells[part] = chunk[part]
            try:
                computed = [np.asarray(x) for x in self._launch([cells])]
            except jax.errors.JaxRuntimeError as error:
                if len(part) > 1:
                    for half in np.array_split(part, 2):
                        compute(half)
                    return
                raised[int(part[0])] = message_of(error)
                if len(raised) == part[0] + 1 == TRIES:  # it raises in all so far
                    raise
                return
            for kept, value in zip(values, computed):
                kept[part] = value[part]

        compute(np.arange(len(chunk)))
        values[list(specs).index("result")][list(raised)] = RAISED
        return self._chunk(values, raised)


class OneByOne(AbstractWorker):
    """Calls a function on the host, for each cell of a group that shares all its parameters: for
    functions that JAX cannot trace. Without `key` where the function takes none."""

    design: Design
    group: Group
    function: Callable[..., Any]
    key: PRNGKeyArray | None
    identity: str
    width: int = 1

    def start(self, chunks: Sequence[np.ndarray]) -> Callable[[], list[Chunk]]:
        return lambda: [self._call(cells) for cells in chunks]

    def _call(self, cells: np.ndarray) -> Chunk:
        keyed, raised = {}, {}
        if self.key is not None:
            keyed["key"] = cell_key(self.key, self.design.key_words(cells)[0])
        try:
            outputs = variables(self.function(**keyed, **self.group.statics))
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raised = {0: message_of(error)}
            outputs = {"result": Labelled(np.asarray(RAISED), long_name="outcome")}
        specs = {name: Spec.of(variable) for name, variable in outputs.items()}
        check_names(specs, self.design.names)
        arrays = {name: np.asarray(variable.value)[None] for name, variable in outputs.items()}
        return Chunk(arrays, raised, specs)


class Stopped(RuntimeError):
    """A sweep was asked to stop before all was computed; what is complete is kept.

    >>> issubclass(sweeps.Stopped, RuntimeError)
    True
    """


class Part(NamedTuple):
    """What one process does of a sweep: the i-th of n shares; it tells `advance` how many more
    cells are done, and asks `stop` before each chunk whether to end there."""

    share: tuple[int, int]
    advance: Callable[[int], None]
    stop: Callable[[], bool]

    def check(self) -> None:
        """Raise Stopped where it is to stop with work left."""
        if self.stop():
            raise Stopped(
                "The sweep was stopped; what is complete is kept: go on with resume=True."
            )


@dataclass
class Job:
    """One group of cells on its way into a store that several processes may share: this one takes
    its part of the chunks of so many cells, as long as some are `left`."""

    store: AbstractStore
    group: Group
    worker: AbstractWorker
    chunk: int
    part: Part

    def __post_init__(self):
        self.left = list(self.group.units(self.chunk, self.part.share))

    def run(self) -> bool:
        """Compute the chunks that nobody has computed; whether all are done, others' included.

        Errors: Stopped when chunks are left and the process is to stop.
        """
        self.left = self._go_through(self.left)
        if self.left:
            self.part.check()
        return not self.left

    def _go_through(self, units: list[int]) -> list[int]:
        """Go through chunks once; returns those that other processes hold, or that it left.

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
                self.part.advance(len(self.group.part(unit, self.chunk)))
                continue
            if self.part.stop():
                held.append(unit)
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
        for unit, (arrays, raised, specs) in zip(step, results()):
            index, cells = self.group.index, self.group.part(unit, self.chunk)
            record = group_record(self.group, self.chunk, specs, self.worker.identity)
            known = specs_of(self.store.keep(f"groups/{index}", record))
            if new := specs.keys() - known.keys():  # it raised before
                raise ValueError(f"The cells now have {', '.join(new)}, too: take a new store.")
            for name in known.keys() - arrays.keys():  # it raises now
                arrays[name] = _empty(known[name], len(cells))
            positions = {n: arrays.pop(n) for n, spec in specs.items() if spec.coordinate}
            self._keep_coordinates(positions, raised)
            codes = arrays["result"][arrays["result"] != NOT_RUN]
            kinds, counts = np.unique(codes, return_counts=True)
            note = {
                "start": unit * self.chunk,
                "cells": len(cells),
                "outcomes": dict(zip(map(str, kinds.tolist()), counts.tolist())),
                "raised": {str(int(cells[i])): text for i, text in raised.items()},
                "seconds": time.perf_counter() - started,
            }
            self.store.write(index, unit, arrays, note)
            locks.pop(unit).close()
            self.part.advance(len(cells))

    def _keep_coordinates(
        self, positions: Mapping[str, np.ndarray], raised: Mapping[int, str]
    ) -> None:
        """Write down the positions along the group's axes, or see that they are the same."""
        good = {name: np.delete(rows, list(raised), axis=0) for name, rows in positions.items()}
        listed = {name: rows[0].tolist() for name, rows in good.items() if len(rows)}
        if not listed:
            return
        there = self.store.keep(f"groups/{self.group.index}.coordinates", listed)
        for name, values in listed.items():
            if there.get(name, values) != values or (good[name] != good[name][0]).any():
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


def _empty(spec: Spec, cells: int) -> np.ndarray:
    return np.full((cells, *spec.shape), fill_of(spec.dtype), spec.dtype)


def message_of(error: Exception) -> str:
    """What went wrong, on one line, out of the long report of an error in a program.

    >>> sweeps.message_of(ValueError("lr must be positive"))
    'lr must be positive'
    """
    text = str(error).partition("RuntimeError: ")[2] or str(error)
    return " ".join(text.strip().partition("\n\n")[0].split()) or type(error).__name__
