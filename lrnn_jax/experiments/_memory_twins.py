"""`memory_twins`: what two networks learned first is written in what no loss can see."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, keep, timed
from lrnn_jax.learning import Decoding, Descent, LearningCurve, Slowed, decode, learn
from lrnn_jax.networks import Erf
from lrnn_jax.overlaps import Overlaps, random_overlaps, visible
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks import AbstractObjective, DecisionMaking, FlipFlop, TeacherStudent

STAGES = ("before learning", "after A or B", "after C")


@dataclass(frozen=True)
class MemoryTwinsConfig:
    """Twins learn A or B, then the same C: can it be told which? [LR] fig. 4, 9, 10."""

    pairs: int = 10
    """Pairs of twins, each with random overlaps of its own."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """T, steps of a trial of A and C (B: 20 membrane time constants)."""
    batch: int = 128
    """Trials per epoch."""
    lr: float = 0.01
    """η of A and B."""
    below: float = 0.015
    """Loss from which on η is divided by 5."""
    lr_c: float = 1e-3
    """η of C."""
    epochs: int = 30_000
    """Epochs of A, of B and of C."""
    held_out: int = 2
    """Pairs that the decoder is tested on."""
    splits: int = 50
    """Random splits into training and test pairs."""
    noise: float = 0.3
    """σ of the decoder's read-out noise, in units of overlaps."""
    record: int = 300
    """Keep every n-th epoch."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating precision of learning. float32 is twice as fast; after 30 000 epochs on the same
    trials its overlaps, of order 1, differ from those of float64 by 1e-4."""
    seed: int = 0
    """Random seed of overlaps, trials and splits."""

    def __post_init__(self) -> None:
        check_config(self, pairs=(3, 1e4), steps=(80, 1e6), batch=(1, 1e6), lr=(0, 1e3))
        check_config(self, epochs=(2, 1e8), dt=(1e-3, 0.5), lr_c=(0, 1e3), splits=(1, 1e6))
        check_config(self, record=(1, self.epochs), held_out=(1, self.pairs - 1), noise=(0, 1e3))


QUICK = MemoryTwinsConfig(
    pairs=6, dt=0.2, steps=80, batch=12, epochs=2500, lr=0.1, lr_c=0.02, record=100
)


def memory_twins(
    config: MemoryTwinsConfig = MemoryTwinsConfig(), progress: Progress | None = None
) -> Report:
    """Train twins on two tasks, then on a common third, and decode the first from the overlaps.

    Both twins of a pair see the same trials of C; A and B have trials of their own.

    Arguments:
        config: pairs, tasks, learning rates, decoder.
        progress: called as progress(what, pairs done, pairs, loss).

    Returns: a `Report` with the overlaps of all networks over epochs.

    Source: [LR] fig. 4d-f, 9, 10.
    """
    tasks = _tasks(config)
    keys = jr.split(jr.key(config.seed), config.pairs)
    start = jax.vmap(lambda k: random_overlaps(key=k).gram)(keys)
    first = Slowed(Descent(config.lr), below=config.below, factor=5.0)
    seconds: dict[str, Any] = {}
    after: list[list[Any]] = []
    curves = []
    for name in "AB":
        members = [(gram[None], jr.fold_in(key, ord(name))) for gram, key in zip(start, keys)]
        (runs, seconds[f"task {name}"]) = timed(
            lambda n=name, m=members: _learn_all(config, tasks[n], first, m, progress, n)
        )
        curves.append(runs)
        after.append([run.gram[0, -1] for run in runs])
    both = [jnp.stack([a, b]) for a, b in zip(*after)]
    members = [(grams, jr.fold_in(key, ord("C"))) for grams, key in zip(both, keys)]
    last, seconds["task C"] = timed(
        lambda: _learn_all(config, tasks["C"], Descent(config.lr_c), members, progress, "C")
    )
    report = _report(config, start, curves, last)
    report.seconds = seconds
    return report


