"""What an experiment is: a frozen config, a run, and a report of claims and data."""

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax import monitoring

from lrnn_jax.learning import LearningCurve

Progress = Callable[[str, int, int, float], None]


class Claim(NamedTuple):
    """Something an experiment must show, and whether it does.

    Fields: what is claimed; the measured value in words; whether the claim holds.
    """

    text: str
    measured: str
    holds: bool


class Timing(NamedTuple):
    """Seconds of one piece of work: running, and compiling it before."""

    run: float
    compile: float


@dataclasses.dataclass
class Report:
    """What a run of an experiment leaves behind.

    Arguments:
        name: of the experiment.
        config: the frozen config it was run with.
        claims: what it must show, measured.
        values: numbers for `--json`, by name.
        table: (header, rows) of the printed table.
        seconds: timings by piece of work.
        curves: learning curves by name.
        arrays: other arrays that figures need, by name.
    """

    name: str
    config: Any
    claims: list[Claim]
    values: dict[str, Any]
    table: tuple[list[str], list[list[str]]]
    seconds: dict[str, Timing]
    curves: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrays: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_xarray(self) -> Any:
        """Loss and overlaps of all curves as one labelled dataset (NaN where one was not recorded).

        Errors: ImportError naming the extra when xarray is missing.
        """
        try:
            import xarray as xr
        except ImportError as error:
            message = "Datasets need xarray: pip install 'lrnn_jax[sweep]'."
            raise ImportError(message) from error
        parts = [
            curve.to_xarray().expand_dims(method=[name]).drop_attrs(deep=False)
            for name, curve in self.curves.items()
        ]
        data = xr.concat(parts, "method", join="outer") if parts else xr.Dataset()
        for name, (dims, values, attributes) in self.arrays.items():
            data[name] = (dims, values, attributes)
        data.attrs = {"experiment": self.name}
        return data


class Stopwatch:
    """Times a block of work, tracing and compiling apart.

    `with Stopwatch() as watch: …` then `watch.timing`. The caller blocks on results inside.
    """

    _compiled = 0.0
    _listening = False

    def __enter__(self) -> "Stopwatch":
        if not Stopwatch._listening:
            monitoring.register_event_duration_secs_listener(Stopwatch._listen)
            Stopwatch._listening = True
        self._compile_before = Stopwatch._compiled
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        total = time.perf_counter() - self._start
        compiling = Stopwatch._compiled - self._compile_before
        self.timing = Timing(run=max(total - compiling, 0.0), compile=compiling)

    @staticmethod
    def _listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event.startswith("/jax/core/compile"):
            Stopwatch._compiled += duration_secs


def timed(work: Callable[[], Any]) -> tuple[Any, Timing]:
    """The result of some work, waited for, and its timing; its learning curves are `kept`."""
    with Stopwatch() as watch:
        result = jax.block_until_ready(work())
    keep(result)
    return result, watch.timing


_KEPT: contextvars.ContextVar[list[LearningCurve] | None] = contextvars.ContextVar("kept")


@contextlib.contextmanager
def keeping() -> Iterator[list[LearningCurve]]:
    """The learning curves that an experiment has finished: what is left if it is interrupted."""
    token = _KEPT.set(curves := [])
    try:
        yield curves
    finally:
        _KEPT.reset(token)


def keep(result: Any) -> None:
    """Keep the learning curves in a result, each once."""
    if (kept := _KEPT.get(None)) is None:
        return
    for curve in jax.tree.leaves(result, is_leaf=lambda x: isinstance(x, LearningCurve)):
        if isinstance(curve, LearningCurve) and not any(curve is other for other in kept):
            kept.append(curve)


def reporter(progress: Progress | None, label: str) -> Callable[[int, int, float], None] | None:
    """A progress callback of `learn` that says what is running."""
    if progress is None:
        return None
    return lambda epoch, epochs, loss: progress(label, epoch, epochs, loss)


def phase_reporter(
    progress: Progress | None, labels: list[str]
) -> Callable[[int, int, int, float], None] | None:
    """A progress callback of `learn_sequence` that says which phase is running."""
    if progress is None:
        return None
    return lambda phase, epoch, epochs, loss: progress(labels[phase], epoch, epochs, loss)


def check_config(config: Any, **bounds: tuple[float, float]) -> None:
    """Raise ValueError, naming the field, unless each named field lies within its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise ValueError(f"`{name}` must lie between {low:g} and {high:g}; got {value:g}.")
