"""`open_vs_closed`: the same controller learns by acting, or by imitating one that has."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax import stability
from lrnn_jax.environments import ClosedLoop
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._controllers import LoopMeter, double_integrator
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import GREYS, OTHERS, VISIBLE, Figure, make_room, mark_epochs, panels
from lrnn_jax.learning import Descent, LearningCurve
from lrnn_jax.networks import DenseRNN, Tanh
from lrnn_jax.tasks import TeacherStudent


@dataclass(frozen=True)
class OpenVsClosedConfig(AbstractLoopConfig):
    """A dense tanh controller in closed loop, and its open-loop twin. [CL] fig. 1, 2.

    >>> experiments.OpenVsClosedConfig(n=50).gain
    0.1
    """

    batch: int = within(100, 2, 1e6)
    gain: float = within(0.1, 0, 10)
    """g: recurrent weights ~ N(0, g²/N); W_in, W_out ~ N(0, 1/N²)."""
    cost: float = within(0.005, 1e-9, 1e6)
    """β, price of Σ_t u²."""
    record: int = within(2, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""
    devices: int = within(1, 1, lambda config: config.batch)
    """Devices that share the trials of an epoch; on a CPU, cores."""
    seed: int = 7
    """Random seed of the network and of the trials (7: one that starts in stage 1)."""


GRID = np.linspace(-1.6, 0.2, 91), np.linspace(-2.6, 0.6, 81)
"""Static gains (k_1, k_2) of the landscape."""
LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "closed": ("closed loop", {"color": VISIBLE[1]}),
    "open": ("open-loop student", {"color": OTHERS[1], "linestyle": (0, (4, 1.2))}),
}
"""How a controller and its student are called and drawn."""


class Point(NamedTuple):
    """A point of a learning curve; its loss is 2T × the mean, as in [CL]."""

    epoch: int
    loss: float


class OpenVsClosedResults(AbstractResults):
    """A controller ("closed") and its open-loop student ("open"), both measured in the loop.

    Losses are means over time and state; [CL] reports sums over both, 2T times as much, and so do
    the `Point`s and `final_loss`.
    """

    config: OpenVsClosedConfig
    closed: LearningCurve
    open: LearningCurve
    stages: dict[str, stability.Stages]
    dip: Point
    peak: Point
    final_loss: dict[str, float]
    final_gains: dict[str, list[float]]
    lqr: list[float]
    test_loss: dict[str, Any] = labelled("loss in the loop", "epoch", units="state²")
    gains: dict[str, Any] = labelled("effective gains", "epoch", "state")
    radius: dict[str, Any] = labelled("max |λ|", "epoch")
    k1: Any = labelled("gain on position", "k1")
    k2: Any = labelled("gain on velocity", "k2")
    land: dict[str, Any] = labelled("static gains", "k1", "k2")

    @claim(
        "the controller learns in stages: a complex pair leads from some epoch on (0: at once)",
        low=0,
        shown=lambda r: "; ".join(r.stages["closed"].verdicts[:2]),
    )
    def oscillatory(self) -> int:
        return self.stages["closed"].oscillatory

    @claim(
        "its loop becomes stable for good after that, and is refined: epochs between",
        low=1,
        shown=lambda r: r.stages["closed"].verdicts[2],
    )
    def stable_after(self) -> int:
        return self.stages["closed"].stable - self.stages["closed"].oscillatory

    @claim("meanwhile its loss falls by orders of magnitude: last over first", high=1e-2)
    def loss_left(self) -> Any:
        return self.test_loss["closed"][-1] / self.test_loss["closed"][0]

    @claim(
        "the open-loop student's loss in the loop rises again by orders of magnitude: times",
        low=30,
        shown=lambda r: (
            f"2T × loss from {r.dip.loss:.3g} at epoch {r.dip.epoch} to {r.peak.loss:.3g} at "
            f"epoch {r.peak.epoch}"
        ),
    )
    def rise(self) -> float:
        return self.peak.loss / self.dip.loss

    @claim("the student becomes stable for good later than its teacher: epochs between", low=1)
    def later(self) -> int:
        return self.stages["open"].stable - self.stages["closed"].stable

    @claim("student and teacher end with the same loss: relative difference", high=0.1)
    def loss_apart(self) -> float:
        return abs(self.final_loss["open"] / self.final_loss["closed"] - 1)

    @claim("student and teacher end with the same effective gains: largest difference", high=0.1)
    def gains_apart(self) -> Any:
        closed, opened = (np.array(self.final_gains[name]) for name in ("closed", "open"))
        return np.abs(closed - opened).max()

    @claim("which are stable if they are static ones: largest |λ| of the landscape there", high=1)
    def static_radius(self) -> Any:
        at = (np.abs(g - k).argmin() for g, k in zip(GRID, self.final_gains["closed"]))
        return self.land["radius"][*at]

    @claim("the lowest point of the landscape is the regulator: distance of gains", high=0.1)
    def regulator_off(self) -> Any:
        loss = self.land["log_loss"]
        at = np.unravel_index(np.nanargmin(loss), loss.shape)
        return max(abs(g[i] - k) for g, i, k in zip(GRID, at, self.lqr))

    def table(self) -> Columns:
        """Losses in the normalisation of the reference, at its epochs and at ours."""
        stable = {found.stable for found in self.stages.values()} - {-1}
        shown = sorted({0, 12, 110, 200, self.peak.epoch, self.config.epochs} | stable)
        epochs = np.asarray(self.closed.epochs)
        near = np.array([np.abs(epochs - epoch).argmin() for epoch in shown])
        losses = {n: 2 * self.config.steps * x[near] for n, x in self.test_loss.items()}
        given = {f"2T × loss, {name}": (x, ".3g") for name, x in losses.items()}
        return {"epoch": (shown, "d"), **given}

    def draw(self) -> Figure:
        figure, (loss, size, land) = panels(1, 3, height=2.5)
        epochs = np.asarray(self.closed.epochs)
        for name, (label, look) in LOOPS.items():
            line = {**look, "linewidth": 1.6}
            loss.plot(epochs, self.test_loss[name], label=label, **line)
            size.plot(epochs, self.radius[name], label=label, **line)
            land.plot(*self.gains[name].T, **line)
            land.plot(*self.final_gains[name], "o", color=line["color"], markersize=5)
        loss.set(xlabel="epoch", ylabel="loss in the loop", yscale="log", xlim=(0, epochs[-1]))
        make_room(loss, above=0.3).legend(loc="upper right")
        top = max(1.8, float(np.nanmax(self.radius["open"])) * 1.02)
        size.set(xlabel="epoch", ylabel=r"largest $|\lambda|$", xlim=(0, epochs[-1]))
        size.set_ylim(0.4, min(top, 3.0))
        size.axhline(1, color="0.6", linewidth=0.8, zorder=0)
        marks = {f"stable: {n}": (s.stable, LOOPS[n][1]["color"]) for n, s in self.stages.items()}
        mark_epochs(size, marks)
        levels = np.minimum(self.land["log_loss"].T / np.log(10), 6)
        land.pcolormesh(*GRID, levels, cmap=GREYS, shading="auto", rasterized=True)
        edges: dict[str, Any] = {"colors": "#1a1a1a", "linewidths": 1.0}
        land.contour(*GRID, self.land["radius"].T, levels=[1.0], **edges)
        dotted = {**edges, "linewidths": 0.8, "linestyles": "dotted"}
        land.contour(*GRID, self.land["oscillatory"].T, levels=[0.5], **dotted)
        land.set(xlabel="gain on position $k_1$", ylabel="gain on velocity $k_2$")
        land.plot(*self.lqr, "x", color="#1a1a1a", markersize=6, markeredgewidth=1.4)
        land.annotate("LQR", self.lqr, xytext=(5, -9), textcoords="offset points", fontsize=7)
        land.set(xlim=GRID[0][[0, -1]], ylim=GRID[1][[0, -1]])
        return figure


@experiment(
    source="[CL] fig. 1, 2",
    quick=OpenVsClosedConfig(n=20, batch=20, epochs=500, record=5, seed=0),
    seconds=(32, 11),
    devices=lambda config: config.devices,
)
def open_vs_closed(config: OpenVsClosedConfig, recorder: Recorder) -> OpenVsClosedResults:
    """A dense controller learns by acting, its twin by imitating it on noise.

    Stage 1 is the learning of negative feedback. Random networks have a gain on position of either
    sign: half begin in stage 2 (9 of 20 seeds), the others need 2 to 4 epochs to get there.

    In the code of [CL] the first epoch makes no update; here it does.
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
    meter = LoopMeter(loop, loop.plant.sample(keys[3], config.batch))
    method, options = Descent(config.lr, clip=1.0), {"watch": meter, **config.pace}
    closed = recorder.learn(
        "closed", net, loop, method, label="closed loop", key=keys[4], **options
    )
    teacher = TeacherStudent(closed.model, config.steps, batch=config.batch)
    recorder.learn("open", net, teacher, method, label="open loop", key=keys[5], **options)
    return _results(config, loop, recorder.curves)


