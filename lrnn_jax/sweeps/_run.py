"""Sweeps: one function over many cells, compiled once, in chunks, on any devices, resumable."""

import difflib
import hashlib
import inspect
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import jax
import jax.random as jr
import numpy as np

from lrnn_jax.sweeps._dataset import dataset
from lrnn_jax.sweeps._execute import Batches, OneByOne
from lrnn_jax.sweeps._grid import Group, as_design, groups
from lrnn_jax.sweeps._outputs import Spec
from lrnn_jax.sweeps._progress import bar
from lrnn_jax.sweeps._shard import LARGEST, SHARE, Traced, available, fit, readable, trace
from lrnn_jax.sweeps._store import FORMAT, Memory, Store
from lrnn_jax.sweeps._work import compute, record_of, units_of

LEAST_CHUNKS = 8
"""On a CPU a group is cut into this many chunks at least: work for devices, points to resume."""


@dataclass(frozen=True)
class GroupPlan:
    """What one group of cells will take: cells, cells per chunk, bytes while computing (on each
    device), bytes of results, and seconds, where a chunk was timed."""

    statics: dict[str, Any]
    cells: int
    chunk: int
    working_bytes: int
    result_bytes: int
    seconds: float | None


class Sweep:
    """One function for many cells: every combination of parameters, or any list of them.

    The function is traced once per combination of static parameters and runs as
    `shard_map(vmap(function))` over chunks of cells of a fixed size, so that results do not depend
    on devices, interruptions or the order of chunks. A cell's key depends on the names and values
    of its parameters alone: it stays the same in a larger sweep. For repetitions, add an axis that
    counts them.

    Arguments:
        cells: {parameter: values} for all combinations, a list of {parameter: value}, or a design
            (`grid`, `zipped`, `sampled`, and products of these).
        function: called with the parameters by name, and with `key` if it takes one; returns a
            learning curve (with throw=False), `summarise(curve)`, or a mapping of names to arrays.
        key: of the sweep; needed when the function takes a key.
        static: parameters that decide shapes or branches (N, rank, steps, epochs): the function
            gets them as Python numbers. Those that are not numbers always are.
        labels: (long name, units) by parameter or output, for tables and plots.
        chunk: cells at a time on each device; default: what fits into memory, at most 256 on a
            CPU. The last bits of results may depend on it; a store keeps it.
        store: folder for results, complete after any interruption; None: hold them in memory.
        memory: bytes that each device may use; default half of what is free.
        traced: False calls the function on the host, cell by cell, untraced.

    Errors: ValueError for parameters that the function does not take, or lacks.

    Source: ours.
    """

    def __init__(
        self,
        cells: Any,
        function: Callable[..., Any],
        *,
        key: Any = None,
        static: Sequence[str] = (),
        labels: Mapping[str, tuple[str, str]] | None = None,
        chunk: int | None = None,
        store: str | os.PathLike | None = None,
        memory: int | None = None,
        traced: bool = True,
    ):
        self.design, self.function, self.key = as_design(cells), function, key
        self.labels, self.chunk, self.store = dict(labels or {}), chunk, store
        self.memory, self.traced = memory, traced
        columns = self.design.columns
        static = (static,) if isinstance(static, str) else static
        for name in static:
            if name not in columns:
                raise ValueError(f"`static` names {name!r}, but the axes are {list(columns)}.")
        objects = [name for name, column in columns.items() if column.labels is not None]
        self.static = (
            list(columns) if not traced else [n for n in columns if n in {*static, *objects}]
        )
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise ValueError(f"`chunk` must be a whole number of at least 1; got {chunk!r}.")
        self.takes_key = _check_parameters(function, list(columns))
        if self.takes_key and key is None:
            raise ValueError("The function takes a key: pass `key` to the sweep, e.g. jr.key(0).")
        self.groups = groups(self.design, self.static)

    def plan(self, *, devices: Any = None, measure: bool = False) -> list[GroupPlan]:
        """What the sweep will take, before it is run: chunks, memory and, when measured, time.

        Arguments:
            devices: as for `run`.
            measure: compute one chunk of each group, twice, and keep nothing but its time.
        """
        devices, plans = as_devices(devices), []
        if not self.traced:
            return [GroupPlan(g.labels, len(g.cells), 1, 0, 0, None) for g in self.groups]
        for group in self.groups:
            traced = self._trace(group)
            work = self._batches(group, traced, devices, None)
            batch, seconds = work.compiled.batch, None
            if measure:
                chunks = [group.cells[:batch]] * len(devices)
                for _ in range(2):
                    start = time.perf_counter()
                    work.finish(chunks, work.start(chunks))
                    seconds = time.perf_counter() - start
                assert seconds is not None
                seconds *= -(-len(group.cells) // (batch * len(devices)))
            size = len(group.cells) * _bytes(traced.specs)
            need = work.compiled.bytes
            plans.append(GroupPlan(group.labels, len(group.cells), batch, need, size, seconds))
        return plans

    def run(
        self,
        *,
        resume: bool = False,
        devices: Any = None,
        shard: tuple[int, int] | None = None,
        progress: bool = True,
    ) -> Any:
        """Compute all cells that are not in the store yet.

        Several processes may run the same sweep into one store: each chunk is computed by one of
        them. Under `jax.distributed` each process takes its share on its own devices.

        Arguments:
            resume: go on in a store that holds results of this sweep; damaged chunks are found by
                their checksums and computed again.
            devices: number of local devices, or the devices; default all local ones.
            shard: (i, n) for the i-th of n jobs on one store, i = 0 … n−1.
            progress: show cells per second and remaining time on a terminal.

        Returns: a labelled `xarray.Dataset`, axes of the design first; from a store it is read
        when used. `result` holds each cell's outcome as a code: its attributes say which.

        Errors: ValueError when the store holds another sweep, saying what differs, or when memory
        does not suffice; StoreError when the store cannot be written.
        """
        processes = jax.process_count()
        shared = shard is not None or processes > 1
        if shared and self.store is None:
            raise ValueError("Several processes share their results through a `store`: give one.")
        share = shard or (jax.process_index(), processes)
        if not 0 <= share[0] < share[1]:
            raise ValueError(f"`shard` is (i, n) with 0 <= i < n; got {share}.")
        devices = as_devices(devices)
        store = Memory() if self.store is None else Store(self.store)
        self._open(store, resume or shared, devices)
        if isinstance(store, Store):
            mine = {unit for unit in store.done() if unit[1] % share[1] == share[0]}
            for unit in store.damaged(mine):
                store.forget(*unit)
        with bar(self.design.size, progress) as advance:
            for index, group in enumerate(self.groups):
                self._run_group(store, index, group, devices, share, advance)
        if processes > 1 and shard is None:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("sweep")
        return dataset(store)

    def _open(self, store: Store | Memory, resume: bool, devices: Sequence[Any]) -> None:
        manifest, found = self._manifest(devices), store.manifest
        new = found is None
        found = store.claim(manifest) if found is None else found
        if differences := _differences(found, manifest):
            raise ValueError(
                f"The store {self.store} holds another sweep. "
                + " ".join(differences)
                + " Choose another store, or make the sweep the same."
            )
        if not new and not resume:
            raise ValueError(
                f"The store {self.store} already holds {len(store.done())} chunk(s) of this sweep: "
                f"go on with resume=True (--resume), or choose another store."
            )

    def _manifest(self, devices: Sequence[Any]) -> dict[str, Any]:
        function = self.function
        name = getattr(function, "__qualname__", type(function).__name__)
        key = None if self.key is None else np.asarray(jr.key_data(self.key)).tolist()
        flags = os.getenv("XLA_FLAGS", "").split()
        same: dict[str, Any] = {
            "format": FORMAT,
            "function": f"{getattr(function, '__module__', '')}.{name}",
            "design": self.design.to_json(),
            "static": self.static,
            "key": key,
            "dtype": str(np.dtype(jax.numpy.result_type(float))),
            "platform": devices[0].platform,
            "compiler": sorted(f for f in flags if "device_count" not in f),
            "versions": {"jax": jax.__version__, "jaxlib": metadata.version("jaxlib")},
        }
        text = json.dumps(same, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return same | {"hash": digest, "labels": self.labels, "chunk": self.chunk}

    def _trace(self, group: Group) -> Traced:
        numbers = {n: c.values for n, c in self.design.columns.items() if n not in self.static}
        traced = trace(self.function, group.statics, numbers, takes_key=self.takes_key)
        taken = {axis.name for axis in self.design.axes} | set(self.design.columns)
        dims = {dim for spec in traced.specs.values() for dim in spec.dims}
        if clash := taken & (set(traced.specs) | dims):
            raise ValueError(f"Axes and outputs have the same names: {', '.join(sorted(clash))}.")
        return traced

    def _batches(
        self, group: Group, traced: Traced, devices: Sequence[Any], fixed: int | None
    ) -> Batches:
        budget = int(SHARE * available(devices)) if self.memory is None else self.memory
        if self.store is None and (need := self.design.size * _bytes(traced.specs)) > budget:
            raise ValueError(
                f"The results take {readable(need)}, of which {readable(budget)} may be held in "
                f"memory: give a `store`, or keep less (record=n, summarise)."
            )
        wanted = fixed or self.chunk
        platform, cells = devices[0].platform, len(group.cells)
        most = -(-cells // LEAST_CHUNKS) if platform == "cpu" else cells
        batch = wanted or min(most, LARGEST.get(platform, LARGEST["cpu"]))
        parameters = len(self.design.columns)
        compiled = fit(traced, devices, parameters, batch, budget, fixed=wanted is not None)
        key = jr.key(0) if self.key is None else self.key
        return Batches(self.design, traced, compiled, key)

    def _run_group(
        self,
        store: Store | Memory,
        index: int,
        group: Group,
        devices: Sequence[Any],
        share: tuple[int, int],
        advance: Callable[[int], None],
    ) -> None:
        if not self.traced:
            key = jr.key(0) if self.key is None else self.key
            work = OneByOne(group, self.function, key, self.takes_key, self.design)
            compute(store, index, group, work, 1, share, advance, None)
            return
        traced, record, work = self._trace(group), store.group(index), None
        if record is None:
            work = self._batches(group, traced, devices, None)
            fields = record_of(group, work.compiled.batch, traced.specs, traced.digest)
            record = store.add_group(index, fields)
        if record["program"] != traced.digest:
            where = f" for {group.labels}" if group.labels else ""
            raise ValueError(
                f"The store {self.store} holds another sweep. The function, what it uses or the "
                f"package computes something else now{where}. Choose another store."
            )
        store.add_group(index, record)
        chunk = record["chunk"]
        units = units_of(group, chunk, share)
        if all(store.is_done(index, unit) for unit in units):
            advance(sum(min(chunk, len(group.cells) - unit * chunk) for unit in units))
            return
        if work is None or work.compiled.batch != chunk:
            work = self._batches(group, traced, devices, chunk)
        compute(store, index, group, work, chunk, share, advance, record)


def sweep(cells: Any, function: Callable[..., Any], **options: Any) -> Any:
    """Run a function over many cells: `Sweep(cells, function, …).run(…)`.

    Arguments:
        cells, function: as for `Sweep`.
        options: of `Sweep` (key, static, labels, chunk, store, memory, traced) and of its `run`
            (resume, devices, shard, progress).

    Returns: a labelled `xarray.Dataset`, axes of the design first.
    """
    names = ("resume", "devices", "shard", "progress")
    running = {name: options.pop(name) for name in names if name in options}
    return Sweep(cells, function, **options).run(**running)


def as_devices(devices: Any) -> list[Any]:
    """Local devices: all, so many, or the given ones.

    Errors: ValueError when there are not as many.
    """
    local = jax.local_devices()
    if devices is None:
        return local
    if not isinstance(devices, int):
        return list(devices)
    if not 1 <= devices <= len(local):
        raise ValueError(
            f"There are {len(local)} local device(s), but {devices} were asked for. On a CPU start "
            f"with XLA_FLAGS=--xla_force_host_platform_device_count={devices}."
        )
    return local[:devices]


def _bytes(specs: Mapping[str, Spec]) -> int:
    return sum(spec.bytes for spec in specs.values() if not spec.coordinate)


def _check_parameters(function: Callable[..., Any], names: list[str]) -> bool:
    """Whether the function takes a key; ValueError unless it takes just these parameters."""
    parameters = inspect.signature(function).parameters
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in parameters or name == "key":
                close = difflib.get_close_matches(name, parameters, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(
                    f"The function has no parameter {name!r}.{hint} It takes "
                    f"{', '.join(p for p in parameters if p != 'key')}."
                )
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters.values() if p.kind in plain and p.default is p.empty]
    if missing := [n for n in needed if n not in (*names, "key")]:
        raise ValueError(f"The function needs values for {', '.join(missing)}: add axes for them.")
    return "key" in parameters


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two sweeps, in sentences."""
    out = []
    before = {name: v for axis in old["design"] for name, v in axis["columns"].items()}
    after = {name: v for axis in new["design"] for name, v in axis["columns"].items()}
    for name in dict.fromkeys([*before, *after]):
        # as text: NaN is the same NaN
        if json.dumps(before.get(name)) != json.dumps(after.get(name)):
            out.append(
                f"Axis {name!r}: {_some(before.get(name))} there, {_some(after.get(name))} now."
            )
    if not out and json.dumps(old["design"]) != json.dumps(new["design"]):
        out.append("The axes are combined in another way or order.")
    for name in new:
        if name in ("design", "hash", "labels") or (name == "chunk" and new[name] is None):
            continue
        if old.get(name) != new[name]:
            out.append(f"{name}: {old.get(name)} there, {new[name]} now.")
    return out


def _some(values: Any) -> str:
    if values is None:
        return "absent"
    text = re.sub(r"\s+", " ", str(values))
    return f"{len(values)} value(s) {text if len(text) <= 60 else text[:50] + '…'}"
