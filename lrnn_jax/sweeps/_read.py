"""Reading a sweep: from stored chunks to one labelled dataset over the axes of the design."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnn_jax.sweeps._folder import Store
from lrnn_jax.sweeps._grid import Design, groups
from lrnn_jax.sweeps._outputs import OUTCOMES, Spec
from lrnn_jax.sweeps._store import AbstractStore, StoreError, specs_of


@dataclass(frozen=True)
class Part:
    """One group of cells: where its cells are, and what it holds."""

    index: int
    cells: np.ndarray
    chunk: int
    specs: dict[str, Spec]
    positions: dict[str, list[Any]]


def open_sweep(path: str | os.PathLike) -> Any:
    """The results in a store as one labelled `xarray.Dataset`, read when they are used.

    Cells that are not computed yet have `result` −1, and NaN elsewhere (whole numbers: −1). What
    is read is compared with its checksum: a damaged chunk counts as not computed, with a warning
    that names it. `result`, read alone, knows of the chunks whose files are missing and of those
    found damaged so far; `Store(path).damaged()` looks at all.

    Arguments:
        path: the store's folder.

    Errors: StoreError when it holds no sweep, or a damaged one that cannot be read; ImportError
    naming the extra for xarray or zarr.
    """
    store = Store(path)
    if store.manifest is None:
        raise StoreError(f"{path} holds no sweep: it has no manifest.json.")
    return dataset(store)


def dataset(store: AbstractStore) -> Any:
    """The dataset of a store, read when it is used."""
    try:
        import xarray as xr
        from xarray.core.indexing import LazilyIndexedArray

        from lrnn_jax.sweeps._lazy import CellArray, Cells
    except ImportError as error:
        raise ImportError("Sweeps need xarray: pip install 'lrnn_jax[sweep]'.") from error
    manifest = store.manifest or {}
    design, labels = Design.from_json(manifest["design"]), manifest["labels"]
    parts = _parts(store, design, manifest["static"])
    places, cells = _union(parts), Cells(parts, design.size)
    damaged: set[tuple[int, int]] = set()
    variables = {}
    for name, spec in _specs(parts).items():
        data = LazilyIndexedArray(CellArray(store, design, cells, name, places, damaged))
        dims = (*(axis.name for axis in design.axes), *spec.dims)
        variables[name] = xr.Variable(dims, data, _attributes(name, spec, labels))
    coordinates = _coordinates(design, labels) | _dim_coordinates(parts, places)
    names = ("function", "hash", "dtype")
    attributes = {name: manifest[name] for name in names} | manifest["versions"]
    return xr.Dataset(variables, coordinates, attributes)


def _parts(store: AbstractStore, design: Design, static: list[str]) -> list[Part]:
    parts = []
    for group in groups(design, static):
        record = store.group(group.index)
        if record is None:
            continue
        specs, known = specs_of(record), store.coordinates(group.index)
        positions: dict[str, list[Any]] = {}
        for name, spec in specs.items():
            for dim, size in zip(spec.dims, spec.shape):
                if dim not in positions:
                    labels = (spec.labels or {}).get(dim)
                    positions[dim] = list(labels or known.get(dim) or range(size))
                if len(positions[dim]) != size:
                    raise ValueError(
                        f"The output {name!r} has {size} positions along {dim!r}, where others "
                        f"have {len(positions[dim])}: give its axis another name."
                    )
        parts.append(Part(group.index, group.cells, record["chunk"], specs, positions))
    return parts


def _specs(parts: list[Part]) -> dict[str, Spec]:
    """The variables of all groups, coordinates left out."""
    specs: dict[str, Spec] = {}
    for part in parts:
        for name, spec in part.specs.items():
            if not spec.coordinate and specs.setdefault(name, spec).dims != spec.dims:
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


def _coordinates(design: Design, labels: Mapping[str, Any]) -> dict[str, Any]:
    coordinates: dict[str, Any] = {}
    for axis in design.axes:
        for name, column in axis.columns.items():
            values = np.asarray(column.shown())
            dims = (axis.name, *(f"{name}_{i}" for i in range(1, values.ndim)))
            coordinates[name] = (dims, values, _label(name, labels))
    return coordinates


def _dim_coordinates(parts: list[Part], places: Mapping[str, list[Any]]) -> dict[str, Any]:
    coordinates: dict[str, Any] = {}
    for name, spec in ((name, spec) for part in parts for name, spec in part.specs.items()):
        for dim in (spec.labels or {}).keys() & set(spec.dims) - coordinates.keys():
            coordinates[dim] = (dim, np.array(places[dim], dtype=str))
        if spec.coordinate and name in places and name not in coordinates:
            coordinates[name] = (name, np.array(places[name]), _attributes(name, spec, {}))
    return coordinates


def _attributes(name: str, spec: Spec, labels: Mapping[str, Any]) -> dict[str, Any]:
    own = {"long_name": spec.long_name, "units": spec.units}
    attributes = {key: text for key, text in own.items() if text} | _label(name, labels)
    if name == "result":
        attributes |= {"flag_values": [*range(len(OUTCOMES)), -1]}
        attributes |= {"flag_meanings": " ".join((*OUTCOMES, "not_run"))}
    return attributes


def _label(name: str, labels: Mapping[str, Any]) -> dict[str, str]:
    return dict(zip(("long_name", "units"), labels.get(name, ())))