def _results(
    config: OpenVsClosedConfig, loop: ClosedLoop, curves: dict[str, LearningCurve]
) -> OpenVsClosedResults:
    loss, gains, radii, found = {}, {}, {}, {}
    for name, curve in curves.items():
        loss[name], matrix, gains[name] = (np.asarray(x) for x in curve.watched)
        values = stability.spectrum(jnp.asarray(matrix))
        radii[name] = stability.radius(values)
        found[name] = stability.stages(curve, values=values, loss=jnp.asarray(loss[name]))
    epochs, scale = np.asarray(curves["closed"].epochs), 2 * config.steps
    lowest = np.minimum.accumulate(loss["open"])
    peak = int(np.argmax(loss["open"] / lowest))
    dip = int(np.argmin(loss["open"][: peak + 1]))
    static = jnp.stack(jnp.meshgrid(*GRID, indexing="ij"), axis=-1)[:, :, None, :]
    land = stability.gain_landscape(loop, static)
    fields = {"log_loss": land.log_loss, "radius": land.radius, "oscillatory": land.oscillatory}

    def point(at: int) -> Point:
        return Point(int(epochs[at]), scale * float(loss["open"][at]))

    return OpenVsClosedResults(
        config=config,
        **curves,
        test_loss=loss,
        gains=gains,
        radius=radii,
        stages=found,
        dip=point(dip),
        peak=point(peak),
        final_loss={name: scale * float(x[-1]) for name, x in loss.items()},
        final_gains={name: x[-1].tolist() for name, x in gains.items()},
        k1=GRID[0],
        k2=GRID[1],
        land={name: np.asarray(values, float) for name, values in fields.items()},
        lqr=stability.lqr_gain(loop)[0].tolist(),
    )
