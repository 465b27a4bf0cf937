"""Simulations whose gradients take little memory."""

import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from lrnn_jax._readable import of_part
from lrnn_jax._scan import in_blocks
from lrnn_jax._types import Inputs, Outputs, State, States
from lrnn_jax.networks._base import AbstractRNN, Simulation, as_network, scan_states


def outputs_in_blocks(
    network: "CheckpointedRNN", inputs: Inputs, state: State, noise: States | None
) -> tuple[State, Outputs]:
    """h_T and the outputs, block by block."""

    def run(h: Array, data: Any, n: int) -> tuple[Array, Array]:
        return network.network.simulation.outputs(network.network, data[0], h, data[1])

    return _in_blocks(run, state, (inputs, noise))


def scan_in_blocks(body: Any, carry: Any, data: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`, block by block."""

    def run(carry: Any, data: Any, n: int) -> tuple[Any, Any]:
        return jax.lax.scan(body, carry, data)

    return _in_blocks(run, carry, data)


def _in_blocks(run: Any, carry: Any, data: Any) -> tuple[Any, Any]:
    """Blocks of √(T/3) steps, so that √(3T) states between blocks and as many in one are kept."""
    steps = len(jax.tree.leaves(data)[0])
    size = max(math.isqrt(steps // 3), 1)  # in a block a step keeps about three states
    return in_blocks(run, carry, data, steps, size)


_inner = partial(of_part, "network")


def inner_power(network: "AbstractWrappedRNN", states: Array) -> Array:
    """The power of the network inside.

    >>> states = net.states(jnp.ones((50, 1)))
    >>> same = networks.inner_power(networks.CheckpointedRNN(net), states) == net.power(states)
    >>> bool(same.all())
    True
    """
    return network.network.power(states)


class AbstractWrappedRNN(AbstractRNN):
    """A network around another one, `network`, with the same channels.

    >>> isinstance(lrnn.networks.CheckpointedRNN(net), networks.AbstractWrappedRNN)
    True
    """

    network: eqx.AbstractVar[AbstractRNN]

    dt, activation, dtype = _inner("dt"), _inner("activation"), _inner("dtype")
    inputs, outputs, c = _inner("inputs"), _inner("outputs"), _inner("c")
    biased, mean_field = _inner("biased"), _inner("mean_field")


class AbstractRescheduledRNN(AbstractWrappedRNN):
    """A network that is another one, `network`, but for how its steps follow each other.

    >>> isinstance(lrnn.networks.CheckpointedRNN(net), networks.AbstractRescheduledRNN)
    True
    """

    state_size, initial_state = _inner("state_size"), _inner("initial_state")
    step, readout = _inner("step"), _inner("readout")


class CheckpointedRNN(AbstractRescheduledRNN):
    """A network that does the same as another, with gradients in memory for O(√T) states.

    Of each block of steps only the state before it and the outputs are kept; reverse mode simulates
    the block again. `learn(simulate=Checkpointed())` learns by it.

    Arguments:
        network: what is simulated.

    Source: A. Griewank, Optim. Methods Softw. 1 (1992), for checkpoints.

    >>> x = jr.normal(key, (50, 1))
    >>> bool(jnp.allclose(networks.CheckpointedRNN(net).rollout(x), net.rollout(x)))
    True
    """

    network: AbstractRNN
    simulation = Simulation(scan_states, outputs_in_blocks, scan_in_blocks, inner_power)

    def __check_init__(self) -> None:
        as_network(self.network)
