"""Sweeps: one function over many cells, compiled once, in chunks, on any devices, resumable."""

import functools
import os
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.random as jr
import numpy as np

from lrnn_jax._checks import component, extra, flag, names, one_key, whole_or_none
from lrnn_jax._checks import function as as_function
from lrnn_jax._devices import local_devices
from lrnn_jax.sweeps._arguments import as_labels, as_share, check_parameters, name_of
from lrnn_jax.sweeps._documents import manifest_hash
from lrnn_jax.sweeps._folder import Store, as_path
from lrnn_jax.sweeps._grid import Group, as_design, groups
from lrnn_jax.sweeps._identity import differences, function_digest
from lrnn_jax.sweeps._pipeline import Batches, Job, OneByOne, Part, Stopped, progress_bar
from lrnn_jax.sweeps._plan import GroupPlan, Traced, budget, fit, readable, trace
from lrnn_jax.sweeps._shards import scatter
from lrnn_jax.sweeps._store import AbstractStore, MemoryStore, StoreError, group_record

FORMAT = 1


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
        chunk: cells at a time on each device; default: what fits into memory, at most 512 on a
            CPU. The last bits of results may depend on it; a store keeps it.
        store: folder for results, complete after any interruption; None: hold them in memory.
        memory: bytes that each device may use; default half of what is free.
        traced: False calls the function on the host, cell by cell, untraced.
        name: what the store calls the function, and knows it by; default its module's and its own.

    A store takes the results of one sweep only. It knows a traced function by its program, and
    host callbacks and functions that are not traced by their source, with defaults, closure,
    partial arguments and the plain values of their module that they use; those that are not traced
    also by this package's version. It cannot see changes of functions without source, and of code
    that a callback or an untraced function calls: take a new store for these. Callbacks of a script
    have no source in a job of an executor: keep to jobs in one store, or put them into a module.

    Errors: ValueError for parameters that the function does not take, or lacks.

    Source: ours.

    >>> job = lrnn.Sweep({"x": [1.0, 2.0, 3.0]}, lambda x: {"y": x**2})
    >>> job.run(progress=False).y.values
    array([1., 4., 9.])
    """

    def __init__(
        self,
        cells: Any,
        function: Any,
        *,
        key: Any = None,
        static: Any = (),
        labels: Any = None,
        chunk: Any = None,
        store: Any = None,
        memory: Any = None,
        traced: Any = True,
        name: Any = None,
    ):
        self.design = as_design(cells)
        self.function = as_function(function, "function", "the parameters by name")
        self.key = None if key is None else one_key(key)
        self.labels = as_labels(labels or {})
        self.store = None if store is None else as_path(store, "store")
        self.traced = flag(traced, "traced")
        self.chunk = whole_or_none(chunk, "chunk", "what fits into memory")
        self.memory = whole_or_none(memory, "memory", "half of what is free")
        self.name = component(name_of(function) if name is None else name, str, "name", "'rates'")
        columns = self.design.columns
        asked = (static,) if isinstance(static, str) else static
        asked = set(names(list(asked) if isinstance(asked, set) else asked, "static", columns))
        asked |= {name for name, column in columns.items() if column.labels is not None}
        self.static = [name for name in columns if name in asked or not traced]
        self.takes_key = check_parameters(function, list(columns))
        if self.takes_key and key is None:
            raise ValueError("The function takes a key: pass `key` to the sweep, e.g. jr.key(0).")
        self.groups = groups(self.design, self.static)

    def plan(self, *, devices: Any = None, measure: Any = False) -> list[GroupPlan]:
        """What the sweep will take, before it is run: chunks, memory and, when measured, time.

        Arguments:
            devices: as for `run`.
            measure: compute one chunk of each group, twice, and keep nothing but its time.
        """
        devices, measure, plans = local_devices(devices), flag(measure, "measure"), []
        if not self.traced:
            return [GroupPlan(g.labels, len(g.cells), 1, 0, 0, None) for g in self.groups]
        for group in self.groups:
            worker = self._batches(group, self._trace(group), devices, self.chunk)
            cells, batch, seconds = len(group.cells), worker.compiled.batch, None
            if measure:
                chunks = [group.part(0, batch)] * worker.width
                worker.start(chunks)()
                start = time.perf_counter()
                worker.start(chunks)()
                seconds = -(-cells // (batch * worker.width)) * (time.perf_counter() - start)
            needs = worker.compiled.bytes, cells * worker.traced.bytes
            plans.append(GroupPlan(group.labels, cells, batch, *needs, seconds))
        return plans

    def run(
        self,
        *,
        resume: Any = False,
        devices: Any = None,
        shard: Any = None,
        executor: Any = None,
        shards: Any = None,
        stop: Any = None,
        progress: Any = True,
    ) -> Any:
        """Compute all cells that are not in the store yet.

        Several processes may run the same sweep into one store: each chunk is computed by one of
        them. Under `jax.distributed` each process takes its share on its own devices.

        Arguments:
            resume: go on in a store that holds results of this sweep; damaged chunks are found by
                their checksums and computed again.
            devices: number of local devices, or the devices; default all local ones.
            shard: (i, n) for the i-th of n jobs on one store, i = 0 … n−1.
            executor, shards: what runs n jobs, one a shard, by its `submit(function, *arguments)`:
                `concurrent.futures`, submitit, dask, executorlib. Processes must not be forked.
            stop: asked before each chunk; once True, chunks in work are completed and the run ends.
            progress: show cells per second and remaining time on a terminal.

        Returns: a labelled `xarray.Dataset`, axes of the design first; from a store it is read
        when used. `result` holds each cell's outcome as a code: its attributes say which.

        Errors: ValueError when the store holds another sweep, saying what differs, or when memory
        does not suffice; StoreError when the store cannot be read or written; Stopped.
        """
        resume, progress = flag(resume, "resume"), flag(progress, "progress")
        if stop is not None:
            as_function(stop, "stop", "nothing", ", or None")
        if executor is None and shards is None:
            return self._compute(resume, devices, shard, stop or (lambda: False), progress)
        if shard is not None or stop is not None:
            raise ValueError(
                "`shard` and `stop` are for one process, `executor` and `shards` for several: give "
                "the ones or the others."
            )
        return self._scatter(executor, shards, {"resume": resume, "devices": devices}, progress)

    def _scatter(self, executor: Any, shards: Any, options: dict[str, Any], progress: bool) -> Any:
        """Compute in the jobs of an executor. What can be known to fail does so before."""
        if self.store is None:
            raise ValueError("Several processes share their results through a `store`: give one.")
        self._check_new(Store(self.store), options["resume"])
        if self.traced:
            self._trace(self.groups[0])
        else:
            _ = self._digest  # of its source, which jobs may not have
        scatter(self, executor, shards, options, progress)
        return _dataset(Store(self.store))

    def _compute(
        self, resume: bool, devices: Any, shard: Any, stop: Callable[[], bool], progress: bool
    ) -> Any:
        """Compute in this process."""
        processes = jax.process_count()
        shared = shard is not None or processes > 1
        if shared and self.store is None:
            raise ValueError("Several processes share their results through a `store`: give one.")
        share = (jax.process_index(), processes) if shard is None else as_share(shard)
        devices = local_devices(devices)
        manifest = self._manifest(devices[0].platform)
        # what can be known to fail does so before there is a store
        traced = {0: self._trace(self.groups[0])} if self.traced else {}
        store, stopped = self._open(manifest, resume or shared, share), None
        with progress_bar(self.design.size, progress) as advance:
            part = Part(share, advance, stop)
            try:
                held = []
                for group in self.groups:
                    job = self._job(group, traced.pop(group.index, None), store, devices, part)
                    if job is not None and not job.run():
                        held.append(job)
                while held:  # by other processes, all that is left
                    time.sleep(0.2)
                    held = [job for job in held if not job.run()]
            except Stopped as error:
                stopped = error
        if processes > 1 and shard is None:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("sweep")
        if stopped is not None:
            raise stopped
        data = _dataset(store)
        return data.load() if self.store is None else data

    def _open(
        self, manifest: dict[str, Any], resume: bool, share: tuple[int, int]
    ) -> AbstractStore:
        """The store, seen to be this sweep's, without damaged chunks."""
        if self.store is None:
            store = MemoryStore()
            store.keep("manifest", manifest)
            return store
        store = Store(self.store)
        new = store.manifest is None
        there = store.keep("manifest", manifest)
        if sentences := differences(there, manifest):
            raise ValueError(
                f"The store {self.store} holds another sweep. "
                + " ".join(sentences)
                + " Choose another store, or make the sweep the same."
            )
        if not new:
            self._check_new(store, resume)
        self._check_program(there.get("program"), manifest["program"])
        for place in store.damaged(share):
            store.discard(place)
        return store

    def _check_new(self, store: Store, resume: bool) -> None:
        if store.manifest is not None and not resume:
            raise ValueError(
                f"The store {self.store} already holds {len(store.done())} chunk(s) of this sweep: "
                f"go on with resume=True (--resume), or choose another store."
            )

    def _manifest(self, platform: str) -> dict[str, Any]:
        others = ("device_count", *(["xla_cpu"] if platform != "cpu" else []))  # change no numbers
        flags = os.getenv("XLA_FLAGS", "").split()
        same: dict[str, Any] = {
            "format": FORMAT,
            "function": self.name,
            "design": self.design.to_json(),
            "static": self.static,
            "key": None if self.key is None else np.asarray(jr.key_data(self.key)).tolist(),
            "dtype": str(np.dtype(jax.numpy.result_type(float))),
            "platform": platform,
            "compiler": sorted(f for f in flags if not any(other in f for other in others)),
            "versions": {"jax": jax.__version__, "jaxlib": metadata.version("jaxlib")},
        }
        # what is traced is known by the program of each group of cells
        program = "" if self.traced else self._digest
        about = {"labels": self.labels, "chunk": self.chunk, "program": program}
        return same | {"hash": manifest_hash(same)} | about

    def _trace(self, group: Group) -> Traced:
        return trace(self.function, self.design, group.statics, takes_key=self.takes_key)

    def _batches(
        self, group: Group, traced: Traced, devices: Sequence[Any], wanted: int | None
    ) -> Batches:
        allowed, need = budget(devices, self.memory), self.design.size * traced.bytes
        if self.store is None and need > allowed:
            raise ValueError(
                f"The results take {readable(need)}, of which {readable(allowed)} may be held in "
                f"memory: give a `store`, or keep less (record=n, summarise)."
            )
        compiled = fit(traced, devices, allowed, len(group.cells), wanted)
        key = jr.key(0) if self.key is None else self.key
        return Batches(
            design=self.design,
            traced=traced,
            compiled=compiled,
            key=key,
            identity=traced.digest,
            width=compiled.mesh.size,
        )

    def _job(
        self,
        group: Group,
        traced: Traced | None,
        store: AbstractStore,
        devices: Sequence[Any],
        part: Part,
    ) -> Job | None:
        """What is to be done for a group of cells; None where all is there."""
        name = f"groups/{group.index}"
        if (record := store.document(name)) is None:
            part.check()  # before it is compiled
        if not self.traced:
            self._check_program(record["program"] if record else None, self._digest, group)
            key = self.key if self.takes_key else None
            known = {"design": self.design, "group": group, "function": self.function}
            worker = OneByOne(**known, key=key, identity=self._digest, width=1)
            return Job(store, group, worker, 1, part)
        traced, worker = traced or self._trace(group), None
        if record is None:
            worker = self._batches(group, traced, devices, self.chunk)
            record = group_record(group, worker.compiled.batch, traced.specs, traced.digest)
            record = store.keep(name, record)  # another process may have been faster
        self._check_program(record["program"], traced.digest, group)
        chunk = record["chunk"]
        units = group.units(chunk, part.share)
        if all(store.is_done(group.index, unit) for unit in units):
            part.advance(sum(len(group.part(unit, chunk)) for unit in units))
            return None
        part.check()
        if worker is None or worker.compiled.batch != chunk:
            worker = self._batches(group, traced, devices, chunk)
        return Job(store, group, worker, chunk, part)

    @functools.cached_property
    def _digest(self) -> str:
        return function_digest(self.function)

    def _check_program(self, there: str | None, now: str, group: Group | None = None) -> None:
        # stores of earlier versions say nothing about functions that were not traced
        if there not in (None, "", now):
            of_group = f" for {group.labels}" if group is not None and group.labels else ""
            raise ValueError(
                f"The store {self.store} holds another sweep. The function, what it uses or the "
                f"package computes something else now{of_group}. Choose another store."
            )


