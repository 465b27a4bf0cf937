"""`bulk`: low rank over a random bulk; how it learns, and what infinitely many neurons predict."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractFilterConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import FIRST, THEORY, Axes, Figure, make_room, panels, shades
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.networks import DenseRNN, LowRankRNN, RandomBulk
from lrnn_jax.overlaps import Overlaps, random_overlaps
from lrnn_jax.reduced import Powers, ReducedRNN, Words, compress, reduce, word_limit
from lrnn_jax.rules import RFLO
from lrnn_jax.tasks import AbstractTask, ExponentialFilter, OscillatingFilter

SHOWN = "zm", "vu", "zv", "mu"


@dataclass(frozen=True)
class BulkConfig(AbstractFilterConfig):
    """A filter and an oscillation over bulks of several strengths.

    >>> config = experiments.BulkConfig(sizes=(250, 500))
    >>> config.words.length is None  # chosen for the tolerance
    True
    """

    dt: float = within(0.2, 1e-9, 1)
    steps: int = within(40, 2, 1e6)
    lr: float = within(0.015, 0, 1e3)
    epochs: int = within(400, 2, 1e8)
    record: int = within(2, 1, lambda config: config.epochs)
    """Every how many epochs the course is kept."""
    rate: float = within(0.2, 0, 1e3)
    """Decay of both targets [1/membrane time constant]."""
    frequency: float = within(1.0, 0, 1e3)
    """Of the oscillation [radians/membrane time constant]."""
    strengths: tuple[float, ...] = within((0.0, 0.3, 0.6, 0.9), 0, 0.99)
    """g, of the courses."""
    g: float = within(0.6, 0, 0.99)
    """g, of what is compared with networks."""
    tolerance: float = within(3e-3, 1e-12, 1)
    """Of words."""
    sizes: tuple[int, ...] = within((250, 500, 1000, 2000), 4, 1e6)
    """N, of networks around the theory."""
    draws: int = within(12, 2, 1e6)
    """Networks of each size, fewer of more than 500 neurons."""
    around: int = within(40, 1, 1e8)
    """Epochs of these networks."""

    def tasks(self) -> dict[str, tuple[AbstractTask, int, float]]:
        """Task, rank and learning rate, by name."""
        filtered = ExponentialFilter(self.rate, self.dt, self.steps)
        waves = OscillatingFilter(self.rate, self.frequency, self.dt, self.steps)
        return {"filter": (filtered, 1, self.lr), "oscillation": (waves, 2, self.lr)}

    def start(self, rank: int) -> Overlaps:
        """Q_0, off the saddle of vectors that are orthogonal, from which chance decides."""
        return random_overlaps(rank, key=jr.key(self.seed))

    @property
    def words(self) -> Words:
        """Which words stand for a bulk: with up to two turns."""
        return Words(turns=2, steps=self.steps, tolerance=self.tolerance)

    def over(self, n: int, key: Any, q: Overlaps) -> LowRankRNN:
        """A network of n neurons with these overlaps over a bulk of strength g."""
        first, second = jr.split(key)
        bulk = RandomBulk(self.g, key=first)
        return LowRankRNN.with_overlaps(q, n, dt=self.dt, key=second, bulk=bulk)


class BulkResults(AbstractResults):
    """Courses over bulks by theory, networks around it, dense learning from gJ, and RFLO."""

    config: BulkConfig
    filter: dict[str, LearningCurve]
    """By theory, for each g."""
    oscillation: dict[str, LearningCurve]
    network: LearningCurve
    """One network of `n` neurons on the filter, with strength g."""
    bare: LearningCurve
    """The theory that ignores the bulk."""
    exact: LearningCurve
    """The theory with it, as long as the networks around it."""
    rflo: dict[str, LearningCurve]
    """RFLO over the bulk: a network, the neurons that the bulk reaches, infinitely many."""
    dense: dict[str, LearningCurve]
    """Dense weights from gJ: a network and the theory."""
    neurons: dict[str, int]
    """Of the word network, by g."""
    ends: Any = labelled("overlaps of networks at the end", "size", "draw", "entry")
    """NaN where there are fewer draws."""
    off: Any = labelled("rms of the largest |ΔQ| at the end", "size")
    size: Any = labelled("N", "size", units="")
    band: dict[str, Any] = labelled("overlap, mean and s.d. of draws", "moment", "around_epoch")
    values: dict[str, Any] = labelled("singular values of W − W_0", "place")

    @claim("networks around the theory: largest √N · rms of max|ΔQ| at the end", high=1.2)
    def spread(self) -> Any:
        return (self.off * np.sqrt(self.size)).max()

    @claim("which shrinks as 1/√N: slope in N", low=-0.8, high=-0.25)
    def slope(self) -> Any:
        return np.polyfit(np.log(self.size), np.log(self.off), 1)[0]

    @claim("the theory that ignores the bulk is off by: max|ΔQ| at the end", low=0.1)
    def ignored(self) -> Any:
        return abs(self.bare.gram[-1] - self.exact.gram[-1]).max()

    @claim("over the strongest bulk half of both tasks is learned sooner: epochs, over those of 0",
           high=0.7)  # fmt: skip
    def sooner(self) -> Any:
        return max(x[-1] / x[0] for x in (_epochs(c, 0.5) for c in (self.filter, self.oscillation)))

    @claim("and the oscillation to 5 %: epochs, over those of 0", high=0.6)
    def sooner_to_5(self) -> Any:
        epochs = _epochs(self.oscillation)
        return epochs[-1] / epochs[0]

    @claim("RFLO closes on what the bulk reaches: largest |ΔQ| of the network and these neurons",
           high=1e-11)  # fmt: skip
    def closes(self) -> Any:
        return float(self.rflo["network"].distance(self.rflo["core"]).max)

    @claim("dense learning from gJ: largest difference of the losses of network and theory",
           high=lambda r: 8 / r.config.n**0.5)  # fmt: skip
    def dense_off(self) -> Any:
        return abs(self.dense["network"].loss - self.dense["theory"].loss).max()

    @claim("and W − W_0 is of low rank: share of three squared singular values", low=0.97)
    def low_rank(self) -> Any:
        squares = self.values["network"] ** 2
        return squares[:3].sum() / squares.sum()

    def table(self) -> Columns:
        gs = list(self.filter)
        return {
            "g": (gs, "s"),
            "neurons of words": ([self.neurons[g] for g in gs], "d"),
            "filter, epochs to 5 %": (_epochs(self.filter), ".0f"),
            "at the end": ([float(self.filter[g].loss[-1]) for g in gs], ".1e"),
            "oscillation": (_epochs(self.oscillation), ".0f"),
            "at its end": ([float(self.oscillation[g].loss[-1]) for g in gs], ".1e"),
        }

    def draw(self) -> Figure:
        figure, axes = panels(3, 2, height=6.4)
        _courses(axes[0, 0], self.filter, "filter")
        curve, look = self.network, {**FIRST, "linewidth": 2.2, "alpha": 0.5, "zorder": 1}
        label = f"$g = {self.config.g}$, N = {self.config.n}"
        axes[0, 0].plot(curve.epochs, curve.loss, **{**look, "label": label})
        make_room(axes[0, 0], above=0.5).legend(ncols=2, loc="upper right")
        _courses(axes[0, 1], self.oscillation, "oscillation")
        make_room(axes[0, 1], above=0.3).legend(ncols=2, loc="upper right")
        _around(axes[1, 0], self)
        ax = axes[1, 1]
        ax.loglog(self.size, self.off, "o", color="#1a1a1a", label="networks, rms")
        ax.loglog(self.size, 1.2 / np.sqrt(self.size), **{**THEORY, "label": r"$1.2/\sqrt{N}$"})
        ax.axhline(float(self.ignored.measure(self)), ls=":", color="0.4", label="bulk ignored")
        ax.set(xlabel=r"neurons $N$", ylabel=r"max $|\Delta Q|$ to the theory")
        ax.set_xticks(self.size, [str(n) for n in self.size])
        ax.minorticks_off()
        make_room(ax, above=0.7, below=0.1).legend(loc="upper right")
        _singular(axes[2, 0], self)
        _local(axes[2, 1], self)
        return figure


def _epochs(curves: dict[str, LearningCurve], share: float = 0.05) -> list[float]:
    """Epochs until this share of the first loss, by strength; the last where there is none."""
    below = [np.asarray(curve.loss) < float(curve.loss[0]) * share for curve in curves.values()]
    places = (int(found.argmax()) if found.any() else -1 for found in below)
    return [float(curve.epochs[at]) for curve, at in zip(curves.values(), places)]


def _courses(ax: Axes, curves: dict[str, LearningCurve], what: str) -> None:
    for (g, curve), color in zip(curves.items(), shades(len(curves))):
        ax.semilogy(curve.epochs, curve.loss, color=color, label=f"$g = {g}$")
    ax.set(
        xlabel="epoch", ylabel=f"loss $L$, {what}", xlim=(0, curve.epochs[-1]), ylim=(1e-5, None)
    )


def _around(ax: Axes, r: BulkResults) -> None:
    """Overlaps over epochs: theory, the band of draws, and the theory without bulk."""
    epochs = np.asarray(r.exact.epochs)
    for name, color in zip(SHOWN, shades(len(SHOWN))):
        mean, spread = r.band[name]
        ax.fill_between(epochs, mean - 2 * spread, mean + 2 * spread, color=color, alpha=0.25, lw=0)
        ax.plot(epochs, r.exact[name], color=color, label=f"${name}$")
        ax.plot(epochs, r.bare[name], ":", color=color)
    ax.set(xlabel="epoch (bands: networks, ± 2 s.d.; dotted: bulk ignored)", ylabel="overlap")
    ax.set_xlim(0, epochs[-1])
    make_room(ax, above=0.25).legend(ncols=4, loc="upper left", columnspacing=0.8)


def _singular(ax: Axes, r: BulkResults) -> None:
    for name, look in (("network", "o"), ("theory", "x")):
        values = r.values[name][:10]
        ax.semilogy(range(1, len(values) + 1), values, look, color="#1a1a1a", label=name,
                    fillstyle="none")  # fmt: skip
    ax.set(xlabel="number", ylabel=r"singular values of $W - W_0$")
    make_room(ax, above=0.2).legend(loc="upper right")


def _local(ax: Axes, r: BulkResults) -> None:
    core = r.rflo["core"].model.state_size
    looks: dict[str, Any] = {
        "network": {**FIRST, "linewidth": 2.2, "label": f"network, N = {r.config.n}"},
        "core": {**THEORY, "linewidth": 0.9, "label": f"{core} neurons"},
        "limit": {"color": "#1a1a1a", "ls": ":", "label": r"$N \to \infty$"},
    }
    for name, look in looks.items():
        ax.semilogy(r.rflo[name].epochs, r.rflo[name].loss, **look)
    ax.set(xlabel="epoch", ylabel=r"loss $L$, RFLO", xlim=(0, r.rflo["network"].epochs[-1]))
    make_room(ax, above=0.2).legend(loc="upper right")


@experiment(
    source="ours",
    quick=BulkConfig(n=120, strengths=(0.0, 0.8), sizes=(120, 600), draws=12),
    seconds=(150, 60),
)
def bulk(config: BulkConfig, recorder: Recorder) -> BulkResults:
    """Low rank over a random bulk: how it learns, and what infinitely many neurons predict.

    Theory is the limit of infinitely many neurons, a network of words. A bulk lets what is learned
    spread over more time scales: the first learning is faster, the last of a filter slower. Where
    these meet depends on Q_0: over the strongest bulk 15 of 20 filters are at 5 % sooner, 3 later.
    """
    courses: dict[str, Any] = {}
    neurons = {}
    for name, (task, rank, lr) in config.tasks().items():
        q, courses[name] = config.start(rank), {}
        for g in config.strengths:
            limit = word_limit(q, g, config.words, dt=config.dt).network
            label = f"{name}, g = {g:g}"
            options: dict[str, Any] = {**config.pace, "label": label}
            courses[name][f"{g:g}"] = recorder.learn(label, limit, task, Descent(lr), **options)
            neurons.setdefault(f"{g:g}", limit.state_size)
    q, (task, _, lr) = config.start(1), config.tasks()["filter"]
    net = config.over(config.n, jr.key(config.seed), q)
    network = recorder.learn("network", net, task, Descent(lr), label="network", **config.pace)
    return BulkResults(
        config=config,
        network=network,
        neurons=neurons,
        **courses,
        **_networks(config, q, recorder),
        rflo=_rflo(config, net, recorder),
        **_dense(config, recorder),
    )


def _networks(config: BulkConfig, q: Overlaps, recorder: Recorder) -> dict[str, Any]:
    """Networks of several sizes around the theory, and the theory that ignores the bulk."""
    task, _, lr = config.tasks()["filter"]
    pace: dict[str, Any] = {"epochs": config.around}
    limit = word_limit(q, config.g, config.words, dt=config.dt).network
    exact = recorder.learn("around", limit, task, Descent(lr), **pace)
    bare = recorder.learn("bare", ReducedRNN(q, dt=config.dt), task, Descent(lr), **pace)
    keys = jr.split(jr.fold_in(jr.key(config.seed), 1), config.draws)

    @eqx.filter_jit
    def drawn(n: int, keys: Array) -> Array:
        def one(key: Array) -> Array:
            net = config.over(n, key, q)
            return learn(net, task, Descent(lr), throw=False, **pace).gram

        return jax.lax.map(one, keys)

    courses = {}
    for n in {*config.sizes, config.n}:
        count = max(2, config.draws * 500 // max(n, 500))
        grams = recorder.timed(f"{count} networks, N = {n}", partial(drawn, n, keys[:count]))
        courses[n] = Overlaps(jnp.asarray(grams), q.roles)
    largest = {
        n: np.abs(np.asarray(c.gram)[:, -1] - np.asarray(exact.gram)[-1]).max(axis=(1, 2))
        for n, c in courses.items()
    }
    sizes = np.array(sorted(config.sizes))
    around = {name: np.asarray(courses[config.n][name]) for name in SHOWN}
    return {
        "exact": exact,
        "bare": bare,
        "size": sizes,
        "off": np.array([np.sqrt(np.mean(largest[n] ** 2)) for n in sizes.tolist()]),
        "ends": _padded([np.asarray(courses[n].vector())[:, -1] for n in sizes.tolist()]),
        "band": {n: np.stack([x.mean(axis=0), x.std(axis=0, ddof=1)]) for n, x in around.items()},
    }


def _padded(draws: list[np.ndarray]) -> np.ndarray:
    """Arrays of different lengths as one, with NaN behind the shorter ones."""
    most = max(map(len, draws))
    return np.stack(
        [np.pad(x, ((0, most - len(x)), (0, 0)), constant_values=np.nan) for x in draws]
    )


def _rflo(config: BulkConfig, net: LowRankRNN, recorder: Recorder) -> dict[str, LearningCurve]:
    """RFLO on the filter: the network, the neurons that its bulk reaches, and infinitely many."""
    task, _, lr = config.tasks()["filter"]
    f = jr.normal(jr.fold_in(jr.key(config.seed), 2), (config.n, 1))
    core = compress(net, f, steps=config.steps, tolerance=1e-13)
    limit = compress(net, f, words=Powers(steps=config.steps, tolerance=1e-9))
    learners = {
        "network": (net, f),
        "core": (core.network, core.feedback),
        "limit": (limit.network, limit.feedback),
    }
    return {
        name: recorder.learn(
            f"RFLO, {name}", model, task, Descent(lr, rule=RFLO(fixed)), **config.pace
        )
        for name, (model, fixed) in learners.items()
    }


def _dense(config: BulkConfig, recorder: Recorder) -> dict[str, Any]:
    """All of W learns from gJ, on the filter."""
    task, _, lr = config.tasks()["filter"]
    keys = jr.split(jr.fold_in(jr.key(config.seed), 3))
    w = RandomBulk(config.g, key=keys[0]).matrix(config.n)
    basis = np.linalg.qr(np.asarray(jr.normal(keys[1], (config.n, 2))))[0]
    start = DenseRNN(w, basis[:, :1], basis[:, 1:].T * 0.95 + basis[:, :1].T * 0.3, dt=config.dt)
    words = Words(5, tolerance=1.0)
    models = {"network": start, "theory": reduce(start, words=words)}
    curves: dict[str, Any] = {
        name: recorder.learn(f"dense, {name}", model, task, Descent(2 * lr), epochs=config.around)
        for name, model in models.items()
    }
    changes = (np.asarray(curve.model.w - models[name].w) for name, curve in curves.items())
    values = {name: np.linalg.svd(change)[1] for name, change in zip(curves, changes)}
    few = min(len(x) for x in values.values())
    return {"dense": curves, "values": {name: x[:few] for name, x in values.items()}}
