"""Learning: one function for every model, objective and method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lrnn_jax._results import RESULTS, Interrupted, LearningError
from lrnn_jax._types import is_traced
from lrnn_jax.learning._checks import (
    check_checkpoint,
    check_counts,
    check_data,
    checked_coordinates,
    linear_network,
)
from lrnn_jax.learning._coordinates import (
    AbstractCoordinates,
    GramCoordinates,
    MixtureCoordinates,
    Weights,
)
from lrnn_jax.learning._curve import LearningCurve, outcome
from lrnn_jax.learning._descent import AbstractMethod, AbstractUpdate
from lrnn_jax.learning._devices import gathered, mean_over_devices, trial_mesh
from lrnn_jax.learning._flow import Flow
from lrnn_jax.learning._loops import near_divisor, nested
from lrnn_jax.networks import AbstractRNN, Checkpointed, LowRankRNN
from lrnn_jax.overlaps import is_realisable
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import AbstractObjective

_SUCCESS: Any = RESULTS.successful
Progress = Callable[[int, int, float], None]
Watch = Callable[[AbstractRNN], Any]


class _Data(eqx.Module):
    """Where the data of each epoch come from: given batches, or a key for the objective."""

    key: PRNGKeyArray | None
    batches: Any

    def at(self, objective: AbstractObjective, epoch: Int[Array, ""] | int) -> Any:
        if self.batches is not None:
            last = jax.tree.leaves(self.batches)[0].shape[0] - 1
            return jax.tree.map(lambda b: b[jnp.minimum(epoch, last)], self.batches)
        if not objective.stochastic:
            return None
        assert self.key is not None
        return objective.sample(jr.fold_in(self.key, epoch))


class _Problem(eqx.Module):
    """Everything that stays the same while learning goes on."""

    where: AbstractCoordinates
    objective: AbstractObjective
    method: AbstractMethod
    data: _Data
    watch: Watch | None
    network: LowRankRNN | None
    checkpoint: bool
    mesh: Mesh | None = eqx.field(static=True)

    def model(self, x: Weights) -> AbstractRNN:
        """The model with weights X; the network itself where its reduction learns for it."""
        if self.network is None:
            return self.where.model(x)
        transform = self.where.transform(x)
        assert transform is not None
        return self.network.with_vectors(self.network.vectors @ transform)

    def watched(self, x: Weights) -> Any:
        """What the user watches, as arrays; None where nothing is."""
        if self.watch is None:
            return None
        return jax.tree.map(jnp.asarray, self.watch(self.model(x)))

    def loss(self, epoch: Any) -> Callable[[AbstractRNN], Float[Array, ""]]:
        batch = self.data.at(self.objective, epoch)

        def of(model: AbstractRNN, objective: AbstractObjective, batch: Any) -> Float[Array, ""]:
            return objective.loss(Checkpointed(model) if self.checkpoint else model, batch)

        if self.mesh is None:
            return lambda model: of(model, self.objective, batch)
        mesh = self.mesh
        return lambda model: mean_over_devices(of, mesh, model, self.objective, batch)


class _State(NamedTuple):
    """What changes from epoch to epoch."""

    x: Weights
    memory: Any
    epoch: Int[Array, ""]
    stopped: Int[Array, ""]


class _Record(NamedTuple):
    """What is kept of an epoch."""

    loss: Float[Array, "..."]
    gram: Float[Array, "..."]
    transform: Float[Array, "..."] | None
    watched: Any


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
    through_reduction: bool = False,
    checkpoint: bool = False,
    devices: int = 1,
    throw: bool = True,
    progress: Progress | None = None,
) -> LearningCurve:
    """Let a network, or its reduction, learn.

    A pure function: `jit`, `vmap` and `grad` go through it, also with respect to initial overlaps,
    learning rate and target (memory in reverse mode: about √epochs weights plus the record).

    Arguments:
        model: `LowRankRNN`, `DenseRNN`, `ReducedRNN` or `MixtureRNN`.
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
        through_reduction: train a linear `LowRankRNN` by its overlaps and put the weights together
            at the end (and for `watch`), Θ = Θ_0 T: the same to rounding, without simulating it.
        checkpoint: simulate a network in blocks of √(T/3) steps whose states are computed again
            for the gradient (see `Checkpointed`): memory for about 4√T states instead of 3T.
        devices: among how many the trials of each epoch are split; the result is the same to
            rounding. A CPU is one unless XLA_FLAGS has --xla_force_host_platform_device_count=n.
        throw: raise `LearningError`, which holds the curve, when learning fails; otherwise the
            outcome is in `curve.result`.
        progress: called as progress(epoch, epochs, loss) about forty times (not by `Flow`).

    Errors: ValueError when model, objective, method and data do not fit; LearningError (with
    throw) when learning diverges, or the initial overlaps are not realisable.

    Source: ours (theory in the README).
    """
    check_counts(epochs=(epochs, 0), record=(record, 1), devices=(devices, 1))
    network = linear_network(model) if through_reduction else None
    where = checked_coordinates(model if network is None else reduce(network), objective, method)
    check_data(objective, method, epochs, key, batches)
    check_checkpoint(where, checkpoint)
    mesh, data = trial_mesh(objective, devices, key, batches), _Data(key, batches)
    problem = _Problem(where, objective, method, data, watch, network, checkpoint, mesh)
    curve = _run(problem, epochs, record, progress)
    return _raise_failure(curve) if throw else curve


def _run(problem: _Problem, epochs: int, record: int, progress: Progress | None) -> LearningCurve:
    """The curve, by the flow, as one program, or block by block with progress."""
    method = problem.method
    if isinstance(method, Flow):
        records = -(-epochs // record) + 1
        curve = _flow(problem, _recorded_epochs(records, record, jnp.asarray(epochs)))
        curve = _monitored(curve, method)
    elif progress is None or is_traced(problem):
        curve = _steps(problem, epochs, record)
    else:
        curve = _steps_with_progress(problem, epochs, record, progress)
    return curve if problem.mesh is None else gathered(curve)


def _update(problem: _Problem, state: _State) -> tuple[_State, Float[Array, ""]]:
    """One epoch. A run that stops being finite is frozen at its last finite weights."""
    method, where = problem.method, problem.where
    assert isinstance(method, AbstractUpdate)
    loss, gradient = where.gradient(problem.loss(state.epoch), state.x)
    x, memory = method.update(where, state.x, gradient, state.memory, state.epoch, loss)
    finite = jnp.isfinite(loss)
    for leaf in jax.tree.leaves(x):
        # so far below overflow that the overlaps of these weights are finite too
        finite &= jnp.all(jnp.abs(leaf) < float(jnp.finfo(leaf.dtype).max) ** 0.25)
    running = state.stopped < 0
    go = running & finite
    x, memory = jax.tree.map(
        lambda new, old: jnp.where(go, new, old), (x, memory), (state.x, state.memory)
    )
    stopped = jnp.where(running & ~finite, state.epoch, state.stopped)
    loss = jnp.where(running, loss, jnp.nan)
    return _State(x, memory, state.epoch + 1, stopped), loss


def _record(problem: _Problem, state: _State, loss: Float[Array, ""]) -> _Record:
    """What is kept of the weights before an update; NaN once the run has stopped."""
    where, x = problem.where, state.x
    kept = _Record(loss, where.gram(x), where.transform(x), problem.watched(x))
    return jax.tree.map(lambda a: jnp.where(state.stopped < 0, a, _nothing(a)), kept)


def _nothing(a: Array) -> Any:
    """What stands for a value that there is none of: NaN, or zero for whole numbers."""
    return jnp.nan if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.zeros((), a.dtype)


def _start(problem: _Problem) -> _State:
    method = problem.method
    assert isinstance(method, AbstractUpdate)
    x = problem.where.start
    zero = jnp.zeros((), int)
    return _State(x, method.init(problem.where), zero, zero - 1)


def _advance(problem: _Problem, state: _State, records: int, every: int) -> tuple[_State, _Record]:
    """`records` times: keep the state, then take `every` updates.

    The loops are nested so that reverse mode stores O(√records + √every) states and repeats the
    rest.
    """
    update = jax.checkpoint(lambda s: _update(problem, s), prevent_cse=False)

    def keep(state: _State) -> tuple[_State, _Record]:
        before = state
        state, loss = update(state)
        if every > 1:
            state, _ = nested(lambda s: (update(s)[0], None), state, every - 1)
        return state, _record(problem, before, loss)

    return nested(keep, state, records)


def _finish(
    problem: _Problem, state: _State, histories: list[_Record], every: int
) -> LearningCurve:
    """Add the final state to the record and make the curve."""
    model = problem.where.model(state.x)
    final = _record(problem, state, problem.loss(state.epoch)(model))
    # a run that blows up in its very last update is noticed here
    broken = (state.stopped < 0) & ~jnp.isfinite(final.loss)
    stopped = jnp.where(broken, state.epoch, state.stopped)
    histories = [*histories, jax.tree.map(lambda a: a[None], final)]
    history = jax.tree.map(lambda *a: jnp.concatenate(a), *histories)
    result = RESULTS.where(stopped < 0, _SUCCESS, RESULTS.diverged)
    return LearningCurve(
        epochs=_recorded_epochs(history.loss.shape[0], every, state.epoch),
        loss=history.loss,
        gram=history.gram,
        transform=history.transform,
        watched=history.watched,
        stopped=stopped,
        result=_realisable(problem.where, result),
        model=problem.model(state.x),
    )


def _realisable(where: AbstractCoordinates, result: RESULTS) -> RESULTS:
    if not isinstance(where, (GramCoordinates, MixtureCoordinates)):
        return result
    fine = jnp.all(is_realisable(jax.lax.stop_gradient(where.reduction.overlaps.gram)))
    return RESULTS.where(fine, result, RESULTS.unrealisable)


def _recorded_epochs(records: int, every: int, epochs: Int[Array, ""]) -> Int[Array, " record"]:
    return jnp.minimum(jnp.arange(records) * every, epochs)


@eqx.filter_jit
def _steps(problem: _Problem, epochs: int, every: int) -> LearningCurve:
    """The whole run as one program."""
    state, histories = _start(problem), []
    records, rest = divmod(epochs, every)
    if records:
        state, history = _advance(problem, state, records, every)
        histories.append(history)
    if rest:
        state, history = _advance(problem, state, 1, rest)
        histories.append(history)
    return _finish(problem, state, histories, every)


def _steps_with_progress(
    problem: _Problem, epochs: int, every: int, progress: Progress
) -> LearningCurve:
    """The same run as a host loop over compiled blocks of it."""
    records, rest = divmod(epochs, every)
    block = near_divisor(records, records // 40 + 1)
    advance = eqx.filter_jit(_advance)
    state, histories = eqx.filter_jit(_start)(problem), []
    plan = [(block, every)] * (records // block)
    plan += [(records % block, every)] * (records % block > 0) + [(1, rest)] * (rest > 0)
    finish = eqx.filter_jit(_finish)
    try:
        for count, stride in plan:
            state, history = advance(problem, state, count, stride)
            histories.append(history)
            progress(int(state.epoch), epochs, float(history.loss[-1]))
    except KeyboardInterrupt:
        raise Interrupted(finish(problem, state, histories, every)) from None
    return finish(problem, state, histories, every)


@eqx.filter_jit
def _flow(problem: _Problem, saved_epochs: Int[Array, " record"]) -> LearningCurve:
    """Gradient flow, saved at the recorded epochs (data: one program for any number of epochs)."""
    method, where, loss = problem.method, problem.where, problem.loss(0)
    assert isinstance(method, Flow)

    def record(x: Weights) -> _Record:
        now = loss(where.model(x))
        return _Record(now, where.gram(x), where.transform(x), problem.watched(x))

    dtype = jax.tree.leaves(where.start)[0].dtype
    times = saved_epochs.astype(dtype)
    saved, x, result, end = method.solve(where, loss, times, record)
    result = RESULTS.promote(result)
    early = ~(result == RESULTS.successful)
    # a flow that ends before its first step saves nothing: it has only its start
    moved = jnp.isfinite(end)
    end = jnp.where(moved, end, 0)
    x = jax.tree.map(lambda a, b: jnp.where(moved, a, b), x, where.start)
    saved = jax.tree.map(lambda a, b: a.at[0].set(b), saved, record(where.start))
    inside = ~early | (times <= end)
    saved = jax.tree.map(
        lambda a: jnp.where(inside.reshape(-1, *[1] * (a.ndim - 1)), a, _nothing(a)), saved
    )
    return LearningCurve(
        epochs=saved_epochs,
        loss=saved.loss,
        gram=saved.gram,
        transform=saved.transform,
        watched=saved.watched,
        stopped=jnp.where(early, jnp.floor(end).astype(saved_epochs.dtype), -1),
        result=_realisable(where, result),
        model=problem.model(x),
    )


def _monitored(curve: LearningCurve, method: Flow) -> LearningCurve:
    """The curve, marked `invariants_lost` where a conserved quantity drifted too far."""
    if method.invariant_tol is None or not curve.gram.size or is_traced(method.rates):
        return curve
    drift = jnp.nanmax(curve.invariant_drift({k: float(v) for k, v in method.rates.items()}), -1)
    lost = (drift > method.invariant_tol) & (curve.result == RESULTS.successful)
    result = RESULTS.where(lost, RESULTS.invariants_lost, curve.result)
    return eqx.tree_at(lambda c: c.result, curve, result)


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
