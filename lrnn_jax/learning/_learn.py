"""Learning: one function for every model, objective and method."""

import os
import warnings
from functools import cache, partial
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from lrnn_jax._checks import component, flag, one_key, whole
from lrnn_jax._results import RESULTS, Interrupted, LearningError, outcome
from lrnn_jax._types import is_traced
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._devices import gathered, trial_mesh
from lrnn_jax.learning._method import AbstractMethod
from lrnn_jax.learning._problem import Data, Problem, Progress, Watch, check_watch
from lrnn_jax.learning._progress import reporter
from lrnn_jax.learning._resume import check_resume, continued, joined, marked, state_of, stretches
from lrnn_jax.learning._simulate import AbstractSimulate, Plain
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractObjective

HOME = "cpu"
"""Where a single small model learns fastest."""
SMALL = 64
"""Numbers of a state up to which starting a step takes a GPU longer than computing it."""


class Options(TypedDict, total=False):
    """Options of `learn` that whatever learns takes and passes on.

    >>> sorted(learning.Options.__annotations__)
    ['devices', 'record', 'simulate', 'throw', 'watch']
    """

    record: int
    watch: Watch | None
    simulate: AbstractSimulate
    devices: int
    throw: bool


def as_objective(objective: Any) -> AbstractObjective:
    """The objective itself; ValueError for anything else."""
    such_as = "ExponentialFilter(…), or ClosedLoop(…)"
    return component(objective, AbstractObjective, "objective", such_as)


def as_method(method: Any) -> AbstractMethod:
    """The method itself; ValueError for anything else."""
    such_as = "Descent(0.1), or Training(optax.adam(1e-3))"
    return component(method, AbstractMethod, "method", such_as)


def learn(
    model: AbstractRNN,
    objective: AbstractObjective,
    method: AbstractMethod,
    *,
    epochs: int,
    key: PRNGKeyArray | None = None,
    batches: Any = None,
    record: int = 1,
    watch: Watch | None = None,
    simulate: AbstractSimulate = Plain(),
    devices: int = 1,
    throw: bool = True,
    progress: Progress | bool | None = None,
    resume: LearningCurve | None = None,
    save_every: int | None = None,
    save_to: str | os.PathLike | None = None,
) -> LearningCurve:
    """Let a network, or its reduction, learn.

    A pure function: `jit`, `vmap` and `grad` go through it, also with respect to initial overlaps,
    learning rate and target (memory in reverse mode: about √epochs weights plus the record).

    Arguments:
        model: any network or reduction, also of a class of your own.
        objective: a task, or a closed loop.
        method: how, e.g. `Descent`, `Training(optimiser)` or `Flow`.
        epochs: number of updates (for `Flow`: time in units of updates).
        key: draws the data of epoch e by `fold_in(key, e)`, whatever the model; needed for
            stochastic objectives without `batches`.
        batches: the data of each epoch instead, as `objective.sample` returns them, with a leading
            axis of length epochs (or one more: the last is for the final loss, which otherwise uses
            the last batch). For `Flow`, data that stay the same: a leading axis of length 1.
        record: keep every n-th epoch (and always the last): bounds memory on long runs.
        watch: a function of the model (the same object each time, or JAX compiles again), whose
            arrays are kept for every recorded epoch in `curve.watched`.
        simulate: how losses are computed: `Plain()`, `Checkpointed()` or `ThroughReduction()`.
        devices: how many share the trials of each epoch; the result is the same to rounding.
        throw: raise `LearningError`, which holds the curve, when learning fails.
        progress: True for a bar; or called as progress(epoch, epochs, loss) some forty times.
        resume: a curve whose run goes on (see `LearningCurve`): `model` is its model, `epochs` the
            total, all else as it was.
        save_every, save_to: write the curve into this file every so many epochs, and at the end.

    Errors: ValueError when an argument is none of its kind, when model, objective, method and data
    do not fit, for a `watch` that no file can hold, and for a `resume` of another run, saying what
    differs; LearningError when learning diverges, or overlaps are not realisable.

    Source: ours (theory in `notebooks/theory.md`).

    >>> theory = lrnn.learn(reduction, task, lrnn.Descent(0.05), epochs=20)
    >>> truth = lrnn.learn(net, task, lrnn.Descent(0.05), epochs=20)
    >>> bool(theory.distance(truth).max < 1e-12)
    True
    """
    span = _span(epochs, record, save_every, save_to)
    data = Data(None if key is None else one_key(key), batches)
    problem = _problem(model, objective, method, data, watch, simulate, devices)
    throw = flag(throw, "throw")
    _check(problem, method, span, resume)
    _say_where(problem, method)
    with reporter(progress, "learning") as report:
        curve = _run(problem, method, span, resume, report)
    return _raise_failure(curve) if throw else curve


def _say_where(problem: Problem, method: AbstractMethod) -> None:
    """Say, once, that one small model on no trials is slow on a GPU; of many at once it is not."""
    small = problem.space.network.state_size <= SMALL
    drawn = problem.objective.stochastic or problem.data.batches is not None
    start = problem.space.start
    if small and not drawn and not is_traced(problem, method, start):
        weights = [x for x in jax.tree.leaves(start) if isinstance(x, jax.Array)]
        for device in {device for x in weights for device in x.devices()}:
            _advise(device.platform)


