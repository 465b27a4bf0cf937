"""From stored chunks to one labelled dataset over the axes of the design."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnn_jax.sweeps._grid import Design, groups
from lrnn_jax.sweeps._outputs import OUTCOMES, Spec, fill_of
from lrnn_jax.sweeps._store import Memory, Store, StoreError, specs_of


@dataclass(frozen=True)
class _Part:
    """One group of cells: where its cells are, and what it holds."""

    index: int
    cells: np.ndarray
    chunk: int
    specs: dict[str, Spec]
    positions: dict[str, list[Any]]


def open_sweep(path: str | os.PathLike) -> Any:
    """The results in a store as one labelled `xarray.Dataset`, read when they are used.

    Cells that are not computed yet have `result` −1, and NaN elsewhere (whole numbers: −1).

    Arguments:
        path: the store's folder.

    Errors: StoreError when it holds no sweep; ImportError naming the extra for xarray or zarr.
    """
    if not os.path.exists(os.path.join(path, "manifest.json")):
        raise StoreError(f"{path} holds no sweep: it has no manifest.json.")
    return dataset(Store(path))


def dataset(store: Store | Memory) -> Any:
    """The dataset of a store; that of results in memory is in memory."""
    try:
        import xarray as xr

        from lrnn_jax.sweeps._lazy import lazy
    except ImportError as error:
        raise ImportError("Sweeps need xarray: pip install 'lrnn_jax[sweep]'.") from error
    manifest = store.manifest
    assert manifest is not None
    design = Design.from_json(manifest["design"])
    labels = manifest["labels"]
    parts = _parts(store, design, manifest["static"])
    places = _union(parts)
    coordinates = _coordinates(design, labels) | _dim_coordinates(parts, places)
    variables = {}
    for name in dict.fromkeys(name for part in parts for name in part.specs):
        mine = [part for part in parts if name in part.specs]
        spec = mine[0].specs[name]
        if spec.coordinate:
            continue
        if other := {part.specs[name].dims for part in mine} - {spec.dims}:
            raise ValueError(
                f"The output {name!r} has axes {spec.dims} in some groups of cells and "
                f"{other.pop()} in others: give it another name there."
            )
        shape = tuple(len(places[dim]) for dim in spec.dims)
        dtype = np.result_type(*(part.specs[name].dtype for part in mine))
        dims = (*(axis.name for axis in design.axes), *spec.dims)
        read = _reader(store, mine, name, places, design.size, dtype)
        full = (*design.shape, *shape)
        data = lazy(read, full, len(design.shape), dtype)
        attributes = _attributes(name, spec, labels)
        variables[name] = (dims, data, attributes)
    data = xr.Dataset(
        {name: xr.Variable(*variable) for name, variable in variables.items()},
        coordinates,
        {"function": manifest["function"], "hash": manifest["hash"], "dtype": manifest["dtype"]}
        | manifest["versions"],
    )
    return data.load() if isinstance(store, Memory) else data


def _parts(store: Store | Memory, design: Design, static: list[str]) -> list[_Part]:
    parts = []
    for index, group in enumerate(groups(design, static)):
        record = store.group(index)
        if record is None:
            continue
        specs = specs_of(record)
        found = store.coordinates(index)
        positions: dict[str, list[Any]] = {}
        for name, spec in specs.items():
            for dim, size in zip(spec.dims, spec.shape):
                labels = (spec.labels or {}).get(dim)
                here = list(labels) if labels else found.get(dim, list(range(size)))
                if len(positions.setdefault(dim, here)) != size:
                    raise ValueError(
                        f"The output {name!r} has {size} positions along {dim!r}, where others "
                        f"have {len(positions[dim])}: give its axis another name."
                    )
        parts.append(_Part(index, group.cells, record["chunk"], specs, positions))
    return parts


def _union(parts: list[_Part]) -> dict[str, list[Any]]:
    """All positions along each dimension of the variables, over the groups."""
    out: dict[str, list[Any]] = {}
    for part in parts:
        for dim, here in part.positions.items():
            known = out.setdefault(dim, list(here))
            if known != here:
                together = list(dict.fromkeys([*known, *here]))
                words = any(isinstance(place, str) for place in together)
                out[dim] = together if words else sorted(together)
    return out


def _reader(
    store: Store | Memory,
    parts: list[_Part],
    name: str,
    places: Mapping[str, list[Any]],
    size: int,
    dtype: np.dtype,
) -> Callable[[np.ndarray, Callable[[np.ndarray], np.ndarray]], np.ndarray]:
    """A function that reads a variable in given cells, chunk by chunk."""
    shape, fill = tuple(len(places[dim]) for dim in parts[0].specs[name].dims), fill_of(dtype)
    owner, row = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    for number, part in enumerate(parts):
        owner[part.cells], row[part.cells] = number, np.arange(len(part.cells), dtype=np.int32)

    def read(cells: np.ndarray, pick: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        empty = pick(np.full((1, *shape), fill, dtype))
        out = np.repeat(empty, len(cells), axis=0)
        for number, part in enumerate(parts):
            mine = np.flatnonzero(owner[cells] == number)
            if not mine.size:
                continue
            rows = row[cells[mine]]
            dims = part.specs[name].dims
            targets = [np.array([_at(places[d])[x] for x in part.positions[d]], int) for d in dims]
            source = store.array(part.index, name)
            for unit in np.unique(rows // part.chunk).tolist():
                start = unit * part.chunk
                here = np.flatnonzero(rows // part.chunk == unit)
                block = np.asarray(source[start : start + part.chunk])[rows[here] - start]
                full = np.full((len(here), *shape), fill, dtype)
                full[np.ix_(np.arange(len(here)), *targets)] = block
                out[mine[here]] = pick(full)
        return out

    return read


def _at(places: list[Any]) -> dict[Any, int]:
    return {place: position for position, place in enumerate(places)}


def _coordinates(design: Design, labels: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for axis in design.axes:
        for name, column in axis.columns.items():
            values = np.asarray(column.shown())
            dims = (axis.name, *(f"{name}_{i}" for i in range(1, values.ndim)))
            out[name] = (dims, values, _label(name, labels))
    return out


def _dim_coordinates(parts: list[_Part], places: Mapping[str, list[Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for part in parts:
        for name, spec in part.specs.items():
            for dim in (spec.labels or {}).keys() & set(spec.dims):
                out[dim] = (dim, np.array(places[dim], dtype=str))
            if spec.coordinate and name in places:
                out[name] = (name, np.array(places[name]), _attributes(name, spec, {}))
    return out


def _attributes(name: str, spec: Spec, labels: Mapping[str, Any]) -> dict[str, Any]:
    own = {"long_name": spec.long_name, "units": spec.units}
    out = {key: text for key, text in own.items() if text} | _label(name, labels)
    if name == "result":
        out |= {"flag_values": [*range(len(OUTCOMES)), -1]}
        out |= {"flag_meanings": " ".join((*OUTCOMES, "not_run"))}
    return out


def _label(name: str, labels: Mapping[str, Any]) -> dict[str, str]:
    return dict(zip(("long_name", "units"), labels.get(name, ())))
