"""How a low-rank network's steps follow each other, and where they end."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax.networks._base import drift_of_state


def share_rates(
    network: Any,
    inputs: Float[Array, "time *batch inputs"],
    state: Float[Array, "*batch n"],
    noise: Float[Array, "time *batch n"] | None,
) -> tuple[Float[Array, "*batch n"], Float[Array, "time *batch outputs"]]:
    """h_T and the outputs; φ(h) is computed once a step, for the read-out and for the next step."""

    def body(carry: tuple[Array, Array], now: Any) -> Any:
        (h, kappa), (x, kick) = carry, now
        h = network.advance(h, kappa, x)
        h = h if kick is None else h + kick
        rates = network.activation(h)
        read = h if network.readout_activation.linear else rates
        return (h, network.project(rates, network.v)), network.output(read)

    kappa = network.project(network.activation(state), network.v)
    (end, _), outputs = jax.lax.scan(body, (state, kappa), (inputs, noise))
    return end, outputs


def mean_square(network: Any, states: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Σ_i φ(h_i)²/s_i."""
    weights = network.weighted(jnp.ones((states.shape[-1], 1), network.dtype))[:, 0]
    with jax.ensure_compile_time_eval():  # so that activations see that nothing varies
        quiet = jnp.zeros(states.shape, states.dtype)
    return network.activation.power(states, quiet) @ weights


def latents(network: Any) -> int:
    """How many numbers a fixed point has: rank, or N over a bulk."""
    return network.v.shape[1] if network.bulk is None else network.state_size


def state_of_latents(
    network: Any, kappa: Float[Array, " rank"], x: Float[Array, " inputs"]
) -> Float[Array, " n"]:
    """h = U κ + M x + b; κ itself over a bulk."""
    if network.bulk is not None:
        return kappa
    h = network.u @ kappa + network.m @ x
    return h if network.b is None else h + network.b[:, 0]


def drift_of_latents(
    network: Any, kappa: Float[Array, " rank"], x: Float[Array, " inputs"]
) -> Float[Array, " rank"]:
    """(1/s) Vᵀφ(h) − κ; (step(h, x) − h)/dt over a bulk."""
    if network.bulk is not None:
        return drift_of_state(network, kappa, x)
    h = state_of_latents(network, kappa, x)
    return network.project(network.activation(h), network.v) - kappa
