"""The contract of a method, and how those that take one step an epoch run."""

from abc import abstractmethod
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lrnn_jax._readable import AbstractReadable
from lrnn_jax._results import RESULTS, Interrupted
from lrnn_jax._scan import near_divisor, record
from lrnn_jax._types import Scalar, is_traced
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._problem import Problem, Progress, Record, nothing
from lrnn_jax.learning._state import in_words
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.rules import AbstractRule

_SUCCESS: Any = RESULTS.successful


class Step(NamedTuple):
    """What an update goes by.

    Fields: weights X; direction, XΓ for the gradient; memory of the update; epoch; loss before it.
    """

    weights: Weights
    direction: Weights
    memory: Any
    epoch: Any
    loss: Any


class AbstractMethod(AbstractReadable):
    """A way to learn: a rule for the direction, whether it fits a problem, and the run.

    >>> isinstance(lrnn.Flow(0.1), learning.AbstractMethod)
    True
    """

    rule: eqx.AbstractVar[AbstractRule]

    @abstractmethod
    def check(self, problem: Problem, epochs: int) -> None:
        """Raise ValueError, with the reason, unless the method can solve the problem."""

    @abstractmethod
    def program(self, space: AbstractSpace) -> str:
        """What functions among its fields compute (schedules, optimisers), in words; "" without."""

    @abstractmethod
    def run(
        self, problem: Problem, epochs: int, every: int, progress: Progress | None
    ) -> LearningCurve:
        """Learn for some epochs from `problem.begin` on; every `every`-th and the last are kept.

        `progress` is called with the epochs done of these.
        """


class AbstractUpdate(AbstractMethod):
    """A method that takes one discrete step an epoch, along the direction of its rule.

    >>> [isinstance(method, learning.AbstractUpdate) for method in (descent, lrnn.Flow(0.1))]
    [True, False]
    """

    @abstractmethod
    def fits(self, space: AbstractSpace) -> None:
        """Raise ValueError, with the reason, unless the update is exact in this space."""

    @abstractmethod
    def init(self, space: AbstractSpace) -> Any:
        """The update's memory at epoch 0."""

    @abstractmethod
    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        """Weights and memory one epoch later."""

    def check(self, problem: Problem, epochs: int) -> None:
        problem.data.check(problem.objective, max(epochs, 1))
        self.fits(problem.space)
        if problem.space.crowd is not None and jax.tree.leaves(self.init(problem.space)):
            raise ValueError(
                f"The memory of {type(self).__name__} (`momentum`) holds directions among N "
                f"neurons, and a reduction follows the law of the overlaps alone: leave it out, or "
                f"let the network learn."
            )

    def program(self, space: AbstractSpace) -> str:
        """One update, as JAX traces it, where functions have a part in it."""
        if not any(map(callable, jax.tree.leaves(self))):
            return ""
        arrays, rest = eqx.partition((self, space), eqx.is_array)

        def update(arrays: Any, epoch: Any, loss: Any) -> Any:
            method, space = eqx.combine(arrays, rest)
            step = Step(space.start, space.start, method.init(space), epoch, loss)
            return method.update(space, step)

        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
        epoch, loss = (jax.ShapeDtypeStruct((), kind) for kind in (int, space.network.dtype))
        return in_words(jax.make_jaxpr(update)(shapes, epoch, loss))

    def run(
        self, problem: Problem, epochs: int, every: int, progress: Progress | None
    ) -> LearningCurve:
        if progress is None or is_traced(self, problem):
            return _whole_run(self, problem, epochs, every)
        return _run_with_progress(self, problem, epochs, every, progress)


class _State(NamedTuple):
    """What changes from epoch to epoch; the memory is that of the rule, and that of the update.

    `at` is the point of the weights (Q of T), where that is something else than they: computed once
    an epoch, in place of wherever the next epoch's gradient asks for one of its entries.
    """

    weights: Weights
    memory: tuple[Any, Any]
    epoch: Int[Array, ""]
    stopped: Int[Array, ""]
    at: Any


def _start(method: AbstractUpdate, problem: Problem) -> _State:
    space, begin = problem.space, problem.begin
    memory = method.rule.init(space), method.init(space)
    if begin is not None:
        memory, at = begin.recalled(memory), _point(space, begin.weights)
        return _State(begin.weights, memory, begin.epoch, begin.stopped, at)
    zero = jnp.zeros((), int)
    return _State(space.start, memory, zero, zero - 1, _point(space, space.start))


def _point(space: AbstractSpace, weights: Weights) -> Any:
    """The point of these weights; None where it is nothing but the weights."""
    point = space.point(weights)
    pairs = zip(jax.tree.leaves(point), jax.tree.leaves(weights))
    return None if all(a is b for a, b in pairs) else point


