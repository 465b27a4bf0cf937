"""How errors go back through recurrent weights that a learning rule puts in the place of W."""

from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._types import Input, State
from lrnn_jax.networks._base import BackwardPath, normal_vectors

Vectors = Float[Array, "state p"]


def carry_by_factors(
    network: Any, c: Vectors, g: Vectors, state: State, x: Input, signal: State
) -> State:
    """(1 − dt) a + dt φ'(h) ⊙ (1/s) C Gᵀ a, with C Gᵀ in the place of V Uᵀ."""
    dt = network.dt.astype(network.dtype)
    _, pull = jax.vjp(network.activation, state)
    (through,) = pull((signal @ g) @ network.weighted(c).T)
    return (1 - dt) * signal + dt * through


def carry_by_matrix(
    network: Any, c: Vectors, g: Vectors, state: State, x: Input, signal: State
) -> State:
    """With C Gᵀ in the place of Wᵀ: rates, (1 − dt) a + dt C Gᵀ (φ' ⊙ a), φ' at the drive;
    currents, (1 − dt) a + dt φ'(h) ⊙ (C Gᵀ a)."""
    dt = network.dt.astype(network.dtype)
    at = state if network.of_currents else network.drive(state, x)
    _, pull = jax.vjp(network.activation, at)
    if network.of_currents:
        (through,) = pull((signal @ g) @ c.T)
    else:
        through = (pull(signal)[0] @ g) @ c.T
    return (1 - dt) * signal + dt * through


def drawn_for_neurons(network: Any, columns: int, key: PRNGKeyArray) -> Float[Array, "n columns"]:
    """Normal entries; ValueError for the few neurons that stand for many over a bulk."""
    if network.bulk is not None and network.bulk.few:
        raise ValueError(
            "`key` draws `feedback` of many neurons, for which this network's few stand: give "
            "compress(network, feedback, …).feedback in its place."
        )
    return normal_vectors(network, columns, key)


THROUGH_FACTORS = BackwardPath(
    lambda network, vectors: network.weighted(vectors),
    lambda network: network.v.shape[1],
    carry_by_factors,
    drawn_for_neurons,
)
THROUGH_MATRIX = BackwardPath(
    lambda network, vectors: vectors, lambda network: network.state_size, carry_by_matrix
)
