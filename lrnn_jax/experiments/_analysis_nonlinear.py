"""How far the theory carries for a nonlinear network of one's own."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
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
from lrnn_jax.experiments._base import Columns, claim, labelled
from lrnn_jax.experiments._panels import block_norms, loss_panel
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import (
    Axes,
    Figure,
    panels,
    plot_fixed_points,
    plot_gram,
    plot_kurtosis,
    plot_methods,
    plot_singular_values,
)
from lrnn_jax.learning import Descent, LearningCurve, outcome, relative_gap
from lrnn_jax.networks import Factorisation, LowRankRNN, gaussianity
from lrnn_jax.reduced import population, reduce
from lrnn_jax.stability import FixedPoints, fixed_points
from lrnn_jax.tasks import AbstractTask, Sensitivity, WhiteNoise, measured_visible

CLOSE = 0.1
"""Relative error up to which a prediction counts as one."""


class NonlinearResults(AbstractOverlapAnalysis):
    """A network, its Gaussian closure and its population: outputs, loadings, learning."""

    full: LearningCurve
    closure: LearningCurve
    population: LearningCurve
    activation: str
    seen_combinations: int
    initial_loss: dict[str, float]
    final_loss: dict[str, float]
    result: dict[str, str]
    output_error: dict[str, float]
    """‖y − y_full‖/‖y_full‖ on the same trials."""
    loss_error: dict[str, float]
    """Largest |ΔL| over learning, over the first loss."""
    overlap_error: dict[str, float]
    """Of Q, Frobenius norm, the largest over learning."""
    fixed_points: dict[str, str]
    """Without input: of the network and of its closure."""
    joint: float
    chance: float
    points: FixedPoints
    closure_points: FixedPoints
    kurtosis: Any = labelled("excess kurtosis of the loadings", "vector")
    singular_values: Any = labelled("singular values of the recurrent weights", "number")
    traces: dict[str, Any] = labelled("output of the first trial, first channel", "time")

    @claim("the closure's outputs are the network's: relative error on the trials", high=CLOSE)
    def closure_gap(self) -> float:
        return self.output_error["closure"]

    @claim("so are those of infinitely many neurons: relative error on the trials", high=CLOSE)
    def population_gap(self) -> float:
        return self.output_error["population"]

    @claim(
        "loadings are jointly Gaussian: joint fourth cumulant over that of a Gaussian sample",
        high=1.5,
    )
    def joint_over_chance(self) -> float:
        return self.joint / self.chance

    @claim(
        "learning on the task succeeds: epochs",
        low=lambda r: r.epochs,
        shown=lambda r: (
            f"{ending(r.full)}, loss {r.initial_loss['full']:.3g} → {r.final_loss['full']:.3g}"
        ),
    )
    def learned(self) -> Any:
        return jnp.isfinite(self.full.loss).sum() - 1

    @claim("the closure predicts it: largest |ΔL| over the first loss", high=CLOSE)
    def closure_prediction(self) -> float:
        return self.loss_error["closure"]

    @claim("the population predicts it: largest |ΔL| over the first loss", high=CLOSE)
    def population_prediction(self) -> float:
        return self.loss_error["population"]

    def table(self) -> Columns:
        """Every overlap before learning and after; for many of them, norms of their blocks."""
        columns: dict[str, Any]
        if len(self.overlaps) <= 60:
            told = ["yes" if name in self.visible else "no" for name in self.overlaps]
            columns = {"overlap": ([*self.overlaps], ""), "outputs depend on it": (told, "")}
            columns["start"] = (self.overlaps, ".6f")
            ends = {n: c.overlaps.vector()[-1] for n, c in self.curves().items()}
        else:
            names, _, norms = block_norms(self.full)
            columns = {"block (Frobenius norm)": (names, ""), "start": (norms[0], ".6f")}
            ends = {n: block_norms(c)[2][-1] for n, c in self.curves().items()}
        return columns | {name: (end, ".6f") for name, end in ends.items()}

    def draw(self) -> Figure:
        figure, axes = panels(2, 3, height=4.6)
        overlaps = self.full.overlaps
        sizes = {f: n for f, n in overlaps.roles.sizes.items() if f != "o"}
        kept = sum(sizes.values())
        plot_gram(axes[0, 0], np.asarray(overlaps.gram[0])[:kept, :kept], sizes)
        if self.factorisation is None:
            points, other = self.points, self.closure_points.latents
            plot_fixed_points(axes[0, 1], points.latents, points.kinds, other=other)
        else:
            plot_singular_values(axes[0, 1], np.asarray(self.singular_values), self.rank)
        plot_kurtosis(axes[0, 2], np.asarray(self.kurtosis), sizes, self.neurons)
        _traces(axes[1, 0], self.traces, float(self.full.model.dt))
        loss_panel(axes[1, 1], self.curves())
        _changes(axes[1, 2], self.curves())
        return figure


def _traces(ax: Axes, traces: Mapping[str, Any], dt: float) -> None:
    time = dt * np.arange(len(traces["full"]))
    low, high = np.min([*traces.values()]), np.max([*traces.values()])
    plot_methods(ax, time, traces, "output, first trial").set(xlabel=r"time ($\tau$)")
    ax.set_ylim(low - 0.2 * (high - low), high + 0.9 * (high - low))


def _changes(ax: Axes, curves: Mapping[str, LearningCurve]) -> None:
    """How far overlaps have moved, all of them together."""
    grams = {name: np.asarray(curve.gram) for name, curve in curves.items()}
    moved = {
        name: np.linalg.norm(q - q[0], axis=(1, 2)) / np.linalg.norm(q[0])
        for name, q in grams.items()
    }
    label = r"$\|Q - Q_0\| \,/\, \|Q_0\|$"
    plot_methods(ax, np.asarray(curves["full"].epochs), moved, label, legend=False)


def analyse_nonlinear(
    network: LowRankRNN,
    factorisation: Factorisation | None,
    task: AbstractTask | None,
    config: AnalysisConfig,
    recorder: Recorder,
) -> NonlinearResults:
    """Outputs, loadings and learning of a network, its closure and its population."""
    keys, epochs = jr.split(jr.key(config.seed), 3), config.epochs or 100
    lr = config.lr or (2e-4 if task is None else 5e-3)
    task = WhiteNoise(config.filter(network), batch=config.batch) if task is None else task
    models: dict[str, Any] = {"full": network, "closure": reduce(network)}
    models["population"] = population(network, config.nodes, key=keys[0])
    batch, key = (task.sample(keys[1]), keys[1]) if task.stochastic else (None, None)
    run = eqx.filter_jit(task.output)
    outputs = recorder.timed("outputs", lambda: {n: run(m, batch) for n, m in models.items()})
    sees: Sensitivity = recorder.timed(
        "what outputs depend on", lambda: measured_visible(models["closure"], task, key=key)
    )
    labels = {"full": "the network", "closure": "its closure", "population": "its population"}
    options: dict[str, Any] = {"epochs": epochs, "key": keys[2], "throw": False}
    curves = {
        name: recorder.learn(name, model, task, Descent(lr), label=labels[name], **options)
        for name, model in models.items()
    }
    points, closure_points = recorder.timed(
        "fixed points",
        lambda: tuple(fixed_points(models[n], key=keys[1]) for n in ("full", "closure")),
    )
    truth, others = curves["full"], ("closure", "population")
    loadings = gaussianity(network)
    size = np.linalg.norm(outputs["full"])
    return NonlinearResults(
        config=config,
        factorisation=factorisation,
        **curves,
        **facts(network),
        activation=type(network.activation).__name__,
        visible=sees.visible,
        invisible=sees.invisible,
        seen_combinations=sees.rank,
        epochs=epochs,
        initial_loss={name: float(curve.loss[0]) for name, curve in curves.items()},
        final_loss={name: last_loss(curve) for name, curve in curves.items()},
        result={name: outcome(curve.result) for name, curve in curves.items()},
        output_error={
            n: float(np.linalg.norm(outputs[n] - outputs["full"]) / size) for n in others
        },
        loss_error={n: _loss_error(curves[n], truth) for n in others},
        overlap_error={n: _overlap_error(curves[n], truth) for n in others},
        fixed_points={"full": str(points), "closure": str(closure_points)},
        points=points,
        closure_points=closure_points,
        joint=float(loadings.joint),
        chance=float(loadings.chance),
        kurtosis=loadings.kurtosis,
        singular_values=_singular_values(network, factorisation),
        traces={name: y[0, :, 0] for name, y in outputs.items()},
    )


def _loss_error(curve: LearningCurve, truth: LearningCurve) -> float:
    """Infinite for a prediction that ends before the truth does."""
    known = jnp.isfinite(truth.loss)
    gap = jnp.where(known, jnp.abs(curve.loss - truth.loss), 0.0)
    return float(jnp.nan_to_num(jnp.max(gap), nan=jnp.inf) / truth.loss[0])


def _overlap_error(curve: LearningCurve, truth: LearningCurve) -> float:
    """Likewise."""
    last = int(jnp.isfinite(truth.loss).sum())
    short = (eqx.tree_at(lambda c: c.gram, c, c.gram[:last]) for c in (curve, truth))
    return float(jnp.nan_to_num(relative_gap(*short), nan=jnp.inf))


def _singular_values(network: LowRankRNN, factorisation: Factorisation | None) -> np.ndarray:
    """Of UVᵀ/s, and of what was discarded."""
    if factorisation is not None:
        return factorisation.singular_values
    u, v = (np.linalg.qr(np.asarray(a))[1] for a in (network.u, network.weighted(network.v)))
    return np.linalg.svd(u @ v.T, compute_uv=False)


def nonlinear_notes(r: NonlinearResults) -> list[str]:
    """What is printed before the table."""
    unseen = len(r.overlaps) - r.seen_combinations
    kurtosis = np.asarray(r.kurtosis)
    lines = [
        f"{r.neurons} neurons, rank {r.rank}, {r.inputs} input(s), {r.outputs} output(s), "
        f"φ = {r.activation}; the loading vectors span {r.gram_rank} dimensions",
        f"outputs on the trials depend on {some(r.visible)}; measured: they see "
        f"{r.seen_combinations} combinations of {len(r.overlaps)} overlaps, and miss {unseen}",
        f"outputs do not depend on {some(r.invisible) or 'none'}",
        f"loadings: excess kurtosis {kurtosis.min():.2f} … {kurtosis.max():.2f}, joint fourth "
        f"cumulant {r.joint:.2f} (a Gaussian sample: {r.chance:.2f})",
    ]
    for name, words in (("closure", "Gaussian closure"), ("population", "infinite width")):
        lines.append(
            f"{words}: outputs off by {r.output_error[name]:.2%}; over {r.epochs} epochs of "
            f"learning loss by {r.loss_error[name]:.2%} of the first one, overlaps by "
            f"{r.overlap_error[name]:.2%}"
        )
    return [
        *lines,
        f"without input {r.fixed_points['full']}; the closure: {r.fixed_points['closure']}",
    ]
