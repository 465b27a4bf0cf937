"""Gradient flow: learning in the limit of small learning rates, as an ODE."""

from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import number, optional, whole
from lrnn_jax.learning._coordinates import AbstractCoordinates, GramCoordinates, Weights
from lrnn_jax.learning._descent import (
    AbstractMethod,
    LearningRate,
    as_rates,
    learning_rate,
    rate_at,
    times,
)
from lrnn_jax.learning._isospectral import Isospectral
from lrnn_jax.networks import AbstractRNN


class Flow(AbstractMethod):
    """Gradient flow, the limit of `Descent` for η → 0 at fixed η × epoch, integrated by diffrax.

        dX/de = −η(e) XΓD,      e: epochs;      on overlaps dQ/dt = −(DΓQ + QΓD) with t = η e

    On a reduction X = T (k×k), Q = TᵀQ_0T; on a network X = Θ (N×k), its ground truth.

    Arguments:
        lr: η per epoch, a number or a schedule (a smooth function of the epoch).
        rates: D, multipliers by family or column; default 1, 0 freezes.
        solver: any explicit diffrax solver, or `Isospectral()` (reductions only).
        rtol, atol: tolerances of the adaptive steps.
        max_steps: bound on the number of steps.
        stop_at_loss: end (result `event_occurred`) when the loss falls to this value.
        invariant_tol: report `RESULTS.invariants_lost` when a conserved quantity drifts further
            than this; None: don't.
        adjoint: how to differentiate through the solve; default diffrax's recursive
            checkpointing (memory O(√steps)); `DirectAdjoint` and `ForwardMode` work too,
            `BacksolveAdjoint` does not (diffrax cannot save at several times with it).

    Errors: ValueError for numbers out of range, a stochastic objective, or `Isospectral` on a
    network.

    Source: [LR] eq. 8 (the ten ODEs of rank 1, here for any rank and loss).
    """

    lr: LearningRate
    rates: dict[str, Any]
    solver: diffrax.AbstractSolver
    rtol: Float[Array, ""]
    atol: Float[Array, ""]
    max_steps: int = eqx.field(static=True)
    stop_at_loss: Float[Array, ""] | None
    invariant_tol: float | None = eqx.field(static=True)
    adjoint: diffrax.AbstractAdjoint

    def __init__(
        self,
        lr: ArrayLike | Callable[[Any], Any],
        rates: Mapping[str, ArrayLike] | None = None,
        *,
        solver: diffrax.AbstractSolver | None = None,
        rtol: ArrayLike = 1e-9,
        atol: ArrayLike = 1e-11,
        max_steps: int = 100_000,
        stop_at_loss: ArrayLike | None = None,
        invariant_tol: float | None = 1e-4,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ):
        self.lr = learning_rate(lr)
        self.rates = as_rates(rates)
        self.solver = diffrax.Dopri8() if solver is None else solver
        self.rtol = number(rtol, "rtol", 0)
        self.atol = number(atol, "atol", 0)
        self.max_steps = whole(max_steps, "max_steps")
        self.stop_at_loss = optional(stop_at_loss, "stop_at_loss", 0)
        self.invariant_tol = invariant_tol
        self.adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint

    def check(self, where: AbstractCoordinates) -> None:
        """Raise ValueError unless the solver and the rates fit these coordinates."""
        where.rates(self.rates)
        if isinstance(self.solver, Isospectral) and not isinstance(where, GramCoordinates):
            raise ValueError(
                "Isospectral moves overlaps by k×k group elements: use it on reduce(network)."
            )

    def solve(
        self,
        where: AbstractCoordinates,
        loss: Callable[[AbstractRNN], Float[Array, ""]],
        epochs: Float[Array, " record"],
        record: Callable[[Weights], Any],
    ) -> tuple[Any, Weights, Any, Any]:
        """Integrate over the given epochs.

        Returns: `record(X)` at each epoch (not finite after an early end), X at the end, the
        diffrax result, and the epoch at which integration ended.
        """
        rates = where.rates(self.rates)

        def field(t: Any, x: Weights, args: Any) -> Weights:
            lr = rate_at(self.lr, t)
            if isinstance(self.solver, Isospectral):
                assert isinstance(where, GramCoordinates)
                slope = where.generator(loss, x)[1]
            else:
                slope = where.gradient(loss, x)[1]
            return jax.tree.map(lambda g: -lr.astype(g.dtype) * g, times(slope, rates))

        event = None
        if (target := self.stop_at_loss) is not None:

            def reached(t: Any, y: Weights, args: Any, **kwargs: Any) -> Any:
                value = loss(where.model(y))
                return value <= target.astype(value.dtype)

            event = diffrax.Event(reached)
        times_saved = diffrax.SubSaveAt(ts=epochs, fn=lambda t, x, args: record(x))
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            self.solver,
            t0=epochs[0],
            t1=epochs[-1],
            dt0=None,
            y0=where.start,
            saveat=diffrax.SaveAt(subs=[times_saved, diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=diffrax.PIDController(
                rtol=self.rtol.astype(epochs.dtype), atol=self.atol.astype(epochs.dtype)
            ),
            max_steps=self.max_steps,
            event=event,
            adjoint=self.adjoint,
            throw=False,
        )
        assert sol.ys is not None
        assert sol.ts is not None
        saved, last = sol.ys
        return saved, jax.tree.map(lambda x: x[-1], last), sol.result, sol.ts[1][-1]
