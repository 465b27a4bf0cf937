"""`many_pairs`: ten thousand controllers and their students, exactly, in overlap space."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array
from scipy import stats

from lrnn_jax import figures, stability
from lrnn_jax.environments import ClosedLoop
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._controllers import double_integrator, low_rank_controller
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Axes, Figure
from lrnn_jax.learning import AbstractUpdate, Descent, Muon, learn
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.reduced import ReducedRNN, reduce
from lrnn_jax.rules import WeightPerturbation
from lrnn_jax.sweeps import in_groups
from lrnn_jax.tasks import TeacherStudent


@dataclass(frozen=True)
class ManyPairsConfig(AbstractConfig):
    """Pairs of a linear rank-1 controller and its student: initial zm by learning rate by draw.

    >>> config = experiments.ManyPairsConfig()
    >>> config.feedbacks * config.rates * config.draws
    10000
    """

    n: int = within(100, 40, 1e6)
    """N of the networks that the overlaps are of."""
    steps: int = within(50, 3, 1e5)
    """T, steps of a trial."""
    epochs: int = within(500, 10, 1e6)
    """Parameter updates; 12 times as many for weight perturbation."""
    width: float = within(0.2, 0, 0.25)
    """Initial zm lie between −width and width (the published draws have a deviation of 0.03)."""
    feedbacks: int = within(25, 3, 1e4)
    """How many zm."""
    lowest: float = within(0.005, 0, 1)
    """Smallest η, of gradients clipped to norm 1."""
    highest: float = within(0.1, 0, 1)
    """Largest η."""
    rates: int = within(20, 2, 1e4)
    """How many η, evenly in log η."""
    draws: int = within(20, 1, 1e4)
    """Networks for each zm and η, whose other overlaps differ."""
    lr: float = within(0.02, 0, 1)
    """η at which rules are compared, on the pairs of one row."""
    seed: int = 0
    """Random seed of the networks and of the perturbations."""


def _descent(config: ManyPairsConfig, lr: Any, momentum: Any, key: Any) -> AbstractUpdate:
    return Descent(lr, momentum, clip=1.0)


def _muon(config: ManyPairsConfig, lr: Any, momentum: Any, key: Any) -> AbstractUpdate:
    return Muon(lr, momentum)


def _perturbation(config: ManyPairsConfig, lr: Any, momentum: Any, key: Any) -> AbstractUpdate:
    rule = WeightPerturbation(1e-4, key=key, neurons=config.n, scale=1.0)
    return Descent(lr, clip=1.0, rule=rule)  # it takes no momentum on overlaps


SLOWER = 12
"""Times as many epochs for weight perturbation."""
RULES: dict[str, tuple[Callable[..., AbstractUpdate], float, float, int]] = {
    "descent": (_descent, 1.0, 0.0, 1),
    "momentum": (_descent, 0.1, 0.9, 1),
    "Muon": (_muon, 0.5, 0.95, 1),
    "perturbation": (_perturbation, 1.0, 0.0, SLOWER),
}
"""A method, its rate over η, its momentum, and how many times the epochs it gets. Momentum goes as
far as descent in the long run: η(1 − μ). Muon moves each of Z, V and U by η/2."""
RECORDS = 100
"""How often a pair is looked at, about: every so many epochs, an odd number, as even ones do not
see what changes sign with every step."""


class _Meter(eqx.Module):
    """Coupled matrix, and loss in the loop."""

    loop: ClosedLoop

    def __call__(self, model: AbstractRNN) -> tuple[Array, Array]:
        return stability.loop_matrix(model, self.loop), self.loop.loss(model)


def _measured(closed: Any, opened: Any, epochs: np.ndarray) -> dict[str, np.ndarray]:
    """What is told of pairs by their coupled matrices and losses over records.

    Epochs, −1 for never, of the first complex pair that leads an unstable loop, of a loop that is
    stable for good, and of the student's; the share of looks between the two at which |λ| turns
    round; the student's largest loss in the loop over its first, its last over its teacher's.
    """
    values, others = (stability.spectrum(matrix) for matrix, _ in (closed, opened))
    sizes, losses = stability.radius(values), opened[1]
    pair = (sizes > 1) & stability.leading_is_complex(values)
    begin = np.where(pair.any(-1), pair.argmax(-1), -1)
    end, follows = (_for_good(x < 1) for x in (sizes, stability.radius(others)))
    at = np.arange(len(epochs) - 2)
    inside = (at >= begin[..., None]) & (at + 2 < end[..., None]) & (begin[..., None] >= 0)
    turned = (np.diff(np.sign(np.diff(sizes)), axis=-1) != 0) & inside
    return {
        "pair": np.where(begin < 0, -1, epochs[begin]),
        "stable": np.where(end < 0, -1, epochs[end]),
        "student": np.where(follows < 0, -1, epochs[follows]),
        "turns": turned.sum(axis=-1) / np.maximum(inside.sum(axis=-1), 1),
        "peak": np.fmax.reduce(losses, axis=-1) / losses[..., 0],
        "gap": losses[..., -1] / closed[1][..., -1],
    }


def _for_good(holds: np.ndarray) -> np.ndarray:
    """The record from which something holds to the end; −1: none."""
    first = holds.shape[-1] - np.flip(~holds, -1).argmax(-1)
    return np.where(holds.all(-1), 0, np.where(holds[..., -1], first, -1))


def _three(found: dict[str, Any]) -> np.ndarray:
    """Whether controllers go through the three stages: a complex pair first, then stability."""
    return (found["pair"] >= 0) & (found["stable"] > found["pair"])


class ManyPairsResults(AbstractResults):
    """What became of each pair of the grid, and of some pairs by rule."""

    config: ManyPairsConfig
    feedback: Any = labelled("initial zm", "zm")
    rate: Any = labelled("learning rate", "lr")
    grid: dict[str, Any] = labelled("pairs by rate and zm", "lr", "zm", "draw")
    rules: dict[str, Any] = labelled("pairs by rule", "rule", "zm", "draw")

    @property
    def _length(self) -> np.ndarray:
        """η × epochs of stage 2; NaN where one of its ends is missing."""
        epochs = np.where(_three(self.grid), self.grid["stable"] - self.grid["pair"], np.nan)
        return epochs * self.rate[:, None, None]

    @claim("how often: controllers go through the three stages, share of pairs", low=0.8)
    def often(self) -> Any:
        return _three(self.grid).mean()

    @claim("no way round: of loops that become stable, share with a complex pair before", low=0.95)
    def needed(self) -> Any:
        stable = self.grid["stable"] > 0
        return (self.grid["pair"] >= 0)[stable].mean() if stable.any() else None

    @claim(
        "how long: a distance, not a number of epochs: η × epochs of stage 2, largest over "
        "smallest median by η, against half the range of η",
        high=lambda r: r.rate[-1] / r.rate[0] / 2,
    )
    def length(self) -> Any:
        medians = np.nanmedian(self._length, axis=(1, 2))
        return medians.max() / medians.min()

    @claim(
        "stage 1 is for positive zm, the longer the larger: rank correlation of zm and η × epochs "
        "until the pair",
        low=0.8,
    )
    def waits(self) -> Any:
        found = self.grid["pair"]
        zm = np.broadcast_to(self.feedback[None, :, None], found.shape)
        epochs = self.rate[:, None, None] * found
        ranks = (stats.rankdata(x[found >= 0]) for x in (zm, epochs))
        return np.corrcoef(*ranks)[0, 1]

    @claim(
        "how high: the student's loss in the loop rises above its first by half: share of pairs "
        "with zm < 0",
        low=0.7,
    )
    def high(self) -> Any:
        return self._rises(self.grid["peak"][:, self.feedback < 0])

    @claim("their median rise: orders of magnitude", low=1)
    def orders(self) -> Any:
        return np.log10(np.median(self.grid["peak"][:, self.feedback < 0]))

    @claim(
        "with zm > 0 the loop explodes before anything is learned, and gets no worse: share that "
        "rises",
        high=0.3,
    )
    def high_above(self) -> Any:
        return self._rises(self.grid["peak"][:, self.feedback > 0])

    @claim("the student becomes stable later, or not at all: share of pairs", low=0.5)
    def later(self) -> Any:
        ours, its = self.grid["stable"], self.grid["student"]
        told = ours >= 0
        return ((its < 0) | (its > ours))[told].mean() if told.any() else None

    @claim("the loop's: three stages under every rule, smallest share of pairs", low=0.7)
    def by_every_rule(self) -> Any:
        return _three(self.rules).mean(axis=(1, 2)).min()

    @claim("the loop's: students rise under every rule, smallest share with zm < 0", low=0.5)
    def rises_by_every_rule(self) -> Any:
        return min(map(self._rises, self.rules["peak"][:, self.feedback < 0]))

    @claim("the rule's: in stage 2 |λ| zigzags under descent: share of looks that turn", low=0.5)
    def zigzag(self) -> Any:
        return self._turns["descent"]

    @claim("and less under each of the others: largest share over that of descent", high=0.8)
    def less_zigzag(self) -> Any:
        first, *others = self._turns.values()
        return max(others) / first

    @property
    def _epochs(self) -> np.ndarray:
        """Median length of stage 2 by rule."""
        long = self.rules["stable"] - self.rules["pair"]
        return np.nanmedian(np.where(_three(self.rules), long, np.nan), axis=(1, 2))

    @property
    def _turns(self) -> dict[str, float]:
        turns = np.where(_three(self.rules), self.rules["turns"], np.nan)
        return dict(zip(RULES, np.nanmean(turns, axis=(1, 2))))

    def _rises(self, peak: np.ndarray) -> float:
        return float((peak > 1.5).mean())

    def table(self) -> Columns:
        three, peak = _three(self.rules), self.rules["peak"][:, self.feedback < 0]
        return {
            "rule": (list(RULES), ""),
            "three stages": (three.mean(axis=(1, 2)), ".2f"),
            "epochs of stage 2": (self._epochs, ".0f"),
            "looks that turn": (self._turns, ".2f"),
            "students that rise, zm < 0": (list(map(self._rises, peak)), ".2f"),
            "median rise": (np.median(peak, axis=(1, 2)), ".2g"),
            "student ends at": (np.median(self.rules["gap"], axis=(1, 2)), ".2g"),
        }

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.4)
        peak = np.log10(np.median(self.grid["peak"], axis=-1))
        maps = {
            "three stages, share": _three(self.grid).mean(axis=-1),
            r"$\eta$ × epochs of stage 2": _median(self._length),
            r"$\log_{10}$ student's rise": peak,
        }
        for ax, (label, values) in zip(axes[0], maps.items()):
            _map(ax, self.feedback, self.rate, values, label)
        axes[0, 0].set_ylabel(r"learning rate $\eta$")
        _bars(axes[1, 0], self._epochs, "epochs of stage 2")
        _bars(axes[1, 1], self._turns.values(), r"looks at which $|\lambda|$ turns, share")
        rise = np.log10(self.rules["peak"][:, self.feedback < 0]).reshape(len(RULES), -1)
        _spreads(axes[1, 2], rise, r"$\log_{10}$ student's rise, $\sigma_{zm} < 0$")
        return figure


def _median(values: np.ndarray) -> np.ndarray:
    """Over draws, NaN where there is none."""
    none = np.isnan(values).all(axis=-1, keepdims=True)
    middle = np.nanmedian(np.where(none, 0.0, values), axis=-1, keepdims=True)
    return np.where(none, np.nan, middle)[..., 0]


def _map(ax: Axes, zm: np.ndarray, lr: np.ndarray, values: np.ndarray, label: str) -> None:
    image = figures.plot_heatmap(ax, zm, lr, values)
    ax.axvline(0, color="w", linewidth=0.8, linestyle=(0, (4, 2)))
    ax.set_xlabel(r"initial $\sigma_{zm}$")
    place = ax.inset_axes((0.0, 1.06, 1.0, 0.06))
    ax.figure.colorbar(image, cax=place, location="top", label=label)


def _bars(ax: Axes, values: Iterable[float], label: str) -> None:
    ax.barh(range(len(RULES)), list(values), color=figures.VISIBLE[2], height=0.6)
    ax.set_yticks(range(len(RULES)), list(RULES))
    ax.set(xlabel=label, ylim=(len(RULES) - 0.4, -0.6))


def _spreads(ax: Axes, values: np.ndarray, label: str) -> None:
    """Medians, quartiles and 5 to 95 % by rule."""
    for at, row in enumerate(values):
        low, first, middle, third, high = np.nanquantile(row, [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.plot([low, high], [at, at], color="0.6", linewidth=1.0)
        ax.plot([first, third], [at, at], color=figures.VISIBLE[2], linewidth=5)
        ax.plot(middle, at, "o", color=figures.VISIBLE[0], markersize=4)
    ax.axvline(0, color="0.8", linewidth=0.7, zorder=0)
    ax.set_yticks(range(len(RULES)), list(RULES))
    ax.set(xlabel=label, ylim=(len(RULES) - 0.4, -0.6))


@functools.cache
def _program(config: ManyPairsConfig, make: Callable[..., AbstractUpdate], times: int) -> Any:
    """From starts, a rate, a momentum and keys to matrices and losses of pairs; the epochs."""
    loop, epochs = double_integrator(config.steps, 2.0), times * config.epochs
    record = max(1, epochs // RECORDS) | 1
    options: dict[str, Any] = {"epochs": epochs, "record": record, "throw": False}
    options["watch"] = _Meter(loop)

    def one(start: ReducedRNN, lr: Any, momentum: Any, key: Any) -> Any:
        first, second = (make(config, lr, momentum, k) for k in jr.split(key))
        closed = learn(start, loop, first, **options)
        imitation = TeacherStudent(closed.model, config.steps)
        opened = learn(start, imitation, second, **options)
        return closed.epochs, closed.watched, opened.watched

    def some(starts: ReducedRNN, lr: Any, momentum: Any, keys: Array) -> Any:
        return in_groups(lambda start, key: one(start, lr, momentum, key), starts, keys)

    return jax.jit(some)


def _found(config: ManyPairsConfig, rule: str, starts: ReducedRNN, lr: Any, key: Any) -> Any:
    """What is told of pairs, by zm and draw."""
    make, factor, momentum, times = RULES[rule]
    keys = jr.split(key, config.feedbacks * config.draws)
    run = _program(config, make, times)
    told = run(starts, jnp.array(factor * lr), jnp.array(momentum), keys)
    epochs, closed, opened = jax.tree.map(np.asarray, told)
    found = _measured(closed, opened, epochs[0])
    return {name: x.reshape(config.feedbacks, config.draws) for name, x in found.items()}


def _starts(config: ManyPairsConfig, zm: np.ndarray, key: Any) -> ReducedRNN:
    """Reductions of some networks with each zm in the place of their own."""
    keys = jr.split(key, config.draws)
    drawn = jax.vmap(lambda k: reduce(low_rank_controller(config.n, key=k)))(keys)

    def one(z: Any, start: ReducedRNN) -> ReducedRNN:
        return start.with_gram(start.overlaps.with_entries(zm=z))

    grid = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(jnp.asarray(zm, drawn.dtype), drawn)
    starts = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), grid)
    if np.linalg.eigvalsh(starts.overlaps.gram).min() < 0:
        raise ValueError("No network has some of these overlaps: take a smaller `width`.")
    return starts


@experiment(
    source="ours, on [CL] fig. 3-5",
    quick=ManyPairsConfig(feedbacks=5, rates=4, draws=4),
    seconds=(180, 50),
)
def many_pairs(config: ManyPairsConfig, recorder: Recorder) -> ManyPairsResults:
    """Ten thousand controllers and their students, exactly: how often, how long, how high.

    Each pair learns on its 4×4 Gram matrix, from expected losses: no network, no trials, no noise.
    The student imitates its trained teacher on white noise; both learn by the same method.
    """
    (first, second), report = jr.split(jr.key(config.seed)), recorder.reporter("pairs")
    zm = np.linspace(-config.width, config.width, config.feedbacks)
    rates = np.geomspace(config.lowest, config.highest, config.rates)
    starts = _starts(config, zm, first)

    def all_rates() -> list[dict[str, np.ndarray]]:
        rows = []
        for i, lr in enumerate(rates):
            rows.append(_found(config, "descent", starts, float(lr), second))
            if report is not None:
                report(i + 1, len(rates), float(np.median(rows[-1]["gap"])))
        return rows

    rows = recorder.timed("pairs", all_rates)
    by_rule = [
        recorder.timed(rule, lambda r=rule: _found(config, r, starts, config.lr, second))
        for rule in RULES
    ]
    return ManyPairsResults(
        config=config,
        feedback=zm,
        rate=rates,
        grid={name: np.stack([row[name] for row in rows]) for name in rows[0]},
        rules={name: np.stack([row[name] for row in by_rule]) for name in rows[0]},
    )
