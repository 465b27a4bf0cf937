"""One task after another: sequences, what they leave behind, and cycles that do not close."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import component, function, one_key, shown, whole
from lrnn_jax._results import RESULTS, LearningError
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._learn import Options, as_method, as_objective, learn
from lrnn_jax.learning._method import AbstractMethod
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractObjective

PHASES = "[(task, Descent(0.1), 100)]: objective, method and epochs of each"


class Phase(eqx.Module):
    """Part of a sequence: an objective, how it is learned, and for how many epochs.

    Errors: ValueError for what is none of these.

    >>> phase = learning.Phase(task, descent, 20)
    >>> phase.epochs
    20
    """

    objective: AbstractObjective = eqx.field(converter=as_objective)
    method: AbstractMethod = eqx.field(converter=as_method)
    epochs: int = eqx.field(converter=partial(whole, name="epochs", least=0), static=True)


def learn_sequence(
    model: AbstractRNN,
    phases: Sequence[Phase | tuple[AbstractObjective, AbstractMethod, int]],
    *,
    key: PRNGKeyArray | None = None,
    progress: Callable[[int, int, int, float], None] | bool | None = None,
    **options: Unpack[Options],
) -> LearningCurve:
    """Let a network, or its reduction, learn one objective after another.

    Each phase starts from the weights where the one before ended, with a fresh memory of its
    method (momentum, Adam's moments).

    Arguments:
        model: any network or reduction.
        phases: (objective, method, epochs), in order.
        key: draws the data; phase i uses `fold_in(key, i)`.
        progress: called as progress(phase, epoch, epochs, loss); True: a bar for each phase.
        options: of `learn`, for each phase: record (and always its last epoch), watch, simulate,
            devices, throw (the error holds the curve so far).

    Returns: one `LearningCurve` with epochs counted through. Where two phases meet, the loss is
    that of the new one.

    Errors: ValueError for no phases, and as `learn`.

    Source: ours; the A-B-A protocol: [LR] fig. 3.

    >>> other = lrnn.ExponentialFilter(0.4, 0.1, 50)
    >>> found = lrnn.learn_sequence(reduction, [(task, descent, 20), (other, descent, 20)])
    >>> int(found.epochs[-1])
    40
    """
    if not component(phases, Sequence, "phases", PHASES):
        raise ValueError("`phases` is empty: give at least one (objective, method, epochs).")
    parts = [_phase(phase) for phase in phases]
    if progress is not None and not isinstance(progress, bool):
        function(progress, "progress", "(phase, epoch, epochs, loss)", ", or True for bars")
    curves: list[LearningCurve] = []
    for i, part in enumerate(parts):
        seen = partial(progress, i) if callable(progress) else progress
        phase_key = None if key is None else jr.fold_in(one_key(key), i)
        shared: Any = {"epochs": part.epochs, "key": phase_key, "progress": seen, **options}
        try:
            curve = learn(model, part.objective, part.method, **shared)
        except LearningError as error:
            raise LearningError(
                f"Phase {i + 1} of {len(phases)}: {error}", join_curves(*curves, error.curve)
            ) from None
        curves.append(curve)
        model = curve.model
    return join_curves(*curves)


def _phase(phase: Any) -> Phase:
    if isinstance(phase, tuple) and len(phase) == 3:
        return Phase(*phase)
    if isinstance(phase, Phase):
        return phase
    raise ValueError(f"`phases` must be such as {PHASES}; got {shown(phase)}.")


def join_curves(*curves: LearningCurve) -> LearningCurve:
    """Curves of runs that continue each other, as one.

        Θ_t = Θ_0 T_1 T_2 …

    Where two meet, the later one's entry is kept. `result` and `stopped` are those of the first
    curve that failed. A flow that an event ended has NaN from there to the next curve.

    Errors: ValueError for no curves, for batches of them (`vmap` over this instead), and for curves
    of models with other columns.

    >>> first = lrnn.learn(reduction, task, descent, epochs=10)
    >>> second = lrnn.learn(first.model, task, descent, epochs=10)
    >>> bool(learning.join_curves(first, second).distance(curve).max < 1e-12)
    True
    """
    if not curves:
        raise ValueError("join_curves takes at least one curve.")
    for curve in curves:
        component(curve, LearningCurve, "curves", "learn(…)").check_single("join_curves")
        if curve.roles != curves[0].roles:
            names = [c.roles and c.roles.describe() for c in (curves[0], curve)]
            raise ValueError(
                f"`curves` that continue each other have the same columns; got {names}."
            )
    return reduce(_append, curves)


def _append(a: LearningCurve, b: LearningCurve) -> LearningCurve:
    def put(x: Array, y: Array) -> Array:
        return jnp.concatenate([x[:-1], y])

    last = a.epochs[-1]
    transform = None
    if a.transform is not None and b.transform is not None:
        transform = put(a.transform, a.transform[-1][None] @ b.transform)
    fine = (a.result == RESULTS.successful) | (a.result == RESULTS.event_occurred)
    later = jnp.where(b.stopped < 0, b.stopped, b.stopped + last.astype(b.stopped.dtype))
    kept = {}
    for name in ("loss", "gram", "c", "held_out", "watched"):  # as far as both have it
        x, y = getattr(a, name), getattr(b, name)
        kept[name] = None if x is None or y is None else jax.tree.map(put, x, y)
    return LearningCurve(
        **kept,
        epochs=put(a.epochs, b.epochs + last),
        transform=transform,
        stopped=jnp.where(fine, later, a.stopped),
        result=RESULTS.where(fine, b.result, a.result),
        model=b.model,
        roles=b.roles,
    )


class Excursion(NamedTuple):
    """How far each overlap went, and how far from its start it ended, over a part of a curve.

    Fields: size, largest |q − q(first)|; leftover, q(last) − q(first), shape (..., overlap); names.

    >>> found = learning.excursion(curve, 0, 20)
    >>> found.size.shape, found.names == net.overlaps.names
    ((10,), True)
    """

    size: Float[Array, "*batch overlap"]
    leftover: Float[Array, "*batch overlap"]
    names: tuple[str, ...]


def excursion(curve: LearningCurve, first: int, last: int) -> Excursion:
    """Largest and final change of every overlap between two recorded epochs of a curve.

    Arguments:
        curve: e.g. of `learn_sequence`; or a batch recorded at the same epochs.
        first, last: recorded epochs.

    Errors: ValueError for epochs that were not recorded, or reversed.

    Source: ours.

    >>> found = learning.excursion(curve, 0, 20)
    >>> bool((found.size >= abs(found.leftover)).all())
    True
    """
    component(curve, LearningCurve, "curve", "learn(…)")
    epochs = np.asarray(curve.epochs).reshape(-1, curve.epochs.shape[-1])
    wanted = whole(first, "first", 0), whole(last, "last", 0)
    places = [np.flatnonzero((epochs == epoch).all(axis=0)) for epoch in wanted]
    if not all(map(len, places)) or last < first:
        raise ValueError(
            f"`first` and `last` must be recorded epochs in this order; got {first}, {last}."
        )
    start, end = (int(place[0]) for place in places)
    part = curve.overlaps.vector()[..., start : end + 1, :]
    change = part - part[..., :1, :]
    return Excursion(jnp.max(jnp.abs(change), axis=-2), change[..., -1, :], curve.overlaps.names)


class Holonomy(NamedTuple):
    """What cycles of tasks leave behind.

    Fields: names of the overlaps; returns, the overlaps at the first task's solution, before the
    cycles and after each, shape (cycle + 1, overlap); leftover, the change over each cycle, shape
    (cycle, overlap); losses at the returns, shape (cycle + 1,).

    >>> other = lrnn.ExponentialFilter(0.4, 0.1, 50)
    >>> found = learning.holonomy(reduction, [task, other], descent, epochs=20)
    >>> found.returns.shape, found.leftover.shape
    ((2, 10), (1, 10))
    """

    names: tuple[str, ...]
    returns: Float[Array, "point overlap"]
    leftover: Float[Array, "cycle overlap"]
    losses: Float[Array, " point"]


def holonomy(
    model: AbstractRNN,
    tasks: Sequence[AbstractObjective],
    method: AbstractMethod,
    *,
    epochs: int,
    settle: int | None = None,
    cycles: int = 1,
    **options: Unpack[Options],
) -> Holonomy:
    """Learn A, then go round A → B → … → A, and see what does not come back.

    Conserved quantities hold learning on an orbit of more dimensions than a loss fixes (see
    `reachable_dimensions`), so a closed path of tasks need not close in the overlaps. With `Flow`
    this is all; descent adds its own drift, proportional to the learning rate.

    Arguments:
        model: a network or its reduction.
        tasks: A, B, …; deterministic.
        method: how each is learned.
        epochs: epochs of each visit.
        settle: epochs of the first one to A; default `epochs`.
        cycles: how many.
        options: of `learn`: simulate, devices, throw.

    Returns: `Holonomy`.

    Errors: ValueError for fewer than two tasks or no cycle; LearningError as `learn`.

    Source: ours.

    >>> other = lrnn.ExponentialFilter(0.4, 0.1, 50)
    >>> found = learning.holonomy(reduction, [task, other], descent, epochs=20, cycles=2)
    >>> found.losses.shape
    (3,)
    """
    cycles, epochs = whole(cycles, "cycles"), whole(epochs, "epochs", 0)
    settle = epochs if settle is None else whole(settle, "settle", 0)
    if len(component(tasks, Sequence, "tasks", "(task_a, task_b)")) < 2:
        raise ValueError(f"`tasks` of a cycle are two tasks or more; got {len(tasks)}.")

    def visit(model: AbstractRNN, task: AbstractObjective, epochs: int) -> LearningCurve:
        return learn(model, task, method, epochs=epochs, **{"record": max(epochs, 1), **options})

    curve = visit(model, tasks[0], settle)
    points = [curve]
    for _ in range(cycles):
        for task in (*tasks[1:], tasks[0]):
            curve = visit(curve.model, task, epochs)
        points.append(curve)
    returns = jnp.stack([c.overlaps.vector()[-1] for c in points])
    losses = jnp.stack([c.loss[-1] for c in points])
    return Holonomy(curve.overlaps.names, returns, jnp.diff(returns, axis=0), losses)
