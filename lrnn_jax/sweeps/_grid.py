"""Designs: which cells a sweep has, and which of them share a compiled program."""

import contextlib
import difflib
import functools
import hashlib
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnn_jax._checks import component, whole
from lrnn_jax.sweeps._identity import ARRAYS

LARGEST = 2**31 - 1
"""Of numbers of cells."""


@dataclass(frozen=True)
class Column:
    """The values of one parameter along an axis: numbers, shape (size,) or (size, …), or a tuple of
    other objects, each with a label."""

    values: Any
    labels: tuple[str, ...] | None = None

    @functools.cached_property
    def words(self) -> np.ndarray:
        """64 bits that stand for each value in the cells' keys, shape (size, 2), uint32.

        They depend on the value alone: 1 and 1.0 are the same.
        """
        if self.labels is None and self.values.ndim == 1:
            bits = np.ascontiguousarray(self.values.astype(np.float64) + 0.0)  # −0 is 0
            return bits.view(np.uint32).reshape(-1, 2)
        texts = self.labels or [np.asarray(row, np.float64).tobytes() for row in self.values]
        return np.stack([digest_words(text) for text in texts])

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """A number for each value, the same for equal values."""
        known: dict[Any, int] = {}
        names = self.labels or [x.tobytes() for x in self.values]
        return np.array([known.setdefault(name, len(known)) for name in names])

    def item(self, index: int) -> Any:
        """One value as a Python object."""
        value = self.values[index]
        return value.item() if isinstance(value, np.generic) else value

    def shown(self) -> list[Any]:
        """The values as JSON has them."""
        return list(self.labels or np.asarray(self.values).tolist())


@dataclass(frozen=True)
class Axis:
    """One dimension of a sweep: a name, and one or more parameters that vary together along it.

    >>> (axis,) = sweeps.grid(lr=[0.1, 0.2]).axes
    >>> axis.name
    'lr'
    """

    name: Any
    columns: Any

    def __post_init__(self) -> None:
        component(self.name, str, "axis", "'cell'")
        for column in component(self.columns, dict, "columns", "those of `grid`").values():
            component(column, Column, "columns", "those of `grid`")
        sizes = {name: len(column.values) for name, column in self.columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"Parameters of one axis vary together and need equally many values; got {sizes}."
            )
        if not sizes or 0 in sizes.values():
            raise ValueError(f"The axis {self.name!r} is empty: give each axis at least one value.")

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(next(iter(self.columns.values())).values)


