"""What learning needs to know of a task or an environment."""

import enum
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import as_float, component, shown
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Scalar, is_traced
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.tasks._criteria import AbstractCriterion, Squared

TrialInputs = Float[Array, "trial time inputs"]
TrialOutputs = Float[Array, "trial time outputs"]


class Evaluation(enum.Enum):
    """How the loss of a linear reduction is computed; all agree to rounding.

    AUTO takes the fastest that applies. ROLLOUT simulates the latents step by step: any target.
    DOUBLING sums the trajectory's covariance in O(log T) products of small matrices: targets with
    a generator. CLOSED_FORM uses sums of geometric series of the eigenvalues: rank 1 and targets
    made of exponentials. Full networks are always simulated.

    >>> slow = lrnn.ExponentialFilter(0.2, 0.1, 50, evaluation=lrnn.Evaluation.ROLLOUT)
    >>> bool(jnp.isclose(slow.loss(reduction, None), task.loss(reduction, None)))
    True
    """

    AUTO = enum.auto()
    ROLLOUT = enum.auto()
    DOUBLING = enum.auto()
    CLOSED_FORM = enum.auto()


def as_evaluation(evaluation: Any) -> Evaluation:
    """The way itself; ValueError for anything else, e.g. its name.

    >>> tasks.as_evaluation(lrnn.Evaluation.ROLLOUT)
    <Evaluation.ROLLOUT: 2>
    """
    return component(evaluation, Evaluation, "evaluation", "Evaluation.ROLLOUT")


