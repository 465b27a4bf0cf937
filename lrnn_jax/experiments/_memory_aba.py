"""`memory_aba`: tasks come and go; what stays in the overlaps, with and without noise."""

import itertools
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lrnn_jax import figures, learning
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled, named
from lrnn_jax.experiments._configs import AbstractTwinConfig, within
from lrnn_jax.experiments._panels import overlap_panels
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import INVISIBLE, THEORY, VISIBLE, Axes, Figure
from lrnn_jax.learning import Descent, Flow, LearningCurve
from lrnn_jax.overlaps import ReachableDimensions, conserved_weights, reachable_dimensions
from lrnn_jax.reduced import ReducedRNN, reduce
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class AbstractTwoFiltersConfig(AbstractTwinConfig):
    """Two filters, A and B, that a network learns in turn."""

    rate_a: float = 0.2
    """c* of task A [1 / membrane time constant]."""
    rate_b: float = 0.4
    """c* of task B [1 / membrane time constant]."""
    record: int = within(10, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""
    seed: int = 7

    def task(self, name: str, amplitude: float = 1.0, **options: Any) -> ExponentialFilter:
        """The filter "A" or "B"."""
        rate = {"A": self.rate_a, "B": self.rate_b}[name]
        return ExponentialFilter(rate, self.dt, self.steps, amplitude, **options)


@dataclass(frozen=True)
class MemoryAbaConfig(AbstractTwoFiltersConfig):
    """A-B-A-B, then A with label noise: memory in the overlaps. [LR] fig. 3, 6.

    >>> experiments.MemoryAbaConfig(cycles=5).runs
    24
    """

    epochs: int = within(1000, 2, 1e8)
    """Epochs of each phase."""
    first: int = within(3000, 2, 1e8)
    """Epochs of the first A, in place of `epochs`."""
    amplitude_b: float = 2.0
    """a* of the other task B that changes the amplitude (A has 1)."""
    label_noise: float = within(0.1, 1e-12, 1e3)
    """σ, standard deviation of the label noise per time step; η is twice as large under it."""
    noise_epochs: int = within(4000, 2, 1e8)
    """Epochs of A with label noise."""
    runs: int = within(24, 3, 1e6)
    """Runs with independent label noise."""
    cycles: int = within(3, 1, 1e4)
    """Cycles A-B-A whose leftover is measured."""

    @property
    def bounds(self) -> tuple[int, ...]:
        """Epochs where A, B, A, B and the noisy A begin, and where that ends."""
        phases = (0, self.first, *[self.epochs] * 3, self.noise_epochs)
        return tuple(itertools.accumulate(phases))


class MemoryAbaResults(AbstractResults):
    """A-B-A-B on the network and by theory; A with label noise, runs and theory; cycles."""

    config: MemoryAbaConfig
    full: LearningCurve
    reduced: LearningCurve
    noisy: LearningCurve
    """`reduced`, followed by the first noisy run at 2η."""
    changes: dict[str, dict[str, float]]
    """By overlap: `excursion` and `leftover` of A-B-A; `drift` of noisy runs at 2η, its standard
    error `drift_sem`, `drift_theory`, and by how many standard errors that is off, `drift_z`."""
    stiffest: dict[str, float]
    """What an epoch does to the overlap that learns fastest; unstable at −1."""
    k_shift: list[float]
    """Largest change of an entry of K over its largest one: from A to A-B-A-B, and under noise."""
    reachable: ReachableDimensions
    noise_epoch: Any = labelled("epoch", "noise_epoch", units="")
    drift_mean: Any = labelled("mean, theory", "noise_epoch", "overlap")
    drift_std: Any = labelled("std over runs, theory", "noise_epoch", "overlap")
    drift_runs: Any = labelled("mean over noisy runs", "noise_epoch", "overlap")
    noise_end: dict[str, Any] = labelled("overlaps at the end of each noisy run", "run")
    invariant_drift: Any = labelled("change of what flow conserves", "epoch")
    holonomy: dict[str, Any] = labelled("change over a cycle", "cycle", "overlap")

    @claim("theory and network agree through A-B-A-B: largest |ΔQ|", high=1e-10)
    def max_abs_dq(self) -> Any:
        return self.reduced.distance(self.full).max

    @claim("every task is solved in its phase: largest loss at a phase's end", high=1e-3)
    def phase_loss(self) -> Any:
        return max(self.reduced.loss[self._at(phase) - 1] for phase in (1, 2, 3, 4))

    @claim(
        "without noise all overlaps return after A-B-A, within plotting accuracy: largest leftover "
        "over largest excursion",
        high=0.05,
    )
    def leftover_share(self) -> float:
        return self._largest("leftover") / self._largest("excursion")

    @claim(
        "entries of K stay put from A to A-B-A-B: largest change, over the largest entry", high=0.01
    )
    def k_moved(self) -> float:
        return self.k_shift[0]

    @claim("eigenvalues of JQ stay put meanwhile: largest change", high=0.05)
    def invariants_moved(self) -> Any:
        start, end = self._at(1), self._at(4)
        drift = np.asarray(self.invariant_drift)
        return np.abs(drift[start : end + 1] - drift[start]).max()

    @claim("under noise zm and vu stay near the A solution: largest distance", high=0.02)
    def noise_visible(self) -> Any:
        return max(abs(self.noise_end[n].mean() - self._solution(n)) for n in ("zm", "vu"))

    @claim("so does zu·vm", high=0.02)
    def noise_product(self) -> Any:
        product = (self.noise_end["zu"] * self.noise_end["vm"]).mean()
        return abs(product - self._solution("zu") * self._solution("vm"))

    @claim(
        "while zu and vm drift, from a tenth of the time on: smaller change, in standard errors",
        low=3,
    )
    def noise_pair(self) -> Any:
        return min(self._drift("zu"), self._drift("vm"))

    @claim("invisible overlaps drift, from then on too: uu, in standard errors", low=5)
    def noise_uu(self) -> Any:
        return self._drift("uu")

    @claim("so does K: its largest change over that without noise", low=2)
    def noise_k(self) -> float:
        return self.k_shift[1] / self.k_shift[0]

    @claim("the drift of all overlaps is the noise theory's: s.e.m. off, with 2η", high=3)
    def drift_z(self) -> float:
        return self._largest("drift_z")

    @claim("and with η", high=3)
    def drift_z_at_lr(self) -> float:
        return self._largest("drift_z_at_lr")

    @claim(
        "under flow a cycle of c* leaves a small holonomy: largest change (in the reference zu "
        "about 3e-4, uu about 1.5e-4)",
        low=1e-4,
        high=3e-3,
    )
    def holonomy_c(self) -> Any:
        return np.abs(self.holonomy["c_flow"][0]).max()

    @claim("which adds up: lowest change of zu in a cycle over that in the first", low=0)
    def holonomy_adds_up(self) -> Any:
        zu = self.holonomy["c_flow"][:, self.full.overlaps.names.index("zu")]
        return (zu / zu[0]).min()

    @claim("a cycle of a* leaves much more (about 2.5e-2 in the reference)", low=1e-2, high=5e-2)
    def holonomy_a(self) -> Any:
        return np.abs(self.holonomy["a_flow"][0]).max()

    @claim("and descent, with η/4, leaves the same but for O(η): ratio", low=0.5, high=2)
    def holonomy_descent(self) -> Any:
        sizes = {name: np.abs(change[0]).max() for name, change in self.holonomy.items()}
        return sizes["a_descent"] / sizes["a_flow"]

    @claim("learning reaches an orbit in overlap space: its dimension", low=5, high=5)
    def reachable_dimension(self) -> int:
        return self.reachable.dimension

    @claim("dimensions of overlap space that they leave alone", low=5, high=5)
    def conserved_dimensions(self) -> int:
        return self.reachable.total - self.reachable.dimension

    @claim("dimensions of the orbit that the loss fixes", low=3, high=3)
    def visible_dimensions(self) -> int:
        return self.reachable.visible

    def _drift(self, name: str) -> Any:
        """|Change| of an overlap under noise after a tenth of the time, in standard errors."""
        tenth = self.config.bounds[4] + self.config.noise_epochs // 10
        settled = np.searchsorted(self.noise_epoch, tenth)
        mean = self.drift_mean[:, self.full.overlaps.names.index(name)]
        return abs(mean[-1] - mean[settled]) / self.changes["drift_sem"][name]

    def _at(self, phase: int) -> int:
        """Where a phase begins in the curves."""
        return int(np.searchsorted(self.noisy.epochs, self.config.bounds[phase]))

    def _solution(self, name: str) -> Any:
        """An overlap at the A solution, before the last B."""
        return self.reduced[name][self._at(3)]

    def _largest(self, change: str) -> float:
        return max(map(abs, self.changes[change].values()))

    def table(self) -> Columns:
        changes = {name: (x, ".2g") for name, x in self.changes.items()}
        return named(self.full) | changes

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.4)
        epochs, overlaps = self.noisy.epochs, self.noisy.overlaps
        loss = [(None, self.noisy.loss, {"color": VISIBLE[1], "linewidth": 1.0})]
        figures.plot_lines(axes[0, 0], epochs, loss, above=1e-10)
        axes[0, 0].set(xlabel="epoch", ylabel=r"loss $L$")
        overlap_panels(axes[0, 1:], simulation=self.noisy)
        seen = np.isin(overlaps.names, self.noisy.visibility.visible)
        axes[0, 1].plot(self.noise_epoch, self.drift_mean[:, seen], **THEORY)
        axes[0, 2].plot(self.noise_epoch, self.drift_mean[:, ~seen], **THEORY)
        drift = [(None, self.invariant_drift, {"color": INVISIBLE[1]})]
        figures.plot_lines(axes[1, 0], epochs, drift, above=1e-6)
        axes[1, 0].set(xlabel="epoch", ylabel="change of invariants")
        for ax in (*axes[0], axes[1, 0]):
            figures.shade_phases(ax, self.config.bounds, ("A", "B", "A", "B", "A, noise"))
        _drift(axes[1, 1], self)
        _leftover(axes[1, 2], self)
        return figure


