"""Long loops whose gradients take little memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

SHORT = 32
"""Steps that are not worth cutting into blocks."""


def nested(step: Callable[[Any], tuple[Any, Any]], state: Any, n: int) -> Any:
    """n steps and what each of them keeps, in about √n blocks that reverse mode repeats."""

    def several(state: Any, length: int) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, _: step(s), state, length=length)

    if n <= SHORT:
        return several(state, n)
    size = near_divisor(n, math.isqrt(n))
    whole = n // size * size
    block = jax.checkpoint(lambda s: several(s, size), prevent_cse=False)
    state, history = jax.lax.scan(lambda s, _: block(s), state, length=n // size)
    history = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), history)
    if whole == n:
        return state, history
    state, last = several(state, n - whole)
    return state, jax.tree.map(lambda *a: jnp.concatenate(a), history, last)


def near_divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, or `most` if that is less than a quarter of it.

    A divisor saves the rest of n a block, and a program, of its own.
    """
    found = max((d for d in range(1, most + 1) if n % d == 0), default=1)
    return found if 4 * found >= most else most