class AbstractObjective(AbstractReadable):
    """A loss that a network can learn to reduce: a task, or a plant to control.

    The loss depends on the network through its outputs, or also through its states. Data of one
    epoch (inputs, targets, noise) are drawn by `sample`, so that a network and its reduction see
    the same.

    Class variables:
        held_out: data that learning does not see; their loss is kept in `curve.held_out`.
        of_outputs: whether the loss depends on nothing but what comes out for what goes in: if not,
            gradient flow does not conserve the spectrum of J D⁻¹ Q (see `invariants`).
        gradient_noise: model → `AbstractGradientNoise`, what random data make of the gradient of a
            linear reduction, with ValueError, and the reason, where data are not random; None where
            it is not known.
        private: whether each neuron has noise of its own, so that fewer cannot stand for many.
        time_axis: the axis of `output` along which time runs.

    >>> isinstance(task, tasks.AbstractObjective), isinstance(loop, tasks.AbstractObjective)
    (True, True)
    >>> task.stochastic, flips.stochastic
    (False, True)
    """

    held_out: ClassVar[Any] = None
    of_outputs: ClassVar[bool] = True
    private: ClassVar[bool] = False
    gradient_noise: ClassVar[Any] = None
    time_axis: ClassVar[int] = 1

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether each epoch draws fresh data, so that learning needs a key or batches."""

    @abstractmethod
    def check(self, model: AbstractRNN) -> None:
        """Raise ValueError, naming both sides, unless the model fits the objective."""

    @abstractmethod
    def sample(self, key: PRNGKeyArray) -> Any:
        """Data of one epoch; None for a deterministic objective."""

    @abstractmethod
    def output(self, model: AbstractRNN, batch: Any = None) -> Float[Array, "..."]:
        """Everything the loss looks at, on the data of one epoch; channels on the last axis."""

    @abstractmethod
    def loss(self, model: AbstractRNN, batch: Any = None) -> Scalar:
        """The loss of a model on the data of one epoch."""

    @abstractmethod
    def weight(self, batch: Any) -> Scalar | None:
        """What the loss of some trials counts in that of all: L = Σ w_i L_i / Σ w_i over parts.

        None where data are no trials (along the first axis of every array): they have no parts.
        """


class Trials(NamedTuple):
    """What goes in, what should come out, and where that counts.

    Fields: inputs, shape (trial, time, inputs); target, shape (trial, time, outputs); mask, 1 where
    scored, shape (trial, time). With several epochs of them, that axis first.

    >>> trials = flips.trials(flips.sample(key))
    >>> trials.inputs.shape, trials.target.shape, trials.mask.shape
    ((4, 60, 1), (4, 60, 1), (4, 60))
    """

    inputs: Float[Array, "*epoch trial time inputs"]
    target: Float[Array, "*epoch trial time outputs"]
    mask: Float[Array, "*epoch trial time"]


class AbstractTask(AbstractObjective):
    """An objective in open loop: given inputs, wanted outputs.

    L = score(y),      y: outputs on `inputs`

    >>> isinstance(flips, tasks.AbstractTask), isinstance(loop, tasks.AbstractTask)
    (True, False)
    """

    dt: eqx.AbstractVar[Scalar]

    @abstractmethod
    def inputs(self, batch: Any = None) -> TrialInputs:
        """What goes in on the data of one epoch."""

    @abstractmethod
    def score(self, output: TrialOutputs, batch: Any = None) -> Scalar:
        """L of outputs, on the data of one epoch."""

    def output(self, model: AbstractRNN, batch: Any = None) -> TrialOutputs:
        """y on the data of one epoch."""
        return model.rollout(self.inputs(batch))

    @abstractmethod
    def trials(self, batch: Any = None) -> Trials:
        """The trials of one epoch, from its data (None for a deterministic task): to be drawn."""


class AbstractTrialTask(AbstractTask):
    """A task of trials that are scored where a mask says so; drawn afresh in each epoch, mostly.

        L = Σ mask ℓ(y, y*) / Σ mask      over trials and steps

    Class variables:
        channels: (inputs, outputs) of a task that has other numbers of them.
        criterion: ℓ of one step; the squared error if not said otherwise.
        data: the trials of every epoch, where they are the same in all (`batch` is None).

    Source: [LR] methods.

    >>> class Copy(lrnn.AbstractTrialTask):
    ...     dt: float
    ...     batch: int
    ...     steps = 20
    ...
    ...     def sample(self, key):
    ...         x = jr.normal(key, (self.batch, self.steps, 1))
    ...         return tasks.Trials(x, x, jnp.ones(x.shape[:2]))
    ...
    >>> copy = Copy(0.1, 8)
    >>> float(copy.loss(net, copy.sample(key))) > 0
    True
    """

    batch: eqx.AbstractVar[int | None]
    steps: eqx.AbstractVar[int]
    channels: ClassVar[Any] = (1, 1)
    criterion: ClassVar[AbstractCriterion] = Squared()
    data: ClassVar[Trials | None] = None

    @abstractmethod
    def sample(self, key: PRNGKeyArray) -> Trials | None:
        """Trials of one epoch."""

    @property
    def stochastic(self) -> bool:
        return self.batch is not None

    def check(self, model: AbstractRNN) -> None:
        check_fits(self, model, self.channels, self.dt)

    def loss(self, model: AbstractRNN, batch: Trials | None = None) -> Scalar:
        """L on the trials of one epoch."""
        as_network(model, "model")
        return self.score(self.output(model, batch), batch)

    def inputs(self, batch: Trials | None = None) -> TrialInputs:
        return self.trials(batch).inputs

    def score(self, output: TrialOutputs, batch: Trials | None = None) -> Scalar:
        """L of outputs y.

        Errors: ValueError for other data than `sample` draws, and (outside a trace) for trials
        whose mask is zero everywhere.
        """
        batch = self.trials(batch)
        if not is_traced(batch.mask) and not np.asarray(batch.mask).any():
            raise ValueError(
                "Nothing is scored, as `batch.mask` is zero everywhere: set it to 1 where the "
                "output counts."
            )
        # time first, as simulations make outputs and tasks make targets: no copies to reorder them
        target, mask = (
            jnp.swapaxes(a, 0, 1).astype(output.dtype) for a in (batch.target, batch.mask)
        )
        total = jnp.sum(mask)
        error = self.criterion(jnp.swapaxes(output, 0, 1), target)
        mean = jnp.sum(mask * error) / jnp.where(total > 0, total, 1)
        return jnp.where(total > 0, mean, jnp.nan)

    def weight(self, batch: Trials | None) -> Scalar | None:
        """Σ mask."""
        return None if batch is None else jnp.sum(batch.mask)

    def trials(self, batch: Trials | None = None) -> Trials:
        """The data of one epoch, which are trials already, checked."""
        batch = self.data if batch is None else batch
        inputs, outputs = self.channels
        shapes = (self.steps, inputs), (self.steps, outputs), (self.steps,)
        return checked_batch(self, batch, Trials, *shapes)


def checked_batch(
    objective: AbstractObjective,
    batch: Any,
    kind: Any,
    *shapes: tuple[int, ...] | None,
    name: str = "batch",
) -> Any:
    """The trials of an epoch, checked against what `sample` draws.

    Arguments:
        objective, batch: whose data, and these.
        kind: the named tuple of their parts.
        shapes: of each part, without the axis of trials; None for what there is not.

    Errors: ValueError for another structure, other shapes, or what holds no real numbers.

    >>> batch = flips.sample(key)
    >>> shapes = (60, 1), (60, 1), (60,)
    >>> same = tasks.checked_batch(flips, batch, tasks.Trials, *shapes)
    >>> same.inputs.shape
    (4, 60, 1)
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != len(shapes):
        raise ValueError(
            f"`{name}` must be the data of an epoch as {type(objective).__name__}.sample(key) "
            f"returns them, a {kind.__name__} of {len(shapes)} arrays; got {shown(batch)}."
        )
    trials, parts = None, []
    for field, part, shape in zip(kind._fields, batch, shapes):
        if shape is None and part is None:
            parts.append(None)
            continue
        if part is not None:
            boolean = isinstance(part, (jax.Array, np.ndarray)) and part.dtype == bool
            part = as_float(part.astype(int) if boolean else part, f"{name}.{field}")
            trials = part.shape[:1] if trials is None else trials
        if part is None or shape is None or part.shape != (*(trials or ()), *shape):  # pyright: ignore[reportGeneralTypeIssues]
            wanted = f"an array of shape (trial, {', '.join(map(str, shape or ()))})"
            raise ValueError(
                f"`{name}.{field}` of this {type(objective).__name__} must be "
                f"{'None' if shape is None else wanted}, with as many trials as the other parts; "
                f"got {shown(part)}."
            )
        parts.append(part)
    return kind(*parts)


