"""`memory_twins`: what two networks learned first is written in what no loss can see."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax import figures
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import FIRST, INVISIBLE, SECOND, VISIBLE, Axes, Figure
from lrnn_jax.learning import Descent, LearningCurve, Slowed, decoding_accuracy, learn
from lrnn_jax.networks import Erf
from lrnn_jax.overlaps import Overlaps, Roles, random_overlaps
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks import AbstractObjective, DecisionMaking, FlipFlop, TeacherStudent

STAGES = ("before learning", "after A or B", "after C")
DECODED = ("visible", VISIBLE[1], "o-"), ("invisible", INVISIBLE[1], "s--")
LOOKS = ("A, then C", FIRST["color"]), ("B, then C", SECOND["color"])


@dataclass(frozen=True)
class MemoryTwinsConfig(AbstractConfig):
    """Twins learn A or B, then the same C: can it be told which? [LR] fig. 4, 9, 10.

    >>> experiments.MemoryTwinsConfig(pairs=4).precision
    'float32'
    """

    pairs: int = within(10, 3, 1e4)
    """Pairs of twins, each with random overlaps of its own."""
    dt: float = within(0.05, 1e-3, 0.5)
    """Euler step [membrane time constants]."""
    steps: int = within(400, 80, 1e6)
    """T, steps of a trial of A and C (B: 20 membrane time constants)."""
    batch: int = within(128, 1, 1e6)
    """Trials per epoch."""
    lr: float = within(0.01, 0, 1e3)
    """η of A and B."""
    below: float = 0.015
    """Loss from which on η is divided by 5."""
    lr_c: float = within(1e-3, 0, 1e3)
    """η of C."""
    epochs: int = within(30_000, 2, 1e8)
    """Epochs of A, of B and of C."""
    held_out: int = within(2, 1, lambda config: config.pairs - 1)
    """Pairs that the decoder is tested on."""
    splits: int = within(50, 1, 1e6)
    """Random splits into training and test pairs."""
    noise: float = within(0.3, 0, 1e3)
    """σ of the decoder's read-out noise, in units of overlaps."""
    record: int = within(300, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating precision of learning. float32 is twice as fast; after 30 000 epochs on the same
    trials its overlaps, of order 1, differ from those of float64 by 1e-4."""
    seed: int = 0
    """Random seed of overlaps, trials and splits."""


class MemoryTwinsResults(AbstractResults):
    """Overlaps and losses of all networks, and what decoders read from the overlaps.

    Axes: task, A or B and then C; pair; twin, the first of which learns A, the second B; epoch.
    """

    config: MemoryTwinsConfig
    final_losses: dict[str, list[float]]
    accuracy: dict[str, list[float]]
    twin_gap: dict[str, list[float]]
    visible: tuple[str, ...]
    latex: dict[str, str]
    stages: tuple[str, ...]
    epoch: Any = labelled("epoch of each task", "epoch", units="updates")
    overlaps: dict[str, Any] = labelled("overlap", "task", "pair", "twin", "epoch")
    loss: Any = labelled("loss", "task", "pair", "twin", "epoch")
    accuracies: dict[str, Any] = labelled("test accuracy from overlaps", "stage", "split")

    @claim("A, B and C are learned: largest median of final losses", high=0.05)
    def median_loss(self) -> Any:
        return max(np.median(losses) for losses in self.final_losses.values())

    @claim(
        "after C the visible overlaps of twins coincide: difference over that after A or B",
        high=0.2,
    )
    def visible_gap(self) -> Any:
        return self._gap(visible=True, stage=2) / self._gap(visible=True, stage=1)

    @claim("the invisible ones less: their difference over that of the visible ones", low=3)
    def invisible_gap(self) -> Any:
        return self._gap(visible=False, stage=2) / self._gap(visible=True, stage=2)

    @claim("before learning decoders are at chance: largest distance from 0.5", high=0.1)
    def chance(self) -> float:
        return max(abs(x[0] - 0.5) for x in self.accuracy.values())

    @claim("after A or B they are perfect without read-out noise: lowest accuracy", low=0.98)
    def perfect(self) -> float:
        return min(x[1] for name, x in self.accuracy.items() if "quiet" in name)

    @claim(
        "after C they are near chance on the visible overlaps with read-out noise",
        high=0.65,
        shown=lambda r: (
            f"{r.accuracy['visible_noisy'][2]:.2f}; without {r.accuracy['visible_quiet'][2]:.2f}"
        ),
    )
    def after_c_visible(self) -> float:
        return self.accuracy["visible_noisy"][2]

    @claim("from which they can be read without it", low=0.65)
    def after_c_visible_quiet(self) -> float:
        return self.accuracy["visible_quiet"][2]

    @claim("but well above on the invisible ones with noise", low=0.65)
    def after_c_invisible(self) -> float:
        return self.accuracy["invisible_noisy"][2]

    @claim("and on the invisible ones without", low=0.8)
    def after_c_invisible_quiet(self) -> float:
        return self.accuracy["invisible_quiet"][2]

    def _gap(self, *, visible: bool, stage: int) -> Any:
        gaps = [x[stage] for name, x in self.twin_gap.items() if (name in self.visible) == visible]
        return np.mean(gaps)

    def table(self) -> Columns:
        by_stage = zip(self.stages, np.array(list(self.accuracy.values())).T)
        given = {"decoded from": (list(self.accuracy), "")}
        return given | {stage: (x, ".2f") for stage, x in by_stage}

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.4)
        bounds = (0, self.epoch[-1], 2 * self.epoch[-1])
        epochs = np.append(self.epoch, self.epoch + bounds[1])
        for twin, (label, colour) in enumerate(LOOKS):
            look: dict[str, Any] = {"color": colour, "linewidth": 0.7, "alpha": 0.6}
            lines = [self.loss[:, pair, twin].ravel() for pair in range(self.config.pairs)]
            shown = [(None if i else label, line, look) for i, line in enumerate(lines)]
            figures.plot_lines(axes[0, 0], epochs, shown, above=1e-6)
        axes[0, 0].set(xlabel="epoch", ylabel=r"loss $L$")
        figures.shade_phases(axes[0, 0], bounds, ("A or B", "C"))
        _plane(axes[0, 1], self, "zm", "vu")
        _plane(axes[0, 2], self, "zv", "zz")
        _gaps(axes[1, 0], self)
        for ax, kind, noise in ((axes[1, 1], "quiet", 0), (axes[1, 2], "noisy", self.config.noise)):
            for i, (seen, colour, line) in enumerate(DECODED):
                values, places = self.accuracies[f"{seen}_{kind}"], np.arange(3) + 0.12 * (i - 0.5)
                look = {"color": colour, "fmt": line, "capsize": 2, "label": seen}
                ax.errorbar(places, values.mean(axis=1), values.std(axis=1), **look)
            ax.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
            ax.set_xticks(range(3), [stage.replace(" ", "\n", 1) for stage in self.stages])
            ax.set(xlabel=f"read-out noise {noise:g}", ylabel="test accuracy", ylim=(0, 1.08))
            ax.legend(loc="lower right")
        return figure


@experiment(
    source="[LR] fig. 4d-f, 9, 10",
    quick=MemoryTwinsConfig(
        pairs=6, dt=0.2, steps=80, batch=12, epochs=2500, lr=0.1, lr_c=0.02, record=100
    ),
    seconds=(601, 26),
)
def memory_twins(config: MemoryTwinsConfig, recorder: Recorder) -> MemoryTwinsResults:
    """What twins learned first is written in overlaps that no loss can see.

    Both twins of a pair see the same trials of C; A and B have trials of their own.
    """
    keys = jr.split(jr.key(config.seed), config.pairs)
    start = jax.vmap(lambda k: random_overlaps(key=k).gram)(keys)[:, None]
    fast = Slowed(Descent(config.lr), below=config.below, factor=5.0)
    first = [_learn_all(config, name, fast, start, keys, recorder) for name in "AB"]
    both = jnp.concatenate([curve.gram[:, :, -1] for curve in first], axis=1)
    last = _learn_all(config, "C", Descent(config.lr_c), both, keys, recorder)
    runs = [jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *first), last]
    loss = jnp.stack([run.loss for run in runs])
    history = jnp.stack([run.overlaps.vector() for run in runs])
    # learning goes on in float32 here and there, decoding in the session's precision
    stages = jnp.stack([history[0, :, :, 0], *history[..., -1, :]]).astype(float)
    names = last.overlaps.names
    seen = last.visibility.visible
    shown, accuracies = np.isin(names, seen), {}
    for kind, mask in (("visible", shown), ("invisible", ~shown)):
        for noisy, noise in (("quiet", 0.0), ("noisy", config.noise)):
            options = {"held_out": config.held_out, "splits": config.splits, "noise": noise}
            found = decoding_accuracy(stages[..., mask], key=jr.key(config.seed + 1), **options)
            accuracies[f"{kind}_{noisy}"] = found.test
    final = {"A": loss[0, :, 0, -1], "B": loss[0, :, 1, -1], "C": loss[1, :, :, -1].ravel()}
    gap = jnp.abs(stages[:, :, 0] - stages[:, :, 1]).mean(axis=1).T
    return MemoryTwinsResults(
        config=config,
        final_losses={name: x.tolist() for name, x in final.items()},
        accuracy={name: x.mean(axis=-1).tolist() for name, x in accuracies.items()},
        twin_gap=dict(zip(names, gap.tolist())),
        visible=seen,
        latex=dict(zip(names, last.overlaps.roles.latex)),
        stages=STAGES,
        epoch=np.asarray(last.epochs[0, 0]),
        overlaps={name: np.asarray(history[..., i]) for i, name in enumerate(names)},
        loss=np.asarray(loss),
        accuracies={name: np.asarray(x) for name, x in accuracies.items()},
    )


def twin_tasks(config: MemoryTwinsConfig) -> dict[str, AbstractObjective]:
    """The tasks "A", "B" and "C".

    >>> sorted(experiments.twin_tasks(experiments.MemoryTwinsConfig()))
    ['A', 'B', 'C']
    """
    dt, steps, batch = config.dt, config.steps, config.batch
    flips = {"dt": dt, "steps": steps, "batch": batch, "wait": (1.0, 2.0), "input_amp": 2.0}
    teacher = Overlaps.from_visible(zm=0.5, zu=2.3, vm=2.0, vu=1.5, mu=1.6, mm=1.8, uu=2.2)
    signal = FlipFlop(**flips)
    taught = ReducedRNN(teacher, dt=dt, activation=Erf())
    return {
        "A": FlipFlop(**flips, target_amp=1.0),
        "B": DecisionMaking(dt, batch, np.array([2.0, 8.0, 16.0]), noise=0.05),
        "C": TeacherStudent(taught, steps, std=1.5, signal=signal, batch=batch),
    }


def _learn_all(
    config: MemoryTwinsConfig, name: str, method: Any, start: Any, keys: Any, recorder: Recorder
) -> LearningCurve:
    """Curves of all pairs, as many at once as there are processors; leading axes: pair, twin."""

    def cast(tree: Any) -> Any:
        return jax.tree.map(lambda a: jnp.asarray(a, config.precision), tree)

    def one(gram: Any, task: Any, method: Any, key: Any) -> LearningCurve:
        model = ReducedRNN(Overlaps(gram, Roles()), dt=task.dt, activation=Erf())
        curve = learn(model, task, method, key=key, throw=False, **config.pace)
        return dataclasses.replace(curve, state=None)  # those of A and of B stand side by side

    compiled = jax.jit(jax.vmap(one, in_axes=(0, None, None, None)))
    task, method = cast(twin_tasks(config)[name]), cast(method)
    report = recorder.reporter(f"task {name}")

    def work(gram: Any, key: Any) -> LearningCurve:
        trials = jr.fold_in(key, ord(name))
        return jax.block_until_ready(compiled(cast(gram), task, method, trials))

    def all_pairs() -> list[LearningCurve]:
        runs, pool = [], ThreadPoolExecutor(os.cpu_count() or 1)
        try:
            for run in pool.map(work, start, keys):
                runs.append(run)
                recorder.curves[f"task {name}_{len(runs) - 1}"] = run
                if report is not None:
                    report(len(runs), len(keys), float(jnp.max(run.loss[:, -1])))
        finally:  # where something goes wrong, what has not begun does not begin
            pool.shutdown(cancel_futures=True)
        return runs

    runs = recorder.timed(f"task {name}", all_pairs)
    return jax.tree.map(lambda *a: jnp.stack(a), *runs)


def _plane(ax: Axes, r: MemoryTwinsResults, *pair: str) -> None:
    """Paths of all networks in the plane of two overlaps, through both tasks."""
    x, y = (r.overlaps[name] for name in pair)
    for twin, (_, colour) in enumerate(LOOKS):
        for i in range(r.config.pairs):
            path = x[:, i, twin].ravel(), y[:, i, twin].ravel()
            ax.plot(*path, color=colour, linewidth=0.7, alpha=0.6)
        middle, end = ((x[task, :, twin, -1], y[task, :, twin, -1]) for task in (0, 1))
        ax.plot(*middle, "o", color=colour, markersize=2.5)
        ax.plot(*end, "s", color="#1a1a1a", markersize=3, zorder=3)
    ax.set(xlabel=r.latex[pair[0]], ylabel=r.latex[pair[1]])


def _gaps(ax: Axes, r: MemoryTwinsResults) -> None:
    """How far apart twins are in each overlap, after A or B and after C."""
    order = sorted(r.latex, key=lambda name: name not in r.visible)
    for stage, colour in ((1, "0.75"), (2, "#1a1a1a")):
        places, gaps = np.arange(len(order)) + 0.4 * (stage - 1.5), [r.twin_gap[n] for n in order]
        ax.bar(places, [x[stage] for x in gaps], width=0.38, color=colour, label=r.stages[stage])
    ax.axvline(len(r.visible) - 0.5, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(order)), [r.latex[name] for name in order], rotation=90)
    ax.set_ylabel("mean |difference| of twins")
    ax.legend(title="visible | invisible")
