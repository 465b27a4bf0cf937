"""Tasks on white-noise input: imitate a filter or a teacher network."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_float, component, number, one_key, whole, whole_or_none
from lrnn_jax._readable import of_part
from lrnn_jax._types import Scalar
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.reduced import linear_system, simplest
from lrnn_jax.tasks._base import (
    AbstractTask,
    AbstractTrialTask,
    Evaluation,
    TrialInputs,
    TrialOutputs,
    Trials,
    as_evaluation,
    check_fits,
    checked_batch,
)
from lrnn_jax.tasks._filter import AbstractFilter
from lrnn_jax.tasks._gradient_noise import InputNoise
from lrnn_jax.tasks._response import (
    AbstractResponse,
    Generated,
    Samples,
    choose_evaluation,
    impulse_response,
    impulses,
    response_error,
)


class Pairs(NamedTuple):
    """Inputs, and the outputs of the imitated system for them.

    >>> batch = lrnn.WhiteNoise(task, batch=4).sample(key)
    >>> batch.inputs.shape, batch.target.shape
    ((4, 50, 1), (4, 50, 1))
    """

    inputs: Float[Array, "*epoch trial time inputs"]
    target: Float[Array, "*epoch trial time outputs"]


class AbstractWhiteNoise(AbstractTask):
    """Imitate a system on white-noise input, by minibatch or in exact expectation.

        x_t ~ N(0, σ²) per step and input,      L = dt Σ_{t<T} ⟨‖y_t − y*_t‖²⟩ over trials

    For linear systems with impulse responses Y and F (to inputs of 1/dt),

        ⟨L⟩ = σ² dt³ Σ_{t<T} (T − t) ‖Y_t − F_t‖².

    Source: [CL] open-loop students; the expectation: ours.

    >>> isinstance(lrnn.WhiteNoise(task), tasks.AbstractWhiteNoise)
    True
    """

    steps: eqx.AbstractVar[int]
    std: eqx.AbstractVar[Scalar]
    signal: eqx.AbstractVar["AbstractTrialTask | None"]
    batch: eqx.AbstractVar[int | None]
    evaluation: eqx.AbstractVar[Evaluation]
    channels: eqx.AbstractVar[tuple[int, int]]
    """(inputs, outputs) of the imitated system."""

    @property
    @abstractmethod
    def response(self) -> AbstractResponse:
        """Impulse response of the imitated system, for the expectation."""

    @abstractmethod
    def imitate(self, inputs: TrialInputs) -> TrialOutputs:
        """Outputs y* of the imitated system."""

    @property
    def stochastic(self) -> bool:
        return self.batch is not None

    def check(self, model: AbstractRNN) -> None:
        check_fits(self, model, self.channels, self.dt)
        if self.batch is None:
            self._check_expectation(model)
            choose_evaluation(model, self.response, self.evaluation)

    def _check_expectation(self, model: AbstractRNN) -> None:
        if not model.is_linear_system:
            raise ValueError(
                f"The expected loss of {type(self).__name__} is known for linear networks without "
                f"biases; give `batch` to train this {type(model).__name__} on samples."
            )

    def sample(self, key: PRNGKeyArray) -> Pairs | None:
        """Inputs and targets of one minibatch; None for the exact expectation."""
        if self.batch is None:
            return None
        noise_key, signal_key = jr.split(one_key(key))
        shape = self.steps, self.batch, self.channels[0]
        inputs = self.std * jnp.swapaxes(jr.normal(noise_key, shape, self.std.dtype), 0, 1)
        if self.signal is not None:
            inputs = inputs + self.signal.inputs(self.signal.sample(signal_key))
        return Pairs(inputs, self.imitate(inputs))

    def loss(self, model: AbstractRNN, batch: Pairs | None = None) -> Scalar:
        """L of a minibatch, or ⟨L⟩ where `batch` is None."""
        dt = as_network(model, "model").dt.astype(model.dtype)
        if batch is not None:
            return self.score(self.output(model, batch), batch)
        self._check_expectation(model)
        error = response_error(
            model, self.response, self.steps, evaluation=self.evaluation, triangular=True
        )
        return (self.std.astype(model.dtype) * dt) ** 2 * error

    def weight(self, batch: Pairs | None) -> Scalar | None:
        """The number of trials; None for the expectation."""
        return None if batch is None else as_float(batch[0].shape[0])

    def gradient_noise(self, model: AbstractRNN) -> InputNoise:
        """e = σ dt^{3/2} (Y − F)."""
        if self.batch is None or self.signal is not None:
            what = "no `batch`" if self.batch is None else "a `signal` beside its noise"
            raise ValueError(
                f"`task` must draw minibatches of white noise for gradients to be random; this "
                f"{type(self).__name__} has {what}."
            )
        y, dt = impulse_response(model, self.steps), model.dt.astype(model.dtype)
        error = y - self.response.samples(self.steps).astype(y.dtype)
        size = self.std.astype(y.dtype) * dt ** (3 / 2)
        return InputNoise(size * error, jnp.asarray(self.batch, y.dtype), jnp.zeros_like(dt))

    def inputs(self, batch: Pairs | None = None) -> TrialInputs:
        """x of a minibatch; impulses, the responses to which decide ⟨L⟩, where `batch` is None."""
        if batch is None:
            return impulses(self.channels[0], self.steps, self.dt)
        return self._pairs(batch).inputs

    def score(self, output: TrialOutputs, batch: Pairs | None = None) -> Scalar:
        """L of a minibatch's outputs, or ⟨L⟩ of impulse responses where `batch` is None."""
        dt = self.dt.astype(output.dtype)
        # time first, as simulations make outputs: no copies to reorder them
        output = jnp.swapaxes(output, 0, 1)
        if batch is not None:
            target = self._pairs(batch).target
            error = output - jnp.swapaxes(target, 0, 1).astype(output.dtype)
            return dt * jnp.sum(error**2) / len(target)
        error = output - self.response.samples(self.steps).astype(output.dtype)
        left = self.steps - jnp.arange(self.steps, dtype=output.dtype)
        power = jnp.sum(left * jnp.sum(error**2, axis=(1, 2)))
        return self.std.astype(output.dtype) ** 2 * dt**3 * power

    def trials(self, batch: Pairs | None = None) -> Trials:
        """A minibatch as trials.

        Errors: ValueError without one: the exact expectation has no trials.
        """
        if batch is None:
            raise ValueError("The exact expectation has no trials: give `batch` trials a number.")
        inputs, target = self._pairs(batch)
        return Trials(inputs, target, jnp.ones(target.shape[:2], target.dtype))

    def _pairs(self, batch: Any) -> Pairs:
        """A minibatch, checked."""
        inputs, outputs = self.channels
        return checked_batch(self, batch, Pairs, (self.steps, inputs), (self.steps, outputs))


