"""Learning: one function for every model, objective and method."""

from typing import Any, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lrnn_jax._checks import component, flag, function, one_key, whole
from lrnn_jax._results import RESULTS, LearningError, outcome
from lrnn_jax._types import is_traced
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._devices import gathered, trial_mesh
from lrnn_jax.learning._method import AbstractMethod
from lrnn_jax.learning._problem import Data, Problem, Progress, Watch, check_watch
from lrnn_jax.learning._simulate import AbstractSimulate, Plain
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractObjective


class Options(TypedDict, total=False):
    """Options of `learn` that whatever learns takes and passes on."""

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
    progress: Progress | None = None,
) -> LearningCurve:
    """Let a network, or its reduction, learn.

    A pure function: `jit`, `vmap` and `grad` go through it, also with respect to initial overlaps,
    learning rate and target (memory in reverse mode: about √epochs weights plus the record).

    Arguments:
        model: any network or reduction, also of a class of your own.
        objective: a task, or a closed loop.
        method: how, e.g. `Descent`, `Training(optimiser)` or `Flow`.
        epochs: number of updates (for `Flow`: time in units of updates).
        key: draws the data of every epoch; needed for stochastic objectives without `batches`.
            Epoch e uses `fold_in(key, e)`, whatever the model: a network and its reduction see
            the same data.
        batches: the data of each epoch instead, as `objective.sample` returns them, with a leading
            axis of length epochs (or epochs + 1: the last is for the final loss, which otherwise
            uses the last batch). For `Flow`, data that stay the same: a leading axis of length 1.
        record: keep every n-th epoch (and always the last): bounds memory on long runs.
        watch: a function of the model (the same object each time, or JAX compiles again), whose
            arrays are kept for every recorded epoch in `curve.watched`.
        simulate: how losses are computed: `Plain()`; `Checkpointed()`, in little memory; or
            `ThroughReduction()`, a linear network by its overlaps, without simulating it.
        devices: among how many the trials of each epoch are split; the result is the same to
            rounding. A CPU is one unless XLA_FLAGS has --xla_force_host_platform_device_count=n.
        throw: raise `LearningError`, which holds the curve, when learning fails; otherwise the
            outcome is in `curve.result`.
        progress: called as progress(epoch, epochs, loss) about forty times (not by `Flow`).

    Errors: ValueError when an argument is none of its kind, when model, objective, method and data
    do not fit, and for a `watch` whose results a saved curve could not hold; LearningError (with
    throw) when learning diverges, or the initial overlaps are not realisable.

    Source: ours (theory in the README).
    """
    epochs, record = whole(epochs, "epochs", 0), whole(record, "record")
    throw = flag(throw, "throw")
    data = Data(None if key is None else one_key(key), batches)
    if progress is not None:
        function(progress, "progress", "(epoch, epochs, loss)")
    problem = _problem(model, objective, method, data, watch, simulate, devices)
    method.check(problem, epochs)
    curve = method.run(problem, epochs, record, progress)
    curve = curve if problem.mesh is None else gathered(curve)
    return _raise_failure(curve) if throw else curve


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
    learner = simulate.learner(model)
    space = method.rule.space(learner)
    objective.check(learner)
    data.check(objective, 1)
    mesh = trial_mesh(objective, whole(devices, "devices"), lambda: data.at(objective, 0))
    problem = Problem(model, space, objective, data, watch, simulate, mesh)
    if watch is not None:
        check_watch(watch, jax.eval_shape(problem.learned, space.start))
    return problem


def _raise_failure(curve: LearningCurve) -> LearningCurve:
    fine = (curve.result == RESULTS.successful) | (curve.result == RESULTS.event_occurred)
    if is_traced(curve):
        return curve.result.error_if(curve, ~fine)
    if not bool(jnp.all(fine)):
        message = RESULTS[curve.result]
        epoch = int(curve.stopped)
        when = f" (at epoch {epoch} of {int(curve.epochs[-1])})" if epoch >= 0 else ""
        raise LearningError(f"{message}{when} [{outcome(curve.result)}]", curve)
    return curve
