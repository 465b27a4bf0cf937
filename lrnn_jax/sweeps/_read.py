"""Reading a sweep: one labelled dataset over the axes of its design. Imports xarray."""

import bisect
import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from lrnn_jax.sweeps._grid import Design, groups
from lrnn_jax.sweeps._outputs import OUTCOMES, Spec, check_names, fill_of
from lrnn_jax.sweeps._store import AbstractStore, StoreError, specs_of


@dataclass(frozen=True)
class Part:
    """One group of cells: where its cells are, and what it holds."""

    index: int
    cells: np.ndarray
    chunk: int
    specs: dict[str, Spec]
    positions: dict[str, list[Any]]


class Cells:
    """Where in the store each cell of a design is."""

    def __init__(self, parts: list[Part], size: int):
        self.parts = parts
        self.chunk = np.full(size, -1, np.int32)  # counted over all groups
        self.row = np.zeros(size, np.int32)  # in its chunk
        self.first = [0]  # chunk of each group, in the same count
        for part in parts:
            rows = np.arange(len(part.cells), dtype=np.int32)
            self.row[part.cells] = rows % part.chunk
            self.chunk[part.cells] = self.first[-1] + rows // part.chunk
            self.first.append(self.first[-1] - (-len(rows) // part.chunk))

    def chunks(self, cells: np.ndarray) -> Iterator[tuple[Part, int, np.ndarray]]:
        """The chunks that some cells are in: (group, number in it, places among these cells)."""
        numbers = self.chunk[cells]
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-2))
        for start, stop in itertools.pairwise([*starts.tolist(), len(order)]):
            number = int(numbers[order[start]])
            if number >= 0:
                part = bisect.bisect_right(self.first, number) - 1
                yield self.parts[part], number - self.first[part], order[start:stop]


class CellArray(BackendArray):
    """A variable over the axes of a design and its own (with all their `places`), read chunk by
    chunk. The chunks known to be damaged are shared by the variables of a dataset."""

    def __init__(
        self,
        store: AbstractStore,
        design: Design,
        cells: Cells,
        name: str,
        places: Mapping[str, list[Any]],
        damaged: set[tuple[int, int]],
    ):
        self.store, self.cells, self.name, self.damaged = store, cells, name, damaged
        mine = [part for part in cells.parts if name in part.specs]
        dims = mine[0].specs[name].dims
        self.grid, self.own = design.shape, tuple(len(places[dim]) for dim in dims)
        self.shape = (*self.grid, *self.own)
        self.dtype = np.result_type(*(part.specs[name].dtype for part in mine))
        at = {dim: {place: i for i, place in enumerate(places[dim])} for dim in dims}
        self.targets = {  # where a group's positions are among all
            part.index: [np.array([at[dim][x] for x in part.positions[dim]], int) for dim in dims]
            for part in mine
            if any(part.positions[dim] != places[dim] for dim in dims)
        }

    def __getitem__(self, key: Any) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        wanted = [np.arange(n)[k] for n, k in zip(self.shape, key)]
        single = tuple(i for i, w in enumerate(wanted) if w.ndim == 0)
        wanted = [np.atleast_1d(w) for w in wanted]
        grid, own = wanted[: len(self.grid)], wanted[len(self.grid) :]
        cells = np.ravel_multi_index(np.ix_(*grid), self.grid).ravel()
        values = self._read(cells, own).reshape(tuple(map(len, wanted)))
        return np.squeeze(values, axis=single)

    def _read(self, cells: np.ndarray, own: list[np.ndarray]) -> np.ndarray:
        """The values in some cells, at some positions along the variable's own axes."""
        fill, lost = fill_of(self.dtype), []
        values = np.full((len(cells), *map(len, own)), fill, self.dtype)
        for part, unit, mine in self.cells.chunks(cells):
            block = self._block(part, unit, lost)
            if block is None:
                continue
            block = block[self.cells.row[cells[mine]]]
            if part.index in self.targets:
                joined = np.full((len(mine), *self.own), fill, self.dtype)
                joined[np.ix_(np.arange(len(mine)), *self.targets[part.index])] = block
                block = joined
            values[mine] = block[np.ix_(np.arange(len(block)), *own)] if own else block
        if lost:
            shown = ", ".join(f"{index}-{unit:06d}" for index, unit in lost[:10])
            more = ", …" if len(lost) > 10 else ""
            warnings.warn(
                f"{len(lost)} chunk(s) of this sweep are damaged: {shown}{more} (group-chunk, as "
                f"in the store's folder done/). Their cells count as not run. Run the sweep with "
                f"resume=True (--resume) to compute them again.",
                stacklevel=2,
            )
        return values

    def _block(self, part: Part, unit: int, lost: list[tuple[int, int]]) -> np.ndarray | None:
        """The values of a chunk; None for one that is not complete, or damaged."""
        place = part.index, unit
        if self.name not in part.specs or place in self.damaged or not self.store.is_done(*place):
            return None
        block = self.store.read(*place, self.name)
        if block is None:
            self.damaged.add(place)
            lost.append(place)
        return block


