"""`memory_adam`: Adam keeps none of what gradient flow conserves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optax

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled, named
from lrnn_jax.experiments._configs import within
from lrnn_jax.experiments._memory_aba import AbstractTwoFiltersConfig
from lrnn_jax.experiments._panels import loss_panel, overlap_panels
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels, plot_methods, shade_phases
from lrnn_jax.learning import Descent, LearningCurve, Training, excursion
from lrnn_jax.reduced import reduce

PHASES = "ABABA"


@dataclass(frozen=True)
class MemoryAdamConfig(AbstractTwoFiltersConfig):
    """A-B-A-B-A with Adam on the full network: the overlaps drift. [LR] fig. 7.

    >>> experiments.MemoryAdamConfig().adam_lr
    0.001
    """

    epochs: int = within(4000, 2, 1e8)
    """Epochs of each of the five phases."""
    record: int = within(20, 1, lambda config: config.epochs)
    adam_lr: float = within(1e-3, 0, 1e3)
    """Learning rate of Adam."""


class MemoryAdamResults(AbstractResults):
    """Adam on the full network, and descent by theory."""

    config: MemoryAdamConfig
    adam: LearningCurve
    descent: LearningCurve
    leftover: dict[str, Any] = labelled("overlaps, last A − first A", "overlap")
    invariant_drift: dict[str, Any] = labelled("change of what flow conserves", "epoch")

    @claim("both solve A at the end: larger loss", high=1e-3)
    def final_loss(self) -> Any:
        return max(self.adam.loss[-1], self.descent.loss[-1])

    @claim("and Adam's zu·vm is 1 − c*: difference", high=0.02)
    def product_error(self) -> Any:
        product = self.adam["zu"][-1] * self.adam["vm"][-1]
        return abs(product - (1 - self.config.rate_a))

    @claim("invisible overlaps drift from the first A to the last: Adam's over descent's", low=5)
    def invisible_drift(self) -> Any:
        hidden = ~np.isin(self.adam.overlaps.names, self.adam.visibility.visible)
        far = {name: abs(x[hidden]).max() for name, x in self.leftover.items()}
        return far["adam"] / far["descent"]

    @claim("Adam does not keep the invariants: their drift over descent's, which is O(η)", low=5)
    def invariants_lost(self) -> Any:
        return self.invariant_drift["adam"][-1] / self.invariant_drift["descent"][-1]

    def table(self) -> Columns:
        given = {"last A − first A, Adam": (self.leftover["adam"], "+.4f")}
        return named(self.adam) | given | {"… descent": (self.leftover["descent"], "+.1e")}

    def draw(self) -> Figure:
        figure, axes = panels(2, 2, height=4.2)
        losses = loss_panel(axes[0, 0], self.curves(), above=1e-10)
        losses.legend().remove()  # no room: the next panel names the same lines
        drift, label = self.invariant_drift, "change of invariants"
        plot_methods(axes[0, 1], self.adam.epochs, drift, label, above=1e-4)
        overlap_panels(axes[1], simulation=self.adam)
        bounds = [i * self.config.epochs for i in range(len(PHASES) + 1)]
        for ax in axes.flat:
            shade_phases(ax, bounds, PHASES)
        return figure


@experiment(
    source="[LR] fig. 7", quick=MemoryAdamConfig(n=60, steps=100, epochs=1000), seconds=(18, 10)
)
def memory_adam(config: MemoryAdamConfig, recorder: Recorder) -> MemoryAdamResults:
    """Adam keeps none of what gradient flow conserves."""
    net, adam = config.twin(), Training(optax.adam(config.adam_lr))
    labels = [f"Adam, {name}" for name in PHASES]
    for name, model, method in (("adam", net, adam), ("descent", reduce(net), Descent(config.lr))):
        phases = [(config.task(task), method, config.epochs) for task in PHASES]
        told = labels if name == "adam" else None
        recorder.learn_sequence(name, model, phases, record=config.record, labels=told)
    curves, (first, last) = recorder.curves, (config.epochs, len(PHASES) * config.epochs)
    return MemoryAdamResults(
        config=config,
        **curves,
        leftover={n: excursion(c, first, last).leftover for n, c in curves.items()},
        invariant_drift={n: c.invariant_drift() for n, c in curves.items()},
    )
