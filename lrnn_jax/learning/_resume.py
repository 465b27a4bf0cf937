"""Going on: whether a curve's run is the one that is asked for, in which stretches, and joining."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lrnn_jax._readable import ARRAYS, facts, readable
from lrnn_jax._results import RESULTS
from lrnn_jax._types import is_traced
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._method import AbstractMethod
from lrnn_jax.learning._problem import Problem, Record
from lrnn_jax.learning._state import HIDDEN, Begin, LearningState, identity
from lrnn_jax.networks import AbstractRNN


def stretches(
    begin: int, epochs: int, record: int, save_every: int | None
) -> Iterator[tuple[int, int]]:
    """Where a run from epoch `begin` to `epochs` stops on its way, and every how many epochs it is
    recorded until there: at the next recorded epoch, where it begins between two, and at saves."""
    now = begin
    if (rest := -begin % record) and begin < epochs:
        now = min(begin + rest, epochs)
        yield now, now - begin
    while now < epochs:
        save = epochs if save_every is None else (now // save_every + 1) * save_every
        now = min(save, epochs)
        yield now, record


def continued(problem: Problem, method: AbstractMethod, curve: LearningCurve) -> Problem:
    """The problem of a run that goes on where a curve ends."""
    state = state_of(curve)
    model = curve.model if state.start is None else state.start
    space = problem.simulate.space(model, method.rule)
    weights = space.start if state.weights is None else state.weights
    epoch = jnp.asarray(state.epochs)
    # one that blew up in its last update has yet to notice
    stopped = jnp.where(curve.stopped == epoch, -1, curve.stopped)
    begin = Begin(weights, state.memory, epoch, stopped)
    return dataclasses.replace(problem, model=model, space=space, begin=begin)


def state_of(curve: LearningCurve) -> LearningState:
    """What a curve holds to go on from.

    Errors: ValueError for a curve that holds nothing.
    """
    if curve.state is None:
        raise ValueError(
            "This `resume` holds no state to go on from, as curves do that were joined, or saved "
            "by an earlier version: learn from resume.model without `resume`, from epoch 0."
        )
    return curve.state


def joined(before: LearningCurve, part: LearningCurve) -> LearningCurve:
    """One curve of a run and of what followed, recorded where one run would have been."""
    state = state_of(before)
    between = state.epochs % state.record > 0 and part.loss.shape[0] > 1
    concatenate = jnp if is_traced(before, part) else np

    def put(a: Any, b: Any) -> Any:
        return jnp.asarray(concatenate.concatenate([a[:-1], b[between:]]))

    names = ("epochs", *Record._fields)
    records = {n: jax.tree.map(put, getattr(before, n), getattr(part, n)) for n in names}
    result = RESULTS.where(before.result == RESULTS.successful, part.result, before.result)
    return dataclasses.replace(part, **records, result=result)


def marked(curve: LearningCurve, epochs: int, record: int) -> LearningCurve:
    """The curve, with how far it is noted in its state (that of some methods has none)."""
    if curve.state is None:
        return curve
    state = dataclasses.replace(curve.state, epochs=epochs, record=record)
    return dataclasses.replace(curve, state=state)


def check_resume(
    curve: LearningCurve, model: AbstractRNN, problem: Problem, method: AbstractMethod
) -> None:
    """Raise ValueError, saying what differs, unless a curve is of this model, method and problem.

    What is traced is not compared.
    """
    found = dict(facts(model, "model"))
    for name, value in facts(curve.model, "model"):
        if name not in found or not _same(found[name], value):
            raise ValueError(
                f"`model` must be resume.model, with which the run goes on; it differs in `{name}`."
            )
    watched = jax.tree.structure(curve.watched)
    shapes = None if problem.watch is None else eqx.filter_eval_shape(problem.watch, curve.model)
    if watched != jax.tree.structure(shapes):
        raise ValueError("`watch` must be what `resume` was watched by: it returns something else.")
    state = state_of(curve)
    facts_now = problem.facts(method)
    names, numbers = _identity(facts_now)
    if is_traced(numbers, state.identity):
        now, then = dict.fromkeys(names, 0.0), dict.fromkeys(state.names, 0.0)
    else:
        now = dict(zip(names, np.asarray(numbers).tolist()))
        then = dict(zip(state.names, np.asarray(state.identity, numbers.dtype).tolist()))
    for name in dict.fromkeys([*then, *now]):
        a, b = then.get(name, np.inf), now.get(name, np.inf)
        if a != b and not np.isnan([a, b]).all():
            part = name.split(".")[0].split("[")[0]
            is_now = _in_short(facts_now[name]) if name in now else "nothing"
            was = "nothing" if name not in then else OTHER if a >= HIDDEN else f"{a:.8g}"
            raise ValueError(
                f"`resume` is of another run: `{name}` was {was} and is {is_now}; give the "
                f"{WHOSE.get(part, part)} of that run, or learn from resume.model without `resume`."
            )


WHOSE = {"program": "functions of the method"}
OTHER = "another one"
_identity = eqx.filter_jit(identity)


def _in_short(x: Any) -> str:
    """A fact, for messages."""
    text = x if isinstance(x, str) else readable(x)
    return text if len(text) <= 40 and not text.startswith("<") else OTHER


def _same(a: Any, b: Any) -> bool:
    if is_traced(a, b):
        return np.shape(a) == np.shape(b)
    if isinstance(a, ARRAYS) and isinstance(b, ARRAYS):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return readable(a) == readable(b)
