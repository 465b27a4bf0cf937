"""Long loops: in blocks that reverse mode repeats, with records of every n-th state."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

State = TypeVar("State")

SHORT = 32
"""Steps that are not worth cutting into blocks."""

LIGHT = 2**22
"""Bytes that reverse mode may keep of the states of a loop: blocks cost a program of their own."""

SMALL = 512
"""Bytes of the largest array up to which XLA runs a loop's operations on the CPU as they stand.

Where one of them touches a longer array, all of them go through the thread pool, which takes some
overlaps four times as long. So records are written into short arrays, and these into long ones.
"""


def in_blocks(
    run: Callable[[State, Any, int], tuple[State, Any]],
    state: State,
    data: Any,
    n: int,
    size: int,
    repeated: bool = True,
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
        repeated: whether reverse mode repeats blocks; it keeps everything where not.
    """
    again = partial(jax.checkpoint, prevent_cse=False) if repeated else lambda block: block
    whole = n // size * size
    block = again(lambda s, d: run(s, d, size))
    cut = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), data)
    state, left = jax.lax.scan(block, state, cut, length=n // size)
    left = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), left)
    if whole == n:
        return state, left
    rest = again(lambda s, d: run(s, d, n - whole))
    state, last = rest(state, jax.tree.map(lambda a: a[whole:], data))
    return state, jax.tree.map(lambda *a: jnp.concatenate(a), left, last)


def repeat(step: Callable[[State], tuple[State, Any]], state: State, n: int) -> tuple[State, Any]:
    """n steps and what each of them leaves, in about √n blocks unless their states are light."""

    few = _few(step, state)

    def run(state: State, data: None, length: int) -> tuple[State, Any]:
        return jax.lax.scan(lambda s, _: step(s), state, length=length)

    def in_few(state: State, data: None, length: int) -> tuple[State, Any]:
        size = near_divisor(length, few)
        if size in (1, length):
            return run(state, data, length)
        return in_blocks(run, state, data, length, size, repeated=False)

    if n <= SHORT or (few == 1 and n * _bytes(state) <= LIGHT):
        return in_few(state, None, n)
    return in_blocks(in_few, state, None, n, near_divisor(n, math.isqrt(n), few))


def _few(step: Callable[[State], tuple[State, Any]], state: State) -> int:
    """How many steps leave records that are SMALL together; 1 where the state is not."""
    state_after, left = jax.eval_shape(step, state)
    if not jax.tree.leaves(left) or _bytes(state_after) > SMALL:
        return 1
    return max(1, SMALL // _bytes(left))


def _bytes(tree: Any) -> int:
    """Bytes of its largest array."""
    return max((a.size * a.dtype.itemsize for a in jax.tree.leaves(tree)), default=0)


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
        after, seen = update(state)
        if count > 1:  # of the first step only what is seen: the loop compiles one step for all
            after, _ = repeat(lambda s: (update(s)[0], None), state, count)
        return after, keep(state, seen)

    records, rest = divmod(n, every)
    state, history = repeat(lambda s: several(s, every), state, records)
    if rest:
        state, last = several(state, rest)
        history = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), history, last)
    return state, history


def recorded(n: int, every: int) -> Int[Array, " record"]:
    """The steps at which `record`, and a last look at the end, find the state: 0, every, …, n."""
    return jnp.asarray(np.minimum(np.arange(-(-n // every) + 1) * every, n))


def near_divisor(n: int, most: int, multiple: int = 1) -> int:
    """The largest divisor of n up to `most`, or `most` if that is less than a quarter of it.

    A divisor saves the rest of n a block, and a program, of its own; one that is a `multiple` is
    taken before others.
    """
    divisors = [d for d in range(1, most + 1) if n % d == 0]
    found = max((d for d in divisors if d % multiple == 0), default=max(divisors, default=1))
    return found if 4 * found >= most else most
