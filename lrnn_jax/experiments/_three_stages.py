"""`three_stages`: a low-rank controller learns in three stages, exactly as its overlaps say."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax import figures, stability
from lrnn_jax.environments import ClosedLoop, FixedStart, KIntegrator
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._controllers import (
    double_integrator,
    initial_states,
    low_rank_controller,
    trial_by_trial,
)
from lrnn_jax.experiments._panels import gap_panel, loss_panel, overlap_panels
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import INVISIBLE, OTHERS, SIMULATION, THEORY, VISIBLE, Figure
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.overlaps import Overlaps, Roles
from lrnn_jax.reduced import ReducedRNN, reduce


@dataclass(frozen=True)
class ThreeStagesConfig(AbstractLoopConfig):
    """Learning to control a double integrator with a rank-1 network. [CL] fig. 3-5.

    >>> experiments.ThreeStagesConfig(starts=5).width
    2.0
    """

    width: float = within(2.0, 1e-9, 1e6)
    """Initial states ~ U(−width, width)."""
    clip: float = within(1.0, 0, 1e6)
    """Bound on the norm of the gradient."""
    starts: int = within(20, 1, 1e5)
    """Networks whose stages are counted."""
    seed: int = 7
    """Random seed of the first network and of the trials (7: one that starts in stage 1)."""


FEEDBACKS = np.linspace(-0.5, 0.3, 33)
"""zm at which the formula of the first stage is compared with the loop."""


class ThreeStagesResults(AbstractResults):
    """One network in full, by its exact theory (on the same batches) and by the expected loss
    (without any), its loop's spectrum, and the stages of many networks."""

    config: ThreeStagesConfig
    full: LearningCurve
    reduced: LearningCurve
    expected: LearningCurve
    stages: stability.Stages
    starts: list[stability.Stages]
    outlier_gaps: Any = labelled("distance of outliers from the reduced spectrum", "epoch")
    eigenvalue: dict[str, Any] = labelled("eigenvalues of the loop", "epoch", "eigenvalue")
    radius: Any = labelled("max |λ|", "epoch")
    zm: Any = labelled("direct feedback zm", "feedback")
    stage_one: dict[str, Any] = labelled("½ Σ‖x‖² in stage 1", "feedback", units="state²")
    many_loss: Any = labelled("loss by start", "start", "epoch", units="state²")
    many_zm: Any = labelled("zm by start", "start", "epoch")

    @claim("full network = reduced descent: largest |ΔQ| of all overlaps and epochs", high=1e-11)
    def max_abs_dq(self) -> Any:
        return self.reduced.distance(self.full).max

    @claim("and their losses: largest relative difference", high=1e-12)
    def max_relative_dloss(self) -> Any:
        return abs(self.reduced.loss / self.full.loss - 1).max()

    @claim(
        "the reduced spectrum is the outliers of the (N+2)-dimensional matrix: largest distance at "
        "any epoch",
        high=1e-9,
    )
    def outlier_gap(self) -> Any:
        return self.outlier_gaps.max()

    @claim(
        "the expected loss, without any batch, leads to the same end: ratio of losses, mean of the "
        "last tenth",
        low=0.5,
        high=2,
    )
    def expected_ratio(self) -> Any:
        last = len(self.expected.loss) * 9 // 10
        return self.expected.loss[last:].mean() / self.reduced.loss[last:].mean()

    @claim("zm turns negative for good: share of starts", low=1)
    def share_negative_feedback(self) -> Any:
        return np.mean(np.asarray(self.many_zm)[:, -1] < 0)

    @claim("the spectrum shows three stages: a complex pair leads, share of starts", low=1)
    def share_complex_pair(self) -> Any:
        return np.mean([found.oscillatory >= 0 for found in self.starts])

    @claim("then the loop becomes stable for good, and is refined: share of starts", low=0.9)
    def share_stable(self) -> Any:
        return np.mean([found.stable >= 0 for found in self.starts])

    @claim("refined: largest loss at the end over that when it became stable", high=0.9)
    def refinement(self) -> Any:
        losses = [found.losses for found in self.starts if found.stable >= 0]
        return max((end / stable for *_, stable, end in losses), default=None)

    @claim(
        "the formula of stage 1 has the loop's size for |zm| ≥ 0.1 (at zm = 0 it misses the growth "
        "of a double eigenvalue): largest ratio",
        high=10,
    )
    def formula_ratio(self) -> Any:
        off = np.abs(np.log(self.stage_one["formula"] / self.stage_one["loop"]))
        return np.exp(off[np.abs(self.zm) > 0.099].max())

    def table(self) -> Columns:
        pair, stable, losses, turns, _ = zip(*self.starts)
        when = "loss before", "at pair", "when stable", "end"
        given = {
            "start": (range(len(pair)), ""),
            "complex pair": (pair, ""),
            "stable": (stable, ""),
        }
        given |= {name: (loss, ".3g") for name, loss in zip(when, zip(*losses))}
        return given | {"turns of |λ|": (turns, "")}

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.3)
        epochs = np.asarray(self.full.epochs)
        loss_panel(axes[0, 0], self.curves())
        pair, stable = (self.stages.oscillatory, INVISIBLE[1]), (self.stages.stable, OTHERS[2])
        figures.make_room(axes[0, 0], above=0.6)
        figures.mark_epochs(axes[0, 0], {"complex pair": pair, "stable": stable})
        gap_panel(axes[0, 1], self.full, {"full − exact theory": self.reduced})
        overlap_panels(axes[0, 2:], theory=self.reduced, simulation=self.full)
        angle = np.linspace(-np.pi, np.pi, 400)
        axes[1, 0].plot(np.cos(angle), np.sin(angle), color="0.6", linewidth=0.8, zorder=0)
        paths = zip(self.eigenvalue["real"].T, self.eigenvalue["imag"].T)
        for (x, y), colour in zip(paths, (VISIBLE[1], VISIBLE[3], INVISIBLE[2], OTHERS[0])):
            axes[1, 0].plot(x, y, color=colour, linewidth=1.2)
            axes[1, 0].plot(x[0], y[0], "o", color=colour, markersize=4, markerfacecolor="w")
            axes[1, 0].plot(x[-1], y[-1], "o", color=colour, markersize=4)
        axes[1, 0].axhline(0, color="0.85", linewidth=0.6, zorder=0)
        axes[1, 0].set(xlabel=r"Re $\lambda$", ylabel=r"Im $\lambda$")
        axes[1, 0].set_aspect("equal", adjustable="datalim")
        looks = {"loop": {"color": VISIBLE[2], **SIMULATION}, "formula": THEORY}
        lines = [(name, self.stage_one[name], look) for name, look in looks.items()]
        figures.plot_lines(axes[1, 1], self.zm, lines, above=0)
        axes[1, 1].set(xlabel=r"$\sigma_{zm}$", ylabel=r"$\frac{1}{2}\sum_t\|x_t\|^2$, stage 1")
        thin = {"color": VISIBLE[1], "linewidth": 0.8, "alpha": 0.7}
        shown = self.many_zm[:10]
        figures.plot_lines(axes[1, 2], epochs, [(None, zm, thin) for zm in shown])
        axes[1, 2].axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes[1, 2].set(xlabel="epoch", ylabel=rf"$\sigma_{{zm}}$, {len(shown)} starts")
        axes[1, 2].set_xlim(0, min(300, epochs[-1]))
        return figure


