"""`oscillator`: a rank-2 network learns a damped oscillation; 21 overlaps say how."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnn_jax.experiments._base import AbstractOverlapResults, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractFilterConfig, within
from lrnn_jax.experiments._panels import gap_panel, loss_panel, overlap_panels, responses
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels, plot_eigenvalues, plot_response
from lrnn_jax.learning import Descent, LearningCurve
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import OscillatingFilter


@dataclass(frozen=True)
class OscillatorConfig(AbstractFilterConfig):
    """Learning a damped oscillation with a rank-2 network and its theory. [LR] fig. 12.

    >>> experiments.OscillatorConfig(frequency=1.0).rate
    0.3
    """

    rate: float = within(0.3, 0, 1e3)
    """c*, decay rate of the target [1 / membrane time constant]."""
    frequency: float = 2.0
    """ω*, angular frequency of the target [radians / membrane time constant]."""
    epochs: int = within(10_000, 2, 1e8)
    record: int = within(10, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""


class OscillatorResults(AbstractOverlapResults):
    """The network and its exact reduction."""

    config: OscillatorConfig
    full: LearningCurve
    reduced: LearningCurve
    eigenvalue: tuple[float, float]
    target_eigenvalue: tuple[float, float]
    time: Any = labelled("time", "time", units="membrane time constants")
    output: dict[str, Any] = labelled("impulse response", "time")
    eigenvalues: dict[str, Any] = labelled("eigenvalues of VᵀU/s", "epoch", "rank")

    @claim("the 21 overlaps of full and reduced network agree: largest |ΔQ|", high=1e-10)
    def max_abs_dq(self) -> Any:
        return self.reduced.distance(self.full).max

    @claim("the oscillation is learned: last loss", high=1e-3)
    def final_loss(self) -> Any:
        return self.full.loss[-1]

    @claim("and the response is the target's: largest |Δy| (the target starts at 1)", high=0.05)
    def response_error(self) -> Any:
        return abs(self.output["after"] - self.output["target"]).max()

    @claim(
        lambda r: (
            "an eigenvalue of VᵀU/s reaches 1 − c* + iω* (exactly: that of the sampled target, "
            f"{complex(*r.target_eigenvalue):.4f}): difference"
        ),
        high=1e-2,
        shown=lambda r: f"{complex(*r.eigenvalue):.4f}",
    )
    def eigenvalue_error(self) -> float:
        return abs(complex(*self.eigenvalue) - complex(*self.target_eigenvalue))

    def draw(self) -> Figure:
        figure, axes = panels(2, 3, height=4.1)
        plot_response(axes[0, 0], self.time, self.output)
        loss_panel(axes[0, 1], self.curves())
        gap_panel(axes[0, 2], self.full, {"full − exact theory": self.reduced})
        overlap_panels(axes[1, :2], theory=self.reduced, simulation=self.full)
        target = complex(*self.target_eigenvalue)
        values = self.eigenvalues["real"] + 1j * self.eigenvalues["imag"]
        targets = (target, target.conjugate())
        plot_eigenvalues(axes[1, 2], np.asarray(self.full.epochs), values, targets)
        return figure


@experiment(
    source="[LR] fig. 12",
    quick=OscillatorConfig(n=60, steps=200, epochs=3000, lr=1e-2),
    seconds=(21, 12),
)
def oscillator(config: OscillatorConfig, recorder: Recorder) -> OscillatorResults:
    """A rank-2 network and its 21 overlaps learn a damped oscillation alike.

    The full network by autodiff through its simulation, and its exact reduction.
    """
    task = OscillatingFilter(config.rate, config.frequency, config.dt, config.steps)
    net, method = config.network(rank=2), Descent(config.lr)
    full = recorder.learn("full", net, task, method, label="full network", **config.pace)
    recorder.learn("reduced", reduce(net), task, method, **config.pace)
    values = np.linalg.eigvals(np.asarray(full.overlaps.block("v", "u")))
    values = np.take_along_axis(values, values.imag.argsort(axis=-1), axis=-1)
    # what the wanted poles e^{(−c* ± iω*) dt} of the sampled target are in terms of VᵀU/s
    pole = np.exp(complex(-config.rate, config.frequency) * config.dt)
    target = (pole - 1 + config.dt) / config.dt
    return OscillatorResults(
        config=config,
        **recorder.curves,
        eigenvalue=(float(values[-1, 1].real), float(values[-1, 1].imag)),
        target_eigenvalue=(float(target.real), float(target.imag)),
        time=config.dt * np.arange(config.steps),
        output=responses(task, before=net, after=full.model),
        eigenvalues={"real": values.real, "imag": values.imag},
    )