def check_fits(
    objective: AbstractObjective,
    model: AbstractRNN,
    channels: tuple[int, int],
    dt: Scalar | None,
) -> None:
    """Raise ValueError unless the model has these (inputs, outputs), and takes steps of dt.

    The steps are compared outside a trace, where dt is not None.

    >>> tasks.check_fits(task, net, (1, 1), task.dt)
    >>> tasks.check_fits(task, net, (2, 1), task.dt)
    Traceback (most recent call last):
        ...
    ValueError: ExponentialFilter has 2 input(s) and 1 output(s), but the model is a ...
    """
    as_network(model, "model")
    task, kind = type(objective).__name__, type(model).__name__
    if (model.inputs, model.outputs) != channels:
        raise ValueError(
            f"{task} has {channels[0]} input(s) and {channels[1]} output(s), but the model is a "
            f"{kind} with {model.inputs} input(s) and {model.outputs} output(s). Give the model "
            f"or the task the other's channels."
        )
    if dt is None or is_traced(dt, model.dt):
        return
    if not np.allclose(np.asarray(dt), np.asarray(model.dt), rtol=1e-6, atol=0):
        raise ValueError(
            f"{task} is sampled at dt = {dt}, but the {kind} takes steps of dt = {model.dt}. Give "
            f"both the same dt."
        )
