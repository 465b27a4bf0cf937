"""`open_vs_closed`: the same controller learns by acting, or by imitating one that has."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax.environments import ClosedLoop
from lrnn_jax.experiments._base import Claim, Progress, Report, check_config, reporter, timed
from lrnn_jax.experiments._controllers import double_integrator
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.networks import AbstractRNN, DenseRNN, Tanh
from lrnn_jax.stability import (
    coupled_matrix,
    effective_gains,
    gain_landscape,
    lqr_gain,
    radius,
    spectrum,
    stages,
)
from lrnn_jax.tasks import TeacherStudent


@dataclass(frozen=True)
class OpenVsClosedConfig:
    """A dense tanh controller in closed loop, and its open-loop twin. [CL] fig. 1, 2."""

    n: int = 100
    """N, neurons."""
    gain: float = 0.1
    """g: recurrent weights ~ N(0, g²/N); W_in, W_out ~ N(0, 1/N²)."""
    steps: int = 50
    """T, steps of a trial."""
    batch: int = 100
    """Trials per epoch."""
    cost: float = 0.005
    """β, price of Σ_t u²."""
    lr: float = 0.01
    """Learning rate."""
    epochs: int = 1000
    """Parameter updates."""
    record: int = 2
    """Keep every n-th epoch."""
    devices: int = 1
    """Devices that share the trials of an epoch; on a CPU, cores."""
    seed: int = 0
    """Random seed of the initial network and of the trials."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e5), steps=(3, 1e5), batch=(2, 1e6), epochs=(2, 1e7))
        check_config(self, lr=(0, 1e3), record=(1, self.epochs), cost=(1e-9, 1e6), gain=(0, 10))
        check_config(self, devices=(1, self.batch))


QUICK = OpenVsClosedConfig(n=20, batch=20, epochs=500, record=5)
GRID = np.linspace(-1.6, 0.2, 91), np.linspace(-2.6, 0.6, 81)
"""Static gains (k_1, k_2) of the landscape."""


class _Meter(eqx.Module):
    """Closed-loop test loss, coupled matrix and effective gains of a controller."""

    loop: ClosedLoop
    start: Float[Array, "trial start"]

    def __call__(self, model: AbstractRNN) -> tuple[Array, Array, Array]:
        loss = self.loop.loss(model, self.start)
        gains = effective_gains(model, self.loop, self.start)
        return loss, coupled_matrix(model, self.loop), gains


def open_vs_closed(
    config: OpenVsClosedConfig = OpenVsClosedConfig(), progress: Progress | None = None
) -> Report:
    """Train a controller in closed loop, and the same network to imitate it on white noise.

    Losses are means over time and state; [CL] reports sums over both (2T times as much). In the
    code of [CL] the first epoch makes no update; here it does.

    Arguments:
        config: sizes and learning rate.
        progress: called as progress(what, epoch, epochs, loss).

    Returns: a `Report` with curves "closed" and "open", their losses in the loop, spectra and
    effective gains, and the landscape of static gains.

    Source: [CL] fig. 1, 2.
    """
    loop = double_integrator(config.steps, 1.0, batch=config.batch, control_cost=config.cost)
    keys, n = jr.split(jr.key(config.seed), 6), config.n
    net = DenseRNN(
        config.gain / np.sqrt(n) * jr.normal(keys[0], (n, n)),
        jr.normal(keys[1], (n, 1)) / n,
        jr.normal(keys[2], (1, n)) / n,
        dt=1.0,
        activation=Tanh(),
    )
    meter = _Meter(loop, loop.plant.sample(keys[3], config.batch))
    options: dict[str, Any] = {"epochs": config.epochs, "record": config.record, "watch": meter}
    options |= {"devices": config.devices}
    method = Descent(config.lr, clip=1.0)
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}

    def run(name: str, objective: Any, key: Any) -> None:
        shown = reporter(progress, f"{name} loop")
        curves[name], seconds[name] = timed(
            lambda: learn(net, objective, method, key=key, progress=shown, **options)
        )

    run("closed", loop, keys[4])
    run("open", TeacherStudent(curves["closed"].model, config.steps, batch=config.batch), keys[5])
    report = _report(config, loop, curves)
    report.seconds = seconds
    return report


