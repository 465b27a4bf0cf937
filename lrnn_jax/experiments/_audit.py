"""The audit of [CL]: pairs of a controller and its open-loop student, in many settings."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array

from lrnn_jax import stability
from lrnn_jax.environments import AbstractPlant, ClosedLoop, LinearPlant, Ring, TrackingPlant
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._controllers import GatedController, LoopMeter
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import OTHERS, VISIBLE, Figure, make_room, panels, plot_lines
from lrnn_jax.learning import AbstractUpdate, Descent, LearningCurve, Training
from lrnn_jax.networks import AbstractRNN, DenseRNN, LowRankRNN, Tanh
from lrnn_jax.tasks import TeacherStudent

ROW = 5
"""Epochs in a row for which something must hold to have begun."""


@dataclass(frozen=True)
class PairConfig(AbstractLoopConfig):
    """A controller, and the student of what it became; the main one is tanh on a double integrator.

    The loss is Σ_t (‖x_t‖² + c u_t²) over all steps, over their number (for other plants the
    plant's cost in the place of ‖x‖²); rate and clipping are for it, and for the student's mean
    squared error.

    >>> experiments.PairConfig(lr=0.003).scale
    0.1
    >>> experiments.PairConfig(controller="rank 2").network(key).roles.rank
    2
    """

    scale: float = within(0.1, 0, 10)
    """g: all weights ~ N(0, 0.1²/N), recurrent ones ~ N(0, g²/N), columns of U and V N(0, g/N)."""
    force: float = within(1.0, 0, 100)
    """Gain of the integrator's input."""
    noise: float = within(0.0, 0, 100)
    """Standard deviation of the observation noise."""
    cost: float = within(0.0, 0, 1e6)
    """c, price of control."""
    clip: float = within(1.0, 0, 1e9)
    """Largest norm of the gradient; 0: none."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """What takes the steps."""
    record: int = within(1, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""
    controller: Literal["tanh", "rank 1", "rank 2", "rank 5", "gru"] = "tanh"
    """Dense, U Vᵀ of this rank, or gated; all with tanh and without biases."""
    task: Literal["double integrator", "path integration", "tracking"] = "double integrator"
    """What is controlled."""

    def plant(self) -> AbstractPlant:
        """What is controlled."""
        return TASKS[self.task][0](self)

    def loop(self) -> ClosedLoop:
        """All steps but the first, whose state no control can change."""
        beta = self.cost / (self.per_loss * self.steps)
        return ClosedLoop(self.plant(), self.steps - 1, self.batch, beta)

    @property
    def per_loss(self) -> float:
        """Of the loss above, for one unit of the loop's."""
        return TASKS[self.task][1] * (self.steps - 1) / self.steps

    def network(self, key: Any) -> AbstractRNN:
        """The network at epoch 0."""
        return CONTROLLERS[self.controller](self, self.plant(), jr.split(key, 3))

    def weights(self, key: Any, size: float, *shape: int) -> Array:
        """Weights ~ N(0, size²/N)."""
        return size / np.sqrt(self.n) * jr.normal(key, shape)

    def method(self, per_loss: float) -> AbstractUpdate:
        """The optimiser for an objective that is 1/per_loss of the loss."""
        clip = self.clip / per_loss
        if self.optimiser == "sgd":
            return Descent(self.lr * per_loss, clip=clip or None)
        steps = [optax.clip_by_global_norm(clip)] if clip else []
        return Training(optax.chain(*steps, optax.adam(self.lr)))


def _dense(config: PairConfig, plant: Any, keys: Any) -> DenseRNN:
    n = config.n
    w = config.weights(keys[0], config.scale, n, n)
    w_in = config.weights(keys[1], 0.1, n, plant.observations)
    w_out = config.weights(keys[2], 0.1, plant.controls, n)
    return DenseRNN(w, w_in, w_out, dt=plant.dt, activation=Tanh())


def _gated(config: PairConfig, plant: Any, keys: Any) -> GatedController:
    n = config.n
    w = config.weights(keys[0], config.scale, 3 * n, n)
    w_in = config.weights(keys[1], 0.1, 3 * n, plant.observations)
    w_out = config.weights(keys[2], 0.1, plant.controls, n)
    return GatedController(w, w_in, w_out, dt=plant.dt)


def _low_rank(rank: int) -> Callable[..., LowRankRNN]:
    def made(config: PairConfig, plant: Any, keys: Any) -> LowRankRNN:
        u, v = config.weights(keys[0], np.sqrt(config.scale), 2, config.n, rank)
        m = config.weights(keys[1], 0.1, config.n, plant.observations)
        z = config.weights(keys[2], 0.1, config.n, plant.controls)
        return LowRankRNN(z, v, m, u, 1.0, dt=plant.dt, activation=Tanh())

    return made


CONTROLLERS: dict[str, Callable[..., AbstractRNN]] = {
    "tanh": _dense,
    "gru": _gated,
    **{f"rank {rank}": _low_rank(rank) for rank in (1, 2, 5)},
}


def _integrator(config: PairConfig) -> LinearPlant:
    a, b = jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([[0.0], [config.force]])
    seen, noise = jnp.array([[1.0, 0.0]]), config.noise or None
    return LinearPlant(a, b, seen, start=2.0, observation_noise=noise, dt=1.0)


TASKS: dict[str, tuple[Callable[[PairConfig], AbstractPlant], int]] = {
    "double integrator": (_integrator, 2),
    "path integration": (lambda config: Ring(observation_noise=config.noise or None), 1),
    "tracking": (lambda config: TrackingPlant(observation_noise=config.noise or None), 1),
}
"""The plant, and ‖x‖² over its cost."""

MAIN = PairConfig()
SETTINGS: dict[str, PairConfig] = {"main": MAIN} | {
    name: dataclasses.replace(MAIN, **changed)
    for name, changed in {
        "rate 0.003": {"lr": 0.003},
        "rate 0.03": {"lr": 0.03},
        "recurrent 0.03": {"scale": 0.03},
        "recurrent 0.3": {"scale": 0.3},
        "force 0.5": {"force": 0.5},
        "force 1.5": {"force": 1.5},
        "25 steps": {"steps": 25},
        "100 steps": {"steps": 100},
        "noise 0.05": {"noise": 0.05},
        "cost 0.05": {"cost": 0.05},
        "adam": {"optimiser": "adam", "lr": 1e-3},
        "no clipping": {"clip": 0.0},
        **{name: {"controller": name} for name in ("rank 1", "rank 2", "rank 5", "gru")},
        "path integration": {"task": "path integration"},
        "tracking": {"task": "tracking", "steps": 300, "optimiser": "adam", "lr": 1e-3},
    }.items()
}
"""The main protocol, and what differs from it in one thing: twelve settings of the same network and
plant, four other controllers, two other tasks (tracking with the steps and rate of [CL])."""


class PairResults(AbstractResults):
    """A controller ("closed") and its student ("open"), both measured in the loop."""

    config: PairConfig
    closed: LearningCurve
    open: LearningCurve
    loss: dict[str, Any] = labelled("loss in the loop", "epoch", units="state²")
    gains: dict[str, Any] = labelled("effective gains", "epoch", "state")
    radius: dict[str, Any] = labelled("max |λ|", "epoch")
    leading: dict[str, Any] = labelled("imaginary part of the leading eigenvalue", "epoch")
    real: dict[str, Any] = labelled("largest real eigenvalue", "epoch")

    def first(self, holds: Any) -> int | None:
        """The epoch from which something holds for ROW records, if there is one."""
        runs = np.lib.stride_tricks.sliding_window_view(holds, min(ROW, len(holds))).all(axis=-1)
        return int(self.closed.epochs[runs.argmax()]) if runs.any() else None

    def oscillation(self, name: str) -> int | None:
        """First epoch of an unstable complex pair with a negative gain on position."""
        holds = (self.radius[name] > 1) & (self.leading[name] > 0) & (self.gains[name][:, 0] < 0)
        return self.first(holds)

    def stable(self, name: str) -> int | None:
        """First epoch at which the loop is stable."""
        return self.first(self.radius[name] < 1)

    @property
    def _peak(self) -> int:
        return int(np.nanargmax(self.loss["open"]))

    @claim("the controller's loss falls: last over first", high=0.5)
    def learned(self) -> Any:
        return self.loss["closed"][-1] / self.loss["closed"][0]

    @claim("it oscillates first: epoch of an unstable complex pair with negative gain", low=0)
    def oscillates(self) -> int:
        found = self.oscillation("closed")
        return -1 if found is None else found

    @claim("then it becomes stable: epochs after that", low=1)
    def becomes_stable(self) -> int:
        begin, end = self.oscillation("closed"), self.stable("closed")
        return -1 if begin is None or end is None else end - begin

    @claim("afterwards the largest real eigenvalue grows: by", low=0)
    def real_growth(self) -> float | None:
        end = self.stable("closed")
        if end is None:
            return None
        after = self.real["closed"][np.asarray(self.closed.epochs) >= end]
        return float(after[-1] - after[0])

    @claim("the loss alone tells when it becomes stable: epochs from the spectrum's", high=100)
    def detectors_apart(self) -> int | None:
        """Where log L falls fastest for the last time: its slope is a tenth of the steepest."""
        slope, end = -np.gradient(np.log(self.loss["closed"])), self.stable("closed")
        if end is None:
            return None
        steep = np.flatnonzero(slope > slope.max() / 10)[-1]
        return abs(int(self.closed.epochs[steep]) - end)

    @claim("the student's loss in the loop rises above its first: largest over first", low=1.5)
    def rise(self) -> float:
        return float(np.nanmax(self.loss["open"]) / self.loss["open"][0])

    @claim("the controller's does not: largest over first", high=1.5)
    def rise_of_controller(self) -> float:
        return float(np.nanmax(self.loss["closed"]) / self.loss["closed"][0])

    @claim("the student's peak is not at the end: epoch over all", low=0.001, high=0.9)
    def peak(self) -> float:
        return float(self.closed.epochs[self._peak]) / self.config.epochs

    @claim("the student ends worse: its last loss over the controller's", low=1.1)
    def gap(self) -> Any:
        return self.loss["open"][-1] / self.loss["closed"][-1]

    @claim("the student becomes stable later, or not at all: epochs", low=1)
    def later(self) -> int | None:
        ours, its = self.stable("closed"), self.stable("open")
        if ours is None:
            return None
        return (self.config.epochs + 1 if its is None else its) - ours

    def table(self) -> Columns:
        epochs = np.asarray(self.closed.epochs)
        at = np.unique(np.linspace(0, len(epochs) - 1, 9).astype(int))
        columns: Columns = {"epoch": (epochs[at], "d")}
        for name in ("closed", "open"):
            columns |= {
                f"loss, {name}": (self.loss[name][at], ".4g"),
                f"max |λ|, {name}": (self.radius[name][at], ".4f"),
            }
        return columns

    def draw(self) -> Figure:
        figure, (loss, size, gain) = panels(1, 3, height=2.3)
        epochs = np.asarray(self.closed.epochs)
        for name, color, dash in (("closed", VISIBLE[1], "-"), ("open", OTHERS[1], (0, (4, 1.2)))):
            look = {"color": color, "linestyle": dash}
            plot_lines(loss, epochs, [(f"{name} loop", self.loss[name], look)])
            size.plot(epochs, self.radius[name], **look)
            gain.plot(*self.gains[name].T, **look)
        loss.set(xlabel="epoch", ylabel="loss in the loop")
        make_room(loss, above=0.3).legend(loc="upper right")
        size.set(xlabel="epoch", ylabel=r"largest $|\lambda|$", xlim=(0, epochs[-1]))
        size.axhline(1, color="0.6", linewidth=0.8, zorder=0)
        gain.set(xlabel="gain on position $k_1$", ylabel="gain on velocity $k_2$")
        return figure


@experiment(
    source="[CL], an independent audit's protocol",
    quick=PairConfig(n=20, batch=10, epochs=40),
    seconds=(60, 10),
)
def pair(config: PairConfig, recorder: Recorder) -> PairResults:
    """A controller learns in the loop, its student from white noise; both are tried in the loop.

    Two claims hold for few seeds, and are kept as [CL] suggests them: at the main setting the
    student ends within 2 % of its teacher (`gap`: 0 of 50 seeds; 15 of 15 where it is slow, or
    trials have 25 steps), and the largest real eigenvalue grows after the loop has become stable
    in 36 of 50 (in 2 of 15 at a rate of 0.003). The stages themselves, and the student's rise,
    hold for all of them.

    Claims are those of [CL] for plants that are unstable without control. Path integration is not
    such a one: its loop is stable from epoch 0 on, no pair becomes unstable, the student learns
    sooner than its teacher, and neither gets worse in the loop on the way.
    """
    loop, keys = config.loop(), jr.split(jr.key(config.seed), 4)
    net, meter = config.network(keys[0]), LoopMeter(loop, loop.sample(keys[1]))
    options = {"watch": meter, **config.pace}
    method = config.method(config.per_loss)
    closed = recorder.learn(
        "closed", net, loop, method, label="closed loop", key=keys[2], **options
    )
    imitation = TeacherStudent(closed.model, config.steps, batch=config.batch)
    method = config.method(1 / (config.steps * float(net.dt)))
    recorder.learn("open", net, imitation, method, label="open loop", key=keys[3], **options)
    found: dict[str, Any] = {n: {} for n in ("loss", "gains", "radius", "leading", "real")}
    for name, curve in recorder.curves.items():
        loss, matrix, gains = (np.asarray(x) for x in curve.watched)
        values = np.linalg.eigvals(matrix)
        reals = np.where(abs(values.imag) < 1e-9, values.real, -np.inf)
        found["loss"][name], found["gains"][name] = config.per_loss * loss, gains
        found["radius"][name] = stability.radius(values)
        found["leading"][name] = np.imag(stability.leading(values))
        found["real"][name] = reals.max(axis=-1)
    curves: dict[str, Any] = recorder.curves
    return PairResults(config, **curves, **found)