@dataclass(frozen=True)
class Design:
    """The cells of a sweep: every combination of the positions along its axes, the last fastest.

    Designs multiply: `grid(lr=[…]) * zipped(n=[…], steps=[…])` has every combination of both.

    Arguments:
        axes: dimensions, in order.

    Errors: ValueError for two axes, or two parameters, of the same name.

    >>> both = sweeps.zipped("net", n=[10, 20, 30], rate=[1.0, 2.0, 3.0])
    >>> design = sweeps.grid(lr=[0.1, 0.2]) * both
    >>> design.shape, design.size
    ((2, 3), 6)
    """

    axes: Any

    def __post_init__(self) -> None:
        for axis in component(self.axes, tuple, "axes", "those of `grid`"):
            component(axis, Axis, "axes", "those of `grid`")
        names = [axis.name for axis in self.axes]
        parameters = [name for axis in self.axes for name in axis.columns]
        for kind, all_names in (("axes", names), ("parameters", parameters)):
            if double := sorted({name for name in all_names if all_names.count(name) > 1}):
                raise ValueError(f"Two {kind} have the same name: {', '.join(double)}.")
        if not self.axes:
            raise ValueError("A sweep needs at least one axis.")

    @classmethod
    def from_json(cls, axes: Sequence[Mapping[str, Any]]) -> "Design":
        """The design that `to_json` wrote down; objects are their names."""
        return functools.reduce(operator.mul, (zipped(a["name"], **a["columns"]) for a in axes))

    def to_json(self) -> list[dict[str, Any]]:
        """Axes with the values of their parameters."""
        return [
            {"name": axis.name, "columns": {n: c.shown() for n, c in axis.columns.items()}}
            for axis in self.axes
        ]

    def __mul__(self, other: Any) -> "Design":
        component(other, Design, "a factor of a design", "another one")
        return Design((*self.axes, *other.axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def columns(self) -> dict[str, Column]:
        """All parameters by name."""
        return {name: column for axis in self.axes for name, column in axis.columns.items()}

    @property
    def names(self) -> set[str]:
        """Of axes and parameters."""
        return {axis.name for axis in self.axes} | set(self.columns)

    def positions(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Where the given cells stand along the axis of a parameter."""
        axis = next(i for i, axis in enumerate(self.axes) if name in axis.columns)
        return cells // math.prod(self.shape[axis + 1 :]) % self.shape[axis]

    def values(self, name: str, cells: np.ndarray) -> np.ndarray:
        """A numerical parameter in the given cells."""
        return self.columns[name].values[self.positions(name, cells)]

    def extremes(self) -> Iterator[dict[str, Any]]:
        """Cells that show what is out of range: with the smallest and the largest of each
        parameter's numbers (a NaN counts as either), and with each of its other values; all other
        axes stand at their first positions."""
        for axis in self.axes:
            for column in axis.columns.values():
                places = set(range(axis.size))
                if column.labels is None and column.values.ndim == 1:
                    places = {int(column.values.argmin()), int(column.values.argmax())}
                for place in sorted(places):
                    yield {
                        name: other.item(place if name in axis.columns else 0)
                        for name, other in self.columns.items()
                    }

    def key_words(self, cells: np.ndarray) -> np.ndarray:
        """What the cells' keys depend on: names and values of their parameters, in name order.

        Returns: shape (cells, parameters, 4), uint32.
        """
        parts = []
        for name in sorted(self.columns):
            value = self.columns[name].words[self.positions(name, cells)]
            parts.append(np.concatenate([np.tile(digest_words(name), (len(cells), 1)), value], 1))
        return np.stack(parts, axis=1)


@dataclass(frozen=True)
class Group:
    """The cells that share their static parameters, and so one compiled program: its place among
    the sweep's groups, those parameters by name, the same as JSON has them, and the numbers of its
    cells in the design, ascending."""

    index: int
    statics: dict[str, Any]
    labels: dict[str, Any]
    cells: np.ndarray

    def units(self, chunk: int, share: tuple[int, int]) -> range:
        """Its chunks that fall to the i-th of n processes, by number. Groups begin with different
        processes, so that many groups of one chunk are shared out too."""
        i, n = share
        return range((i - self.index) % n, -(-len(self.cells) // chunk), n)

    def part(self, unit: int, chunk: int) -> np.ndarray:
        """The cells of one of its chunks."""
        return self.cells[unit * chunk : (unit + 1) * chunk]


def groups(design: Design, static: Sequence[str]) -> list[Group]:
    """The design's cells by the values of their static parameters, in order of appearance."""
    cells = np.arange(design.size)
    code = np.zeros(design.size, int)
    columns = {name: design.columns[name] for name in static}
    for name, column in columns.items():
        code = code * (column.codes.max() + 1) + column.codes[design.positions(name, cells)]
    _, first, code, counts = np.unique(
        code, return_index=True, return_inverse=True, return_counts=True
    )
    members = np.split(cells[np.argsort(code, kind="stable")], np.cumsum(counts)[:-1])
    shown = {name: column.shown() for name, column in columns.items()}
    places = {name: design.positions(name, first).tolist() for name in static}
    out = []
    for kind in np.argsort(first):
        statics = {name: columns[name].item(place[kind]) for name, place in places.items()}
        labels = {name: shown[name][place[kind]] for name, place in places.items()}
        out.append(Group(len(out), statics, labels, members[kind]))
    return out


def grid(**axes: Any) -> Design:
    """Every combination of the given values: one axis a parameter.

    Arguments:
        axes: values by parameter: numbers, or other objects (which are then static), as a sequence
            or, with names for them, as a mapping.

    Errors: ValueError for an empty axis, or objects whose names are not distinct.

    >>> sweeps.grid(lr=[0.1, 0.2], number=range(3)).shape
    (2, 3)
    """
    return Design(tuple(Axis(name, {name: _column(name, v)}) for name, v in axes.items()))


def zipped(axis: Any = "cell", /, **columns: Any) -> Design:
    """Parameters that vary together, one cell a position: a list of cells, by parameter.

    Arguments:
        axis: name of the one axis.
        columns: values by parameter, as in `grid`, equally many; arrays of shape (cells, …) give
            each cell an array.

    Errors: ValueError for numbers of values that differ.

    >>> sweeps.zipped("net", lr=[0.1, 0.2], rate=[1.0, 2.0]).size
    2
    """
    return Design((Axis(axis, {name: _column(name, v) for name, v in columns.items()}),))


def sampled(
    count: Any, *, seed: Any, method: Any = "sobol", axis: Any = "sample", **ranges: Any
) -> Design:
    """Cells drawn from a box, by quasi-Monte-Carlo (scrambled), Latin hypercube or at random.

    Arguments:
        count: number of cells.
        seed: of the draw.
        method: how points fill the box, "sobol", "halton", "latin" or "uniform"; low-discrepancy
            sequences (the first two) leave the smallest holes.
        axis: name of the one axis.
        ranges: (low, high) by parameter, or (low, high, "log") for uniform logarithms.

    Errors: ValueError for an empty range, or a logarithmic one that touches 0.

    >>> sweeps.sampled(8, seed=0, lr=(1e-3, 1e-1, "log")).size
    8
    """
    from scipy.stats import qmc

    if not ranges:
        raise ValueError("Give at least one range, e.g. lr=(1e-3, 1e-1, 'log').")
    count, seed = whole(count, "count", 1, LARGEST), whole(seed, "seed", 0)
    boxes = {name: _range(name, ends) for name, ends in ranges.items()}
    engines = {"sobol": qmc.Sobol, "halton": qmc.Halton, "latin": qmc.LatinHypercube}
    rng, kind = np.random.default_rng(seed), one_of("method", method, (*engines, "uniform"))
    if kind == "uniform":
        points = rng.random((count, len(ranges)))
    else:  # Sobol' points fill a box best by powers of two
        drawn = 1 << (count - 1).bit_length() if kind == "sobol" else count
        points = engines[kind](len(ranges), rng=rng).random(drawn)[:count]
    columns = {}
    for (name, (low, high, logs)), x in zip(boxes.items(), points.T):
        low, high = (math.log(low), math.log(high)) if logs else (low, high)
        columns[name] = np.exp(low + (high - low) * x) if logs else low + (high - low) * x
    return zipped(axis, **columns)


def _range(name: str, ends: Any) -> tuple[float, float, bool]:
    """The ends of a range, and whether it is logarithmic."""
    with contextlib.suppress(TypeError, ValueError):
        low, high, *scale = ends
        logs = scale == ["log"]
        within = low < high and math.isfinite(high - low) and (low > 0 or not logs)
        if scale in ([], ["linear"], ["log"]) and within:
            return float(low), float(high), logs
    raise ValueError(
        f"The range of {name!r} is (low, high) or (low, high, 'log') with finite low < high, and "
        f"0 < low for 'log'; got {ends!r}."
    )


def as_design(cells: Any) -> Design:
    """A design from what describes one: itself, a mapping (`grid`) or a list of cells (`zipped`).

    Errors: ValueError for cells whose parameters differ; TypeError for anything else.
    """
    if isinstance(cells, Design):
        return cells
    if isinstance(cells, Mapping):
        return grid(**cells)
    cells = list(cells) if isinstance(cells, Iterable) else [cells]
    if not cells or not all(isinstance(cell, Mapping) for cell in cells):
        raise TypeError(
            "The cells of a sweep are a mapping {parameter: values}, a list of mappings "
            f"{{parameter: value}}, or a design (grid, zipped, sampled); got {cells!r:.80}."
        )
    names = list(cells[0])
    for number, cell in enumerate(cells):
        if set(cell) != set(names):
            raise ValueError(f"Cell {number} has {sorted(cell)}, but cell 0 has {sorted(names)}.")
    return zipped(**{name: [cell[name] for cell in cells] for name in names})


def _column(name: str, values: Any) -> Column:
    """The values of one parameter, checked."""
    if isinstance(values, Mapping):
        return Column(tuple(values.values()), tuple(map(str, values)))
    is_array = isinstance(values, ARRAYS)
    listed = values.ndim > 0 if is_array else isinstance(values, Iterable)
    if isinstance(values, str) or not listed:
        raise ValueError(
            f"The axis {name!r} of `cells` is a list of values; got {values!r}: put it in a list."
        )
    values = values if is_array else list(values)
    if not any(isinstance(x, str) or x is None for x in values):
        try:
            array = np.asarray(values)
        except (ValueError, TypeError):
            array = np.empty(0, object)
        if array.dtype.kind in "fiub":
            return Column(array)
    names, objects = [], {}
    for value in values:
        plain = value is None or isinstance(value, (str, bool, int, float))
        names.append(str(value) if plain else _name_of(value))
        if objects.setdefault(names[-1], value) is not value and not plain:
            raise ValueError(
                f"Two values of {name!r} have the same name {names[-1]!r}: pass {{name: value, …}}."
            )
    return Column(tuple(values), tuple(names))


def _name_of(value: Any) -> str:
    try:
        return value.__name__
    except AttributeError:
        return type(value).__name__


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """The value, if it is one of those allowed.

    Errors: ValueError listing them, with a suggestion.
    """
    if isinstance(value, str) and value in allowed:
        return value
    known = ", ".join(map(str, allowed))
    raise ValueError(f"`{name}` is one of {known}; got {value!r}.{hint(value, allowed)}")


def hint(name: Any, known: Iterable[str]) -> str:
    """ " Did you mean …?", where something known is much like the name; else nothing."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def digest_words(text: str | bytes) -> np.ndarray:
    """64 bits of a text's hash, shape (2,), uint32."""
    data = text.encode() if isinstance(text, str) else text
    return np.frombuffer(hashlib.blake2b(data, digest_size=8).digest(), np.uint32)