def _tasks(config: MemoryTwinsConfig) -> dict[str, AbstractObjective]:
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
    config: MemoryTwinsConfig,
    task: AbstractObjective,
    method: Any,
    members: list[tuple[Any, Any]],
    progress: Progress | None,
    name: str,
) -> list[LearningCurve]:
    """Curves of all pairs, as many at once as there are processors; leading axis: twin."""

    def cast(tree: Any) -> Any:
        return jax.tree.map(lambda a: jnp.asarray(a, config.precision), tree)

    def one(gram: Any, task: Any, method: Any, key: Any) -> LearningCurve:
        like = random_overlaps(key=jr.key(0))
        model = ReducedRNN(Overlaps(gram, like.roles), dt=task.dt, activation=Erf())
        options: dict[str, Any] = {"epochs": config.epochs, "record": config.record}
        return learn(model, task, method, key=key, throw=False, **options)

    compiled = jax.jit(jax.vmap(one, in_axes=(0, None, None, None)))
    task, method = cast(task), cast(method)

    def work(member: tuple[Any, Any]) -> LearningCurve:
        gram, key = member
        return jax.block_until_ready(compiled(cast(gram), task, method, key))

    runs = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, _cancelled_at_exit(pool):
        for i, run in enumerate(pool.map(work, members)):
            runs.append(run)
            keep(run)
            if progress is not None:
                progress(f"task {name}", i + 1, len(members), float(jnp.max(run.loss[:, -1])))
    return runs


@contextlib.contextmanager
def _cancelled_at_exit(pool: ThreadPoolExecutor) -> Iterator[None]:
    """Where something goes wrong, what has not begun does not begin."""
    try:
        yield
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _report(
    config: MemoryTwinsConfig, start: Any, first: list[list[Any]], last: list[Any]
) -> Report:
    model = last[0].model
    one = jax.tree.map(lambda a: a[0], model)
    names, roles, seen = one.overlaps.names, one.roles, visible(one).visible
    before = Overlaps(start, roles).vector()
    a_b = [jnp.stack([r.overlaps.vector()[0] for r in runs]) for runs in first]  # pair, epoch
    history = jnp.stack(a_b, axis=1)
    common = jnp.stack([run.overlaps.vector() for run in last])  # pair, twin, epoch, overlap
    # learning goes on in float32 here and there, decoding in the session's precision
    stages = jnp.stack(
        [
            jnp.stack([before, before], axis=1).astype(float),
            common[:, :, 0].astype(float),
            common[:, :, -1].astype(float),
        ]
    )
    shown = np.array([n in seen for n in names])
    decodings = {
        (kind, noise): _decode(config, stages[..., mask], noise)
        for kind, mask in (("visible", shown), ("invisible", ~shown))
        for noise in (0.0, config.noise)
    }
    losses = {
        "A": [float(r.loss[0, -1]) for r in first[0]],
        "B": [float(r.loss[0, -1]) for r in first[1]],
        "C": [float(x) for r in last for x in r.loss[:, -1]],
    }
    gap = np.abs(np.asarray(stages[:, :, 0] - stages[:, :, 1]))
    report = Report(
        name="memory_twins",
        config=config,
        claims=_claims(config, decodings, gap, shown, losses),
        values={
            "final_losses": losses,
            "accuracy": {
                f"{kind}, noise {noise:g}": np.asarray(d.test.mean(-1)).tolist()
                for (kind, noise), d in decodings.items()
            },
            "twin_gap": {n: gap[:, :, i].mean(1).tolist() for i, n in enumerate(names)},
            "visible": list(seen),
            "latex": list(roles.latex),
            "stages": list(STAGES),
        },
        table=_table(decodings),
        seconds={},
    )
    report.arrays = _arrays(names, history, common, decodings, first, last)
    return report


def _decode(config: MemoryTwinsConfig, stages: Any, noise: float) -> Decoding:
    options: dict[str, Any] = {"held_out": config.held_out, "splits": config.splits}
    return decode(stages, noise=noise, key=jr.key(config.seed + 1), **options)


