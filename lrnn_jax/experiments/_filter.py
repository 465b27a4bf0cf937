"""`filter`: a 500-neuron network and its 4×4 theory learn the exponential filter alike."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, DirectDescent, Flow, LearningCurve, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class FilterConfig:
    """Learning an exponential filter: full network, exact theory, flow. [LR] fig. 1, 5."""

    n: int = 500
    """N, neurons."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """T, steps of the impulse response."""
    rate: float = 0.2
    """c*, decay rate of the target [1 / membrane time constant]."""
    amplitude: float = 1.0
    """a*, amplitude of the target."""
    lr: float = 5e-3
    """η, learning rate (the network's own is N η)."""
    epochs: int = 2000
    """Parameter updates."""
    halvings: int = 4
    """How often η is halved to measure how flow and descent converge."""
    starts: int = 1000
    """Random networks over which true and direct descent are compared."""
    seed: int = 14
    """Random seed of the initial network."""

    def __post_init__(self) -> None:
        check_config(
            self, n=(2, 1e6), steps=(2, 1e6), epochs=(2, 1e8), lr=(0, 1e3), halvings=(1, 12)
        )
        check_config(self, starts=(1, 1e6), rate=(0, 1e3), dt=(1e-9, 1))


QUICK = FilterConfig(n=100, steps=200, epochs=1000, lr=1e-2, halvings=3, starts=200)


def filter(config: FilterConfig = FilterConfig(), progress: Progress | None = None) -> Report:
    """Train a full network on the exponential filter, and its theory in three forms.

    The full network by autodiff through its simulation; its exact reduction; gradient flow; and
    "direct" descent, which ignores the invisible overlaps.

    Arguments:
        config: sizes, task and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full", "reduced", "flow", "direct".

    Source: [LR] fig. 1, 5.
    """
    task = ExponentialFilter(config.rate, config.dt, config.steps, config.amplitude)
    net = LowRankRNN.normalised(config.n, dt=config.dt, key=jr.key(config.seed))
    reduction, epochs = reduce(net), config.epochs
    descent = Descent(config.lr)
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}

    def run(name: str, model: Any, method: Any, shown: Any = None) -> None:
        def work() -> LearningCurve:
            return learn(model, task, method, epochs=epochs, progress=shown)

        curves[name], seconds[name] = timed(work)

    run("full", net, descent, reporter(progress, "full network"))
    run("reduced", reduction, descent)
    run("flow", reduction, Flow(config.lr))
    run("direct", reduction, DirectDescent(config.lr))
    (rates, gaps), seconds["flow order"] = timed(lambda: flow_gaps(config, reduction, task))
    share, seconds["many starts"] = timed(lambda: _direct_is_slow(config, task))
    before, after = task.output(net), task.output(curves["full"].model)
    report = _report(config, curves, np.asarray(gaps), np.asarray(share))
    report.seconds = seconds
    report.arrays = {
        "flow_lr": ("halving", np.asarray(rates), {"long_name": "learning rate", "units": "1"}),
        "flow_gap": (
            "halving",
            np.asarray(gaps),
            {"long_name": "largest overlap difference of flow and descent", "units": "1"},
        ),
        "time": (
            "time",
            config.dt * np.arange(config.steps),
            {"long_name": "time", "units": "membrane time constants"},
        ),
    } | {
        f"output_{name}": (
            "time",
            np.asarray(values)[:, 0, 0],
            {"long_name": f"impulse response, {name}", "units": "1"},
        )
        for name, values in (("target", task.samples), ("before", before), ("after", after))
    }
    return report


def flow_gaps(config: FilterConfig, reduction: Any, task: Any) -> tuple[Any, Any]:
    """max |Q_flow − Q_descent| at learning rates η, η/2, …, over the same η × epochs.

    Returns: learning rates and gaps, shape (halvings + 1,).
    """
    longest = config.epochs * 2**config.halvings
    gaps, rates = [], []
    for halving in range(config.halvings + 1):
        every, lr = 2**halving, config.lr / 2**halving
        # all of equal length, so that one compiled program serves for every learning rate
        descent = learn(reduction, task, Descent(lr), epochs=longest)
        flow = learn(reduction, task, Flow(lr), epochs=config.epochs * every, record=every)
        steps = descent.gram[::every][: config.epochs + 1]
        gaps.append(jnp.max(jnp.abs(steps - flow.gram)))
        rates.append(lr)
    return jnp.array(rates), jnp.stack(gaps)