def sweep(cells: Any, function: Any, **options: Any) -> Any:
    """Run a function over many cells: `Sweep(cells, function, …).run(…)`.

    Arguments:
        cells, function: as for `Sweep`.
        options: of `Sweep` (key, static, labels, chunk, store, memory, traced, name), of its `run`
            (resume, devices, shard, executor, shards, stop, progress).

    Returns: a labelled `xarray.Dataset`, axes of the design first.

    >>> def run(lr):
    ...     return lrnn.learn(reduction, task, lrnn.Descent(lr), epochs=10, throw=False)
    ...
    >>> data = lrnn.sweep({"lr": [0.01, 0.05]}, run, progress=False)
    >>> data.loss.dims
    ('lr', 'epoch')
    """
    of_run = ("resume", "devices", "shard", "executor", "shards", "stop", "progress")
    running = {name: options.pop(name) for name in of_run if name in options}
    return Sweep(cells, function, **options).run(**running)


def open_sweep(path: Any) -> Any:
    """The results in a store as one labelled `xarray.Dataset`, read when they are used.

    Cells that are not computed yet have `result` −1, and NaN elsewhere (whole numbers: −1). What
    is read is compared with its checksum: a damaged chunk counts as not computed, with a warning
    that names it. `result`, read alone, knows of the chunks whose files are missing and of those
    found damaged so far; `Store(path).damaged()` looks at all.

    Arguments:
        path: the store's folder.

    Errors: StoreError when it holds no sweep, or a damaged one that cannot be read; ImportError
    naming the extra for xarray or zarr.

    >>> data = lrnn.sweep({"x": [1.0, 2.0]}, lambda x: {"y": x**2}, store="opened", progress=False)
    >>> bool((sweeps.open_sweep("opened").y == data.y).all())
    True
    """
    store = Store(path)
    if store.manifest is None:
        raise StoreError(f"{path} holds no sweep: it has no manifest.json.")
    return _dataset(store)


def _dataset(store: AbstractStore) -> Any:
    extra("xarray", "Sweeps need")
    from lrnn_jax.sweeps._read import dataset

    return dataset(store)
