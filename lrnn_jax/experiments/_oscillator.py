"""`oscillator`: a rank-2 network learns a damped oscillation; 21 overlaps say how."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import OscillatingFilter


@dataclass(frozen=True)
class OscillatorConfig:
    """Learning a damped oscillation with a rank-2 network and its theory. [LR] fig. 12."""

    n: int = 500
    """N, neurons."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """T, steps of the impulse response."""
    rate: float = 0.3
    """c*, decay rate of the target [1 / membrane time constant]."""
    frequency: float = 2.0
    """ω*, angular frequency of the target [radians / membrane time constant]."""
    lr: float = 5e-3
    """η, learning rate (the network's own is N η)."""
    epochs: int = 10_000
    """Parameter updates."""
    record: int = 10
    """Keep every n-th epoch."""
    seed: int = 0
    """Random seed of the initial network."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e6), steps=(2, 1e6), epochs=(2, 1e8), lr=(0, 1e3))
        check_config(self, record=(1, self.epochs), rate=(0, 1e3), dt=(1e-9, 1))


QUICK = OscillatorConfig(n=60, steps=200, epochs=3000, lr=1e-2)


def oscillator(
    config: OscillatorConfig = OscillatorConfig(), progress: Progress | None = None
) -> Report:
    """Train a rank-2 network on a damped oscillation, and its exact reduction.

    Arguments:
        config: sizes, task and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full", "reduced" and the eigenvalues of VᵀU/s over epochs.

    Source: [LR] fig. 12.
    """
    task = OscillatingFilter(config.rate, config.frequency, config.dt, config.steps)
    net = LowRankRNN.normalised(config.n, rank=2, dt=config.dt, key=jr.key(config.seed))
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}
    for name, model, shown in (
        ("full", net, reporter(progress, "full network")),
        ("reduced", reduce(net), None),
    ):

        def work(model: Any = model, shown: Any = shown) -> LearningCurve:
            options: dict[str, Any] = {"epochs": config.epochs, "record": config.record}
            return learn(model, task, Descent(config.lr), progress=shown, **options)

        curves[name], seconds[name] = timed(work)
    report = _report(config, curves)
    report.seconds = seconds
    outputs = {
        "target": task.samples,
        "before": task.output(net),
        "after": task.output(curves["full"].model),
    }
    time = config.dt * np.arange(config.steps)
    attributes = {"long_name": "time", "units": "membrane time constants"}
    report.arrays["time"] = ("time", time, attributes)
    for name, values in outputs.items():
        attributes = {"long_name": f"impulse response, {name}", "units": "1"}
        report.arrays[f"output_{name}"] = ("time", np.asarray(values)[:, 0, 0], attributes)
    return report


def _report(config: OscillatorConfig, curves: dict[str, LearningCurve]) -> Report:
    exact = curves["reduced"].distance(curves["full"])
    recurrence = np.asarray(curves["full"].overlaps.block("v", "u"))
    eigenvalues = np.linalg.eigvals(recurrence)
    eigenvalues = np.take_along_axis(eigenvalues, eigenvalues.imag.argsort(axis=-1), axis=-1)
    wanted = complex(1 - config.rate, config.frequency)
    # what the wanted poles e^{(−c* ± iω*) dt} of the sampled target are in terms of VᵀU/s
    sampled = (np.exp((wanted - 1) * config.dt) - 1 + config.dt) / config.dt
    found = complex(eigenvalues[-1, 1])
    claims = [
        Claim(
            "the 21 overlaps of full and reduced network agree to rounding (≤ 1e-10)",
            f"max |ΔQ| = {float(exact.max):.2g}",
            float(exact.max) <= 1e-10,
        ),
        Claim(
            "eigenvalues of VᵀU/s reach 1 − c* ± iω* (exactly: those of the sampled target, "
            f"{sampled:.4f}; to 1e-2)",
            f"{found:.4f}",
            bool(abs(found - sampled) < 1e-2),
        ),
    ]
    rows = [
        [name, f"{gap:.1e}", f"{value:.6f}"]
        for name, gap, value in zip(
            exact.names, exact.overlaps, curves["full"].overlaps.vector()[-1]
        )
    ]
    complex_names = {"long_name": "eigenvalues of VᵀU/s", "units": "1"}
    arrays = {
        f"eigenvalue_{part}": (("epoch", "rank"), getattr(eigenvalues, part), complex_names)
        for part in ("real", "imag")
    }
    return Report(
        name="oscillator",
        config=config,
        claims=claims,
        values={
            "max_abs_dq": float(exact.max),
            "final_loss": float(jnp.asarray(curves["full"].loss[-1])),
            "eigenvalue": [found.real, found.imag],
            "target_eigenvalue": [sampled.real, sampled.imag],
            "visible": list(visible(curves["reduced"].model).visible),
        },
        table=(["overlap", "max |full − reduced|", "final"], rows),
        seconds={},
        curves=dict(curves),
        arrays=arrays,
    )