class WhiteNoise(AbstractWhiteNoise):
    """White-noise input with a filter of it as the target: y*_t = dt Σ_j F_j x_{t−j}.

    Arguments:
        filter: the filter to become, e.g. `ExponentialFilter`; sets T, dt and channels.
        std: σ, standard deviation of the input per step.
        batch: trials per epoch, or None for the exact expectation.
        evaluation: how a reduction's expected loss is computed.

    Errors: ValueError for σ < 0 or not finite, batch < 1, a filter with label noise.

    >>> expected = lrnn.WhiteNoise(task)
    >>> float(expected.loss(reduction, None)) > 0
    True
    """

    filter: AbstractFilter
    std: Scalar
    signal = None
    batch: int | None = eqx.field(static=True)
    evaluation: Evaluation = eqx.field(static=True)
    dt, steps = of_part("filter", "dt"), of_part("filter", "steps")
    channels, response = of_part("filter", "channels"), of_part("filter", "response")

    def __init__(
        self,
        filter: AbstractFilter,
        *,
        std: ArrayLike = 1.0,
        batch: int | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        component(filter, AbstractFilter, "filter", "ExponentialFilter(0.2, dt, steps)")
        if filter.stochastic:
            raise ValueError("Label noise belongs to the impulse task: give a `filter` without it.")
        self.filter = filter
        self.std = number(std, "std", 0)
        self.batch = whole_or_none(batch, "batch", "the exact expectation")
        self.evaluation = as_evaluation(evaluation)

    def imitate(self, inputs: TrialInputs) -> TrialOutputs:
        response, length = self.filter.samples, 2 * self.steps
        spectra = jnp.fft.rfft(inputs, length, axis=1), jnp.fft.rfft(response, length, axis=0)
        product = jnp.einsum("bfi,fio->bfo", *spectra)
        return self.dt * jnp.fft.irfft(product, length, axis=1)[:, : self.steps]


class TeacherStudent(AbstractWhiteNoise):
    """Imitate another network on white-noise input: y* is the teacher's output.

    With a `signal`, the input is that of another task plus the noise.

    Arguments:
        teacher: a full or reduced network; sets dt and channels.
        steps: T.
        std: σ, standard deviation of the input per step.
        signal: a task whose inputs are added to the noise; its batch must be ours.
        batch: trials per epoch, or None for the exact expectation (linear networks).
        evaluation: how a reduction's expected loss is computed.

    Errors: ValueError for steps or batch < 1, σ < 0, or batch=None with a nonlinear teacher.

    Source: [LR] memory experiment, [CL] open-loop student.

    >>> imitate = lrnn.TeacherStudent(net, steps=50)
    >>> bool(abs(imitate.loss(reduction, None)) < 1e-12)
    True
    """

    teacher: AbstractRNN
    steps: int = eqx.field(static=True)
    std: Scalar
    signal: AbstractTrialTask | None
    batch: int | None = eqx.field(static=True)
    evaluation: Evaluation = eqx.field(static=True)
    dt = of_part("teacher", "dt")

    def __init__(
        self,
        teacher: AbstractRNN,
        steps: int,
        *,
        std: ArrayLike = 1.0,
        signal: AbstractTrialTask | None = None,
        batch: int | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        self.steps = steps = whole(steps, "steps")
        self.batch = batch = whole_or_none(batch, "batch", "the exact expectation")
        as_network(teacher, "teacher")
        if batch is None and not teacher.is_linear_system:
            raise ValueError(
                "The expected loss is known for linear teachers without biases; give `batch` for "
                "this one."
            )
        if signal is not None:
            component(signal, AbstractTrialTask, "signal", "FlipFlop(dt, steps, batch)")
        if signal is not None and (signal.batch, signal.steps) != (batch, steps):
            raise ValueError(
                f"`signal` has {signal.batch} trials of {signal.steps} steps, but this task "
                f"{batch} of {steps}: give both the same."
            )
        self.signal = signal
        self.teacher = teacher
        self.std = number(std, "std", 0)
        self.evaluation = as_evaluation(evaluation)

    @property
    def channels(self) -> tuple[int, int]:
        return self.teacher.inputs, self.teacher.outputs

    @property
    def response(self) -> AbstractResponse:
        system = linear_system(simplest(self.teacher))
        if system is None:
            return Samples(impulse_response(self.teacher, self.steps))
        return Generated(system._replace(b=system.b / self.dt))

    def imitate(self, inputs: TrialInputs) -> TrialOutputs:
        return self.teacher.rollout(inputs)
