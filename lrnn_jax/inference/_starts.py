"""Where fits start."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax.inference._predict import Setting
from lrnn_jax.overlaps import Overlaps, random_overlaps

LOOKS = 50
"""Random overlaps of which a start is the best: their curves cost a twentieth of its fit."""


@eqx.filter_jit
def starting(
    s: Setting, starts: int, data: Array, noise: Array, key: PRNGKeyArray
) -> Float[Array, "start parameter"]:
    """Random overlaps; in their second half, of LOOKS each the one that is nearest to the data.

    These find what is known well; where little is known, more of the others find the best valley.

    >>> looks = inference.Setting(reduction, task, descent, data.channel, data.epochs, 5, ())
    >>> inference.starting(looks, 4, data.values.ravel(), data.noise.ravel(), key).shape
    (4, 10)
    """

    def nearest(key: Array) -> Array:
        theta = drawn(s, LOOKS, key)
        squares = jax.vmap(lambda x: jnp.sum(((s.predict(x).ravel() - data) / noise) ** 2))(theta)
        return theta[jnp.argmin(jnp.nan_to_num(squares, nan=jnp.inf))]

    first, second = jr.split(key)
    near = jax.lax.map(nearest, jr.split(second, starts // 2))
    return jnp.concatenate([drawn(s, starts - starts // 2, first), near])


def drawn(s: Setting, starts: int, key: PRNGKeyArray) -> Float[Array, "start parameter"]:
    """Random overlaps, positive ones: from others, few fits of a filter find their way."""
    roles = s.model.roles
    std, usual = 0.8 / np.sqrt(roles.size), s.usual()

    def one(key: Array) -> Array:
        q = random_overlaps(roles.rank, roles.inputs, roles.outputs, std=std, key=key)
        gram = q.gram + 0.01 * jnp.eye(roles.size, dtype=q.gram.dtype)
        return jnp.concatenate([Overlaps(gram, roles).vector(), usual])

    return jax.vmap(one)(jr.split(key, starts))