def _claims(
    config: MemoryTwinsConfig,
    decodings: dict[tuple[str, float], Decoding],
    gap: np.ndarray,
    shown: np.ndarray,
    losses: dict[str, list[float]],
) -> list[Claim]:
    test = {key: np.asarray(d.test.mean(-1)) for key, d in decodings.items()}
    quiet, loud = 0.0, config.noise
    seen = gap[..., shown].mean(axis=(1, 2))
    hidden = gap[..., ~shown].mean(axis=(1, 2))
    start = [test[key][0] for key in test]
    trained = [test[kind, quiet][1] for kind in ("visible", "invisible")]
    after = {key: test[key][2] for key in test}
    return [
        Claim(
            "A, B and C are learned (median final losses below 0.05)",
            ", ".join(f"{n} {np.median(x):.2g} (worst {max(x):.2g})" for n, x in losses.items()),
            all(np.median(x) < 0.05 for x in losses.values()),
        ),
        Claim(
            "after C the visible overlaps of twins coincide (mean difference a fifth of that after "
            "A or B, or less), the invisible ones less (over three times as far apart)",
            f"visible {seen[1]:.3f} → {seen[2]:.3f}, invisible {hidden[1]:.3f} → {hidden[2]:.3f}",
            bool(seen[2] < 0.2 * seen[1] and hidden[2] > 3 * seen[2]),
        ),
        Claim(
            "before learning the decoder is at chance (0.4 … 0.6)",
            ", ".join(f"{x:.2f}" for x in start),
            all(0.4 <= x <= 0.6 for x in start),
        ),
        Claim(
            "after A or B it is perfect (≥ 0.98) on visible and on invisible overlaps",
            f"{trained[0]:.2f}, {trained[1]:.2f}",
            min(trained) >= 0.98,
        ),
        Claim(
            f"after C it is near chance on the visible overlaps with read-out noise {loud:g} "
            "(≤ 0.65; without noise it may read them)",
            f"{after['visible', loud]:.2f} with, {after['visible', quiet]:.2f} without",
            after["visible", loud] <= 0.65,
        ),
        Claim(
            "but well above on the invisible ones, with noise (≥ 0.65) and without (≥ 0.8)",
            f"{after['invisible', loud]:.2f} with, {after['invisible', quiet]:.2f} without",
            after["invisible", loud] >= 0.65 and after["invisible", quiet] >= 0.8,
        ),
    ]


def _table(decodings: dict[tuple[str, float], Decoding]) -> tuple[list[str], list[list[str]]]:
    header = ["decoded from", "read-out noise", *STAGES]
    rows = [
        [f"{kind} overlaps", f"{noise:g}", *(f"{x:.2f}" for x in d.test.mean(-1))]
        for (kind, noise), d in decodings.items()
    ]
    return header, rows


def _arrays(
    names: tuple[str, ...],
    history: Any,
    common: Any,
    decodings: dict[tuple[str, float], Decoding],
    first: list[list[Any]],
    last: list[Any],
) -> dict[str, Any]:
    dims, unit = ("pair", "twin", "epoch", "overlap"), {"units": "1"}
    epochs = np.asarray(last[0].epochs[0])
    arrays: dict[str, Any] = {
        "epoch": ("epoch", epochs, {"long_name": "epoch of each task", "units": "updates"}),
        "overlap": ("overlap", np.array(names, dtype=str), {"long_name": "overlap"}),
        "overlaps_first": (dims, np.asarray(history), {"long_name": "overlaps, A or B", **unit}),
        "overlaps_last": (dims, np.asarray(common), {"long_name": "overlaps, C", **unit}),
    }
    loss = np.stack([np.stack([r.loss[0] for r in runs]) for runs in first], axis=1)
    arrays["loss_first"] = (dims[:3], loss, {"long_name": "loss, A or B", **unit})
    loss = np.stack([np.asarray(r.loss) for r in last])
    arrays["loss_last"] = (dims[:3], loss, {"long_name": "loss, C", **unit})
    for (kind, noise), decoding in decodings.items():
        label = f"accuracy_{kind}_{'noisy' if noise else 'quiet'}"
        attributes = {"long_name": f"test accuracy from {kind} overlaps, noise {noise:g}", **unit}
        arrays[label] = (("stage", "split"), np.asarray(decoding.test), attributes)
    return arrays
