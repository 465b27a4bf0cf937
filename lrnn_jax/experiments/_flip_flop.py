"""`flip_flop`: a nonlinear network, its Gaussian closure and its infinite width, side by side."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import (
    ClosureReport,
    Descent,
    LearningCurve,
    diagnose_closure,
    learn,
    relative_gap,
)
from lrnn_jax.networks import Erf, LowRankRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import population
from lrnn_jax.tasks import FlipFlop


@dataclass(frozen=True)
class FlipFlopNetwork:
    """A normalised erf network that learns the flip-flop."""

    n: int = 600
    """N, neurons."""
    dt: float = 0.025
    """Euler step [membrane time constants]."""
    steps: int = 800
    """T, steps of a trial."""
    batch: int = 10
    """Trials per epoch."""
    wait: tuple[float, float] = (2.0, 5.0)
    """Lowest and highest scored waiting time [membrane time constants]."""
    input_amp: float = 1.0
    """Amplitude of the pulses."""
    target_amp: float = 1.0
    """Amplitude of the target."""
    epochs: int = 2000
    """Parameter updates."""
    record: int = 20
    """Keep every n-th epoch."""
    devices: int = 1
    """Devices that share the trials of an epoch; on a CPU, cores."""
    seed: int = 0
    """Random seed of the initial network, the trials and whatever else is drawn."""

    def check(self) -> None:
        """Raise ValueError, naming the field, unless the sizes make sense."""
        check_config(self, n=(8, 1e6), steps=(2, 1e6), batch=(1, 1e6), dt=(1e-9, 1))
        check_config(self, epochs=(2, 1e8), record=(1, self.epochs), devices=(1, self.batch))

    def task(self) -> FlipFlop:
        """The flip-flop."""
        return FlipFlop(self.dt, self.steps, self.batch, self.wait, self.input_amp, self.target_amp)

    def network(self, key: PRNGKeyArray) -> LowRankRNN:
        """The network at epoch 0."""
        return LowRankRNN.normalised(self.n, dt=self.dt, key=key, activation=Erf())


@dataclass(frozen=True)
class FlipFlopConfig(FlipFlopNetwork):
    """The flip-flop: full network, closure, population, on the same trials. [LR] fig. 4a-c."""

    lr: float = 5e-2
    """η, learning rate (the network's own is N η)."""
    nodes: int = 192
    """Nodes of the population."""
    finer: int = 768
    """Nodes of the population that it is compared with."""

    def __post_init__(self) -> None:
        self.check()
        check_config(self, lr=(0, 1e3), nodes=(8, 1e6), finer=(8, 1e6))


QUICK = FlipFlopConfig(
    n=200, dt=0.1, steps=80, batch=8, wait=(1.0, 2.0), input_amp=2.0, target_amp=0.7, lr=0.2,
    epochs=250, record=10,
)  # fmt: skip


def flip_flop(
    config: FlipFlopConfig = FlipFlopConfig(), progress: Progress | None = None
) -> Report:
    """Train a nonlinear network, its closure and its infinite width on the same trials.

    Arguments:
        config: sizes, task and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full", "closure", "population", "finer".

    Source: [LR] fig. 4a-c; population and error of the closure: ours.
    """
    keys = jr.split(jr.key(config.seed), 3)
    task, net = config.task(), config.network(keys[0])
    options: Any = {"epochs": config.epochs, "key": keys[1], "record": config.record}
    options |= {"devices": config.devices}
    method = Descent(config.lr)
    seconds: dict[str, Any] = {}
    shown = reporter(progress, "full network")
    full, seconds["full network and closure"] = timed(
        lambda: diagnose_closure(net, task, method, progress=shown, **options)
    )
    nodes, seconds["population and closure"] = timed(
        lambda: diagnose_closure(
            population(net, config.nodes, key=keys[2]), task, method, **options
        )
    )
    finer, seconds["finer population"] = timed(
        lambda: learn(population(net, config.finer, key=keys[2]), task, method, **options)
    )
    report = _report(config, full, nodes, finer)
    report.seconds = seconds
    return report


def _report(
    config: FlipFlopConfig, full: ClosureReport, nodes: ClosureReport, finer: LearningCurve
) -> Report:
    apart, off, finite = (
        float(relative_gap(c, finer)) for c in (nodes.truth, nodes.closure, full.truth)
    )
    curves = {
        "full": full.truth, "closure": full.closure, "population": nodes.truth, "finer": finer,
    }  # fmt: skip
    falls = {name: float(jnp.mean(c.loss[-5:]) / c.loss[0]) for name, c in curves.items()}
    claims = [
        Claim(
            "all learn the task: the loss falls to a tenth",
            ", ".join(f"{name} to {x:.2g}" for name, x in falls.items()),
            max(falls.values()) < 0.1,
        ),
        Claim(
            f"{config.nodes} nodes stand for infinitely many neurons: relative error of Q below "
            f"2 % at all epochs (Frobenius norm, against {config.finer} nodes)",
            f"{apart:.2%}; a network of {config.n} neurons {finite:.2%}",
            apart < 0.02,
        ),
        Claim(
            "the closure's own error exceeds that of the nodes",
            f"{off:.2%} of Q. {nodes.verdict}",
            off > apart,
        ),
    ]
    vectors = {name: curve.overlaps.vector()[-1] for name, curve in curves.items()}
    sees = visible(full.closure.model)
    rows = [
        [name, "visible" if name in sees.visible else "invisible"]
        + [f"{float(vectors[kind][i]):.4f}" for kind in curves]
        for i, name in enumerate(finer.overlaps.names)
    ]
    header = ["overlap", "loss sees it", *curves]
    values = {
        "relative_error": {"population": apart, "closure": off, "full": finite},
        "verdict": nodes.verdict,
        "verdict_full": full.verdict,
        "visible": list(sees.visible),
        "final_loss": {name: float(c.loss[-1]) for name, c in curves.items()},
    }
    report = Report("flip_flop", config, claims, values, (header, rows), {}, curves)
    report.arrays = _arrays(full, nodes)
    return report


def _arrays(full: ClosureReport, nodes: ClosureReport) -> dict[str, Any]:
    net = full.truth.model
    assert isinstance(net, LowRankRNN)
    theta = np.sort(np.asarray(net.vectors / jnp.std(net.vectors, axis=0, keepdims=True)), axis=0)
    arrays: dict[str, Any] = {
        "loadings": (
            ("neuron", "vector"),
            theta,
            {"long_name": "loadings in standard deviations, sorted", "units": "1"},
        ),
        "chance": (
            (),
            np.asarray(full.chance),
            {"long_name": "joint cumulant of a Gaussian sample"},
        ),
    }
    for name, found in (("full", full), ("population", nodes)):
        for field, text in (
            ("joint", "norm of the joint fourth cumulant of the loadings"),
            ("share", "share of the activity outside the span of the vectors"),
            ("meter", "meter of the closure's error, from the closure"),
        ):
            values = np.asarray(getattr(found, field))
            arrays[f"{field}_{name}"] = ("record", values, {"long_name": text, "units": "1"})
        kurtosis = np.asarray(found.kurtosis)
        attributes = {"long_name": "excess kurtosis of the loadings", "units": "1"}
        arrays[f"kurtosis_{name}"] = (("record", "vector"), kurtosis, attributes)
    return arrays
