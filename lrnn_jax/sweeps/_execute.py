"""Computing chunks of cells: compiled batches of them, or one after another on the host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np

from lrnn_jax.sweeps._grid import Design, Group
from lrnn_jax.sweeps._outputs import NOT_RUN, RAISED, Labelled, Spec, variables
from lrnn_jax.sweeps._shard import Compiled, Traced, cell_key

TRIES = 8
"""So many cells raise errors, and none does not, before a chunk is given up."""


class Chunk(NamedTuple):
    """The results of one chunk.

    Fields: arrays, by variable, shape (cells, …); coordinates, by name; raised, messages by place.
    """

    arrays: dict[str, np.ndarray]
    coordinates: dict[str, np.ndarray]
    raised: dict[int, str]


@dataclass(frozen=True)
class Batches:
    """Runs chunks of cells through a compiled program, one chunk on each device."""

    design: Design
    traced: Traced
    compiled: Compiled
    key: Any

    @property
    def width(self) -> int:
        """Chunks at a time."""
        return self.compiled.mesh.size

    def start(self, chunks: Sequence[np.ndarray]) -> Any:
        """Begin to compute chunks, given by their cells; returns what `finish` takes."""
        try:
            return self._launch([_padded(chunk, self.compiled.batch) for chunk in chunks])
        except jax.errors.JaxRuntimeError as error:
            return error

    def finish(self, chunks: Sequence[np.ndarray], pending: Any) -> list[Chunk]:
        """Wait for the results of chunks.

        Errors: MemoryError when a device is out of memory; the function's own error when every
        cell raises it. Single cells that raise errors are marked instead.
        """
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

    def _launch(self, padded: list[np.ndarray]) -> Any:
        cells = np.concatenate([*padded, *[padded[-1]] * (self.width - len(padded))])
        numbers = [
            self.design.values(name, cells).astype(struct.dtype)
            for name, struct in zip(self.traced.names, self.traced.structs)
        ]
        return self.compiled(jr.key_data(self.key), self.design.key_words(cells), numbers)

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
        values = [
            np.full((len(chunk), *spec.shape), spec.fill, spec.dtype)
            for spec in self.traced.specs.values()
        ]
        raised: dict[int, str] = {}
        parts, fine = [np.arange(len(chunk))], 0
        while parts:
            part = parts.pop()
            cells = np.full(len(chunk), chunk[part[0]])
            cells[part] = chunk[part]
            try:
                found = [np.asarray(x) for x in self._launch([_padded(cells, self.compiled.batch)])]
            except jax.errors.JaxRuntimeError as error:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                raised[int(part[0])] = _message(error)
                if len(raised) >= TRIES and not fine:
                    raise
                continue
            fine += len(part)
            for out, value in zip(values, found):
                out[part] = value[part]
        for out, name in zip(values, self.traced.specs):
            if name == "result":
                out[list(raised)] = RAISED
        return self._chunk(values, raised)


@dataclass(frozen=True)
class OneByOne:
    """Runs a function on the host, one cell at a time: for functions that JAX cannot trace."""

    group: Group
    function: Callable[..., Any]
    key: Any
    takes_key: bool
    design: Design
    specs: dict[str, Spec] = field(default_factory=dict)
    width: int = 1

    def start(self, chunks: Sequence[np.ndarray]) -> Any:
        """Nothing yet."""

    def finish(self, chunks: Sequence[np.ndarray], pending: Any) -> list[Chunk]:
        """Call the function; an error marks the cell."""
        (cells,) = chunks
        keyed = {}
        if self.takes_key:
            keyed["key"] = cell_key(self.key, self.design.key_words(cells)[0])
        raised = {}
        try:
            found = variables(self.function(**keyed, **self.group.statics))
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raised = {0: _message(error)}
            found = {"result": Labelled(np.asarray(RAISED), long_name="outcome")}
        self.specs.update({name: Spec.of(variable) for name, variable in found.items()})
        values = {name: np.asarray(variable.value) for name, variable in found.items()}
        here = {n: x for n, x in values.items() if self.specs[n].coordinate}
        arrays = {n: x[None] for n, x in values.items() if n not in here}
        return [Chunk(arrays, here, raised)]


def outcomes(chunk: Chunk) -> dict[str, int]:
    """How many cells of a chunk ended in which way, by code."""
    codes, counts = np.unique(chunk.arrays["result"], return_counts=True)
    return {
        str(code): count for code, count in zip(codes.tolist(), counts.tolist()) if code != NOT_RUN
    }


def _padded(cells: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([cells, np.full(batch - len(cells), cells[-1], cells.dtype)])


def _message(error: Exception) -> str:
    """The line that says what went wrong, out of a long report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "RuntimeError: " in line]
    line = (named or lines or [type(error).__name__])[0]
    return line.partition("RuntimeError: ")[2] or line