def _direct_is_slow(config: FilterConfig, task: Any) -> Any:
    """Half-way losses of (true, direct) descent from many random networks, shape (starts, 2)."""
    half = config.epochs // 2

    def both(key: Any) -> Any:
        reduction = reduce(LowRankRNN.normalised(config.n, dt=config.dt, key=key))
        methods = Descent(config.lr), DirectDescent(config.lr)
        runs = [learn(reduction, task, m, epochs=half, record=half, throw=False) for m in methods]
        return jnp.stack([run.loss[-1] for run in runs])

    return jax.jit(jax.vmap(both))(jr.split(jr.key(config.seed), config.starts))


def _report(
    config: FilterConfig,
    curves: dict[str, LearningCurve],
    gaps: np.ndarray,
    half_losses: np.ndarray,
) -> Report:
    full, reduced, flow = curves["full"], curves["reduced"], curves["flow"]
    exact, limit = reduced.distance(full), flow.distance(reduced)
    order = float(np.log2(gaps[-2] / gaps[-1]))
    drift = float(jnp.max(flow.invariant_drift()))
    last = {name: float(full[name][-1]) for name in ("zm", "zu", "vm", "vu")}
    final = {"zm": last["zm"], "zu*vm": last["zu"] * last["vm"], "vu": last["vu"]}
    claims = [
        Claim(
            "full network = reduced descent, all overlaps, every epoch (≤ 1e-10)",
            f"max |ΔQ| = {float(exact.max):.2g}",
            float(exact.max) <= 1e-10,
        ),
        Claim(
            "flow is descent's limit: the difference halves with η (order 0.95 … 1.05)",
            f"order {order:.3f}, from {gaps[-2]:.3g} to {gaps[-1]:.3g}",
            0.95 <= order <= 1.05,
        ),
        Claim("flow keeps its invariants (< 1e-6)", f"largest drift {drift:.2g}", drift < 1e-6),
        _direct_claim(config, curves, half_losses),
        _final_claim(config, final),
    ]
    sees = visible(reduced.model)
    kinds = ["visible" if name in sees.visible else "invisible" for name in exact.names]
    numbers = zip(exact.names, kinds, exact.overlaps, limit.overlaps, full.overlaps.vector()[-1])
    rows = [[n, kind, f"{a:.1e}", f"{b:.1e}", f"{x:.6f}"] for n, kind, a, b, x in numbers]
    header = ["overlap", "loss sees it", "max |full − reduced|", "max |flow − descent|", "final"]
    values = {
        "max_abs_dq": float(exact.max),
        "max_abs_dloss": float(exact.loss),
        "final": final,
        "flow_order": order,
        "flow_gap": float(limit.max),
        "invariant_drift": drift,
        "visible": list(sees.visible),
    }
    return Report("filter", config, claims, values, (header, rows), {}, dict(curves))


def _direct_claim(
    config: FilterConfig, curves: dict[str, LearningCurve], half_losses: np.ndarray
) -> Claim:
    half = config.epochs // 2
    true, direct = float(curves["reduced"].loss[half]), float(curves["direct"].loss[half])
    share = np.mean((half_losses[:, 1] > 0.5) & (half_losses[:, 0] < 1e-4))
    return Claim(
        "direct descent, which ignores the invisible overlaps, learns differently: from many "
        f"starts its loss is > 0.5 at epoch {half} where the true one is < 1e-4",
        f"direct {direct:.3g}, true {true:.2g} from this start; "
        f"so for {share:.0%} of {len(half_losses)} random starts",
        bool(share > 0.1 and direct > 10 * true),
    )


def _final_claim(config: FilterConfig, final: dict[str, float]) -> Claim:
    ideal = {"zm": config.amplitude, "zu*vm": config.amplitude * (1 - config.rate)}
    ideal["vu"] = 1 - config.rate
    off = max(abs(final[name] - ideal[name]) for name in final)
    return Claim(
        "final zm, zu·vm, vu = a*, a*(1 − c*), 1 − c* (to 2e-3: the Euler step moves them)",
        ", ".join(f"{k} {v:.5f}" for k, v in final.items()),
        off < 2e-3,
    )
