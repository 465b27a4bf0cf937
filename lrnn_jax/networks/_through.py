"""Overlaps of loading vectors through powers of a bulk."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component, whole
from lrnn_jax.networks._low_rank import LowRankRNN


def overlaps_through(network: LowRankRNN, powers: int) -> Float[Array, "power k k"]:
    """Q⁽ᵖ⁾ = Θᵀ (gJ)ᵖ Θ/s for p = 0 … `powers`: what moments of a bulk the vectors see.

    The loss of T steps is a function of the blocks [Z V]ᵀ(gJ)ᵖ[M U]/s with p < T; one step of
    learning also takes [M U]ᵀ(gJᵀ)ʲ(gJ)ᵖ[M U] and the like, the next one longer words, so that no
    finite set closes at finite N. Gradient flow conserves the traces over the columns

        tr [Z V]ᵀ(gJ)ᵖ[Z V] − tr [M U]ᵀ(gJ)ᵖ[M U],      p = 0;  for J = Jᵀ all p

    (h → Gh with G a function of J leaves outputs as they are), beside UᵀU − VᵀV.

    Arguments:
        network: one with a bulk, random or of words.
        powers: the largest p.

    Errors: ValueError for a network without a bulk.

    Source: ours.

    >>> networks.overlaps_through(over, 3).shape
    (4, 4, 4)
    """
    such_as = "LowRankRNN(…, bulk=RandomBulk(…))"
    bulk = component(network, LowRankRNN, "network", such_as).bulk
    if bulk is None:
        raise ValueError(f"`network` must have a bulk, such as {such_as}; got one without.")
    return _through(network, bulk, whole(powers, "powers", 0) + 1)


@eqx.filter_jit
def _through(network: LowRankRNN, bulk: Any, count: int) -> Float[Array, "power k k"]:
    def further(x: Any, _: None) -> tuple[Any, Any]:
        return bulk.product(x.T).T, x

    _, moved = jax.lax.scan(further, network.vectors, length=count)
    return jnp.einsum("nk,pnl->pkl", network.weighted(network.vectors), moved)
