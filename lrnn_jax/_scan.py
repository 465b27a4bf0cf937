"""Long loops: in blocks that reverse mode repeats, with records of every n-th state."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

State = TypeVar("State")

SHORT = 32
"""Steps that are not worth cutting into blocks."""


def in_blocks(
    run: Callable[[State, Any, int], tuple[State, Any]], state: State, data: Any, n: int, size: int
) -> tuple[State, Any]:
    """What run(state, data, n) gives for all n steps, one block after another.

    Reverse mode keeps the states between blocks and repeats each block: memory for n/size + size
    steps in place of n.

    Arguments:
        run: (state, data of some steps, how many) → state after them, what each of them leaves.
        state: before the first step.
        data: a pytree of arrays with the steps along their first axes; None for none.
        n: number of steps.
        size: steps of a block.
    """
    whole = n // size * size
    block = jax.checkpoint(lambda s, d: run(s, d, size), prevent_cse=False)
    cut = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), data)
    state, left = jax.lax.scan(block, state, cut, length=n // size)
    left = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), left)
    if whole == n:
        return state, left
    rest = jax.checkpoint(lambda s, d: run(s, d, n - whole), prevent_cse=False)
    state, last = rest(state, jax.tree.map(lambda a: a[whole:], data))
    return state, jax.tree.map(lambda *a: jnp.concatenate(a), left, last)


def repeat(step: Callable[[State], tuple[State, Any]], state: State, n: int) -> tuple[State, Any]:
    """n steps and what each of them leaves, in about √n blocks."""

    def run(state: State, data: None, length: int) -> tuple[State, Any]:
        return jax.lax.scan(lambda s, _: step(s), state, length=length)

    if n <= SHORT:
        return run(state, None, n)
    return in_blocks(run, state, None, n, near_divisor(n, math.isqrt(n)))


def record(
    step: Callable[[State], tuple[State, Any]],
    keep: Callable[[State, Any], Any],
    state: State,
    n: int,
    every: int,
) -> tuple[State, Any]:
    """n steps, of which every `every`-th leaves a record of the state before it.

    Arguments:
        step: state → state one step later, and what was seen on the way.
        keep: (state before a step, what was seen) → the record, a pytree of arrays.
        state: before the first step.
        n, every: numbers of steps.

    Returns: the state after n steps, and the records at the steps 0, every, 2·every, … below n.
    """
    update = jax.checkpoint(step, prevent_cse=False)

    def several(state: State, count: int) -> tuple[State, Any]:
        before = state
        state, seen = update(state)
        if count > 1:
            state, _ = repeat(lambda s: (update(s)[0], None), state, count - 1)
        return state, keep(before, seen)

    records, rest = divmod(n, every)
    state, history = repeat(lambda s: several(s, every), state, records)
    if rest:
        state, last = several(state, rest)
        history = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), history, last)
    return state, history


def recorded(n: int, every: int) -> Int[Array, " record"]:
    """The steps at which `record`, and a last look at the end, find the state: 0, every, …, n."""
    return jnp.minimum(jnp.arange(-(-n // every) + 1) * every, n)


def near_divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, or `most` if that is less than a quarter of it.

    A divisor saves the rest of n a block, and a program, of its own.
    """
    found = max((d for d in range(1, most + 1) if n % d == 0), default=1)
    return found if 4 * found >= most else most
