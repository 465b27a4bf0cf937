"""Squared error between the impulse responses of a network and of a target filter.

    L = dt Σ_{t<T} ω_t ‖Y_t − F_t‖²,      ω_t = 1, or T − t ("triangular": white-noise input)

Y_t is the (inputs × outputs) response at step t to an input of 1/dt at step 0. For a linear
reduction Y_t = C Aᵗ B/dt, and the sum over time needs no simulation.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Scalar
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.reduced import AbstractReduction, LinearSystem
from lrnn_jax.tasks._base import Evaluation
from lrnn_jax.tasks._time_sums import Poles, by_doubling, closed_form

Sampled = Float[Array, "time inputs outputs"]


class AbstractResponse(AbstractReadable):
    """The impulse response F of a target filter, and what is known of how it comes about.

    >>> isinstance(tasks.Samples(jnp.ones((50, 1, 1))), tasks.AbstractResponse)
    True
    """

    generator: ClassVar[Any] = None
    """A linear system with this response, where one is known."""
    modes: ClassVar[Any] = None
    """F as a sum of exponentials, where it is one."""

    @abstractmethod
    def samples(self, steps: int) -> Sampled:
        """F_0 … F_{T-1}."""


class Samples(AbstractResponse):
    """Any response, given as an array of shape (time, inputs, outputs).

    >>> tasks.Samples(jnp.ones((50, 1, 1))).samples(50).shape
    (50, 1, 1)
    """

    values: Sampled

    def samples(self, steps: int) -> Sampled:
        return self.values


class Generated(AbstractResponse):
    """The response F_t = C Aᵗ B of a linear system.

    >>> response = tasks.Generated(reduced.linear_system(reduction))
    >>> response.samples(50).shape
    (50, 1, 1)
    """

    generator: LinearSystem

    @eqx.filter_jit
    def samples(self, steps: int) -> Sampled:
        a, b, c = self.generator

        def body(state: Array, _: None) -> tuple[Array, Array]:
            return a @ state, (c @ state).T

        return jax.lax.scan(body, b, length=steps)[1]


class Modes(AbstractResponse):
    """A filter made of exponentials: F_t = Re Σ_j c_j ρ_jᵗ.

    Arguments:
        poles: ρ, per step, shape (modes,); complex for oscillations.
        amplitudes: c, real, shape (modes, inputs, outputs).

    >>> half = tasks.Modes(jnp.array([0.5]), jnp.ones((1, 1, 1)))
    >>> print(half.samples(4).ravel())
    [1.    0.5   0.25  0.125]
    """

    poles: Poles
    amplitudes: Float[Array, "modes inputs outputs"]

    def astype(self, dtype: Any) -> "Modes":
        """The same filter in another floating dtype."""
        poles = np.result_type(dtype, np.complex64) if jnp.iscomplexobj(self.poles) else dtype
        return Modes(self.poles.astype(poles), self.amplitudes.astype(dtype))

    def samples(self, steps: int) -> Sampled:
        powers = self.poles[None, :] ** jnp.arange(steps, dtype=self.poles.dtype)[:, None]
        return jnp.einsum("tj,jio->tio", jnp.real(powers), self.amplitudes)

    @property
    def modes(self) -> "Modes":
        return self

    @property
    def generator(self) -> LinearSystem:
        """One state per mode and input (two if complex)."""
        modes, inputs, outputs = self.amplitudes.shape
        rho = self.poles
        if jnp.iscomplexobj(rho):
            a = jnp.stack([rho.real, -rho.imag, rho.imag, rho.real], -1).reshape(modes, 2, 2)
        else:
            a = rho[:, None, None]
        each = a.shape[-1]
        a = jnp.kron(jax.scipy.linalg.block_diag(*a), jnp.eye(inputs, dtype=a.dtype))
        first = jnp.eye(each, dtype=a.dtype)[0]
        b = jnp.kron(jnp.tile(first, modes)[:, None], jnp.eye(inputs, dtype=a.dtype))
        c = jnp.einsum("jio,e->ojei", self.amplitudes, first).reshape(outputs, -1)
        return LinearSystem(a=a, b=b, c=c)


@partial(jax.jit, static_argnames=("inputs", "steps"))
def impulses(inputs: int, steps: int, dt: Scalar) -> Float[Array, "inputs time inputs"]:
    """An impulse of 1/dt at step 0, on one input channel in each trial."""
    pulse = jnp.eye(inputs, dtype=dt.dtype) / dt
    return jnp.zeros((inputs, steps, inputs), dt.dtype).at[:, 0].set(pulse)


def impulse_response(model: AbstractRNN, steps: int) -> Sampled:
    """Y_t: outputs at step t after an input of 1/dt at step 0, one input channel at a time.

    >>> same = tasks.impulse_response(net, 50) - tasks.impulse_response(reduction, 50)
    >>> bool(abs(same).max() < 1e-12)
    True
    """
    inputs = impulses(model.inputs, steps, model.dt.astype(model.dtype))
    return jnp.swapaxes(model.rollout(inputs), 0, 1)


def response_error(
    model: AbstractRNN,
    target: AbstractResponse,
    steps: int,
    *,
    evaluation: Evaluation = Evaluation.AUTO,
    triangular: bool = False,
) -> Scalar:
    """dt Σ_t ω_t ‖Y_t − F_t‖² by the requested or the fastest applicable way.

    Arguments:
        model: a network (always simulated) or a linear reduction.
        target: F.
        steps: T.
        evaluation: how, for a reduction.
        triangular: ω_t = T − t in place of 1.

    Errors: ValueError when the requested way does not apply to this model and target.
    """
    dt = model.dt.astype(model.dtype)
    way = choose_evaluation(model, target, evaluation)
    if way is Evaluation.CLOSED_FORM:
        return dt * closed_form(model, target.modes, steps, triangular)
    if way is Evaluation.DOUBLING:
        return dt * by_doubling(model, target.generator, steps, triangular)
    error = impulse_response(model, steps) - target.samples(steps).astype(model.dtype)
    squared = jnp.sum(error**2, axis=(1, 2))
    weights = steps - jnp.arange(steps, dtype=squared.dtype)
    return dt * jnp.sum(squared * weights if triangular else squared)


def choose_evaluation(
    model: AbstractRNN, target: AbstractResponse, asked: Evaluation
) -> Evaluation:
    """The way a loss is computed.

    Errors: ValueError when the one asked for does not apply to this reduction and target.

    >>> half = tasks.Modes(jnp.array([0.5]), jnp.ones((1, 1, 1)))
    >>> tasks.choose_evaluation(reduction, half, lrnn.Evaluation.AUTO)
    <Evaluation.CLOSED_FORM: 4>
    """
    if not isinstance(model, AbstractReduction) or not model.is_linear_system:
        return Evaluation.ROLLOUT
    closed = target.modes is not None and model.roles.rank == 1
    if asked is Evaluation.CLOSED_FORM and not closed:
        kind = "something else" if target.modes is None else "exponentials"
        raise ValueError(
            f"The closed form takes rank 1 and a target made of exponentials; here the reduction "
            f"has rank {model.roles.rank} and the target is made of {kind}. Use Evaluation.AUTO."
        )
    if asked is Evaluation.DOUBLING and target.generator is None:
        raise ValueError(
            "Doubling takes a target with a generator (exponentials, another linear network); "
            "this one is an array of samples. Use Evaluation.ROLLOUT or AUTO."
        )
    if asked is not Evaluation.AUTO:
        return asked
    if closed:
        return Evaluation.CLOSED_FORM
    return Evaluation.ROLLOUT if target.generator is None else Evaluation.DOUBLING
