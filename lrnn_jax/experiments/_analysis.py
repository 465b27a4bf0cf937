"""What the theory says about a user's own network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from lrnn_jax._results import RESULTS
from lrnn_jax.experiments._base import (
    AbstractResults,
    Columns,
    Experiment,
    claim,
    experiment,
    final_overlaps,
)
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._panels import loss_panel, overlap_panels
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels
from lrnn_jax.learning import Descent, Flow, LearningCurve, outcome
from lrnn_jax.networks import Factorisation, LowRankRNN
from lrnn_jax.overlaps import gram_rank, invariants, visible
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import AbstractFilter, ExponentialFilter, OscillatingFilter


@dataclass(frozen=True)
class AnalysisConfig(AbstractConfig):
    """The task and learning whose course is predicted for a network."""

    task: Literal["exponential", "oscillating"] = "exponential"
    """Target filter on every pair of channels: a* exp(−c* τ), or a* exp(−c* τ) cos(ω* τ)."""
    rate: float = within(0.2, 0, 1e3)
    """c*, decay rate of the target [1 / membrane time constant]."""
    frequency: float = 2.0
    """ω*, angular frequency of the oscillating target [radians / membrane time constant]."""
    amplitude: float = 1.0
    """a*, amplitude of the target."""
    steps: int = within(400, 2, 1e6)
    """T, steps of the impulse response."""
    lr: float = within(5e-3, 0, 1e3)
    """η, learning rate (the network's own is s η)."""
    epochs: int = within(2000, 2, 1e8)
    """Parameter updates."""


class AnalysisResults(AbstractResults):
    """A network's overlaps, and how it would learn (up to where this diverges, if it does)."""

    config: AnalysisConfig
    factorisation: Factorisation | None
    descent: LearningCurve
    neurons: int
    rank: int
    inputs: int
    outputs: int
    gram_rank: int
    overlaps: dict[str, float]
    visible: tuple[str, ...]
    invisible: tuple[str, ...]
    invariants: dict[str, Any]
    growth: float
    initial_loss: float
    final_loss: float
    result: str
    flow: LearningCurve | None = None

    @claim(
        "the recurrent weights are low-rank: discarded part of the Frobenius norm",
        high=0.05,
        shown=lambda r: str(r.factorisation),
    )
    def discarded(self) -> float | None:
        return None if self.factorisation is None else self.factorisation.discarded

    @claim(
        "the activity without input decays: largest |1 − dt + dt λ|, λ: eigenvalues of VᵀU/s",
        high=1 - 1e-12,
    )
    def decay(self) -> float:
        return self.growth

    @claim(
        "predicted learning on the task succeeds: epochs",
        low=lambda r: r.config.epochs,
        shown=lambda r: f"{_ending(r.descent)}, loss {r.initial_loss:.3g} → {r.last_loss():.3g}",
    )
    def learned(self) -> Any:
        return jnp.isfinite(self.descent.loss).sum() - 1

    def last_loss(self) -> Any:
        """The last that was finite, infinite where none was."""
        finite = self.descent.loss[jnp.isfinite(self.descent.loss)]
        return finite[-1] if finite.size else jnp.inf

    def table(self) -> Columns:
        """Every overlap; for many of them, norms of their blocks."""
        if len(self.overlaps) <= 60:
            return final_overlaps(self)
        overlaps = self.descent.overlaps
        families = list(overlaps.roles.sizes)
        blocks = [(a, b) for i, a in enumerate(families) for b in families[i:]]
        norms = [jnp.linalg.norm(overlaps.block(a, b), axis=(-2, -1)) for a, b in blocks]
        return {
            "block (Frobenius norm)": ([a + b for a, b in blocks], ""),
            "loss sees it": (["yes" if a in "zv" and b in "mu" else "no" for a, b in blocks], ""),
            "start": ([float(norm[0]) for norm in norms], ".6f"),
            "descent": ([float(norm[-1]) for norm in norms], ".6f"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(1, 3, height=2.3)
        others = {} if self.flow is None else {"flow": self.flow}
        loss_panel(axes[0], above=0.0, **others, predicted=self.descent)
        overlap_panels(axes[1:], theory=self.descent)
        return figure


def analyse(network: LowRankRNN, factorisation: Factorisation | None = None) -> Experiment:
    """Overlaps of a network, what a loss sees of them, what is conserved, and how it would learn:
    an experiment.

    Arguments:
        network: a linear low-rank network, e.g. from `load_network`.
        factorisation: how the network was made from a dense one, if it was.

    Source: ours.
    """

    @experiment(source="ours", quick=AnalysisConfig(), seconds=(10, 10), notes=_notes)
    def analyse(config: AnalysisConfig, recorder: Recorder) -> AnalysisResults:
        """What the theory says about your own network."""
        return _run(network, factorisation, config, recorder)

    return analyse


def _run(
    network: LowRankRNN,
    factorisation: Factorisation | None,
    config: AnalysisConfig,
    recorder: Recorder,
) -> AnalysisResults:
    overlaps, sees, kept = network.overlaps, visible(network), invariants(network)
    roles, task = overlaps.roles, _task(network, config)
    methods: dict[str, Any] = {"descent": Descent(config.lr)}
    if roles.size <= 20:  # the flow's cost grows with k⁴, and adds little
        methods["flow"] = Flow(config.lr)
    for name, method in methods.items():
        options: dict[str, Any] = {"epochs": config.epochs, "throw": False}
        label = f"predicted {name}"
        recorder.learn(name, reduce(network), task, method, label=label, **options)
    recurrent = np.linalg.eigvals(np.asarray(overlaps.block("v", "u")))
    descent = recorder.curves["descent"]
    return AnalysisResults(
        config=config,
        factorisation=factorisation,
        **recorder.curves,
        neurons=network.state_size,
        rank=roles.rank,
        inputs=roles.inputs,
        outputs=roles.outputs,
        gram_rank=gram_rank(overlaps.gram),
        overlaps={n: float(x) for n, x in zip(overlaps.names, overlaps.vector())},
        visible=sees.visible,
        invisible=sees.invisible,
        invariants={
            "spectrum": [float(x) for x in kept.spectrum],
            "balance": np.asarray(kept.balance).tolist(),
            "notes": list(kept.why),
        },
        growth=float(np.abs(1 - float(network.dt) * (1 - recurrent)).max()),
        initial_loss=float(descent.loss[0]),
        final_loss=float(task.loss(descent.model)),
        result=outcome(descent.result),
    )


def _task(network: LowRankRNN, config: AnalysisConfig) -> AbstractFilter:
    dt, steps = network.dt, config.steps
    amplitude = jnp.full((network.inputs, network.outputs), config.amplitude)
    if config.task == "exponential":
        return ExponentialFilter(config.rate, dt, steps, amplitude)
    return OscillatingFilter(config.rate, config.frequency, dt, steps, amplitude)


def _ending(curve: LearningCurve) -> str:
    """How a run ended, and what to do about it."""
    if curve.result == RESULTS.successful:
        return "successful"
    if not jnp.isfinite(curve.loss[0]):
        return "the loss is infinite before any step: the activity grows (see the eigenvalues)"
    return f"{outcome(curve.result)} at epoch {int(curve.stopped)} (try a smaller --lr)"


def _notes(r: AnalysisResults) -> list[str]:
    spectrum = _some([f"{x:.4g}" for x in r.invariants["spectrum"]])
    return [
        f"{r.neurons} neurons, rank {r.rank}, {r.inputs} input(s), {r.outputs} output(s); the "
        f"loading vectors span {r.gram_rank} dimensions",
        f"loss-visible:   {_some(r.visible)}",
        f"loss-invisible: {_some(r.invisible)}",
        f"invariants: spectrum {spectrum}",
        *(f"  {note}" for note in r.invariants["notes"]),
    ]


def _some(words: Sequence[str], most: int = 15) -> str:
    more = f", … ({len(words)} in all)" if len(words) > most else ""
    return ", ".join(words[:most]) + more
