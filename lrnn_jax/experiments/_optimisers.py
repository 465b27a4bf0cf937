"""`optimisers`: larger steps and Adam make loadings less Gaussian, and the closure worse."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np
import optax

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import within
from lrnn_jax.experiments._flip_flop import SMALL, AbstractFlipFlopConfig, loss_ratio
from lrnn_jax.experiments._panels import loss_panel
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels, plot_methods
from lrnn_jax.learning import ClosureGap, Descent, LearningCurve, Training


@dataclass(frozen=True)
class OptimisersConfig(AbstractFlipFlopConfig):
    """The flip-flop by small steps, large ones and Adam: are loadings Gaussian? [LR] fig. 8.

    >>> config = experiments.OptimisersConfig()
    >>> config.small, config.large, config.adam
    (0.05, 0.5, 0.005)
    """

    small: float = within(5e-2, 0, 1e3)
    """η of the small steps (the network's own is N η)."""
    large: float = within(5e-1, 0, 1e3)
    """η of the large steps."""
    adam: float = within(5e-3, 0, 1e3)
    """Learning rate of Adam."""


class OptimisersResults(AbstractResults):
    """One network trained three ways, how Gaussian its loadings stay, and the closure's error."""

    config: OptimisersConfig
    small: LearningCurve
    large: LearningCurve
    adam: LearningCurve
    joint: dict[str, float]
    closure_error: dict[str, float]
    loss_ratio: dict[str, float]
    kurtosis: dict[str, list[float]]
    cumulant: dict[str, Any] = labelled("joint fourth cumulant of the loadings, norm", "epoch")
    gap: dict[str, Any] = labelled(
        "relative error of the closure's output at the network's own overlaps", "epoch"
    )
    chance: Any = labelled("joint cumulant of a Gaussian sample")

    @claim("all learn the task: last loss over the first, the largest", high=0.1)
    def loss_left(self) -> float:
        return max(self.loss_ratio.values())

    @claim(
        "loadings stay near the Gaussian law by small steps: joint fourth cumulant over that of a "
        "Gaussian sample",
        high=3,
    )
    def small_over_chance(self) -> Any:
        return self.joint["small"] / self.chance

    @claim(
        "loadings leave the Gaussian law further by large steps and by Adam than by small ones: "
        "joint fourth cumulants, the lower one over that of small steps",
        low=1,
        shown=lambda r: (
            "small {small:.3g}, large {large:.3g}, Adam {adam:.3g}".format(**r.joint)
            + f"; chance {r.chance:.3g}"
        ),
    )
    def joint_ratio(self) -> float:
        return min(self.joint["large"], self.joint["adam"]) / self.joint["small"]

    @claim(
        "the closure's error follows: that where the cumulant is largest, over the largest one",
        low=1,
        shown=lambda r: "small {small:.2%}, large {large:.2%}, Adam {adam:.2%}".format(
            **r.closure_error
        ),
    )
    def error_follows(self) -> float:
        least_gaussian = max(self.joint, key=self.joint.__getitem__)
        return self.closure_error[least_gaussian] / max(self.closure_error.values())

    def table(self) -> Columns:
        kurtosis = zip("zvmu", np.array(list(self.kurtosis.values())).T)
        given = {
            "optimiser": (list(self.joint), ""),
            "loss, last / first": (self.loss_ratio, ".2g"),
            "joint cumulant": (self.joint, ".3g"),
            "error of the closure": (self.closure_error, ".2%"),
        }
        return given | {f"kurtosis of {vector}": (x, ".2f") for vector, x in kurtosis}

    def draw(self) -> Figure:
        figure, (loss, joint, error) = panels(1, 3, height=2.3)
        loss_panel(loss, self.curves())
        epochs, chance = np.asarray(self.small.epochs), float(self.chance)
        plot_methods(joint, epochs, self.cumulant, "joint fourth cumulant", legend=False)
        joint.axhline(chance, color="0.6", linewidth=0.8)
        joint.text(epochs[-1], chance, "Gaussian sample", ha="right", va="bottom", fontsize=7)
        percent = {name: 100 * gap for name, gap in self.gap.items()}
        plot_methods(error, epochs, percent, "error of the closure (%)", legend=False)
        return figure


@experiment(
    source="[LR] fig. 8",
    quick=OptimisersConfig(**SMALL, batch=5, epochs=300, adam=0.02),
    seconds=(151, 15),
    devices=lambda config: config.devices,
)
def optimisers(config: OptimisersConfig, recorder: Recorder) -> OptimisersResults:
    """Larger steps and Adam make loadings less Gaussian, and the closure worse.

    The closure cannot follow Adam, but it can be asked at every epoch what output it gives at
    the network's own overlaps: the difference to the network's is its error there.
    """
    keys = jr.split(jr.key(config.seed), 3)
    task, net = config.task(), config.network(keys[0])
    options = config.pace | {"watch": ClosureGap(task.sample(keys[2]).inputs), "key": keys[1]}
    methods = {
        "small": Descent(config.small),
        "large": Descent(config.large),
        "adam": Training(optax.adam(config.adam)),
    }
    for name, method in methods.items():
        recorder.learn(name, net, task, method, label=f"learning rate: {name}", **options)
    curves = recorder.curves
    seen = {name: curve.watched for name, curve in curves.items()}
    return OptimisersResults(
        config=config,
        **curves,
        joint={name: float(x["joint"][-1]) for name, x in seen.items()},
        closure_error={name: float(x["gap"][-1]) for name, x in seen.items()},
        loss_ratio={name: loss_ratio(curve) for name, curve in curves.items()},
        kurtosis={name: x["kurtosis"][-1].tolist() for name, x in seen.items()},
        cumulant={name: x["joint"] for name, x in seen.items()},
        gap={name: x["gap"] for name, x in seen.items()},
        chance=seen["small"]["chance"][0],
    )
