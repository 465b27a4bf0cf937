"""Going through the chunks of a group, beside other processes that do the same."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lrnn_jax.sweeps._execute import outcomes
from lrnn_jax.sweeps._grid import Group
from lrnn_jax.sweeps._outputs import Spec


def compute(
    store: Any,
    index: int,
    group: Group,
    work: Any,
    chunk: int,
    share: tuple[int, int],
    advance: Callable[[int], None],
    record: Any,
) -> None:
    """Compute the chunks of a group that nobody has computed, then wait for those in work."""
    waiting = list(units_of(group, chunk, share))
    while waiting:
        before = len(waiting)
        waiting = _pass(store, index, group, work, chunk, waiting, advance, record)
        if len(waiting) == before:
            time.sleep(0.2)  # all that is left is in the hands of other processes


def _pass(
    store: Any,
    index: int,
    group: Group,
    work: Any,
    chunk: int,
    units: list[int],
    advance: Callable[[int], None],
    record: Any,
) -> list[int]:
    """Go through the chunks once; returns those that other processes hold.

    While one step is written, the next is computed.
    """
    held: list[int] = []
    locks: dict[int, contextlib.ExitStack] = {}

    def finish(step: list[int], pending: Any, started: float) -> None:
        cells = [group.cells[u * chunk : (u + 1) * chunk] for u in step]
        for unit, here, result in zip(step, cells, work.finish(cells, pending)):
            if record is None:
                store.add_group(index, record_of(group, chunk, work.specs, ""))
            if result.coordinates:
                store.coordinates(index, result.coordinates)
            raised = {str(int(here[i])): text for i, text in result.raised.items()}
            note = {"cells": len(here), "outcomes": outcomes(result), "raised": raised}
            note["seconds"] = time.perf_counter() - started
            store.write(index, unit, unit * chunk, result.arrays, note)
            locks.pop(unit).close()
            advance(len(here))

    def free() -> Iterator[int]:
        for unit in units:
            if store.is_done(index, unit):
                advance(min(chunk, len(group.cells) - unit * chunk))
                continue
            stack = contextlib.ExitStack()
            if stack.enter_context(store.lock(index, unit)) and not store.is_done(index, unit):
                locks[unit] = stack
                yield unit
            else:
                stack.close()
                held.append(unit)

    flight: Any = None
    step: list[int] = []
    try:
        for unit in free():
            step.append(unit)
            if len(step) == work.width:
                flight, step = _swap(work, group, chunk, step, flight, finish), []
        if step:
            flight = _swap(work, group, chunk, step, flight, finish)
        if flight is not None:
            finish(*flight)
    finally:
        for stack in locks.values():
            stack.close()
    return held


def _swap(
    work: Any, group: Group, chunk: int, step: list[int], flight: Any, finish: Callable[..., None]
) -> Any:
    """Start a step, and finish the one before it."""
    cells = [group.cells[u * chunk : (u + 1) * chunk] for u in step]
    started = time.perf_counter()
    pending = work.start(cells)
    if flight is not None:
        finish(*flight)
    return step, pending, started


def units_of(group: Group, chunk: int, share: tuple[int, int]) -> range:
    """The chunks of a group that fall to the i-th of n processes."""
    return range(share[0], -(-len(group.cells) // chunk), share[1])


def record_of(group: Group, chunk: int, specs: Mapping[str, Spec], program: str) -> dict[str, Any]:
    """What a store keeps about a group."""
    shown = {name: spec.to_json() for name, spec in specs.items()}
    return {
        "statics": group.labels,
        "cells": len(group.cells),
        "chunk": chunk,
        "program": program,
        "variables": shown,
    }
