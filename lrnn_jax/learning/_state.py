"""What a curve keeps so that its run can go on: the state of learning, and whose it is."""

import zlib
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Float, Int

from lrnn_jax._readable import ARRAYS, plain
from lrnn_jax._types import is_key, is_traced
from lrnn_jax.networks import AbstractRNN, Weights

HIDDEN = 2.0**23
"""From here to twice as much, numbers of `identity` are checksums: exact in float32 too."""


class LearningState(eqx.Module):
    """Where a run stands, beside its model: what `learn(resume=curve)` needs to go on exactly.

    Arguments:
        start: the model at epoch 0, where what learns are coefficients T of its vectors
            (Θ = Θ_0 T); None where the weights are the model's own.
        weights: these coefficients; None likewise.
        memory: arrays that the method keeps (momentum, Adam's moments), in their order.
        identity: of method, objective, simulation and key, one number for each of `names`: its
            value where it is one number, otherwise a checksum.
        names: of these, such as "method.lr".
        epochs: of the run so far.
        record: every how many of them were recorded.

    >>> curve.state.epochs, "method.lr" in curve.state.names
    (20, True)
    """

    start: AbstractRNN | None
    weights: Weights | None
    memory: tuple[Array, ...]
    identity: Float[Array, "*batch fact"]
    names: tuple[str, ...] = eqx.field(static=True)
    epochs: int = eqx.field(static=True, default=0)
    record: int = eqx.field(static=True, default=1)


class Begin(eqx.Module):
    """Where a run goes on: weights X, the method's memory, epoch, and how it ended if it did."""

    weights: Weights
    memory: tuple[Array, ...]
    epoch: Int[Array, ""]
    stopped: Int[Array, ""]

    def recalled(self, fresh: Any) -> Any:
        """The memory, in the structure of a fresh one."""
        leaves, tree = jax.tree.flatten(fresh)
        arrays = [
            jr.wrap_key_data(a, impl=jr.key_impl(like)) if is_key(like) else a
            for a, like in zip(self.memory, leaves)
        ]
        return tree.unflatten(arrays)


def leaves_of(memory: Any) -> tuple[Array, ...]:
    """The arrays of a method's memory; random keys as numbers."""
    return tuple(jr.key_data(a) if is_key(a) else a for a in jax.tree.leaves(memory))


def identity(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], Float[Array, " fact"]]:
    """Names of what tells a run from others, and a number for each."""
    dtype = jnp.result_type(float)
    numbers = [jnp.asarray(_number(x), dtype) for x in facts.values()]
    return tuple(facts), jax.lax.stop_gradient(jnp.stack(numbers))


def _number(x: Any) -> Any:
    """One number that stands for a value: itself, or a checksum."""
    if isinstance(x, (bool, int, float)):
        return float(x)
    if not isinstance(x, ARRAYS):
        return HIDDEN + zlib.crc32(x.encode()) % HIDDEN
    x = jr.key_data(x) if isinstance(x, jax.Array) and is_key(x) else jnp.asarray(x)
    if x.size == 1 and not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return x.reshape(()).astype(float)
    return _checksum(x)


def _checksum(x: Array) -> Float[Array, ""]:
    """Of an array's shape and bits, by sums of whole numbers: the same in every program."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([x.real, x.imag])
    if x.dtype.itemsize < 4:
        x = x.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(-1)
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    total = jnp.sum((bits ^ (bits >> 15)) * odd * odd, dtype=jnp.uint32)
    total = total + jnp.uint32(zlib.crc32(str(x.shape).encode()))
    return HIDDEN + ((total ^ (total >> 9)) & jnp.uint32(HIDDEN - 1)).astype(float)


def in_words(program: ClosedJaxpr) -> str:
    """A program and what is known of its constants, without addresses."""
    known = [np.asarray(x) for x in program.consts if not is_traced(x) and not is_key(x)]
    return plain(program) + "".join(str(zlib.crc32(x.tobytes())) for x in known)