@experiment(
    source="[LR] fig. 3, 6",
    quick=MemoryAbaConfig(n=60, noise_epochs=1000, cycles=2),
    seconds=(102, 38),
)
def memory_aba(config: MemoryAbaConfig, recorder: Recorder) -> MemoryAbaResults:
    """Tasks come and go: overlaps return, but for holonomy and the drift of label noise.

    At 2η about one set of `runs` in twenty has an overlap beyond 3 s.e.m.: twenty-four runs know
    their own standard error to 15 %, and the theory is off by up to 0.4 of it.
    """
    net, record, bounds = config.twin(), config.record, config.bounds
    fast, slow = Descent(2 * config.lr), Descent(config.lr)
    phases = [(config.task(n), slow, e) for n, e in zip("ABAB", np.diff(bounds).tolist())]
    labels = [f"full network, {name}" for name in "ABAB"]
    full = recorder.learn_sequence("full", net, phases, record=record, labels=labels)
    quiet = recorder.learn_sequence("reduced", reduce(net), phases, record=record)
    task = config.task("A", label_noise=config.label_noise)
    options = {"epochs": config.noise_epochs, "record": record, "throw": False}
    start: Any = quiet.model

    def told(method: Descent, **more: Any) -> learning.NoiseDrift:
        return learning.noise_drift(start, task, method, **options, **more)

    many = recorder.timed("noisy runs at 2η", lambda: _noisy_runs(config, start, task, fast))
    others = recorder.timed("noisy runs at η", lambda: _noisy_runs(config, start, task, slow))
    theory = recorder.timed("noise theory at 2η", lambda: told(fast))
    slower = recorder.timed("noise theory at η", lambda: told(slow))
    leading = recorder.timed("noise theory at 2η, leading order", lambda: told(fast, directions=0))
    noisy = learning.join_curves(quiet, jax.tree.map(lambda a: a[0], many))
    there = learning.excursion(quiet, bounds[1], bounds[3])
    drift, sem, predicted, z = _compared(many, theory)
    changes = {
        "excursion": there.size,
        "leftover": there.leftover,
        "drift": drift,
        "drift_sem": sem,
        "drift_theory": predicted,
        "drift_z": z,
        "drift_z_at_lr": _compared(others, slower)[-1],
        "drift_z_leading_order": _compared(many, leading)[-1],
    }
    nets = [learning.lift(noisy, net, bounds[phase]) for phase in (1, 4, 5)]
    k = [conserved_weights(net.vectors, net.roles.left) for net in nets]
    runs = many.overlaps
    return MemoryAbaResults(
        config=config,
        full=full,
        reduced=quiet,
        noisy=noisy,
        changes={n: dict(zip(there.names, np.asarray(x).tolist())) for n, x in changes.items()},
        stiffest={"2η": theory.stiffest, "η": slower.stiffest},
        k_shift=[float(abs(b - a).max() / abs(k[0]).max()) for a, b in itertools.pairwise(k)],
        reachable=reachable_dimensions(start.overlaps),
        noise_epoch=theory.epochs + bounds[4],
        drift_mean=theory.mean,
        drift_std=theory.std,
        drift_runs=runs.vector().mean(axis=0),
        noise_end={name: runs[name][:, -1] for name in runs.names},
        invariant_drift=noisy.invariant_drift(),
        holonomy=recorder.timed("holonomy", lambda: _cycles(config, reduce(net))),
    )


