"""Gradient flow: learning in the limit of small learning rates, as an ODE."""

from collections.abc import Callable
from dataclasses import KW_ONLY, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import component, number, optional, whole
from lrnn_jax._results import RESULTS
from lrnn_jax._scan import recorded
from lrnn_jax._types import is_traced
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._descent import (
    LearningRate,
    as_rates,
    as_rule,
    learning_rate,
    multiplied,
    rate_at,
    times,
)
from lrnn_jax.learning._method import AbstractMethod
from lrnn_jax.learning._problem import Problem, Progress, Record, nothing
from lrnn_jax.learning._state import in_words
from lrnn_jax.learning._unchecked import unchecked
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.overlaps import Invariants
from lrnn_jax.reduced import GramSpace
from lrnn_jax.rules import AbstractRule, Backward, Gradient


def as_solver(solver: Any) -> Any:
    """A diffrax solver that knows its error, or None.

    Errors: ValueError for anything else.
    """
    if solver is None:
        return None
    import diffrax  # here and below: a third of the time that the library takes to import

    return component(solver, diffrax.AbstractAdaptiveSolver, "solver", "diffrax.Dopri8()")


def as_adjoint(adjoint: Any) -> Any:
    """A way to differentiate that can save at several times, or None.

    Errors: ValueError for anything else.
    """
    if adjoint is None:
        return None
    import diffrax

    such_as = "diffrax.RecursiveCheckpointAdjoint(), which can save at several times"
    component(adjoint, diffrax.AbstractAdjoint, "adjoint", such_as)
    if isinstance(adjoint, diffrax.BacksolveAdjoint):
        raise ValueError(f"`adjoint` must be such as {such_as}; got a BacksolveAdjoint.")
    return adjoint


def tolerance_of(invariant_tol: float | None) -> float | None:
    """A positive number, or None."""
    if invariant_tol is None:
        return None
    return float(number(invariant_tol, "invariant_tol", 0, open_start=True))