def _step(method: AbstractUpdate, problem: Problem, state: _State) -> tuple[_State, Scalar]:
    """One epoch. A run that stops being finite is frozen at its last finite weights."""
    space = problem.space
    remembered, memory = state.memory
    rule, loss_of, weights = method.rule, problem.loss(state.epoch, state.at), state.weights

    def move(weights: Weights, direction: Weights, memory: Any, loss: Any) -> tuple[Weights, Any]:
        step = Step(weights, direction, memory, state.epoch, loss)
        weights, memory = method.update(space, step)
        return space.allowed(weights), memory

    if rule.inside is not None:
        loss, weights, memory = rule.inside(rule, space, loss_of, weights, memory, move)
    else:
        loss, direction, remembered = rule.direction(space, loss_of, weights, remembered)
        weights, memory = move(weights, direction, memory, loss)
    memory = remembered, memory
    finite = _finite(weights, loss)
    running = state.stopped < 0
    go = running & finite
    weights, memory = jax.tree.map(
        lambda new, old: jnp.where(go, new, old), (weights, memory), (state.weights, state.memory)
    )
    stopped = jnp.where(running & ~finite, state.epoch, state.stopped)
    loss = jnp.where(running, loss, jnp.nan)
    return _State(weights, memory, state.epoch + 1, stopped, _point(space, weights)), loss


def _finite(weights: Weights, loss: Scalar) -> Bool[Array, ""]:
    """Whether the loss is finite, and weights so far below overflow that their overlaps are too.

    The loss decides by the limit of the weights: of many networks at once, each entry of theirs
    would otherwise compute it again, for its own choice between old and new.
    """
    finite = jnp.array(True)
    for leaf in jax.tree.leaves(weights):
        limit = jnp.where(jnp.isfinite(loss), float(jnp.finfo(leaf.dtype).max) ** 0.25, 0.0)
        finite &= jnp.all(jnp.abs(leaf) < limit.astype(leaf.dtype))
    return finite


def _advance(
    method: AbstractUpdate, problem: Problem, state: _State, epochs: int, every: int
) -> tuple[_State, Record]:
    """Some epochs, and the records of every n-th of them."""
    step, keep = partial(_step, method, problem), partial(_record, problem)
    return record(step, keep, state, epochs, every)


def _record(problem: Problem, state: _State, loss: Scalar) -> Record:
    """What is kept of the weights before an update; NaN once the run has stopped."""
    kept = problem.record(state.weights, loss)
    return jax.tree.map(lambda a: jnp.where(state.stopped < 0, a, nothing(a)), kept)


def _finish(
    method: AbstractUpdate, problem: Problem, state: _State, histories: list[Record], every: int
) -> LearningCurve:
    """Add the final state to the records and make the curve."""
    model = problem.space.model(state.weights)
    final = _record(problem, state, problem.loss(state.epoch)(model))
    # a run that blows up in its very last update is noticed here
    broken = (state.stopped < 0) & ~jnp.isfinite(final.loss)
    stopped = jnp.where(broken, state.epoch, state.stopped)
    histories = [*histories, jax.tree.map(lambda a: a[None], final)]
    history = jax.tree.map(lambda *a: jnp.concatenate(a), *histories)
    first = 0 if problem.begin is None else problem.begin.epoch
    epochs = jnp.minimum(first + jnp.arange(history.loss.shape[0]) * every, state.epoch)
    result = RESULTS.where(stopped < 0, _SUCCESS, RESULTS.diverged)
    weights, memory = state.weights, state.memory
    return problem.curve(method, epochs, history, stopped, result, weights, memory)


@eqx.filter_jit
def _whole_run(method: AbstractUpdate, problem: Problem, epochs: int, every: int) -> LearningCurve:
    """The whole run as one program."""
    state, history = _advance(method, problem, _start(method, problem), epochs, every)
    return _finish(method, problem, state, [history], every)


_begun: Any = eqx.filter_jit(_start)
_block: Any = eqx.filter_jit(_advance)
_ended: Any = eqx.filter_jit(_finish)


def _run_with_progress(
    method: AbstractUpdate, problem: Problem, epochs: int, every: int, progress: Progress
) -> LearningCurve:
    """The same run as a host loop over compiled blocks of it."""
    records, rest = divmod(epochs, every)
    block = near_divisor(records, records // 40 + 1)
    state, histories, done = _begun(method, problem), [], 0
    plan = [block * every] * (records // block)
    plan += [records % block * every] * (records % block > 0) + [rest] * (rest > 0)
    try:
        for several in plan:
            state, history = _block(method, problem, state, several, every)
            histories.append(history)
            done += several
            progress(done, epochs, float(history.loss[-1]))
    except KeyboardInterrupt:
        raise Interrupted(_ended(method, problem, state, histories, every)) from None
    return _ended(method, problem, state, histories, every)
