"""What every update keeps of some networks: absent synapses, and signs of neurons (Dale's law).

Learning takes its step and then the nearest weights that are allowed. Both act neuron by neuron or
synapse by synapse, so that overlaps cannot follow them.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from lrnn_jax._checks import component, real_array, shown
from lrnn_jax._types import is_traced


def as_signs(signs: ArrayLike | None, n: int) -> Int[Array, " n"] | None:
    """One sign a neuron, 1 or −1, as whole numbers, or None."""
    if signs is None:
        return None
    values = real_array(signs, "signs")
    if values.shape != (n,) or not (is_traced(values) or np.all(np.abs(values) == 1)):
        raise ValueError(
            f"`signs` holds 1 (excitatory) or -1 (inhibitory) for each of {n} neurons, shape "
            f"({n},); got {shown(signs)}."
        )
    return jnp.asarray(values).astype(jnp.int8)


def as_masks(masks: Mapping[str, ArrayLike] | None, weights: dict[str, Array]) -> dict[str, Array]:
    """Which synapses there are, by array of weights, as bool arrays of its shape."""
    out = {}
    such_as = '{"w": mask}, a mask by array of weights'
    for name, mask in component({} if masks is None else masks, Mapping, "masks", such_as).items():
        if name not in weights:
            raise ValueError(f"`masks` are for arrays among {', '.join(weights)}; got {name!r}.")
        there = np.asarray(mask) if not is_traced(mask) else jnp.asarray(mask)
        fits = there.shape == weights[name].shape
        if not fits or not (is_traced(there) or np.isin(there, (0, 1)).all()):
            raise ValueError(
                f"`masks[{name!r}]` holds True (there) or False (absent) for each entry of "
                f"{name}, shape {weights[name].shape}; got {shown(mask)}."
            )
        out[name] = jnp.asarray(there).astype(bool)
        allowed = jnp.where(out[name], weights[name], 0)
        kept(weights[name], allowed, name, "is 0 where its mask is", "w * mask")
    return out


def non_negative(x: Float[Array, "..."], signs: Int[Array, "..."] | int = 1) -> Float[Array, "..."]:
    """The nearest array whose entries have these signs, or are 0."""
    signs = jnp.asarray(signs, x.dtype)
    return signs * jnp.maximum(signs * x, 0)


def kept(x: Array, allowed: Array, name: str, rule: str, how: str) -> None:
    """Raise ValueError unless an array is what is allowed of it (unless traced)."""
    if not is_traced(x, allowed) and (wrong := int(np.sum(np.asarray(x != allowed)))):
        raise ValueError(
            f"`{name}` {rule}, in {wrong} of its {x.size} entries it is not: pass such as {how}."
        )
