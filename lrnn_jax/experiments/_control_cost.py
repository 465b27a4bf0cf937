"""`control_cost`: policy refinement under a price on control, from the stability epoch on."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._controllers import (
    double_integrator,
    initial_states,
    low_rank_controller,
    trial_by_trial,
)
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, LearningCurve, learn, lift
from lrnn_jax.reduced import reduce
from lrnn_jax.stability import effective_gains, radius, spectrum, stages


@dataclass(frozen=True)
class ControlCostConfig:
    """Stage 3 for several prices of control. [CL] fig. 5."""

    n: int = 100
    """N, neurons."""
    steps: int = 50
    """T, steps of a trial."""
    batch: int = 100
    """Trials per epoch."""
    lr: float = 0.01
    """η, learning rate."""
    epochs: int = 1000
    """Parameter updates, before and after the price is set."""
    costs: tuple[float, ...] = (0.0, 0.5, 2.0, 5.0)
    """β, prices of Σ_t u²."""
    seed: int = 0
    """Random seed of the network and of the trials."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e6), steps=(2, 1e5), batch=(1, 1e6), epochs=(2, 1e7), lr=(0, 1e3))
        if not self.costs or min(self.costs) < 0:
            raise ValueError(f"`costs` are prices of control, none negative; got {self.costs}.")


QUICK = ControlCostConfig(n=20, batch=10, epochs=500, costs=(0.0, 2.0))


def control_cost(
    config: ControlCostConfig = ControlCostConfig(), progress: Progress | None = None
) -> Report:
    """Go on learning from the stability epoch with a control cost; full network and theory.

    Arguments:
        config: sizes, learning rate and prices.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full β" and "reduced β".

    Source: [CL] fig. 5; in overlap space: ours.
    """
    free = double_integrator(config.steps, 2.0)
    keys = jr.split(jr.key(config.seed), 3)
    net, method = low_rank_controller(config.n, key=keys[0]), Descent(config.lr, clip=1.0)
    first, second = (initial_states(free, config.epochs, config.batch, key=key) for key in keys[1:])
    before = learn(reduce(net), free, method, epochs=config.epochs, batches=first)
    stable = stages(before, free).stable
    if stable < 0:
        raise ValueError(
            f"This network is not stable within {config.epochs} epochs: take more `epochs` or "
            f"another `seed`."
        )
    start = lift(before, net, stable)
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}
    for beta in config.costs:
        costly = double_integrator(config.steps, 2.0, control_cost=beta)
        on_full = reporter(progress, f"full network, β = {beta:g}")
        for name, model, loop, shown in (
            ("full", start, trial_by_trial(costly), on_full),
            ("reduced", reduce(start), costly, None),
        ):

            def work(model: Any = model, loop: Any = loop, shown: Any = shown) -> LearningCurve:
                options: dict[str, Any] = {"epochs": config.epochs, "batches": second}
                return learn(model, loop, method, progress=shown, **options)

            curves[f"{name} {beta:g}"], seconds[f"{name}, β = {beta:g}"] = timed(work)
    report = _report(config, stable, curves)
    report.seconds = seconds
    return report


def _report(config: ControlCostConfig, stable: int, curves: dict[str, LearningCurve]) -> Report:
    gaps, losses, effort, gains, radii = [], [], [], [], []
    for beta in config.costs:
        full, reduced = curves[f"full {beta:g}"], curves[f"reduced {beta:g}"]
        loop = double_integrator(config.steps, 2.0, control_cost=beta)
        unit = double_integrator(config.steps, 2.0, control_cost=1.0)
        free = double_integrator(config.steps, 2.0)
        gaps.append(float(reduced.distance(full).max))
        losses.append(float(jnp.max(jnp.abs(reduced.loss / full.loss - 1))))
        effort.append(float(unit.loss(reduced.model) - free.loss(reduced.model)))
        gains.append(np.asarray(effective_gains(reduced.model, loop))[0])
        radii.append(float(radius(spectrum(reduced.model, loop))))
    claims = [
        Claim(
            "full = reduced for every β (overlaps ≤ 1e-11, loss ≤ 1e-12 relative)",
            f"max |ΔQ| = {max(gaps):.2g}, loss {max(losses):.2g}",
            max(gaps) <= 1e-11 and max(losses) <= 1e-12,
        ),
        Claim(
            "the dearer control, the less of it is used in the end",
            ", ".join(f"β {b:g}: ⟨Σu²⟩ = {e:.3g}" for b, e in zip(config.costs, effort)),
            bool(np.all(np.diff(np.array(effort)[np.argsort(config.costs)]) < 0)),
        ),
        Claim(
            "the loop stays stable",
            ", ".join(f"{r:.4f}" for r in radii),
            max(radii) < 1,
        ),
    ]
    rows = [
        [f"{b:g}", f"{g:.1e}", f"{x:.1e}", f"{e:.3g}", f"{k[0]:.3f}", f"{k[1]:.3f}", f"{r:.4f}"]
        for b, g, x, e, k, r in zip(config.costs, gaps, losses, effort, gains, radii)
    ]
    header = ["β", "max |ΔQ|", "Δloss", "⟨Σu²⟩", "k₁", "k₂", "max |λ|"]
    values = {
        "stable": stable,
        "costs": list(config.costs),
        "max_abs_dq": max(gaps),
        "max_relative_dloss": max(losses),
        "effort": effort,
        "gains": [k.tolist() for k in gains],
    }
    return Report("control_cost", config, claims, values, (header, rows), {}, dict(curves))