@eqx.filter_jit
def _noisy_runs(config: MemoryAbaConfig, start: Any, task: Any, method: Any) -> LearningCurve:
    """Independent runs of A with label noise; leading axis: run."""

    def one(key: Any) -> LearningCurve:
        options: dict[str, Any] = {"record": config.record, "key": key, "throw": False}
        return learning.learn(start, task, method, epochs=config.noise_epochs, **options)

    return jax.vmap(one)(jr.split(jr.key(config.seed + 1), config.runs))


def _compared(many: LearningCurve, theory: learning.NoiseDrift) -> tuple[Array, ...]:
    """Drift of each overlap in noisy runs, its standard error, theory, how many of these apart."""
    final, start = many.overlaps.vector()[:, -1], theory.mean[0]
    sem = jnp.std(final, axis=0, ddof=1) / np.sqrt(len(final))
    drift, told = final.mean(axis=0) - start, theory.mean[-1] - start
    return drift, sem, told, (told - drift) / sem


def _cycles(config: MemoryAbaConfig, start: ReducedRNN) -> dict[str, Array]:
    """What each cycle A-B-A leaves, for both kinds of B, under flow and under descent."""
    tasks = {"c": config.task("B"), "a": config.task("A", config.amplitude_b)}
    # at twice the amplitude descent with η is unstable: a quarter of it, four times as long
    slower, found = {"c_flow": 1, "c_descent": 1, "a_flow": 1, "a_descent": 4}, {}
    for name, factor in slower.items():
        method = Flow(config.lr) if "flow" in name else Descent(config.lr / factor)
        found[name] = learning.holonomy(
            start,
            [config.task("A"), tasks[name[0]]],
            method,
            epochs=config.epochs * factor,
            settle=config.first * factor,
            cycles=config.cycles,
        ).leftover
    return found