@experiment(
    source="[CL] fig. 3-5",
    quick=ThreeStagesConfig(n=20, batch=10, epochs=1000, starts=3, seed=0),
    seconds=(23, 22),
)
def three_stages(config: ThreeStagesConfig, recorder: Recorder) -> ThreeStagesResults:
    """A low-rank controller learns in three stages, exactly as its overlaps say."""
    loop = double_integrator(config.steps, config.width)
    keys = jr.split(jr.key(config.seed), config.starts + 1)
    batches = initial_states(loop, config.epochs, config.batch, key=keys[-1])
    net, method = low_rank_controller(config.n, key=keys[0]), Descent(config.lr, clip=config.clip)

    options: dict[str, Any] = {"batches": batches, **config.pace}
    seen: dict[str, Any] = {"label": "full network", "watch": stability.LoopMatrix(loop)}
    full = recorder.learn("full", net, trial_by_trial(loop), method, **seen, **options)
    reduced = recorder.learn("reduced", reduce(net), loop, method, **options)
    expected = recorder.learn("expected", reduce(net), loop, method, **config.pace)

    def one(key: Any) -> LearningCurve:
        start = reduce(low_rank_controller(config.n, key=key))
        return learn(start, loop, method, throw=False, **options)

    many = recorder.timed("many starts", lambda: jax.jit(jax.vmap(one))(keys[:-1]))
    singles = (jax.tree.map(lambda x, i=i: x[i], many) for i in range(config.starts))
    values = stability.spectrum(reduced, loop)
    return ThreeStagesResults(
        config=config,
        full=full,
        reduced=reduced,
        expected=expected,
        stages=stability.stages(reduced, loop),
        starts=[stability.stages(curve, loop) for curve in singles],
        outlier_gaps=_outlier_gaps(np.asarray(full.watched), stability.spectrum(full, loop)),
        eigenvalue={"real": np.real(values), "imag": np.imag(values)},
        radius=stability.radius(values),
        zm=FEEDBACKS,
        stage_one=_stage_one(config.steps),
        many_loss=many.loss,
        many_zm=many.overlaps["zm"],
    )


def _stage_one(steps: int) -> dict[str, np.ndarray]:
    """½ Σ_t ‖x_t‖² of the loop under zm alone from x_0 = (1, −1), and the formula, over zm."""
    loop = ClosedLoop(KIntegrator(2), steps, start=FixedStart(jnp.array([1.0, -1.0])))
    orthogonal = Overlaps(jnp.eye(4), Roles())

    def simulated(zm: Any) -> Any:
        model = ReducedRNN(Overlaps(orthogonal.with_entries(zm=zm), Roles()), dt=1.0)
        return steps * loop.loss(model) + 1.0  # T times the mean of half the norm, and x_0

    formula = np.asarray(stability.stage_one_loss(FEEDBACKS, steps))
    return {"loop": np.asarray(jax.vmap(simulated)(FEEDBACKS)), "formula": formula}


def _outlier_gaps(matrices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Distance of the outliers of P, shape (record, N + 2, N + 2), from its reduction's spectrum,
    shape (record, 4), one of whose values is 0."""
    both = (stability.outliers(x, 0.0, 3) for x in (np.linalg.eigvals(matrices), values))
    pairs = (stability.track(np.stack(pair)) for pair in zip(*both))
    return np.array([np.abs(np.diff(pair, axis=0)).max() for pair in pairs])
