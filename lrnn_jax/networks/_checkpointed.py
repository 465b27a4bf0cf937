"""Simulations whose gradients take little memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lrnn_jax.networks._activation import AbstractActivation
from lrnn_jax.networks._base import AbstractRNN


class Checkpointed(AbstractRNN):
    """A network that does the same as another, with gradients in memory for O(√T) states.

    Time is cut into blocks of about √(T/3) steps. Of each block only the state before it and the
    outputs are kept; reverse mode simulates the block again. Long trials of wide networks then fit
    into memory (T = 10 000, N = 1000, 10 trials: 30 MB in place of 2400), and are often faster,
    because a block fits into the processor's cache; short ones are slower. `learn` does this with
    `checkpoint=True`.

    Arguments:
        network: what is simulated.

    Source: ours; A. Griewank, Optim. Methods Softw. 1 (1992), for checkpoints.
    """

    network: AbstractRNN

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
    def dtype(self) -> jnp.dtype:
        return self.network.dtype

    def step(
        self, state: Float[Array, "*batch state"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch state"]:
        return self.network.step(state, x)

    def readout(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch outputs"]:
        return self.network.readout(state)

    def _simulate(
        self,
        inputs: Float[Array, "time *batch inputs"],
        state: Float[Array, "*batch state"],
        noise: Float[Array, "time *batch state"] | None,
    ) -> tuple[Float[Array, "*batch state"], Float[Array, "time *batch outputs"]]:
        def block(h: Array, now: Any) -> tuple[Array, Array]:
            return self.network._simulate(now[0], h, now[1])

        return in_blocks(block, state, (inputs, noise), len(inputs))


def in_blocks(
    block: Callable[[Any, Any], tuple[Any, Any]], carry: PyTree, data: PyTree, steps: int
) -> tuple[PyTree, PyTree]:
    """What block(carry, data) → carry, results gives for all steps, one block after another.

    Blocks have √(T/3) steps, so that √(3T) states between and as many in a block are kept.

    Arguments:
        block: simulates as many steps as its data have along their first axes.
        carry: before the first step.
        data: arrays with T along their first axes.
        steps: T.
    """
    size = max(math.isqrt(steps // 3), 1)  # in a block a step keeps about three states
    whole = steps // size * size
    kept = jax.checkpoint(block, prevent_cse=False)

    def cut(a: Array) -> Array:
        return a[:whole].reshape(-1, size, *a.shape[1:])

    carry, first = jax.lax.scan(kept, carry, jax.tree.map(cut, data))
    results = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), first)
    if whole == steps:
        return carry, results
    carry, last = kept(carry, jax.tree.map(lambda a: a[whole:], data))
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), results, last)