class Flow(AbstractMethod):
    """Gradient flow, the limit of `Descent` for η → 0 at fixed η × epoch, integrated by diffrax.

        dX/de = −η(e) XΓD,      e: epochs;      on overlaps dQ/dt = −(DΓQ + QΓD) with t = η e

    On a reduction X = T (k×k), Q = TᵀQ_0T; on a network X = Θ (N×k), its ground truth.

    Arguments:
        lr: η per epoch, a number or a schedule (a smooth function of the epoch).
        rates: D, multipliers by family or column; default 1, 0 freezes.
        solver: any explicit diffrax solver with an error estimate, or `Isospectral()` (reductions
            only); None: `diffrax.Dopri8()`.
        rtol, atol: tolerances of the adaptive steps.
        max_steps: bound on the number of steps.
        stop_at_loss: end (result `event_occurred`) when the loss falls to this value.
        invariant_tol: report `RESULTS.invariants_lost` when conserved quantities are missed by more
            than this times the largest overlap at epoch 0 (see `Invariants.missed`); None: don't.
        adjoint: how to differentiate through the solve; None: diffrax's recursive
            checkpointing (memory O(√steps)); `DirectAdjoint` and `ForwardMode` work too,
            `BacksolveAdjoint` does not (diffrax cannot save at several times with it).
        rule: how the direction XΓ is computed: the flow of that rule, in place of the gradient's
            (`Isospectral` follows the gradient).

    Errors: ValueError for numbers out of range, a stochastic objective, or `Isospectral` on a
    network.

    Source: [LR] eq. 8 (the ten ODEs of rank 1, here for any rank and loss).

    >>> flow = lrnn.learn(reduction, task, lrnn.Flow(0.05), epochs=20)
    >>> bool(0 < flow.distance(curve).max < 0.5)  # descent by steps of 0.05
    True
    """

    lr: LearningRate = eqx.field(converter=learning_rate)
    rates: dict[str, Any] = eqx.field(converter=as_rates, default=None)
    _: KW_ONLY
    solver: Any = eqx.field(converter=as_solver, default=None)
    rtol: Float[Array, ""] = eqx.field(converter=partial(number, name="rtol", low=0), default=1e-9)
    atol: Float[Array, ""] = eqx.field(converter=partial(number, name="atol", low=0), default=1e-11)
    max_steps: int = eqx.field(
        converter=partial(whole, name="max_steps"), static=True, default=100_000
    )
    stop_at_loss: Float[Array, ""] | None = eqx.field(
        converter=partial(optional, name="stop_at_loss", low=0), default=None
    )
    invariant_tol: float | None = eqx.field(converter=tolerance_of, static=True, default=1e-4)
    adjoint: Any = eqx.field(converter=as_adjoint, default=None)
    rule: AbstractRule = eqx.field(converter=as_rule, default=Gradient())

    def check(self, problem: Problem, epochs: int) -> None:
        objective, data = problem.objective, problem.data
        data.check(objective, 1)
        if not data.fixed and (objective.stochastic or data.batches is not None):
            raise ValueError(
                f"Flow follows the gradient of one loss, but {type(objective).__name__} draws "
                f"fresh data in each epoch. Use its expectation (batch=None, no label noise), "
                f"fixed data (`batches` with a leading axis of length 1), or Descent."
            )
        if self.rule.no_flow:
            raise ValueError(f"Flow cannot follow {type(self.rule).__name__}: {self.rule.no_flow}.")
        if problem.model.constrain is not None:
            raise ValueError(
                "Flow has no steps after which masks and signs could be kept: let this network "
                "learn by Descent or Training."
            )
        problem.space.rates(self.rates)
        if self._by_generator and not isinstance(problem.space, GramSpace):
            raise ValueError(
                "Isospectral moves overlaps by k×k group elements: use it on reduce(network)."
            )

    def run(
        self, problem: Problem, epochs: int, every: int, progress: Progress | None
    ) -> LearningCurve:
        curve = _flow(self, problem, recorded(epochs, every))
        if self.invariant_tol is None or curve.roles is None or is_traced(self.rates):
            return curve
        rates = {name: float(rate) for name, rate in self.rates.items()}
        keeps = problem.objective.of_outputs and self.rule.backward == Backward()
        lost = partial(_lost, curve, self.invariant_tol, rates, keeps)
        broken = lost(Invariants.drift)
        if is_traced(broken) or jnp.any(broken):
            broken &= lost(Invariants.missed)
        result = RESULTS.where(broken, RESULTS.invariants_lost, curve.result)
        return eqx.tree_at(lambda c: c.result, curve, result)

    def program(self, space: AbstractSpace) -> str:
        if not callable(self.lr):
            return ""
        return in_words(jax.make_jaxpr(lambda t: rate_at(self.lr, t))(0.0))

    @property
    def _by_generator(self) -> bool:
        """Whether the solver takes the generator Ω of dX/de = XΩ in place of the velocity XΩ."""
        if self.solver is None:
            return False
        from lrnn_jax.learning._isospectral import Isospectral

        return isinstance(self.solver, Isospectral)

    def solve(self, problem: Problem, epochs: Float[Array, " record"]) -> Any:
        """Integrate over the given epochs.

        Returns: a diffrax solution: records at each epoch (not finite after an early end), and X at
        the end.
        """
        import diffrax

        space, loss = problem.space, problem.loss(0)
        rates, event, remembered = space.rates(self.rates), None, self.rule.init(space)
        adjoint = diffrax.RecursiveCheckpointAdjoint() if self.adjoint is None else self.adjoint

        def velocity(t: Any, weights: Weights, args: Any) -> Weights:
            lr = rate_at(self.lr, t)
            if self._by_generator and isinstance(space, GramSpace):
                at = space.point(weights)
                slope = space.generator(jax.grad(lambda q: loss(space.model_at(q)))(at))
            else:
                slope = self.rule.direction(space, loss, weights, remembered)[1]
            return multiplied(-lr, times(slope, rates))

        if (target := self.stop_at_loss) is not None:

            def reached(t: Any, weights: Weights, args: Any, **kwargs: Any) -> Any:
                value = loss(space.model(weights))
                return value <= target.astype(value.dtype)

            event = diffrax.Event(reached)

        def kept(t: Any, weights: Weights, args: Any) -> Record:
            return problem.record(weights, loss(space.model(weights)))

        def solution(start: Weights, epochs: Array) -> Any:
            saved = diffrax.SubSaveAt(ts=epochs, fn=kept)
            return diffrax.diffeqsolve(
                diffrax.ODETerm(velocity),
                diffrax.Dopri8() if self.solver is None else self.solver,
                t0=epochs[0],
                t1=epochs[-1],
                dt0=None,
                y0=start,
                saveat=diffrax.SaveAt(subs=[saved, diffrax.SubSaveAt(t1=True)]),
                stepsize_controller=diffrax.PIDController(
                    rtol=self.rtol.astype(epochs.dtype), atol=self.atol.astype(epochs.dtype)
                ),
                max_steps=self.max_steps,
                event=event,
                adjoint=adjoint,
                throw=False,
            )

        # diffrax would check that epochs are in order
        return unchecked(solution, _beginning(problem)[0], epochs)