def dataset(store: AbstractStore) -> xr.Dataset:
    """The dataset of a store, read when it is used."""
    manifest = store.document("manifest") or {}
    design, labels = Design.from_json(manifest["design"]), manifest["labels"]
    parts, damaged = _parts(store, design, manifest["static"]), set()
    places, cells = _union(parts), Cells(parts, design.size)
    variables, coordinates = {}, {}
    for axis in design.axes:
        for name, column in axis.columns.items():
            values = np.asarray(column.shown())
            dims = (axis.name, *(f"{name}_{i}" for i in range(1, values.ndim)))
            coordinates[name] = (dims, values, _label(name, labels))
    all_specs = [spec for part in parts for spec in part.specs.values()]
    for dim in {dim for spec in all_specs for dim in (spec.labels or {}).keys() & {*spec.dims}}:
        coordinates[dim] = (dim, np.array(places[dim], dtype=str))
    for name, spec in _specs(parts).items():
        if not spec.coordinate:
            dims = (*(axis.name for axis in design.axes), *spec.dims)
            array = CellArray(store, design, cells, name, places, damaged)
            data = indexing.LazilyIndexedArray(array)
            variables[name] = xr.Variable(dims, data, _attributes(name, spec, labels))
        elif name in places:
            coordinates[name] = (name, np.array(places[name]), _attributes(name, spec, {}))
    names = ("function", "hash", "dtype")
    attributes = {name: manifest[name] for name in names} | manifest["versions"]
    return xr.Dataset(variables, coordinates, attributes)


def _parts(store: AbstractStore, design: Design, static: list[str]) -> list[Part]:
    parts = []
    for group in groups(design, static):
        record = store.document(f"groups/{group.index}")
        if record is None:
            continue
        specs, name = specs_of(record), f"groups/{group.index}"
        named = {dim: names for x in specs.values() for dim, names in (x.labels or {}).items()}
        named = (store.document(f"{name}.coordinates") or {}) | named
        axes = [axis for spec in specs.values() for axis in zip(spec.dims, spec.shape)]
        positions = {dim: list(named.get(dim, range(size))) for dim, size in axes}
        try:
            check_names(specs, design.names)
            if record["cells"] != len(group.cells):
                raise ValueError(f"{record['cells']} cells in place of {len(group.cells)}")
            if wrong := [dim for dim, size in axes if len(positions[dim]) != size]:
                raise ValueError(f"positions along {wrong[0]!r} differ in number")
        except ValueError as error:
            raise StoreError(
                f"The store is damaged, {name}.json does not fit {name}.coordinates.json or "
                f"manifest.json ({error}): restore them, or start a new store."
            ) from error
        parts.append(Part(group.index, group.cells, record["chunk"], specs, positions))
    return parts


def _specs(parts: list[Part]) -> dict[str, Spec]:
    """The variables of all groups."""
    specs: dict[str, Spec] = {}
    for part in parts:
        for name, spec in part.specs.items():
            if specs.setdefault(name, spec).dims != spec.dims:
                raise ValueError(
                    f"The output {name!r} has axes {specs[name].dims} in some groups of cells and "
                    f"{spec.dims} in others: give it another name there."
                )
    return specs


def _union(parts: list[Part]) -> dict[str, list[Any]]:
    """All positions along each dimension of the variables, over the groups."""
    union: dict[str, list[Any]] = {}
    for part in parts:
        for dim, here in part.positions.items():
            known = union.setdefault(dim, list(here))
            if known != here:
                together = list(dict.fromkeys([*known, *here]))
                words = any(isinstance(place, str) for place in together)
                union[dim] = together if words else sorted(together)
    return union


def _attributes(name: str, spec: Spec, labels: Mapping[str, Any]) -> dict[str, Any]:
    own = {"long_name": spec.long_name, "units": spec.units}
    attributes = {key: text for key, text in own.items() if text} | _label(name, labels)
    if name == "result":
        attributes |= {"flag_values": [*range(len(OUTCOMES)), -1]}
        attributes |= {"flag_meanings": " ".join((*OUTCOMES, "not_run"))}
    return attributes


def _label(name: str, labels: Mapping[str, Any]) -> dict[str, str]:
    return dict(zip(("long_name", "units"), labels.get(name, ())))
