"""`tracking`: a controller learns to follow a reference, one frequency after another."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

from lrnn_jax.environments import ClosedLoop, TrackingPlant
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import LearningCurve, Training, learn
from lrnn_jax.networks import AbstractRNN, DenseRNN
from lrnn_jax.tasks import TeacherStudent


@dataclass(frozen=True)
class TrackingConfig:
    """Following a sum of sinusoids in the plane, in closed and in open loop. [CL] fig. 6."""

    n: int = 100
    """N, neurons."""
    gain: float = 0.2
    """g: recurrent weights ~ N(0, g²/N)."""
    steps: int = 300
    """T, steps of a trial of 0.1 time constants."""
    batch: int = 100
    """Trials per epoch."""
    lr: float = 1e-3
    """Adam's learning rate."""
    epochs: int = 10_000
    """Parameter updates."""
    record: int = 20
    """Keep every n-th epoch."""
    student: bool = True
    """Train an open-loop student of the trained controller as well (on white noise, expected)."""
    wanted: int = 4
    """How many of the four frequencies should be acquired in these epochs."""
    seed: int = 0
    """Random seed of the initial network and of the trials."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e5), steps=(120, 1e5), batch=(1, 1e6), epochs=(2, 1e7))
        check_config(self, lr=(0, 1e3), record=(1, self.epochs), wanted=(1, 4), gain=(0, 10))


QUICK = TrackingConfig(n=20, batch=10, epochs=600, lr=4e-3, student=False, wanted=1)

SETTLED = 100
"""Steps after which errors are taken apart by frequency: from then on whole periods of all."""


class _Meter(eqx.Module):
    """Test loss, its parts by frequency (slowest first), and W."""

    loop: ClosedLoop
    phases: Float[Array, "trial start"]

    def __call__(self, model: AbstractRNN) -> tuple[Array, Array, Array]:
        assert isinstance(model, DenseRNN)
        plant = self.loop.plant
        assert isinstance(plant, TrackingPlant)
        run = self.loop.simulate(model, self.phases)
        error = run.states[1:, :, : plant.axes] - run.signals
        parts = jnp.mean(plant.amplitudes(jnp.moveaxis(error, 0, 1), SETTLED), axis=0)
        order = jnp.argsort(plant.frequencies.ravel())
        return self.loop.loss_of(run), parts.ravel()[order], model.w


def tracking(config: TrackingConfig = TrackingConfig(), progress: Progress | None = None) -> Report:
    """Train a dense linear controller to track, and a student of it on white noise.

    The loss is the squared distance to the reference, averaged over time and trials. [CL] reports
    it times dt.

    Arguments:
        config: sizes and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "closed" and "open", losses by frequency and eigenvalues of W.

    Source: [CL] fig. 6.
    """
    plant = TrackingPlant(dt=0.1)
    loop = ClosedLoop(plant, config.steps, config.batch)
    keys, bound = jr.split(jr.key(config.seed), 5), 1 / np.sqrt(config.n)
    net = DenseRNN(
        config.gain * bound * jr.normal(keys[0], (config.n, config.n)),
        jr.uniform(keys[1], (config.n, plant.observations), minval=-bound, maxval=bound),
        jr.uniform(keys[2], (plant.controls, config.n), minval=-bound, maxval=bound),
        dt=plant.dt,
        frozen=("w_in",),
    )
    meter = _Meter(loop, plant.sample(keys[3], config.batch))
    options: dict[str, Any] = {"epochs": config.epochs, "record": config.record, "watch": meter}
    method = Training(optax.adam(config.lr))
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}

    def run(name: str, objective: Any, key: Any) -> None:
        shown = reporter(progress, f"{name} loop")
        curves[name], seconds[name] = timed(
            lambda: learn(net, objective, method, key=key, progress=shown, **options)
        )

    run("closed", loop, keys[4])
    if config.student:
        run(
            "open",
            TeacherStudent(curves["closed"].model, config.steps),
            None,
        )
    report = _report(config, plant, curves)
    report.seconds = seconds
    return report


def _report(
    config: TrackingConfig, plant: TrackingPlant, curves: dict[str, LearningCurve]
) -> Report:
    frequencies = np.sort(np.asarray(plant.frequencies).ravel())
    closed = curves["closed"]
    epochs = np.asarray(closed.epochs)
    losses, parts, _ = (np.asarray(x) for x in closed.watched)
    first = [_first_below(parts[:, i], epochs) for i in range(len(frequencies))]
    learned = [e for e in first if e >= 0]
    ends = np.linalg.eigvals(np.asarray(closed.model.w))  # pyright: ignore
    near = [float(np.abs(ends.imag - 2 * np.pi * f).min()) for f in frequencies]
    start = np.linalg.eigvals(np.asarray(closed.watched[2][0]))
    before = [float(np.abs(start.imag - 2 * np.pi * f).min()) for f in frequencies]
    wanted = config.wanted
    found = ", ".join(f"{f:g}: {e}" for f, e in zip(frequencies, first))
    claims = [
        Claim(
            f"the {wanted} slowest frequencies are acquired one after another, slowest first "
            f"(loss of a frequency first below 1)",
            f"epochs {found}",
            learned == sorted(learned) and len(learned) >= wanted and min(first[:wanted]) >= 0,
        ),
        Claim(
            "the test loss falls, most of it with the frequencies",
            f"{losses[0]:.3g} at the start, {losses[-1]:.3g} at the end "
            f"(times dt: {0.1 * losses[0]:.3g}, {0.1 * losses[-1]:.3g})",
            bool(losses[-1] < losses[0] / 2),
        ),
    ]
    if wanted == len(frequencies):
        half = np.pi * np.diff(frequencies).min()
        claims.append(
            Claim(
                "every frequency has eigenvalues of W of its own near ±iω (|Im λ − ω| below half "
                f"of the distance between frequencies, {half:.2g}, and less than before learning)",
                ", ".join(
                    f"{2 * np.pi * f:.2f}: {b:.2g} → {d:.2g}"
                    for f, b, d in zip(frequencies, before, near)
                ),
                all(d < min(b, half) for b, d in zip(before, near)),
            )
        )
    rows = [
        [f"{f:g}", str(e), *(f"{x:.3g}" for x in (parts[0, i], parts[-1, i], before[i], near[i]))]
        for i, (f, e) in enumerate(zip(frequencies, first))
    ]
    header = ["frequency", "below 1 at epoch", "loss before", "after", "|Im λ − ω| before", "after"]
    stride = max(len(epochs) // 10, 1)
    values = {
        "first_below_1": first,
        "loss": {str(int(e)): float(x) for e, x in zip(epochs[::stride], losses[::stride])},
        "final_parts": parts[-1].tolist(),
        "eigenvalue_distance": near,
    }
    report = Report("tracking", config, claims, values, (header, rows), {}, dict(curves))
    report.arrays = _arrays(frequencies, curves, ends)
    return report


def _arrays(
    frequencies: np.ndarray, curves: dict[str, LearningCurve], ends: np.ndarray
) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "frequency": (
            "frequency",
            frequencies,
            {"long_name": "frequency of the reference", "units": "1 / membrane time constant"},
        )
    }
    for part in ("real", "imag"):
        names = {"long_name": f"eigenvalues of W after learning, {part} part", "units": "1"}
        arrays[f"eigenvalue_{part}"] = ("neuron", getattr(ends, part), names)
    for name, curve in curves.items():
        loss, parts, _ = curve.watched
        units = {"units": "position²"}
        arrays[f"test_loss_{name}"] = (
            "epoch", np.asarray(loss), {"long_name": f"test loss in the loop, {name}", **units},
        )  # fmt: skip
        arrays[f"parts_{name}"] = (
            ("epoch", "frequency"),
            np.asarray(parts),
            {"long_name": f"test loss by frequency, {name}", **units},
        )
    return arrays


def _first_below(loss: np.ndarray, epochs: np.ndarray, bound: float = 1.0) -> int:
    """The first epoch with a loss below the bound; −1: never."""
    below = np.flatnonzero(loss < bound)
    return int(epochs[below[0]]) if len(below) else -1
