"""What an experiment is: configs, a run, claims about its results, a table and a picture."""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

import equinox as eqx
import jax
import numpy as np

from lrnn_jax.experiments._recorder import Progress, Recorder, Timing, curves_in
from lrnn_jax.figures import Figure, letter, style
from lrnn_jax.learning import LearningCurve
from lrnn_jax.sweeps import Labelled

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""
Columns = Mapping[str, tuple[Any, str]]
"""By header: values (an array, a sequence or those of a dict) and their format, e.g. ".3g"."""


def labelled(name: str, *dims: str, units: str = "1") -> Any:
    """A field of results that holds an array, or a dict of arrays by name, and says what it is.

    Arguments:
        name: what the array is, in words; for a dict the key is appended.
        dims: names of its axes.
        units: of its values; empty for none.

    >>> field = experiments.labelled("speed", "time", units="1")
    >>> dict(field.metadata)
    {'name': 'speed', 'dims': ('time',), 'units': '1'}
    """
    return eqx.field(metadata={"name": name, "dims": dims, "units": units})


class Verdict(NamedTuple):
    """What became of a claim: its name and words, the measured number in words, whether it holds;
    the number itself and the bounds that it had to lie within.

    >>> verdict = experiments.coupling().claims[0]
    >>> verdict.name, verdict.holds, verdict.high
    ('max_error', True, 1e-12)
    """

    name: str
    text: str
    measured: str
    holds: bool
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Claim:
    """Something that a run must show: a number within bounds, low ≤ measure(results) ≤ high.

    Made by `claim`. Text and bounds may be functions of the results, where they depend on the
    config.

    Arguments:
        name: of the measure, and of the number in `--json`.
        measure: the number; None where this run cannot tell, which leaves the claim out.
        text: what is claimed, to which the bounds are added.
        low, high: bounds of the number.
        shown: the number and what belongs to it, in words; default the number alone.

    >>> claims = experiments.coupling().results.claims()
    >>> [claim.name for claim in claims]
    ['max_error', 'more_entries']
    """

    name: str
    measure: Callable[[Any], Any]
    text: str | Callable[[Any], str]
    low: float | Callable[[Any], float] = -math.inf
    high: float | Callable[[Any], float] = math.inf
    shown: Callable[[Any], str] | None = None

    def judge(self, results: "AbstractResults") -> Verdict | None:
        """The verdict on one run."""
        if (measured := self.measure(results)) is None:
            return None
        value = float(measured)
        text = self.text if isinstance(self.text, str) else self.text(results)
        low, high = (float(x(results) if callable(x) else x) for x in (self.low, self.high))
        words = f"{value:.3g}" if self.shown is None else self.shown(results)
        text = f"{text} ({_bounds(low, high)})"
        return Verdict(self.name, text, words, low <= value <= high, value, low, high)


def claim(text: Any, **given: Any) -> Callable[[Callable[[Any], Any]], Claim]:
    """Turn a method of results into a `Claim` that they make, with its other arguments `given`.

    >>> small = experiments.claim("a small number", high=1.0)(lambda results: 0.5)
    >>> small.high
    1.0
    """
    return lambda measure: Claim(measure.__name__, measure, text, **given)


def _bounds(low: float, high: float) -> str:
    if low == -math.inf:
        return f"≤ {high:.3g}"
    return f"≥ {low:.3g}" if high == math.inf else f"{low:.3g} … {high:.3g}"


