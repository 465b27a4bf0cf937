"""`optimisers`: larger steps and Adam make loadings less Gaussian, and the closure worse."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from lrnn_jax.experiments._flip_flop import FlipFlopNetwork
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import ClosureGap, Descent, LearningCurve, Training, learn

LABELS = {"small": "small steps", "large": "large steps", "adam": "Adam"}


@dataclass(frozen=True)
class OptimisersConfig(FlipFlopNetwork):
    """The flip-flop by small steps, large ones and Adam: are loadings Gaussian? [LR] fig. 8."""

    small: float = 5e-2
    """η of the small steps (the network's own is N η)."""
    large: float = 5e-1
    """η of the large steps."""
    adam: float = 5e-3
    """Learning rate of Adam."""

    def __post_init__(self) -> None:
        self.check()
        check_config(self, small=(0, 1e3), large=(0, 1e3), adam=(0, 1e3))


QUICK = OptimisersConfig(
    dt=0.1, steps=80, batch=5, wait=(1.0, 2.0), input_amp=2.0, target_amp=0.7, epochs=150, adam=0.02
)


def optimisers(
    config: OptimisersConfig = OptimisersConfig(), progress: Progress | None = None
) -> Report:
    """Train one network three ways, and see how Gaussian its loadings stay.

    The closure cannot follow Adam, but it can be asked at every epoch what output it gives at the
    network's own overlaps: the difference to the network's is its error there.

    Arguments:
        config: sizes, task and learning rates.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "small", "large", "adam".

    Source: [LR] fig. 8; the error of the closure: ours.
    """
    keys = jr.split(jr.key(config.seed), 3)
    task, net = config.task(), config.network(keys[0])
    watch = ClosureGap(task.sample(keys[2]).inputs)
    methods: dict[str, Any] = {
        "small": Descent(config.small),
        "large": Descent(config.large),
        "adam": Training(optax.adam(config.adam)),
    }
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}
    for name, method in methods.items():

        def work(name: str = name, method: Any = method) -> LearningCurve:
            return learn(
                net,
                task,
                method,
                epochs=config.epochs,
                key=keys[1],
                record=config.record,
                devices=config.devices,
                watch=watch,
                progress=reporter(progress, LABELS[name]),
            )

        curves[name], seconds[LABELS[name]] = timed(work)
    report = _report(config, curves)
    report.seconds = seconds
    return report


def _report(config: OptimisersConfig, curves: dict[str, LearningCurve]) -> Report:
    joint = {name: float(c.watched["joint"][-1]) for name, c in curves.items()}
    gap = {name: float(c.watched["gap"][-1]) for name, c in curves.items()}
    falls = {name: float(jnp.mean(c.loss[-5:]) / c.loss[0]) for name, c in curves.items()}

    def listed(values: dict[str, float]) -> str:
        return ", ".join(f"{LABELS[name]} {x:.3g}" for name, x in values.items())

    claims = [
        Claim(
            "loadings leave the Gaussian law further by large steps and by Adam than by small ones "
            "(joint fourth cumulant)",
            f"{listed(joint)}; chance {float(curves['small'].watched['chance'][0]):.3g}",
            joint["small"] < min(joint["large"], joint["adam"]),
        ),
        Claim(
            "the closure's error follows: it is largest where the cumulant is largest (outputs at "
            "the network's own overlaps, relative)",
            listed(gap),
            max(gap, key=gap.__getitem__) == max(joint, key=joint.__getitem__),
        ),
    ]
    header = [
        "optimiser",
        "loss, last / first",
        "joint cumulant",
        "error of the closure",
        "kurtosis",
    ]
    rows = [
        [
            LABELS[name],
            f"{falls[name]:.2g}",
            f"{joint[name]:.3g}",
            f"{gap[name]:.2%}",
            " ".join(f"{x:.2f}" for x in curve.watched["kurtosis"][-1]),
        ]
        for name, curve in curves.items()
    ]
    values = {"joint": joint, "closure_error": gap, "loss_ratio": falls}
    report = Report("optimisers", config, claims, values, (header, rows), {}, curves)
    texts = {
        "joint": "norm of the joint fourth cumulant of the loadings",
        "gap": "relative error of the closure's output at the network's own overlaps",
    }
    for name, curve in curves.items():
        for field, text in texts.items():
            array = np.asarray(curve.watched[field])
            report.arrays[f"{field}_{name}"] = ("record", array, {"long_name": text, "units": "1"})
    chance = np.asarray(curves["small"].watched["chance"][0])
    report.arrays["chance"] = ((), chance, {"long_name": "joint cumulant of a Gaussian sample"})
    return report