def _drift(ax: Axes, r: MemoryAbaResults) -> None:
    """Drift under label noise in runs, with error bars, beside the theory's."""
    shown = ("drift", "drift_sem", "drift_theory")
    drift, error, theory = (np.array(list(r.changes[name].values())) for name in shown)
    places = np.arange(len(drift))
    ax.bar(places, drift, yerr=3 * error, color=VISIBLE[3], label="runs ± 3 s.e.m.", capsize=2)
    ax.plot(places, theory, "_", color="#1a1a1a", markersize=11, markeredgewidth=1.6)
    ax.plot([], [], "_", color="#1a1a1a", markersize=9, markeredgewidth=1.6, label="theory")
    ax.axhline(0, color="0.5", linewidth=0.6)
    ax.set_xticks(places, r.noisy.overlaps.roles.latex, rotation=90)
    ax.set_ylabel("change under label noise")
    figures.make_room(ax, above=0.25).legend(loc="upper right")


def _leftover(ax: Axes, r: MemoryAbaResults) -> None:
    """|change| that one cycle of tasks leaves in each overlap: filled by flow, open by descent."""
    for name, change in r.holonomy.items():
        mark, colour = ("o", VISIBLE[2]) if name[0] == "c" else ("s", INVISIBLE[3])
        look: dict[str, Any] = {"fillstyle": "full" if "flow" in name else "none", "markersize": 5}
        values, label = np.maximum(np.abs(change[0]), 1e-7), name.replace("_", "*, ")
        ax.plot(values, mark, color=colour, label=label, **look)
    ax.set_yscale("log")
    figures.make_room(ax, above=0.35)
    ax.set_xticks(range(r.holonomy["c_flow"].shape[1]), r.noisy.overlaps.roles.latex, rotation=90)
    ax.set_ylabel("|left over| after one cycle")
    ax.legend(ncols=2, columnspacing=0.8, handletextpad=0.1, handlelength=1.0)
