"""How a low-rank network's steps follow each other, and where they end."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._types import Inputs, Numbers, Outputs, State, States
from lrnn_jax.networks._base import Constant, Kappa, drift_of_state, scan_states


def states_of_latents(network: Any, inputs: Inputs, state: State, noise: States | None) -> States:
    """h_1 … h_T; of linear networks by a loop over r latents, in place of one over N neurons.

    h_t = (1 − dt)^t h_0 + M X_t + U K_t,      X_{t+1} = (1 − dt) X_t + dt x_t  (b: x = 1)
    K_{t+1} = (1 − dt) K_t + dt Vᵀh_t/s
    """
    if not network.linear or network.bulk is not None or noise is not None:
        return scan_states(network, inputs, state, noise)
    dt = network.dt.astype(network.dtype)
    keep = 1 - dt
    driven, drive = network.m, inputs
    if network.b is not None:
        ones = jnp.ones((*inputs.shape[:-1], 1), network.dtype)
        driven = jnp.concatenate([network.m, network.b], axis=1)
        drive = jnp.concatenate([inputs, ones], axis=-1)
    across = network.project(driven.T, network.v)
    still = keep * jnp.eye(network.u.shape[1], dtype=network.dtype)
    recurrent = still + dt * network.project(network.u.T, network.v)
    seen = _recurrence(jnp.zeros(drive.shape[1:], drive.dtype), dt * drive, lambda x: keep * x)
    whole = jnp.ones([1] * state.ndim, network.dtype)
    nothing = jnp.zeros((len(inputs), *whole.shape), network.dtype)
    left = _recurrence(whole, nothing, lambda x: keep * x)
    began = network.project(state, network.v)
    drive = dt * (left[:-1] * began[None] + seen[:-1] @ across)
    recurrent = recurrent.reshape(*[1] * (state.ndim - 1), *recurrent.shape)
    k = _recurrence(jnp.zeros_like(began), drive, lambda x: jnp.sum(x[..., None] * recurrent, -2))
    return seen[1:] @ driven.T + k[1:] @ network.u.T + left[1:] * state[None]


def _recurrence(
    start: Float[Array, "*batch c"], drive: Float[Array, "time *batch c"], move: Any
) -> Float[Array, "all *batch c"]:
    """x_0 … x_T with x_{t+1} = move(x_t) + drive_t."""

    def body(x: Array, d: Array) -> tuple[Array, Array]:
        x = move(x) + d
        return x, x

    return jnp.concatenate([start[None], jax.lax.scan(body, start, drive)[1]])


def share_rates(
    network: Any, inputs: Inputs, state: State, noise: States | None
) -> tuple[State, Outputs]:
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


def mean_square(network: Any, states: State) -> Numbers:
    """Σ_i φ(h_i)²/s_i."""
    weights = network.weighted(jnp.ones((states.shape[-1], 1), network.dtype))[:, 0]
    with jax.ensure_compile_time_eval():  # so that activations see that nothing varies
        quiet = jnp.zeros(states.shape, states.dtype)
    return network.activation.power(states, quiet) @ weights


def latents(network: Any) -> int:
    """How many numbers a fixed point has: rank, or N over a bulk."""
    return network.v.shape[1] if network.bulk is None else network.state_size


def state_of_latents(network: Any, kappa: Kappa, x: Constant) -> Float[Array, " n"]:
    """h = U κ + M x + b; κ itself over a bulk."""
    if network.bulk is not None:
        return kappa
    h = network.u @ kappa + network.m @ x
    return h if network.b is None else h + network.b[:, 0]


def drift_of_latents(network: Any, kappa: Kappa, x: Constant) -> Kappa:
    """(1/s) Vᵀφ(h) − κ; (step(h, x) − h)/dt over a bulk."""
    if network.bulk is not None:
        return drift_of_state(network, kappa, x)
    h = state_of_latents(network, kappa, x)
    return network.project(network.activation(h), network.v) - kappa