@cache
def _advise(platform: str) -> None:
    if platform != HOME:
        warnings.warn(
            f"One reduction learns by a long chain of tiny products, for which a {platform} is "
            f"slow: build it under `with jax.default_device(jax.devices('{HOME}')[0])`. Sweeps of "
            f"thousands, wide networks and many trials are what the {platform} is for.",
            stacklevel=4,
        )


class Span(NamedTuple):
    """How far, recorded how often, and saved how often into which file."""

    epochs: int
    record: int
    save_every: int | None
    save_to: Any


def _run(
    problem: Problem,
    method: AbstractMethod,
    span: Span,
    curve: LearningCurve | None,
    report: Progress | None,
) -> LearningCurve:
    """Go on from a curve, or from nothing, in stretches that end where the curve is saved."""
    begin = 0 if curve is None else state_of(curve).epochs
    stops = [*stretches(begin, span.epochs, span.record, span.save_every)]
    for stop, every in stops or [(0, span.record)] * (curve is None):
        after = problem if curve is None else continued(problem, method, curve)
        shifted = report and partial(_shifted, report, (begin, span.epochs))
        try:
            part, stopped = method.run(after, stop - begin, every, shifted), None
        except Interrupted as interrupted:
            part, stopped = interrupted.curve, interrupted
            stop = int(part.epochs[-1])
        part = part if problem.mesh is None else gathered(part)
        part = part if curve is None else joined(curve, part)
        curve, begin = marked(part, stop, span.record), stop
        if span.save_to is not None:
            curve.save(span.save_to)
        if stopped is not None:
            raise Interrupted(curve) from None
    assert curve is not None
    return curve


def _shifted(report: Progress, within: tuple[int, int], epoch: int, _: int, loss: float) -> None:
    """Report an epoch of a stretch as one of the whole run, of (begin of the stretch, total)."""
    report(within[0] + epoch, within[1], loss)


def _span(epochs: Any, record: Any, save_every: Any, save_to: Any) -> Span:
    """The arguments of these names, checked."""
    epochs, record = whole(epochs, "epochs", 0), whole(record, "record")
    if save_every is None and save_to is None:
        return Span(epochs, record, None, None)
    every = whole(save_every, "save_every", also=", given together with `save_to`")
    component(save_to, (str, os.PathLike), "save_to", '"run.npz", given together with `save_every`')
    if every % record:
        raise ValueError(f"`save_every` must be a multiple of `record`, {record}; got {every}.")
    return Span(epochs, record, every, save_to)


def _check(
    problem: Problem, method: AbstractMethod, span: Span, resume: LearningCurve | None
) -> None:
    """Raise ValueError unless the method can solve the problem, and the curve go on with it."""
    method.check(problem, span.epochs)
    if span.save_to is not None and is_traced(problem, method):
        raise ValueError(
            "`save_to` writes files, which traced programs do not: call learn outside of jit, vmap "
            "and grad."
        )
    if resume is None:
        return
    component(resume, LearningCurve, "resume", "learn(…), or LearningCurve.load(path)")
    resume.check_single("learn(resume=…)")
    state = state_of(resume)
    if span.epochs < state.epochs:
        raise ValueError(
            f"`epochs` is the total, at least the {state.epochs} that `resume` has; got "
            f"{span.epochs}."
        )
    if span.record != state.record:
        raise ValueError(f"`record` must be that of `resume`, {state.record}; got {span.record}.")
    check_resume(resume, problem.model, continued(problem, method, resume), method)


def _problem(
    model: AbstractRNN,
    objective: AbstractObjective,
    method: AbstractMethod,
    data: Data,
    watch: Watch | None,
    simulate: AbstractSimulate,
    devices: int,
) -> Problem:
    """What is to be learned, checked as far as it does not depend on the method."""
    component(model, AbstractRNN, "model", "LowRankRNN(…), or reduce(network)")
    as_objective(objective)
    as_method(method)
    component(simulate, AbstractSimulate, "simulate", "Plain(), or ThroughReduction()")
    rule = method.rule
    space = simulate.space(model, rule)
    objective.check(space.network)
    if objective.private and space.lifted is not None:
        raise ValueError(
            f"`simulate`: few neurons cannot stand for all where each has noise of its own, as in "
            f"{type(objective).__name__}: use Plain()."
        )
    rule.check(objective)
    data.check(objective, 1)
    mesh = trial_mesh(objective, whole(devices, "devices"), lambda: data.at(objective, 0))
    if mesh is not None and not rule.of_losses:
        raise ValueError(
            f"`devices` share the losses of trials, and {type(rule).__name__} looks at the states "
            f"of all: let one device learn."
        )
    problem = Problem(model, space, objective, data, watch, simulate, rule, mesh)
    if watch is not None:
        check_watch(watch, jax.eval_shape(problem.learned, space.start))
    return problem


def _raise_failure(curve: LearningCurve) -> LearningCurve:
    fine = [curve.result == x for x in (RESULTS.successful, RESULTS.event_occurred)]
    if is_traced(curve):
        return curve.result.error_if(curve, ~(fine[0] | fine[1]))
    if not np.any(np.asarray(fine), axis=0).all():
        message = RESULTS[curve.result]
        epoch = int(curve.stopped)
        when = f" (at epoch {epoch} of {int(curve.epochs[-1])})" if epoch >= 0 else ""
        raise LearningError(f"{message}{when} [{outcome(curve.result)}]", curve)
    return curve
