"""`control_cost`: policy refinement under a price on control, from the stability epoch on."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._controllers import (
    double_integrator,
    initial_states,
    low_rank_controller,
    trial_by_trial,
)
from lrnn_jax.experiments._panels import gap
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import SIMULATION, THEORY, Figure, panels, plot_gap, plot_lines, shades
from lrnn_jax.learning import Descent, LearningCurve, lift
from lrnn_jax.reduced import reduce
from lrnn_jax.stability import effective_gains, radius, spectrum, stages


@dataclass(frozen=True)
class ControlCostConfig(AbstractLoopConfig):
    """Stage 3 for several prices of control; epochs before and after they are set. [CL] fig. 5.

    >>> experiments.ControlCostConfig(costs=(0.0, 1.0)).epochs
    1000
    >>> experiments.ControlCostConfig(n=0)
    Traceback (most recent call last):
        ...
    ValueError: `n` must lie between 2 and 1e+06; got 0.
    """

    costs: tuple[float, ...] = within((0.0, 0.5, 2.0, 5.0), 0, 1e6)
    """β, prices of Σ_t u²."""


class ControlCostResults(AbstractResults):
    """Learning curves by price, and the controllers that they end with, in the order of prices."""

    config: ControlCostConfig
    full: dict[str, LearningCurve]
    reduced: dict[str, LearningCurve]
    stable: int
    effort: list[float]
    """⟨Σ_t u²⟩."""
    gains: list[list[float]]
    radius: list[float]

    @claim("full = reduced for every β: largest |ΔQ| of all overlaps and epochs", high=1e-11)
    def max_abs_dq(self) -> Any:
        return max(self.reduced[beta].distance(full).max for beta, full in self.full.items())

    @claim("and their losses: largest relative difference", high=1e-12)
    def max_relative_dloss(self) -> Any:
        ratios = [self.reduced[beta].loss / full.loss for beta, full in self.full.items()]
        return np.abs(np.array(ratios) - 1).max()

    @claim("the dearer control, the less is used in the end: ⟨Σu²⟩ over that before", high=0.999)
    def effort_ratio(self) -> Any:
        effort = np.array(self.effort)[np.argsort(self.config.costs)]
        return max(effort[1:] / effort[:-1], default=None)

    @claim("the loop stays stable: largest |λ|", high=1)
    def max_radius(self) -> float:
        return max(self.radius)

    def table(self) -> Columns:
        k1, k2 = zip(*self.gains)
        given = {"β": (self.config.costs, "g"), "⟨Σu²⟩": (self.effort, ".3g")}
        given |= {"k₁": (k1, ".3f"), "k₂": (k2, ".3f"), "max |λ|": (self.radius, ".4f")}
        return given

    def draw(self) -> Figure:
        figure, (loss, zm, gaps) = panels(1, 3, height=2.4)
        epochs = np.asarray(next(iter(self.full.values())).epochs)
        some = slice(None, None, max(1, len(epochs) // 60))  # batches make losses jump: show some
        losses, overlaps = [], []
        for (beta, full), colour in zip(self.full.items(), shades(len(self.full))):
            for curve, label, look in (
                (full, rf"$\beta$ = {beta}", {"color": colour, **SIMULATION}),
                (self.reduced[beta], None, THEORY),
            ):
                losses.append((None, curve.loss[some], look))
                overlaps.append((label, curve["zm"], look))
        plot_lines(loss, epochs[some], losses, above=0).set_ylabel("loss $L$")
        plot_lines(zm, epochs, overlaps).set_ylabel(r"$\sigma_{zm}$")
        for ax in (loss, zm):
            ax.set(xlabel="epoch after stability", xlim=(0, epochs[-1]))
        worst = np.max([gap(full, self.reduced[beta]) for beta, full in self.full.items()], axis=0)
        plot_gap(gaps, epochs, {r"full − theory, worst $\beta$": worst})
        return figure


@experiment(
    source="[CL] fig. 5",
    quick=ControlCostConfig(n=20, batch=10, epochs=500, costs=(0.0, 2.0)),
    seconds=(18, 12),
)
def control_cost(config: ControlCostConfig, recorder: Recorder) -> ControlCostResults:
    """A stable policy is refined under several prices of control.

    Learning goes on from the stability epoch with a control cost; full network and theory.
    """
    free = double_integrator(config.steps, 2.0)
    keys = jr.split(jr.key(config.seed), 3)
    net = low_rank_controller(config.n, key=keys[0])
    first, second = (initial_states(free, config.epochs, config.batch, key=key) for key in keys[1:])

    options: dict[str, Any] = {"batches": second, **config.pace}
    method = Descent(config.lr, clip=1.0)
    before = recorder.learn("before", reduce(net), free, method, batches=first, **config.pace)
    stable = stages(before, free).stable
    if stable < 0:
        raise ValueError(
            f"This network is not stable within {config.epochs} epochs: take more `epochs` or "
            f"another `seed`."
        )
    start, full, reduced, ends = lift(before, net, stable), {}, {}, []
    unit = double_integrator(config.steps, 2.0, control_cost=1.0)
    for beta in config.costs:
        name, loop = f"{beta:g}", double_integrator(config.steps, 2.0, control_cost=beta)
        label = f"full network, β = {name}"
        simulated = start, trial_by_trial(loop), method
        full[name] = recorder.learn(f"full_{name}", *simulated, label=label, **options)
        reduced[name] = recorder.learn(f"reduced_{name}", reduce(start), loop, method, **options)
        ends.append(reduced[name].model)
    return ControlCostResults(
        config=config,
        full=full,
        reduced=reduced,
        stable=stable,
        effort=[float(unit.loss(end) - free.loss(end)) for end in ends],
        gains=[effective_gains(end, free)[0].tolist() for end in ends],
        radius=[float(radius(spectrum(end, free))) for end in ends],
    )
