"""Simulations whose gradients take little memory."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._scan import in_blocks
from lrnn_jax.networks._activation import AbstractActivation
from lrnn_jax.networks._base import AbstractRNN, Simulation, scan_states


def outputs_in_blocks(
    network: "CheckpointedRNN",
    inputs: Float[Array, "time *batch inputs"],
    state: Float[Array, "*batch state"],
    noise: Float[Array, "time *batch state"] | None,
) -> tuple[Float[Array, "*batch state"], Float[Array, "time *batch outputs"]]:
    """h_T and the outputs, block by block."""
    inner = network.network

    def run(h: Array, data: Any, n: int) -> tuple[Array, Array]:
        return inner.simulation.outputs(inner, data[0], h, data[1])

    return in_blocks(run, state, (inputs, noise), len(inputs), _block(len(inputs)))


def scan_in_blocks(body: Any, carry: Any, data: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`, block by block."""
    steps = len(jax.tree.leaves(data)[0])

    def run(carry: Any, data: Any, n: int) -> tuple[Any, Any]:
        return jax.lax.scan(body, carry, data)

    return in_blocks(run, carry, data, steps, _block(steps))


def _block(steps: int) -> int:
    """√(T/3) steps, so that √(3T) states between blocks and as many in one are kept."""
    return max(math.isqrt(steps // 3), 1)  # in a block a step keeps about three states


class CheckpointedRNN(AbstractRNN):
    """A network that does the same as another, with gradients in memory for O(√T) states.

    Of each block of steps only the state before it and the outputs are kept; reverse mode simulates
    the block again. `learn(simulate=Checkpointed())` learns by it.

    Arguments:
        network: what is simulated.

    Source: A. Griewank, Optim. Methods Softw. 1 (1992), for checkpoints.
    """

    network: AbstractRNN
    simulation = Simulation(scan_states, outputs_in_blocks, scan_in_blocks)

    def __init__(self, network: AbstractRNN):
        self.network = network

    @property
    def dt(self) -> Float[Array, ""]:
        return self.network.dt

    @property
    def activation(self) -> AbstractActivation:
        return self.network.activation

    @property
    def inputs(self) -> int:
        return self.network.inputs

    @property
    def outputs(self) -> int:
        return self.network.outputs

    @property
    def state_size(self) -> int:
        return self.network.state_size

    @property
    def biased(self) -> bool:
        return self.network.biased

    @property
    def initial_state(self) -> Float[Array, " state"]:
        return self.network.initial_state

    @property
    def dtype(self) -> jnp.dtype:
        return self.network.dtype

    def step(
        self, state: Float[Array, "*batch state"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch state"]:
        return self.network.step(state, x)

    def readout(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch outputs"]:
        return self.network.readout(state)
