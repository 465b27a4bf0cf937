"""Impulse-response tasks: the network must become a given linear filter."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import (
    as_dt,
    one_key,
    optional,
    real_array,
    same_dtype,
    shaped,
    whole,
)
from lrnn_jax._types import Scalar
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.tasks._base import (
    AbstractTask,
    Evaluation,
    Trials,
    as_evaluation,
    check_fits,
)
from lrnn_jax.tasks._gradient_noise import LabelNoise
from lrnn_jax.tasks._response import (
    AbstractResponse,
    Modes,
    Sampled,
    Samples,
    choose_evaluation,
    impulse_response,
    impulses,
    response_error,
)


class AbstractFilter(AbstractTask):
    """A task defined by the response to an impulse of 1/dt at step 0, one input at a time.

        L = dt Σ_{t<T} Σ_{io} (Y_t[i, o] − F_t[i, o] − σ ξ_t[i, o])²

    F is the target, ξ ~ N(0, 1) label noise drawn afresh in each epoch.

    >>> isinstance(task, tasks.AbstractFilter), isinstance(flips, tasks.AbstractFilter)
    (True, False)
    """

    steps: eqx.AbstractVar[int]
    """T."""
    channels: eqx.AbstractVar[tuple[int, int]]
    """(inputs, outputs) of the target."""
    label_noise: eqx.AbstractVar[Scalar | None]
    evaluation: eqx.AbstractVar[Evaluation]

    def __init__(self, dt: ArrayLike, label_noise: ArrayLike | None, evaluation: Evaluation):
        self.dt = as_dt(dt)
        self.label_noise = optional(label_noise, "label_noise", 0)
        self.evaluation = as_evaluation(evaluation)

    @property
    @abstractmethod
    def response(self) -> AbstractResponse:
        """F in its most useful form: modes where it has them, samples otherwise."""

    @property
    def samples(self) -> Sampled:
        """F_0 … F_{T-1}; F_t is the target at time t·dt."""
        return _samples(self)

    @property
    def stochastic(self) -> bool:
        return self.label_noise is not None

    def check(self, model: AbstractRNN) -> None:
        check_fits(self, model, self.channels, self.dt)
        if not self.stochastic:
            eqx.filter_eval_shape(_way, self, model)

    def sample(self, key: PRNGKeyArray) -> Sampled | None:
        """Label noise of one epoch, σ ξ; None without label noise."""
        if self.label_noise is None:
            return None
        shape = (self.steps, *self.channels)
        return self.label_noise * jr.normal(one_key(key), shape, self.label_noise.dtype)

    def loss(self, model: AbstractRNN, batch: Sampled | None = None) -> Scalar:
        """L; `batch` is added to the target (label noise from `sample`)."""
        as_network(model, "model")
        return _loss(self, model, None if batch is None else self._noisy(batch))

    def inputs(self, batch: Sampled | None = None) -> Float[Array, "inputs time inputs"]:
        """One trial an input channel: an impulse of 1/dt at step 0."""
        return impulses(self.channels[0], self.steps, self.dt)

    def score(
        self, output: Float[Array, "inputs time outputs"], batch: Sampled | None = None
    ) -> Scalar:
        """L of impulse responses, one trial an input channel."""
        error = output - self.trials(batch).target.astype(output.dtype)
        return self.dt.astype(output.dtype) * jnp.sum(error**2)

    def weight(self, batch: Any) -> None:
        return None

    def gradient_noise(self, model: AbstractRNN) -> LabelNoise:
        """e = √dt (Y − F), and σ √dt."""
        if self.label_noise is None:
            raise ValueError("`task` must have label noise, e.g. label_noise=0.1.")
        y, dt = impulse_response(model, self.steps), model.dt.astype(model.dtype)
        error = jnp.sqrt(dt) * (y - self.samples.astype(y.dtype))
        return LabelNoise(
            error, jnp.sqrt(dt) * self.label_noise.astype(y.dtype), jnp.zeros_like(dt)
        )

    def _noisy(self, batch: Any) -> Sampled:
        """F with the label noise of an epoch."""
        target = self.samples
        if batch is None:
            return target
        return target + shaped(batch, "batch", *target.shape).astype(target.dtype)

    def trials(self, batch: Sampled | None = None) -> Trials:
        """One trial an input channel: an impulse of 1/dt, and the response to become."""
        target = jnp.swapaxes(self._noisy(batch), 0, 1)
        return Trials(self.inputs(batch), target, jnp.ones(target.shape[:2], target.dtype))


class ImpulseResponse(AbstractFilter):
    """Become the filter with a given impulse response, any samples.

    Arguments:
        target: F_t at times t·dt, shape (time,), or (time, inputs, outputs).
        dt: Euler step in membrane time constants, in (0, 1]; the network's.
        label_noise: σ, standard deviation of the noise on each target sample (None: none).
        evaluation: how a reduction's loss is computed.

    Errors: ValueError for a target of another shape or with entries that are not finite, dt
    outside (0, 1], σ < 0.

    Source: [LR] methods (loss of the filter task).

    >>> t = 0.1 * np.arange(50)
    >>> alpha = lrnn.ImpulseResponse(t * np.exp(-t), dt=0.1)
    >>> float(alpha.loss(reduction, None)) > 0
    True
    """

    target: Sampled
    dt: Scalar
    label_noise: Scalar | None
    evaluation: Evaluation = eqx.field(static=True)

    def __init__(
        self,
        target: ArrayLike,
        *,
        dt: ArrayLike,
        label_noise: ArrayLike | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        target = real_array(target, "target")
        if target.ndim == 1:
            target = target[:, None, None]
        if target.ndim != 3 or 0 in target.shape:
            raise ValueError(
                f"`target` has shape (time,) or (time, inputs, outputs); got {target.shape}."
            )
        self.target = target
        super().__init__(dt, label_noise, evaluation)

    @property
    def response(self) -> AbstractResponse:
        return Samples(self.target)

    @property
    def steps(self) -> int:
        return self.target.shape[0]

    @property
    def channels(self) -> tuple[int, int]:
        return self.target.shape[1], self.target.shape[2]


class ExponentialFilter(AbstractFilter):
    """Become a leaky integrator: target F(τ) = a* e^{−c* τ} at times τ = t·dt.

    A rank-1 network solves it with zm = a*, zu·vm = a*(1 − c*), vu = 1 − c*.

    Arguments:
        rate: c*, decay rate per membrane time constant; a number, or one per channel pair, shape
            (inputs, outputs).
        dt: Euler step in membrane time constants, in (0, 1]; the network's.
        steps: T.
        amplitude: a*; a number for one input and output, or shape (inputs, outputs).
        label_noise: σ, standard deviation of the noise on each target sample (None: none).
        evaluation: how a reduction's loss is computed.

    Errors: ValueError for steps < 1, dt outside (0, 1], σ < 0, arrays that are not finite or of
    another shape.

    Source: [LR] fig. 1.

    >>> task = lrnn.ExponentialFilter(rate=0.2, dt=0.1, steps=50)
    >>> solved = lrnn.Overlaps.from_visible(zm=1, zu=0.8, vm=1, vu=0.8, mu=0, mm=1, uu=1)
    >>> float(task.loss(lrnn.ReducedRNN(solved, dt=0.1), None)) < 0.01
    True
    """

    rate: Float[Array, "..."]
    amplitude: Float[Array, "inputs outputs"]
    dt: Scalar
    steps: int = eqx.field(static=True)
    label_noise: Scalar | None
    evaluation: Evaluation = eqx.field(static=True)

    def __init__(
        self,
        rate: ArrayLike,
        dt: ArrayLike,
        steps: int,
        amplitude: ArrayLike = 1.0,
        *,
        label_noise: ArrayLike | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        self.rate, self.amplitude = _per_channel(rate, amplitude)
        super().__init__(dt, label_noise, evaluation)
        self.steps = whole(steps, "steps")

    @property
    def response(self) -> AbstractResponse:
        return _modes(jnp.exp(-self.rate * self.dt), self.amplitude)

    @property
    def channels(self) -> tuple[int, int]:
        return self.amplitude.shape[0], self.amplitude.shape[1]


class MixedFilter(AbstractFilter):
    """Become a sum of filters: target F(τ) = Σ_j a_j e^{−c_j τ} cos(ω_j τ) at times τ = t·dt.

    One input and one output. `inference.separate` and `optimal_probe` choose the a_j.

    Arguments:
        rates: c_j, decay rates per membrane time constant, shape (terms,).
        amplitudes: a_j, shape (terms,).
        frequencies: ω_j, radians per membrane time constant, shape (terms,); None: all 0.
        dt, steps, label_noise, evaluation: as for `ExponentialFilter`.

    Errors: ValueError for arrays of different lengths or that are not finite, and as for
    `ExponentialFilter`.

    Source: ours.

    >>> both = tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, -0.5]), dt=0.1, steps=50)
    >>> bool(both.samples[0, 0, 0] == 0.5)
    True
    """

    rates: Float[Array, " terms"]
    amplitudes: Float[Array, " terms"]
    frequencies: Float[Array, " terms"]
    dt: Scalar
    steps: int = eqx.field(static=True)
    label_noise: Scalar | None
    evaluation: Evaluation = eqx.field(static=True)
    channels = (1, 1)

    def __init__(
        self,
        rates: ArrayLike,
        amplitudes: ArrayLike,
        frequencies: ArrayLike | None = None,
        *,
        dt: ArrayLike,
        steps: int,
        label_noise: ArrayLike | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        self.rates = shaped(real_array(rates, "rates"), "rates", "terms")
        size = len(self.rates)
        self.amplitudes = shaped(real_array(amplitudes, "amplitudes"), "amplitudes", size)
        turn = jnp.zeros_like(self.rates) if frequencies is None else frequencies
        self.frequencies = shaped(real_array(turn, "frequencies"), "frequencies", size)
        self.rates, self.frequencies = same_dtype(self.rates, self.frequencies)
        super().__init__(dt, label_noise, evaluation)
        self.steps = whole(steps, "steps")

    @property
    def response(self) -> AbstractResponse:
        poles = jnp.exp(jax.lax.complex(-self.rates * self.dt, self.frequencies * self.dt))
        return Modes(poles, self.amplitudes[:, None, None])


class OscillatingFilter(AbstractFilter):
    """Become a damped oscillator: target F(τ) = a* e^{−c* τ} cos(ω* τ) at times τ = t·dt.

    Needs rank 2: the eigenvalues of the reduced recurrence VᵀU/s reach 1 − c* ± iω*.

    Arguments:
        frequency: ω*, angular frequency in radians per membrane time constant; a number, or one
            per channel pair, shape (inputs, outputs).
        rate, dt, steps, amplitude, label_noise, evaluation: as for `ExponentialFilter`.

    Errors: as for `ExponentialFilter`.

    Source: [LR] fig. 12.

    >>> wave = lrnn.OscillatingFilter(rate=0.3, frequency=2.0, dt=0.1, steps=50)
    >>> two = lrnn.LowRankRNN.normalised(40, rank=2, dt=0.1, key=key)
    >>> float(wave.loss(lrnn.reduce(two), None)) > 0
    True
    """

    rate: Float[Array, "..."]
    frequency: Float[Array, "..."]
    amplitude: Float[Array, "inputs outputs"]
    dt: Scalar
    steps: int = eqx.field(static=True)
    label_noise: Scalar | None
    evaluation: Evaluation = eqx.field(static=True)

    def __init__(
        self,
        rate: ArrayLike,
        frequency: ArrayLike,
        dt: ArrayLike,
        steps: int,
        amplitude: ArrayLike = 1.0,
        *,
        label_noise: ArrayLike | None = None,
        evaluation: Evaluation = Evaluation.AUTO,
    ):
        self.rate, self.amplitude = _per_channel(rate, amplitude)
        frequency = real_array(frequency, "frequency")
        self.rate, self.amplitude, self.frequency = same_dtype(self.rate, self.amplitude, frequency)
        if self.frequency.shape not in ((), self.rate.shape):
            raise ValueError(
                f"`frequency` must be a number or have the shape of `rate` {self.rate.shape}; got "
                f"{self.frequency.shape}."
            )
        super().__init__(dt, label_noise, evaluation)
        self.steps = whole(steps, "steps")

    @property
    def response(self) -> AbstractResponse:
        size = jnp.exp(-self.rate * self.dt)
        angle = jnp.broadcast_to(self.frequency, self.rate.shape) * self.dt
        return _modes(jax.lax.complex(size * jnp.cos(angle), size * jnp.sin(angle)), self.amplitude)

    @property
    def channels(self) -> tuple[int, int]:
        return self.amplitude.shape[0], self.amplitude.shape[1]


@eqx.filter_jit
def _samples(task: AbstractFilter) -> Sampled:
    return task.response.samples(task.steps)


@eqx.filter_jit
def _loss(task: AbstractFilter, model: AbstractRNN, target: Sampled | None) -> Scalar:
    """L, of the task's own target or of a noisy one."""
    response, way = task.response, task.evaluation
    if target is not None:
        response, way = Samples(target), Evaluation.AUTO
    return response_error(model, response, task.steps, evaluation=way)


