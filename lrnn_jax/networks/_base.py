"""The contract of every network, full or reduced, and the only scan over time."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax.networks._activation import AbstractActivation


class AbstractRNN(eqx.Module):
    """A recurrent network in discrete (Euler) time: what tasks and learning need to know of it.

    A network has a state, a step h_t, x_t → h_{t+1} and a read-out y_t of the state *after* that
    step. All methods take leading axes (trials) before the last one.
    """

    dt: eqx.AbstractVar[Float[Array, ""]]
    activation: eqx.AbstractVar[AbstractActivation]

    @property
    @abstractmethod
    def inputs(self) -> int:
        """d_in, number of input channels."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """d_out, number of output channels."""

    @property
    @abstractmethod
    def state_size(self) -> int:
        """Number of state variables: N neurons, or a reduction's few latents."""

    @property
    def biased(self) -> bool:
        """Whether there are biases, a constant drive; networks that can have them say so."""
        return False

    @property
    def is_linear_system(self) -> bool:
        """Whether outputs are a linear function of the inputs: linear φ, no biases."""
        return self.activation.linear and not self.biased

    @property
    @abstractmethod
    def dtype(self) -> jnp.dtype:
        """Floating dtype of the weights; inputs are cast to it."""

    @abstractmethod
    def step(
        self, state: Float[Array, "*batch state"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch state"]:
        """The state one Euler step later."""

    @abstractmethod
    def readout(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch outputs"]:
        """The output of a state."""

    def states(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*batch state"] | None = None,
        noise: Float[Array, "*batch time state"] | None = None,
    ) -> Float[Array, "*batch time state"]:
        """States h_1 … h_T driven by x_0 … x_{T-1}.

        Arguments:
            inputs: x, shape (..., time, inputs).
            state: h_0, shape (..., state); zero if left out.
            noise: added to h_1 … h_T, and so to all that follows, shape (..., time, state).

        Errors: ValueError when the input channels do not fit.
        """
        return jnp.moveaxis(self._states(*self._time_first(inputs, state, noise)), 0, -2)

    def rollout(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*batch state"] | None = None,
        noise: Float[Array, "*batch time state"] | None = None,
    ) -> Float[Array, "*batch time outputs"]:
        """Outputs y_0 … y_{T-1} driven by x_0 … x_{T-1}; y_t is read out after step t.

        Arguments and errors: as for `states`.
        """
        return jnp.moveaxis(self._simulate(*self._time_first(inputs, state, noise))[1], 0, -2)

    def _states(
        self,
        inputs: Float[Array, "time *batch inputs"],
        state: Float[Array, "*batch state"],
        noise: Float[Array, "time *batch state"] | None,
    ) -> Float[Array, "time *batch state"]:
        """`states`, time first; a network that knows a faster way to the same has its own."""
        return scan_states(self, inputs, state, noise)

    def _simulate(
        self,
        inputs: Float[Array, "time *batch inputs"],
        state: Float[Array, "*batch state"],
        noise: Float[Array, "time *batch state"] | None,
    ) -> tuple[Float[Array, "*batch state"], Float[Array, "time *batch outputs"]]:
        """h_T and `rollout`, time first: one read-out of all states, as they lie in memory."""
        states = self._states(inputs, state, noise)
        return (states[-1] if len(states) else state), self.readout(states)

    def _time_first(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*batch state"] | None,
        noise: Float[Array, "*batch time state"] | None,
    ) -> tuple[Array, Array, Array | None]:
        """Arguments as users give them, checked, completed and with time first."""
        if inputs.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} has {self.inputs} input channel(s), the input array "
                f"{inputs.shape[-1]} (its last axis; shape {inputs.shape})."
            )
        inputs = jnp.moveaxis(inputs.astype(self.dtype), -2, 0)
        if state is None:
            state = jnp.zeros((*inputs.shape[1:-1], self.state_size), self.dtype)
        if noise is not None:
            noise = jnp.moveaxis(noise.astype(self.dtype), -2, 0)
        return inputs, state, noise


def scan_states(
    model: AbstractRNN,
    inputs: Float[Array, "time *batch inputs"],
    state: Float[Array, "*batch state"],
    noise: Float[Array, "time *batch state"] | None,
) -> Float[Array, "time *batch state"]:
    """States h_1 … h_T, one step after the other; noise is added to each."""

    def body(h, now):
        x, kick = now
        h = model.step(h, x)
        h = h if kick is None else h + kick
        return h, h

    _, states = jax.lax.scan(body, state, (inputs, noise))
    return states


def scan_outputs(
    model: AbstractRNN,
    inputs: Float[Array, "time *batch inputs"],
    state: Float[Array, "*batch state"],
    noise: Float[Array, "time *batch state"] | None,
) -> tuple[Float[Array, "*batch state"], Float[Array, "time *batch outputs"]]:
    """h_T and the outputs, each read out in its step: for wide states, which need not be kept."""

    def body(h, now):
        x, kick = now
        h = model.step(h, x)
        h = h if kick is None else h + kick
        return h, model.readout(h)

    return jax.lax.scan(body, state, (inputs, noise))


def describe(model: AbstractRNN) -> str:
    """ "LowRankRNN with 1 input and 2 outputs", for messages."""
    return f"{type(model).__name__} with {model.inputs} input(s) and {model.outputs} output(s)"