class AbstractResults(eqx.Module):
    """What one run found: one typed field per finding, read as attributes by claims and pictures.

    Learning curves, `labelled` arrays and dicts of either (whose keys are appended with "_") are
    the dataset. Numbers, words, and tuples, lists, dicts and named tuples of these are told by
    `--json`. Other fields, such as the config, stay inside. Claims are methods under `claim`.

    >>> report = experiments.coupling()
    >>> sorted(report.results.numbers()), report.draw().axes[0].get_xlabel()
    (['entries', 'entries_of', 'latex', 'names'], 'linear network')
    """

    @abc.abstractmethod
    def table(self) -> Columns:
        """Columns of the printed table."""

    @abc.abstractmethod
    def draw(self) -> Figure:
        """The figure; style and panel letters are given to it."""

    @classmethod
    def claims(cls) -> tuple[Claim, ...]:
        """What these results must show, in the order of definition."""
        return tuple(
            x for kind in reversed(cls.__mro__) for x in vars(kind).values() if isinstance(x, Claim)
        )

    def curves(self) -> dict[str, LearningCurve]:
        """The learning curves by name."""
        parts = [curves_in({name: value}) for name, value in self._own().items()]
        return {name: curve for part in parts for name, curve in part.items()}

    def arrays(self) -> dict[str, Labelled]:
        """The labelled arrays by name."""
        out = {}
        for field in (field for field in fields(self) if field.metadata):
            name, dims, units = field.metadata.values()
            value = getattr(self, field.name)
            for key, array in value.items() if isinstance(value, dict) else [("", value)]:
                place, words = (
                    (f"{field.name}_{key}", f"{name}, {key}") if key else (field.name, name)
                )
                out[place] = Labelled(array, *dims, long_name=words, units=units)
        return out

    def numbers(self) -> dict[str, Any]:
        """Numbers and words by name."""
        return {name: plain(value) for name, value in self._own().items() if _is_plain(value)}

    def _own(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata}


class AbstractOverlapResults(AbstractResults):
    """Results whose table has every overlap: whether a loss sees it, what each curve starts with,
    where this differs from the others, and what it ends with."""

    def table(self) -> Columns:
        return final_overlaps(self.curves())


R = TypeVar("R", bound=AbstractResults)
C = TypeVar("C")


def _cells(values: Any, how: str) -> list[str]:
    values = list(values.values()) if isinstance(values, dict) else values
    return [format(value, how) for value in np.asarray(values).tolist()]


def final_overlaps(curves: Mapping[str, LearningCurve]) -> Columns:
    """The table of `AbstractOverlapResults`."""
    given = named(next(iter(curves.values())))
    starts: list[np.ndarray] = []
    for name, curve in curves.items():
        start, *_, end = np.asarray(curve.overlaps.vector())
        if not any(np.allclose(start, other, atol=1e-9) for other in starts):
            given[f"start, {name}" if starts else "start"] = (start, ".6f")
            starts.append(start)
        given[name] = (end, ".6f")
    return given


def named(curve: LearningCurve) -> dict[str, tuple[Any, str]]:
    """The first columns of tables by overlap: names, and whether a loss sees them."""
    names, seen = curve.overlaps.names, curve.visibility.visible
    told = ["yes" if name in seen else "no" for name in names]
    return {"overlap": (names, ""), "loss sees it": (told, "")}


@dataclass(frozen=True)
class Experiment(Generic[C, R]):
    """A named experiment; called with a config, it runs. Made by `experiment`.

    Arguments:
        name: on the command line and in `lrnn_jax.experiments`.
        summary: what it shows, one line.
        run: takes a config and a `Recorder`, which does the work, and returns the results.
        source: paper and figure.
        quick: a config of a small size.
        seconds: that the command takes at full and at quick size, start and compiling included, on
            2 CPU cores (full size: with `--devices 2` where there is this option).
        notes: lines that are printed before the table.
        before: lines that are known, and told, before it runs.
        devices: how many a config wants; None: whatever there is.

    >>> experiment = experiments.get("coupling")
    >>> report = experiment(experiments.CouplingConfig(rank=1))
    >>> all(claim.holds for claim in report.claims)
    True
    """

    name: str
    summary: str
    run: Callable[[C, Recorder], R]
    source: str
    quick: C
    seconds: tuple[int, int]
    notes: Callable[[R], list[str]] = lambda results: []
    devices: Callable[[C], int | None] = lambda config: None
    before: tuple[str, ...] = ()

    @property
    def full(self) -> C:
        """The config of the paper's size: all defaults."""
        return type(self.quick)()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What its results must show, as the return type of `run` says."""
        return get_type_hints(self.run)["return"].claims()

    def __call__(self, config: C | None = None, progress: Progress | None = None) -> "Report":
        """Run it.

        Arguments:
            config: default `full`.
            progress: called as progress(what, epoch, epochs, loss).
        """
        return self.record(self.full if config is None else config, Recorder(progress))

    def record(self, config: C, recorder: Recorder) -> "Report":
        """Run it with a recorder of one's own, which knows the curves so far if this is ended."""
        results = self.run(config, recorder)
        judged = [claim.judge(results) for claim in results.claims()]
        verdicts = tuple(verdict for verdict in judged if verdict is not None)
        return Report(self, config, results, verdicts, dict(recorder.seconds))


