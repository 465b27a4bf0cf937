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
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractLoopConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import DASHES, VISIBLE, Figure, panels
from lrnn_jax.learning import LearningCurve, Training
from lrnn_jax.networks import AbstractRNN, DenseRNN
from lrnn_jax.tasks import TeacherStudent


@dataclass(frozen=True)
class TrackingConfig(AbstractLoopConfig):
    """Following a sum of sinusoids in the plane, in closed and in open loop. [CL] fig. 6.

    >>> experiments.TrackingConfig(student=False).steps
    300
    """

    gain: float = within(0.2, 0, 10)
    """g: recurrent weights ~ N(0, g²/N)."""
    steps: int = within(300, 120, 1e5)
    """T, steps of a trial of 0.1 time constants."""
    lr: float = within(1e-3, 0, 1e3)
    """Adam's learning rate."""
    epochs: int = within(10_000, 2, 1e7)
    record: int = within(20, 1, lambda config: config.epochs)
    """Keep every n-th epoch."""
    student: bool = True
    """Train an open-loop student of the trained controller as well (on white noise, expected)."""
    taught: int = within(6000, 0, lambda config: config.epochs)
    """Epoch of the controller that the student imitates. Later its response to white noise grows,
    a hundredfold in power by epoch 10 000, and a student does not learn it in as many epochs."""
    student_frozen: tuple[str, ...] = ()
    """Weights that the student does not learn. The controller does not learn "w_in"; a student that
    does not either never gets there."""
    wanted: int = within(4, 1, 4)
    """How many of the four frequencies should be acquired in these epochs."""


DT = 0.1
"""Euler step [time constants]."""
SETTLED = 100
"""Steps after which errors are taken apart by frequency: from then on whole periods of all."""


class _Meter(eqx.Module):
    """Test loss, its parts by frequency (slowest first), W and W_out."""

    loop: ClosedLoop
    phases: Float[Array, "trial start"]

    def __call__(self, model: AbstractRNN) -> tuple[Array, Array, Array, Array]:
        assert isinstance(model, DenseRNN)
        plant = self.loop.plant
        assert isinstance(plant, TrackingPlant)
        run = self.loop.simulate(model, self.phases)
        error = run.states[1:, :, : plant.axes] - run.signals
        parts = jnp.mean(plant.amplitudes(jnp.moveaxis(error, 0, 1), SETTLED), axis=0)
        order = jnp.argsort(plant.frequencies.ravel())
        return self.loop.loss_of(run), parts.ravel()[order], model.w, model.w_out


class TrackingResults(AbstractResults):
    """A controller ("closed") and its open-loop student ("open"), both measured in the loop.

    The loss is the squared distance to the reference, averaged over time and trials; [CL] reports
    it times dt. Frequencies are in ascending order.
    """

    config: TrackingConfig
    closed: LearningCurve
    open: LearningCurve | None
    loss: dict[str, float]
    """Of the closed loop at some epochs."""
    teacher_loss: float
    """Of the controller that the student imitates."""
    first_below_1: list[int]
    """The first epoch with a loss of this frequency below 1; −1: never."""
    final_parts: list[float]
    eigenvalue_distance: dict[str, list[float]]
    """|Im λ(W) − ω| of the nearest eigenvalue, before and after learning."""
    frequency: Any = labelled(
        "frequency of the reference", "frequency", units="1 / membrane time constant"
    )
    eigenvalue: dict[str, Any] = labelled("eigenvalues of W after learning", "neuron")
    test_loss: dict[str, Any] = labelled("test loss in the loop", "epoch", units="position²")
    parts: dict[str, Any] = labelled(
        "test loss by frequency", "epoch", "frequency", units="position²"
    )

    @claim(
        "the slowest frequencies are acquired, the loss of each falls below 1: how many",
        low=lambda r: r.config.wanted,
        shown=lambda r: f"at epochs {', '.join(map(str, r.first_below_1))}",
    )
    def acquired(self) -> int:
        return [*self.first_below_1, -1].index(-1)

    @claim("one after another, slowest first: fewest epochs between two of them", low=0)
    def in_order(self) -> Any:
        return min(np.diff([epoch for epoch in self.first_below_1 if epoch >= 0]), default=None)

    @claim("the test loss falls, most of it with the frequencies: last over first", high=0.5)
    def loss_left(self) -> Any:
        return self.test_loss["closed"][-1] / self.test_loss["closed"][0]

    @claim(
        "eigenvalues of W come to every frequency: largest |Im λ − ω| over that before learning",
        high=0.75,
    )
    def eigenvalue_off(self) -> Any:
        before, after = (np.array(self.eigenvalue_distance[x]) for x in ("before", "after"))
        return (after / before).max() if self.config.wanted == len(self.frequency) else None

    @claim(
        "in the loop the open-loop student becomes worse before it becomes better: highest loss "
        "over that before learning",
        low=1.5,
        shown=lambda r: r._course_of_student(),
    )
    def student_rise(self) -> Any:
        loss = self.test_loss.get("open")
        return None if loss is None else loss.max() / loss[0]

    @claim("and ends near its teacher: loss over the teacher's", high=1.5)
    def student_end(self) -> Any:
        loss = self.test_loss.get("open")
        return None if loss is None else loss[-1] / self.teacher_loss

    def _course_of_student(self) -> str:
        loss, epochs = np.asarray(self.test_loss["open"]), np.asarray(self.closed.epochs)
        start, peak, end = DT * loss[[0, loss.argmax(), -1]]
        return f"loss × dt {start:.3g}, {peak:.3g} at epoch {epochs[loss.argmax()]}, {end:.3g}"

    def table(self) -> Columns:
        losses = dict(zip(("before", "after"), self.parts["closed"][[0, -1]]))
        given = {"frequency": (self.frequency, "g"), "below 1 at epoch": (self.first_below_1, "d")}
        given |= {f"loss {when}": (x, ".3g") for when, x in losses.items()}
        off = self.eigenvalue_distance
        return given | {f"|Im λ − ω| {when}": (x, ".3g") for when, x in off.items()}

    def draw(self) -> Figure:
        figure, (*axes, plane) = panels(1, 1 + len(self.parts), height=2.5)
        for ax, (name, parts) in zip(axes, self.parts.items()):
            for frequency, part, colour, dash in zip(self.frequency, parts.T, VISIBLE, DASHES):
                ax.plot(self.closed.epochs, part, dash, color=colour, label=f"{frequency:g}")
            ax.axhline(1, color="0.8", linewidth=0.6, zorder=0)
            ax.set(xlabel="epoch", ylabel=f"loss by frequency, {name} loop", yscale="log")
            ax.set_xlim(0, self.config.epochs)
            ax.legend(title=r"frequency ($1/\tau$)", title_fontsize=7)
        for omega in 2 * np.pi * self.frequency:
            for height in (omega, -omega):
                plane.axhline(height, color="0.75", linewidth=0.7, zorder=0)
        plane.plot(*self.eigenvalue.values(), "o", color=VISIBLE[1], markersize=3)
        plane.set(xlabel=r"Re $\lambda(W)$", ylabel=r"Im $\lambda(W)$; lines: $\pm\omega$")
        return figure