def _report(
    config: OpenVsClosedConfig, loop: ClosedLoop, curves: dict[str, LearningCurve]
) -> Report:
    loss, gains, spectra, found = {}, {}, {}, {}
    for name, curve in curves.items():
        loss[name], matrix, gains[name] = (np.asarray(x) for x in curve.watched)
        spectra[name] = spectrum(jnp.asarray(matrix))
        found[name] = stages(curve, values=spectra[name], loss=jnp.asarray(loss[name]))
    epochs = np.asarray(curves["closed"].epochs)
    closed, opened = found["closed"], found["open"]
    lowest = np.minimum.accumulate(loss["open"])
    peak = int(np.argmax(loss["open"] / lowest))
    dip, rise = int(np.argmin(loss["open"][: peak + 1])), float(loss["open"][peak] / lowest[peak])
    ends = {name: gains[name][-1, 0] for name in gains}
    apart = float(np.abs(ends["closed"] - ends["open"]).max())
    final = {name: float(x[-1]) for name, x in loss.items()}
    best = lqr_gain(loop)[0]
    claims = [
        Claim(
            "the controller learns in three stages: complex pair, stability, refinement",
            "; ".join(closed.verdicts),
            closed.oscillatory >= 0 and closed.stable > closed.oscillatory,
        ),
        Claim(
            "the open-loop student's loss in the loop rises again by orders of magnitude",
            f"from {loss['open'][dip]:.3g} at epoch {epochs[dip]} to {loss['open'][peak]:.3g} at "
            f"epoch {epochs[peak]} ({rise:.3g} times)",
            rise > 30,
        ),
        Claim(
            "it becomes stable for good later than its teacher",
            f"epoch {opened.stable} (open), {closed.stable} (closed)",
            opened.stable > closed.stable >= 0,
        ),
        Claim(
            "both end alike: loss within 10 %, effective gains within 0.1",
            f"loss {final['closed']:.4g} and {final['open']:.4g}, gains "
            f"({ends['closed'][0]:.3f}, {ends['closed'][1]:.3f}) and "
            f"({ends['open'][0]:.3f}, {ends['open'][1]:.3f})",
            abs(final["open"] / final["closed"] - 1) < 0.1 and apart < 0.1,
        ),
    ]
    scale = 2 * config.steps
    marks = {closed.stable, opened.stable, int(epochs[peak]), config.epochs}
    table = _table(epochs, loss, marks, scale)
    values = {
        "stable": {name: s.stable for name, s in found.items()},
        "oscillatory": {name: s.oscillatory for name, s in found.items()},
        "peak": {"epoch": int(epochs[peak]), "loss": scale * float(loss["open"][peak])},
        "final_loss": {name: scale * x for name, x in final.items()},
        "gains": {name: k.tolist() for name, k in ends.items()},
        "lqr": best.tolist(),
    }
    report = Report("open_vs_closed", config, claims, values, table, {}, dict(curves))
    report.arrays = _arrays(loop, loss, gains, spectra)
    return report


def _table(
    epochs: np.ndarray, loss: dict[str, np.ndarray], marks: set[int], scale: int
) -> tuple[list[str], list[list[str]]]:
    """Losses in the normalisation of the reference, at its epochs and at ours."""
    rows = []
    for epoch in sorted({0, 12, 110, 200} | {mark for mark in marks if mark >= 0}):
        near = np.abs(epochs - epoch).argmin()
        rows.append([str(epoch), *(f"{scale * loss[name][near]:.3g}" for name in loss)])
    return ["epoch", *(f"2T × loss, {name}" for name in loss)], rows


def _arrays(
    loop: ClosedLoop,
    loss: dict[str, np.ndarray],
    gains: dict[str, np.ndarray],
    spectra: dict[str, np.ndarray],
) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in loss:
        arrays[f"test_loss_{name}"] = (
            "epoch", loss[name], {"long_name": f"loss in the loop, {name}", "units": "state²"},
        )  # fmt: skip
        arrays[f"gains_{name}"] = (
            ("epoch", "state"),
            gains[name][:, 0],
            {"long_name": f"effective gains, {name}", "units": "1"},
        )
        arrays[f"radius_{name}"] = (
            "epoch", radius(spectra[name]), {"long_name": f"max |λ|, {name}", "units": "1"},
        )  # fmt: skip
    k1, k2 = np.meshgrid(*GRID, indexing="ij")
    land = gain_landscape(loop, jnp.asarray(np.stack([k1, k2], axis=-1)[:, :, None, :]))
    units = {"units": "1"}
    arrays["k1"] = ("k1", GRID[0], {"long_name": "gain on position", **units})
    arrays["k2"] = ("k2", GRID[1], {"long_name": "gain on velocity", **units})
    for field in ("log_loss", "radius", "oscillatory"):
        name = {"long_name": f"static gains: {field.replace('_', ' ')}", **units}
        arrays[f"land_{field}"] = (("k1", "k2"), np.asarray(getattr(land, field), float), name)
    return arrays