def _beginning(problem: Problem) -> tuple[Weights, Any, Any]:
    """Weights, epoch and end (−1: none) of what was learned before."""
    if (begin := problem.begin) is None:
        return problem.space.start, 0, -1
    return begin.weights, begin.epoch, begin.stopped


def _result(solved: Any) -> RESULTS:
    """How a solve ended, by its own name or as `internal_error`."""
    import diffrax

    found = RESULTS.internal_error
    for name, item in RESULTS._name_to_item.items():
        if name in diffrax.RESULTS._name_to_item:
            found = RESULTS.where(solved == diffrax.RESULTS._name_to_item[name], item, found)
    return found


@eqx.filter_jit
def _lost(
    curve: LearningCurve,
    tolerance: Any,
    rates: dict[str, float],
    keeps_spectrum: bool,
    change: Callable[[Invariants, Invariants], Array],
) -> Array:
    """Whether what is conserved changed by more than the tolerance, times the largest overlap."""
    kept = jax.lax.stop_gradient(curve.conserved(rates))
    history, start = (
        each if keeps_spectrum else replace(each, spectrum_conserved=False) for each in kept
    )
    most = tolerance * jnp.max(jnp.abs(curve.gram[..., 0, :, :]), axis=(-2, -1))
    lost = jnp.nanmax(change(history, start), -1) > most
    return lost & (curve.result == RESULTS.successful)


@eqx.filter_jit
def _flow(method: Flow, problem: Problem, epochs: Int[Array, " record"]) -> LearningCurve:
    """Gradient flow, saved at the recorded epochs (data: one program for any number of epochs).

    One that ended before stays where it ended.
    """
    space, loss = problem.space, problem.loss(0)
    start, since, ended = _beginning(problem)
    epochs = epochs + since
    times_saved = epochs.astype(jax.tree.leaves(start)[0].dtype)
    solution = method.solve(problem, times_saved)
    (saved, last), (_, ends) = solution.ys, solution.ts
    result = _result(solution.result)
    early, end = ~(result == RESULTS.successful), ends[-1]
    # a flow that ends before its first step saves nothing: it has only its start
    moved = jnp.isfinite(end)
    end = jnp.where(moved, end, times_saved[0])
    weights = jax.tree.map(lambda a, b: jnp.where(moved & (ended < 0), a[-1], b), last, start)
    first = problem.record(start, loss(space.model(start)))
    saved = jax.tree.map(lambda a, b: a.at[0].set(b), saved, first)
    inside = (~early | (times_saved <= end)) & (ended < 0)
    saved = jax.tree.map(
        lambda a: jnp.where(inside.reshape(-1, *[1] * (a.ndim - 1)), a, nothing(a)), saved
    )
    stopped = jnp.where(early, jnp.floor(end).astype(epochs.dtype), -1)
    stopped = jnp.where(ended < 0, stopped, ended)
    return problem.curve(method, epochs, saved, stopped, result, weights, None)