@experiment(
    source="[CL] fig. 6",
    quick=TrackingConfig(batch=10, epochs=300, lr=3e-3, record=5, taught=300, wanted=1),
    seconds=(220, 8),
)
def tracking(config: TrackingConfig, recorder: Recorder) -> TrackingResults:
    """A controller learns to track a reference, one frequency after another.

    A dense linear controller learns to track, and a student of it on white noise.

    By seed (5), an eigenvalue of W comes as near to ±iω as 0.03 or no nearer than 0.33, half of
    what lies between frequencies; and the student becomes 1.5 or 8 times worse before it is better.
    """
    plant = TrackingPlant(dt=DT)
    loop = ClosedLoop(plant, config.steps, config.batch)
    keys, bound = jr.split(jr.key(config.seed), 5), 1 / np.sqrt(config.n)
    weights = {
        "w": config.gain * bound * jr.normal(keys[0], (config.n, config.n)),
        "w_in": jr.uniform(keys[1], (config.n, plant.observations), minval=-bound, maxval=bound),
        "w_out": jr.uniform(keys[2], (plant.controls, config.n), minval=-bound, maxval=bound),
    }
    net = DenseRNN(**weights, dt=plant.dt, frozen=("w_in",))
    meter = _Meter(loop, plant.sample(keys[3], config.batch))
    method, options = Training(optax.adam(config.lr)), {"watch": meter, **config.pace}
    closed = recorder.learn(
        "closed", net, loop, method, label="closed loop", key=keys[4], **options
    )
    epochs, stride = np.asarray(closed.epochs), max(len(closed.epochs) // 10, 1)
    loss, parts, w, w_out = (np.asarray(x) for x in closed.watched)
    if config.student:
        at = int(np.searchsorted(epochs, config.taught))
        teacher = DenseRNN(w[at], net.w_in, w_out[at], dt=plant.dt)
        pupil = DenseRNN(**weights, dt=plant.dt, frozen=config.student_frozen)
        task = TeacherStudent(teacher, config.steps)
        recorder.learn("open", pupil, task, method, label="open loop", **options)
    below = parts < 1
    frequency = np.sort(np.asarray(plant.frequencies).ravel())
    values = np.linalg.eigvals(w[[0, -1]])
    off = np.abs(np.imag(values)[..., None] - 2 * np.pi * frequency).min(axis=1).tolist()
    watched = {name: curve.watched for name, curve in recorder.curves.items()}
    return TrackingResults(
        config=config,
        closed=closed,
        open=recorder.curves.get("open"),
        loss=dict(zip(map(str, epochs[::stride]), loss[::stride].tolist())),
        teacher_loss=float(loss[np.searchsorted(epochs, config.taught)]),
        first_below_1=np.where(below.any(0), epochs[below.argmax(0)], -1).tolist(),
        final_parts=parts[-1].tolist(),
        eigenvalue_distance=dict(zip(("before", "after"), off)),
        frequency=frequency,
        eigenvalue={"real": np.real(values[1]), "imag": np.imag(values[1])},
        test_loss={name: x[0] for name, x in watched.items()},
        parts={name: np.asarray(x[1]) for name, x in watched.items()},
    )
