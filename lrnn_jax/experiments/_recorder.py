"""How an experiment works: it learns, times, says what is running and keeps its curves."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
from jax import monitoring

from lrnn_jax._results import Interrupted
from lrnn_jax.learning import LearningCurve, learn, learn_sequence

Progress = Callable[[str, int, int, float], None]
T = TypeVar("T")


class Timing(NamedTuple):
    """Seconds of one piece of work: running, and compiling it before.

    >>> recorder = experiments.Recorder()
    >>> recorder.timed("sum", lambda: sum(range(10)))
    45
    >>> recorder.seconds["sum"]._fields
    ('run', 'compile')
    """

    run: float
    compile: float


def clocked(work: Callable[[], T]) -> tuple[T, Timing]:
    """The result of some work, waited for, and its timing."""
    compiling: list[float] = []

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event.startswith("/jax/core/compile"):
            compiling.append(duration_secs)

    monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    try:
        result = jax.block_until_ready(work())
    finally:
        monitoring.unregister_event_duration_listener(listen)
    total = time.perf_counter() - start
    return result, Timing(run=max(total - sum(compiling), 0.0), compile=sum(compiling))


class Recorder:
    """Does the work of one run of an experiment, and knows at any time what is done of it.

    `seconds`: timings by piece of work. `curves`: every learning curve so far by piece of work
    (and, where that has several, by their place in its result), in the order of their ends; an
    interrupted one as far as it got.

    Arguments:
        progress: called as progress(what, epoch, epochs, loss).

    >>> recorder = experiments.Recorder()
    >>> recorder.timed("sum", lambda: sum(range(10)))
    45
    >>> sorted(recorder.seconds)
    ['sum']
    """

    def __init__(self, progress: Progress | None = None):
        self.progress = progress
        self.seconds: dict[str, Timing] = {}
        self.curves: dict[str, LearningCurve] = {}

    def learn(
        self, name: str, *problem: Any, label: str | None = None, **options: Any
    ) -> LearningCurve:
        """`learning.learn` as the piece of work `name`; its progress is told under `label`, if any.

        Progress costs one more compilation: label what takes long.
        """
        options["progress"] = self.reporter(label)
        return self.timed(name, lambda: learn(*problem, **options))

    def learn_sequence(
        self, name: str, *problem: Any, labels: Sequence[str] | None = None, **options: Any
    ) -> LearningCurve:
        """`learning.learn_sequence` likewise, with a label for each phase."""
        report = self.progress
        if report is not None and labels is not None:
            options["progress"] = lambda phase, *now: report(labels[int(phase)], *now)
        return self.timed(name, lambda: learn_sequence(*problem, **options))

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """The result of any piece of work, waited for; learning curves in it are kept."""
        try:
            result, self.seconds[name] = clocked(work)
        except Interrupted as stop:
            self._keep(name, stop.curve)
            raise
        self._keep(name, result)
        return result

    def _keep(self, name: str, result: Any) -> None:
        for place, curve in curves_in({name: result}).items():
            if not any(curve is other for other in self.curves.values()):
                self.curves[place] = curve

    def reporter(self, label: str | None) -> Callable[[int, int, float], None] | None:
        """A callback for what takes `progress=` as `learn` does; None where nobody listens."""
        report = self.progress
        if report is None or label is None:
            return None
        return lambda epoch, epochs, loss: report(label, epoch, epochs, loss)


def curves_in(tree: Any) -> dict[str, LearningCurve]:
    """The learning curves in a pytree by their place in it, e.g. "full_0.5"."""
    leaves = jax.tree.leaves_with_path(tree, is_leaf=lambda x: isinstance(x, LearningCurve))
    named = {jax.tree_util.keystr(path, simple=True, separator="_"): x for path, x in leaves}
    return {name: x for name, x in named.items() if isinstance(x, LearningCurve)}
