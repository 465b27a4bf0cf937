"""`memory_adam`: Adam keeps none of what gradient flow conserves."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, phase_reporter, timed
from lrnn_jax.learning import Descent, LearningCurve, Training, excursion, learn_sequence
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import degenerate_twin, reduce
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class MemoryAdamConfig:
    """A-B-A-B-A with Adam on the full network: the overlaps drift. [LR] fig. 7."""

    n: int = 500
    """N, neurons."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """T, steps of the impulse response."""
    rate_a: float = 0.2
    """c* of task A [1 / membrane time constant]."""
    rate_b: float = 0.4
    """c* of task B [1 / membrane time constant]."""
    uu: float = 2.048
    """UᵀU/N at the start."""
    mu: float = 0.8
    """MᵀU/N at the start."""
    adam_lr: float = 1e-3
    """Learning rate of Adam."""
    lr: float = 5e-3
    """η of the gradient descent that it is compared with (the network's own is N η)."""
    epochs: int = 4000
    """Epochs of each of the five phases."""
    record: int = 20
    """Keep every n-th epoch."""
    seed: int = 7
    """Random seed of the initial network."""

    def __post_init__(self) -> None:
        check_config(self, n=(4, 1e6), steps=(2, 1e6), lr=(0, 1e3), adam_lr=(0, 1e3))
        check_config(self, epochs=(2, 1e8), record=(1, self.epochs), dt=(1e-9, 1))


QUICK = MemoryAdamConfig(n=60, steps=100, epochs=1000)


def memory_adam(
    config: MemoryAdamConfig = MemoryAdamConfig(), progress: Progress | None = None
) -> Report:
    """Alternate between two filters with Adam, and with gradient descent for comparison.

    Arguments:
        config: sizes, tasks, learning rates.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "adam" (full network) and "descent" (by theory).

    Source: [LR] fig. 7.
    """
    net = degenerate_twin(
        LowRankRNN.normalised(config.n, dt=config.dt, key=jr.key(config.seed)),
        uu=config.uu,
        mu=config.mu,
    )
    tasks = {
        name: ExponentialFilter(rate, config.dt, config.steps)
        for name, rate in (("A", config.rate_a), ("B", config.rate_b))
    }
    shown = phase_reporter(progress, [f"Adam, {name}" for name in "ABABA"])
    curves, seconds = {}, {}
    adam = Training(optax.adam(config.adam_lr))
    for name, model, method, say in (
        ("adam", net, adam, shown),
        ("descent", reduce(net), Descent(config.lr), None),
    ):

        def work(model: Any = model, method: Any = method, say: Any = say) -> LearningCurve:
            phases = [(tasks[task], method, config.epochs) for task in "ABABA"]
            return learn_sequence(model, phases, record=config.record, progress=say)

        curves[name], seconds[name] = timed(work)
    report = _report(config, curves)
    report.seconds = seconds
    return report


def _report(config: MemoryAdamConfig, curves: dict[str, LearningCurve]) -> Report:
    first, last = config.epochs, 5 * config.epochs
    seen = visible(curves["adam"].model).visible
    hidden = np.array([name not in seen for name in curves["adam"].overlaps.names])
    gone = {name: excursion(curve, first, last) for name, curve in curves.items()}
    invisible = {n: float(jnp.abs(e.leftover[hidden]).max()) for n, e in gone.items()}
    product = {
        n: abs(float(c["zu"][-1] * c["vm"][-1]) - (1 - config.rate_a)) for n, c in curves.items()
    }
    drifts = {n: np.asarray(c.invariant_drift()) for n, c in curves.items()}
    lost = {n: float(np.abs(d[-1])) for n, d in drifts.items()}
    losses = {n: float(np.asarray(c.loss)[-1]) for n, c in curves.items()}
    claims = [
        Claim(
            "Adam solves A at the end too (loss < 1e-3, zu·vm to 0.02)",
            f"loss {losses['adam']:.1g}, zu·vm off by {product['adam']:.3f}",
            losses["adam"] < 1e-3 and product["adam"] < 0.02,
        ),
        Claim(
            "invisible overlaps drift from the first A to the last (Adam more than ten times "
            "as far as descent)",
            f"up to {invisible['adam']:.3g} with Adam, {invisible['descent']:.2g} with descent",
            invisible["adam"] > 10 * invisible["descent"],
        ),
        Claim(
            "Adam does not keep the invariants (more than five times descent's O(η) drift)",
            f"{lost['adam']:.3g} with Adam, {lost['descent']:.2g} with descent",
            lost["adam"] > 5 * lost["descent"],
        ),
    ]
    columns = zip(gone["adam"].names, gone["adam"].leftover, gone["descent"].leftover)
    rows = [
        [n, "visible" if n in seen else "invisible", f"{a:+.4f}", f"{b:+.1e}"]
        for n, a, b in columns
    ]
    values = {
        "invisible_drift": invisible,
        "invariant_drift": lost,
        "final_loss": losses,
        "visible": list(seen),
        "phases": [i * config.epochs for i in range(6)],
    }
    header = ["overlap", "loss sees it", "last A − first A, Adam", "… descent"]
    report = Report("memory_adam", config, claims, values, (header, rows), {}, dict(curves))
    for name, drift in drifts.items():
        attributes = {"long_name": f"change of what flow conserves, {name}", "units": "1"}
        report.arrays[f"invariant_drift_{name}"] = ("epoch", drift, attributes)
    return report
