"""`degeneracy`: two networks that compute the same and learn differently."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import visible
from lrnn_jax.reduced import degenerate_twin, reduce
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class DegeneracyConfig:
    """Same visible overlaps, other invisible ones: same output, other learning. [LR] fig. 2."""

    n: int = 500
    """N, neurons."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """T, steps of the impulse response."""
    rate: float = 0.2
    """c*, decay rate of the target [1 / membrane time constant]."""
    uu: float = 2.048
    """UᵀU/N of the second network (about 1 in the first)."""
    mu: float = 0.8
    """MᵀU/N of the second network (about 0 in the first)."""
    noise: float = 0.5
    """Standard deviation of the hidden noise, per unit and step."""
    lr: float = 5e-3
    """η, learning rate (the network's own is N η)."""
    epochs: int = 2000
    """Parameter updates."""
    early: int = 300
    """Epoch at which the two networks are compared again."""
    trials: int = 40
    """Trials with hidden noise."""
    seed: int = 0
    """Random seed of the first network and of the noise."""

    def __post_init__(self) -> None:
        check_config(self, n=(4, 1e6), steps=(2, 1e6), epochs=(2, 1e8), lr=(0, 1e3))
        check_config(self, dt=(1e-9, 1), noise=(0, 1e3), trials=(2, 1e6), rate=(0, 1e3))
        check_config(self, early=(1, self.epochs))


QUICK = DegeneracyConfig(n=100, steps=200, epochs=1000, lr=1e-2, early=150)


def degeneracy(
    config: DegeneracyConfig = DegeneracyConfig(), progress: Progress | None = None
) -> Report:
    """Train a network and its degenerate twin, and predict both by their overlaps.

    Arguments:
        config: sizes, the twin's invisible overlaps, task and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "full" and "reduced" of the first network, "full_twin" and
    "reduced_twin" of the second.

    Source: [LR] fig. 2.
    """
    task = ExponentialFilter(config.rate, config.dt, config.steps)
    net = LowRankRNN.normalised(config.n, dt=config.dt, key=jr.key(config.seed))
    nets = {"": net, "_twin": degenerate_twin(net, uu=config.uu, mu=config.mu)}
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}
    for kind, model in nets.items():
        full = reporter(progress, f"full network{kind.replace('_', ', ')}")
        for name, start, shown in (("full", model, full), ("reduced", reduce(model), None)):

            def work(start: Any = start, shown: Any = shown) -> LearningCurve:
                epochs = config.epochs
                return learn(start, task, Descent(config.lr), epochs=epochs, progress=shown)

            curves[name + kind], seconds[name + kind] = timed(work)
    before = [np.asarray(task.output(model))[:, 0, 0] for model in nets.values()]
    early = [_early_output(config, task, curves["reduced" + kind]) for kind in nets]
    noisy, seconds["hidden noise"] = timed(lambda: _noisy_outputs(config, nets))
    sizes = [config.n // 4, config.n, 4 * config.n]
    spread = [_noise_spread(config, n) for n in sizes]
    report = _report(config, curves, before, early, sizes, spread)
    report.seconds = seconds
    report.arrays = _arrays(config, np.asarray(task.samples)[:, 0, 0], before, early, noisy)
    return report


def _impulse(config: DegeneracyConfig) -> jax.Array:
    return jnp.zeros((config.steps, 1)).at[0].set(1 / config.dt)


def _early_output(config: DegeneracyConfig, task: Any, curve: LearningCurve) -> np.ndarray:
    then = curve.model.with_gram(curve.gram[config.early])  # pyright: ignore
    return np.asarray(task.output(then))[:, 0, 0]


def _noisy_outputs(config: DegeneracyConfig, nets: dict[str, LowRankRNN]) -> list[jax.Array]:
    """Impulse responses of each network with hidden noise of its own, shape (trial, time)."""
    keys = jr.split(jr.key(config.seed + 1), 2)
    return [_with_noise(config, net, key) for net, key in zip(nets.values(), keys)]


def _with_noise(config: DegeneracyConfig, net: LowRankRNN, key: Any) -> jax.Array:
    def one(key: Any) -> jax.Array:
        kicks = config.noise * jr.normal(key, (config.steps, net.state_size))
        return net.rollout(_impulse(config), noise=kicks)[:, 0]

    return jax.lax.map(jax.jit(one), jr.split(key, config.trials))


def _noise_spread(config: DegeneracyConfig, n: int) -> tuple[float, float]:
    """Root-mean-square deviation of both networks' noisy outputs from the noiseless one."""
    net = LowRankRNN.normalised(n, dt=config.dt, key=jr.key(config.seed))
    twin = degenerate_twin(net, uu=config.uu, mu=config.mu)
    clean = net.rollout(_impulse(config))[:, 0]
    noisy = _noisy_outputs(config, {"": net, "_twin": twin})
    first, second = (float(jnp.sqrt(jnp.mean((y - clean[None]) ** 2))) for y in noisy)
    return first, second


def plateau(loss: np.ndarray) -> int:
    """Epochs before the steepest fall of log L in which it falls at under 1/5 of its first rate."""
    slope = -np.gradient(np.log(np.maximum(loss, 1e-12)))
    steepest = int(np.argmax(np.where(loss > 1e-2 * loss[0], slope, -np.inf)))
    return int((slope[:steepest] < 0.2 * slope[0]).sum())


def _report(
    config: DegeneracyConfig,
    curves: dict[str, LearningCurve],
    before: list[np.ndarray],
    early: list[np.ndarray],
    sizes: list[int],
    spread: list[tuple[float, float]],
) -> Report:
    exact = [curves["reduced" + k].distance(curves["full" + k]) for k in ("", "_twin")]
    error = max(float(d.max) for d in exact)
    same = float(np.abs(before[0] - before[1]).max())
    losses = [float(curves["full" + k].loss[0]) for k in ("", "_twin")]
    apart = float(np.abs(early[0] - early[1]).max())
    slope = [float(np.polyfit(np.log(sizes), np.log([s[i] for s in spread]), 1)[0]) for i in (0, 1)]
    flat = [plateau(np.asarray(curves["reduced" + k].loss)) for k in ("", "_twin")]
    small = max(spread[1]) / float(np.abs(before[0]).max())
    claims = [
        Claim(
            "before learning, same output and same loss (to rounding, 1e-10)",
            f"max |Δy| = {same:.1g}, |ΔL| = {abs(losses[0] - losses[1]):.1g}",
            same < 1e-10 and abs(losses[0] - losses[1]) < 1e-10,
        ),
        Claim(
            "hidden noise moves the outputs little, ∝ N^(−1/2) (slope −0.6 … −0.4)",
            f"r.m.s. {spread[1][0]:.3f} and {spread[1][1]:.3f} at N = {sizes[1]} "
            f"({small:.1%} of the peak); slopes {slope[0]:.2f}, {slope[1]:.2f}",
            all(-0.6 < s < -0.4 for s in slope),
        ),
        Claim(
            f"after {config.early} epochs the outputs differ clearly (> 0.1)",
            f"max |Δy| = {apart:.2f}",
            apart > 0.1,
        ),
        Claim(
            "one has a plateau, the other none (epochs before the steepest fall of log L in which "
            f"it falls at less than 1/5 of its first rate: > {0.2 * config.early:g} and 0)",
            f"{flat[0]} and {flat[1]} epochs",
            max(flat) > 0.2 * config.early and min(flat) == 0,
        ),
        Claim(
            "the reduced theory predicts both to rounding (≤ 1e-10)",
            f"max |ΔQ| = {error:.1g}",
            error <= 1e-10,
        ),
    ]
    vectors = [curves["full" + k].overlaps.vector() for k in ("", "_twin")]
    names, seen = exact[0].names, visible(curves["reduced"].model).visible
    columns = zip(names, vectors[0][0], vectors[1][0], vectors[0][-1], vectors[1][-1])
    rows = [
        [n, "visible" if n in seen else "invisible", *(f"{x:.4f}" for x in numbers)]
        for n, *numbers in columns
    ]
    header = ["overlap", "loss sees it", "start, 1", "start, 2", "end, 1", "end, 2"]
    values = {"max_abs_dq": error, "output_gap_before": same, "output_gap_early": apart}
    values |= {"noise_slope": slope, "plateau": flat, "visible": list(seen)}
    return Report("degeneracy", config, claims, values, (header, rows), {}, dict(curves))


def _arrays(
    config: DegeneracyConfig,
    target: np.ndarray,
    before: list[np.ndarray],
    early: list[np.ndarray],
    noisy: list[jax.Array],
) -> dict[str, Any]:
    time = {"long_name": "time", "units": "membrane time constants"}
    arrays: dict[str, Any] = {"time": ("time", config.dt * np.arange(config.steps), time)}
    arrays["target"] = ("time", target, {"long_name": "target response", "units": "1"})
    for i, kind in enumerate(("first", "second")):
        for name, values in (("before", before[i]), (f"epoch_{config.early}", early[i])):
            attributes = {"long_name": f"impulse response, {kind} network", "units": "1"}
            arrays[f"output_{kind}_{name.split('_')[0]}"] = ("time", values, attributes)
        attributes = {"long_name": f"response with hidden noise, {kind} network", "units": "1"}
        arrays[f"noisy_{kind}"] = (("trial", "time"), np.asarray(noisy[i]), attributes)
    return arrays
