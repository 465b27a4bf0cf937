"""Networks whose neurons have noise of their own: drawn, or averaged over."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, UInt

from lrnn_jax._readable import of_part
from lrnn_jax._types import Input, Inputs, Numbers, Output, Outputs, State, States, Values
from lrnn_jax.networks import (
    AbstractActivation,
    AbstractRescheduledRNN,
    AbstractRNN,
    AbstractWrappedRNN,
    Simulation,
    inner_power,
)


def _kicks(network: "NoisyRNN", steps: int) -> Float[Array, "time trial state"]:
    """σ ε, drawn trial by trial."""
    inner = network.network

    def draw(key: Array) -> Float[Array, "time state"]:
        return jr.normal(key, (steps, inner.state_size), inner.dtype)

    kicks = jax.vmap(draw)(jr.wrap_key_data(network.keys))
    return network.std.astype(inner.dtype) * jnp.swapaxes(kicks, 0, 1)


def noisy_states(network: "NoisyRNN", inputs: Inputs, state: State, noise: None) -> States:
    """h_1 … h_T with noise."""
    inner = network.network
    return inner.simulation.states(inner, inputs, state, _kicks(network, len(inputs)))


def noisy_outputs(
    network: "NoisyRNN", inputs: Inputs, state: State, noise: None
) -> tuple[State, Outputs]:
    """h_T, and the outputs with noise."""
    inner = network.network
    return inner.simulation.outputs(inner, inputs, state, _kicks(network, len(inputs)))


class NoisyRNN(AbstractRescheduledRNN):
    """A network whose states get σ ε_t in each step, ε ~ N(0, 1) for each neuron and trial."""

    network: AbstractRNN
    std: Float[Array, ""]
    keys: UInt[Array, "trial word"]
    simulation = Simulation(noisy_states, noisy_outputs, power=inner_power)


class Smoothed(AbstractActivation):
    """⟨φ(h + √v ξ)⟩ over ξ ~ N(0, 1), as a function of h."""

    activation: AbstractActivation
    variance: Float[Array, ""]

    linear, odd = of_part("activation", "linear"), of_part("activation", "odd")

    def __call__(self, h: Values) -> Values:
        return self.average(h, jnp.zeros_like(h))

    def gain(self, mean: Values, variance: Values) -> Values:
        return self.activation.gain(mean, variance + self.variance)

    def average(self, mean: Values, variance: Values) -> Values:
        return self.activation.average(mean, variance + self.variance)

    def power(self, mean: Values, variance: Values) -> Values:
        return self.activation.power(mean, variance + self.variance)


def smoothed_states(network: "SmoothedRNN", inputs: Inputs, state: State, noise: None) -> States:
    """(h̄, v) at 1 … T."""
    return _run(network, inputs, state, lambda state: state)[1]


def smoothed_outputs(
    network: "SmoothedRNN", inputs: Inputs, state: State, noise: None
) -> tuple[State, Outputs]:
    """(h̄, v) at T, and the outputs."""
    return _run(network, inputs, state, network.readout)


def _run(network: "SmoothedRNN", inputs: Any, state: Any, see: Any) -> tuple[Array, Array]:
    def body(state: Array, x: Array) -> tuple[Array, Array]:
        state = network.step(state, x)
        return state, see(state)

    return network.network.simulation.scan(body, state, inputs)


def smoothed_power(network: "SmoothedRNN", states: State) -> Numbers:
    """‖rates‖²/s, of which the average over noise."""
    return network.at_each(lambda inner, h: inner.power(h), "(s)->()", states)


class SmoothedRNN(AbstractWrappedRNN):
    """Infinitely many neurons with noise of their own: what it leaves of it is another φ.

        h = h̄ + √v_t ξ,    v_{t+1} = (1 − dt)² v_t + σ²,    φ_t(h̄) = ⟨φ(h̄ + √v_t ξ)⟩,   ξ ~ N(0, 1)

    and h̄ moves as without noise, with φ_t in the place of φ. Its state is (h̄, v).
    """

    network: AbstractRNN
    std: Float[Array, ""]
    simulation = Simulation(smoothed_states, smoothed_outputs, power=smoothed_power)

    @property
    def state_size(self) -> int:
        return self.network.state_size + 1

    @property
    def initial_state(self) -> Float[Array, " state"]:
        return jnp.append(self.network.initial_state, 0)

    def step(self, state: State, x: Input) -> State:
        h = self.at_each(lambda inner, h, x: inner.step(h, x), "(s),(i)->(t)", state, x)
        keep, kick = 1 - self.dt.astype(h.dtype), self.std.astype(h.dtype)
        return jnp.concatenate([h, keep**2 * state[..., -1:] + kick**2], axis=-1)

    def readout(self, state: State) -> Output:
        return self.at_each(lambda inner, h: inner.readout(h), "(s)->(o)", state)

    def at_each(self, function: Any, signature: str, state: Array, *more: Array) -> Array:
        """A function of (network with φ_t, h̄, …) for each trial."""

        def one(state: Float[Array, " state"], *more: Array) -> Array:
            return function(self._smoothed(state[-1]), state[:-1], *more)

        return jnp.vectorize(one, signature=signature)(state, *more)

    def _smoothed(self, variance: Float[Array, ""]) -> Any:
        """The network inside with φ_t in the place of φ."""

        def is_activation(x: Any) -> bool:
            return isinstance(x, AbstractActivation)

        def smooth(x: Any) -> Any:
            return Smoothed(x, variance) if is_activation(x) else x

        return jax.tree.map(smooth, self.network, is_leaf=is_activation)
