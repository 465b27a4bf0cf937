"""What the theory says about a linear network of one's own."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._analysis_base import (
    AbstractOverlapAnalysis,
    AnalysisConfig,
    ending,
    facts,
    last_loss,
    some,
)
from lrnn_jax.experiments._base import Columns, claim, final_overlaps
from lrnn_jax.experiments._panels import block_norms, block_panel, loss_panel, overlap_panels
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels, plot_gram
from lrnn_jax.learning import Descent, Flow, LearningCurve, outcome
from lrnn_jax.networks import Factorisation, LowRankRNN
from lrnn_jax.overlaps import invariants, visible
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import AbstractTask


class LinearResults(AbstractOverlapAnalysis):
    """A network's overlaps, and how it would learn (up to where this diverges, if it does)."""

    descent: LearningCurve
    invariants: dict[str, Any]
    growth: float
    initial_loss: float
    final_loss: float
    result: str
    flow: LearningCurve | None = None

    @claim(
        "the activity without input decays: largest |1 − dt + dt λ|, λ: eigenvalues of VᵀU/s",
        high=1 - 1e-12,
    )
    def decay(self) -> float:
        return self.growth

    @claim(
        "predicted learning on the task succeeds: epochs",
        low=lambda r: r.epochs,
        shown=lambda r: f"{ending(r.descent)}, loss {r.initial_loss:.3g} → {r.final_loss:.3g}",
    )
    def learned(self) -> Any:
        return jnp.isfinite(self.descent.loss).sum() - 1

    def table(self) -> Columns:
        """Every overlap; for many of them, norms of their blocks."""
        if len(self.overlaps) <= 60:
            return final_overlaps(self.curves())
        names, seen, norms = block_norms(self.descent)
        return {
            "block (Frobenius norm)": (names, ""),
            "loss sees it": (["yes" if sees else "no" for sees in seen], ""),
            "start": (norms[0], ".6f"),
            "descent": (norms[-1], ".6f"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(2, 2, height=4.6)
        others = {} if self.flow is None else {"flow": self.flow}
        overlaps = self.descent.overlaps
        plot_gram(axes[0, 0], np.asarray(overlaps.gram[0]), overlaps.roles.sizes)
        loss_panel(axes[0, 1], {**others, "predicted": self.descent})
        if len(self.overlaps) <= 28:
            overlap_panels(axes[1], theory=self.descent)
            return figure
        for ax, seen in zip(axes[1], (True, False)):
            block_panel(ax, self.descent, seen)
        return figure


def analyse_linear(
    network: LowRankRNN,
    factorisation: Factorisation | None,
    task: AbstractTask | None,
    config: AnalysisConfig,
    recorder: Recorder,
) -> LinearResults:
    """Overlaps, what a loss sees of them, what learning conserves, and how it would go."""
    sees, kept, epochs = visible(network), invariants(network), config.epochs or 2000
    task = config.filter(network) if task is None else task
    lr = config.lr or 5e-3
    methods: dict[str, Any] = {"descent": Descent(lr)}
    if network.roles.size <= 20 and not task.stochastic:  # it adds little, its cost grows with k⁴
        methods["flow"] = Flow(lr)
    for name, method in methods.items():
        options: dict[str, Any] = {"epochs": epochs, "throw": False, "key": jr.key(config.seed)}
        label = f"predicted {name}"
        recorder.learn(name, reduce(network), task, method, label=label, **options)
    recurrent = np.linalg.eigvals(np.asarray(network.overlaps.block("v", "u")))
    descent = recorder.curves["descent"]
    return LinearResults(
        config=config,
        factorisation=factorisation,
        **recorder.curves,
        **facts(network),
        visible=sees.visible,
        invisible=sees.invisible,
        invariants={
            "spectrum": [float(x) for x in kept.spectrum],
            "balance": np.asarray(kept.balance).tolist(),
            "notes": list(kept.why),
        },
        growth=float(np.abs(1 - float(network.dt) * (1 - recurrent)).max()),
        epochs=epochs,
        initial_loss=float(descent.loss[0]),
        final_loss=last_loss(descent),
        result=outcome(descent.result),
    )


def linear_notes(r: LinearResults) -> list[str]:
    """What is printed before the table."""
    spectrum = some([f"{x:.4g}" for x in r.invariants["spectrum"]])
    return [
        f"{r.neurons} neurons, rank {r.rank}, {r.inputs} input(s), {r.outputs} output(s); the "
        f"loading vectors span {r.gram_rank} dimensions",
        f"loss-visible:   {some(r.visible)}",
        f"loss-invisible: {some(r.invisible)}",
        f"invariants: spectrum {spectrum}",
        *(f"  {note}" for note in r.invariants["notes"]),
    ]