def _way(task: AbstractFilter, model: AbstractRNN) -> Evaluation:
    return choose_evaluation(model, task.response, task.evaluation)


def _per_channel(rate: ArrayLike, amplitude: ArrayLike) -> tuple[Array, Array]:
    """Rate and amplitude as arrays, the amplitude always of shape (inputs, outputs)."""
    rates, sizes = same_dtype(real_array(rate, "rate"), real_array(amplitude, "amplitude"))
    shapes = [x.shape for x in (sizes, rates) if x.ndim]
    shape = shapes[0] if shapes else (1, 1)
    if len(shape) != 2 or 0 in shape or len(set(shapes)) > 1:
        raise ValueError(
            f"`rate` and `amplitude` are numbers or have shape (inputs, outputs), the same where "
            f"both have one; got {rates.shape} and {sizes.shape}."
        )
    return rates, jnp.broadcast_to(sizes, shape)


def _modes(poles: Array, amplitude: Float[Array, "inputs outputs"]) -> Modes:
    """One mode for all channels, or one for each pair of channels with a pole of its own."""
    if poles.ndim == 0:
        return Modes(poles[None], amplitude[None])
    each = jnp.eye(amplitude.size, dtype=amplitude.dtype).reshape(-1, *amplitude.shape)
    return Modes(poles.reshape(-1), each * amplitude[None])
