"""The experiments that are not yet of `_base`: what they import, and how they are run."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from lrnn_jax._results import Interrupted
from lrnn_jax.experiments._base import check_config as check_config
from lrnn_jax.experiments._recorder import Progress, Recorder, Timing, clocked
from lrnn_jax.learning import LearningCurve


class Claim(NamedTuple):
    """Something an experiment must show, and whether it does.

    Fields: what is claimed; the measured value in words; whether the claim holds.
    """

    text: str
    measured: str
    holds: bool


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
    notes: tuple[str, ...] = ()

    def draw(self) -> Any:
        """The figure."""
        from lrnn_jax.figures._experiments import draw

        return draw(self)

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


def timed(work: Callable[[], Any]) -> tuple[Any, Timing]:
    """The result of some work, waited for, and its timing; its learning curves are `kept`."""
    result, timing = clocked(work)
    keep(result)
    return result, timing


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


class Old(NamedTuple):
    """An experiment whose `run` takes a progress callback and returns an old `Report`."""

    name: str
    source: str
    summary: str
    full: Any
    quick: Any
    run: Callable[..., Report]
    seconds: tuple[int, int]

    def __call__(self, config: Any = None, progress: Progress | None = None) -> Report:
        """As `Experiment` does it."""
        return self.run(self.full if config is None else config, progress)

    def record(self, config: Any, recorder: Recorder) -> Report:
        """As `Experiment` does it."""
        return recorded(lambda: self.run(config, recorder.progress), recorder)


def recorded(work: Callable[[], Report], recorder: Recorder) -> Report:
    """A report; the curves that were kept on the way are the recorder's."""
    with keeping() as curves:
        try:
            return work()
        except Interrupted as stop:
            keep(stop.curve)
            raise
        finally:
            recorder.curves |= {str(number): curve for number, curve in enumerate(curves)}