def experiment(**given: Any) -> Callable[[Callable[[Any, Recorder], Any]], Experiment]:
    """Turn a function that runs it into an `Experiment` of its name, with the other arguments
    `given`; the first line of its docstring is the summary.

    >>> experiments.coupling.name, experiments.coupling.summary
    ('coupling', 'Which overlap enters which learning equation, for any rank')
    """

    def made(run: Callable[[Any, Recorder], Any]) -> Experiment:
        summary = (run.__doc__ or "").splitlines()[0].rstrip(".")
        return Experiment(run.__name__, summary, run, **given)

    return made


@dataclass(frozen=True)
class Report:
    """A finished run.

    Arguments:
        experiment: what was run.
        config: with what.
        results: what was found.
        claims: what the experiment must show, measured.
        seconds: timings by piece of work.

    >>> report = experiments.coupling()
    >>> [claim.holds for claim in report.claims]
    [True, True]
    """

    experiment: Experiment
    config: Any
    results: Any
    claims: tuple[Verdict, ...]
    seconds: dict[str, Timing]

    @property
    def notes(self) -> list[str]:
        """Lines before the table."""
        return [*self.experiment.before, *self.experiment.notes(self.results)]

    @property
    def values(self) -> dict[str, Any]:
        """Numbers and words of the results, and what claims measured, by name."""
        return self.results.numbers() | {claim.name: claim.value for claim in self.claims}

    @property
    def table(self) -> Table:
        """Header and rows of the printed table."""
        given = self.results.table()
        cells = (_cells(*column) for column in given.values())
        return list(given), [list(row) for row in zip(*cells, strict=True)]

    def draw(self) -> Figure:
        """The experiment's figure, in the package's style."""
        with style():
            figure = self.results.draw()
            letter(figure.axes)
        return figure

    def to_xarray(self) -> Any:
        """Loss and overlaps of all curves, and the other arrays, as one labelled dataset.

        NaN stands where a curve was not recorded.

        Errors: ImportError naming the extra when xarray is missing.
        """
        try:
            import xarray as xr
        except ImportError as error:
            message = "Datasets need xarray: pip install 'lrnn_jax[sweep]'."
            raise ImportError(message) from error
        parts = [
            curve.to_xarray().expand_dims(method=[name]).drop_attrs(deep=False)
            for name, curve in self.results.curves().items()
        ]
        # curves of dense networks have no overlaps, and so no axis of their names
        options: Any = {"join": "outer", "coords": "minimal", "compat": "equals"}
        data = xr.concat(parts, "method", **options) if parts else xr.Dataset()
        for name, array in self.results.arrays().items():
            attributes = {"long_name": array.long_name, "units": array.units}
            kept = {key: text for key, text in attributes.items() if text}
            data[name] = (array.dims, np.asarray(array.value), kept)
        data.attrs = {"experiment": self.experiment.name}
        return data


def _is_plain(value: Any) -> bool:
    return all(isinstance(leaf, (bool, int, float, str)) for leaf in jax.tree.leaves(value))


def plain(value: Any) -> Any:
    """The value in what JSON knows: named tuples become dicts, tuples lists."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return plain(value._asdict())  # pyright: ignore[reportAttributeAccessIssue]
    return [plain(part) for part in value] if isinstance(value, (tuple, list)) else value
