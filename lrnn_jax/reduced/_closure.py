"""The Gaussian closure: averages over neurons whose activity is normal, in the one place for it.

Over many trials latents come first and trials last, as processors like it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._types import Inputs, Numbers, State, States, Values
from lrnn_jax.networks import AbstractActivation, scan_states
from lrnn_jax.overlaps import Overlaps, Roles

Read = Float[Array, "*batch read"]
Latents = list[Any]
"""κ as one array of trials for each latent."""


def closure_states(closure: Any, inputs: Inputs, state: State, noise: States | None) -> States:
    """κ_1 … κ_T of a `ReducedRNN`; κ_m, which no weight can change, in a loop of its own.

    In either mode of differentiation the loops hold elementwise operations on whole rows of trials
    only: ten times as fast as the same with trials first, where each operation strides over a pair
    of latents. (Linear ones, and those with means, go step by step.)
    """
    overlaps, activation = closure.overlaps, closure.activation
    if activation.linear or overlaps.roles.means:
        return scan_states(closure, inputs, state, noise)
    dt, roles = closure.dt.astype(closure.dtype), overlaps.roles
    x, start = jnp.moveaxis(inputs, -1, 1), jnp.moveaxis(state, -1, 0)
    kicks = [None, None]
    if noise is not None:
        kicks = jnp.split(jnp.moveaxis(noise, -1, 1), [roles.inputs], axis=1)

    def filtered(m: Array, now: tuple[Array, Array | None]) -> tuple[Array, Array]:
        x, kick = now
        m = m + dt * (x - m)
        m = m if kick is None else m + kick
        return m, m

    _, m = jax.lax.scan(filtered, start[: roles.inputs], (x, kicks[0]))
    m_before = jnp.concatenate([start[None, : roles.inputs], m[:-1]])

    def recurrent(u: Array, now: tuple[Array, Array | None]) -> tuple[Array, Array]:
        m, kick = now
        drive = _read(overlaps, activation, [*m, *u], roles.outputs, roles.left)
        u = u + dt * (jnp.stack(drive) - u)
        u = u if kick is None else u + kick
        return u, u

    _, u = jax.lax.scan(recurrent, start[roles.inputs :], (m_before, kicks[1]))
    return jnp.moveaxis(jnp.concatenate([m, u], axis=1), 1, -1)


def _read(
    overlaps: Overlaps, activation: AbstractActivation, kappa: Latents, start: int, stop: int
) -> Latents:
    """g S_θ κ for the columns θ = start … stop − 1 of [Z V], with g = G(Δ), Δ = κᵀRκ."""
    variance = sum(k * image for k, image in zip(kappa, _products(overlaps.R, kappa)))
    variance = jnp.maximum(variance, 0)
    with jax.ensure_compile_time_eval():  # so that activations see that the mean is zero
        mean = jnp.zeros(variance.shape, variance.dtype)
    gain = activation.gain(mean, variance)
    return [gain * image for image in _products(overlaps.S[start:stop], kappa)]


def _products(matrix: Float[Array, "rows columns"], kappa: Latents) -> Latents:
    """The rows of matrix · κ."""
    return [sum(matrix[i, j] * k for j, k in enumerate(kappa)) for i in range(matrix.shape[0])]


def activity(overlaps: Overlaps, state: State) -> tuple[Numbers, Numbers]:
    """μ_h = μ_right κ (zero without means) and Δ = κᵀRκ − μ_h² ≥ 0, over neurons."""
    square = jnp.sum((state @ overlaps.R) * state, axis=-1)
    if not overlaps.roles.means:
        return jnp.zeros_like(square), jnp.maximum(square, 0)
    mean = state @ overlaps.mean[overlaps.roles.left : overlaps.roles.right]
    return mean, jnp.maximum(square - mean**2, 0)


def gaussian_read(
    overlaps: Overlaps, activation: AbstractActivation, state: State, start: int, stop: int
) -> Read:
    """(1/N) Σ_i θ_i φ(h_i) in the closure, for the columns θ = start … stop − 1 of [Z V]."""
    linear = state @ overlaps.S[start:stop].T
    if activation.linear:
        return linear
    if not overlaps.roles.means:
        kappa = [state[..., i] for i in range(state.shape[-1])]
        return jnp.stack(_read(overlaps, activation, kappa, start, stop), axis=-1)
    mean, variance = activity(overlaps, state)
    gain = activation.gain(mean, variance)[..., None]
    offset = activation.average(mean, variance)[..., None] - gain * mean[..., None]
    return gain * linear + offset @ overlaps.mean[None, start:stop]


def gaussian_power(overlaps: Overlaps, activation: AbstractActivation, state: State) -> Numbers:
    """(1/s) Σ_i φ(h_i)²: κᵀRκ for linear φ, and else ⟨φ²⟩ over N(μ_h, Δ)."""
    if activation.linear:
        return jnp.sum((state @ overlaps.R) * state, axis=-1)
    return activation.power(*activity(overlaps, state))


def check_closure(roles: Roles, activation: AbstractActivation) -> None:
    """Raise ValueError unless the roles have the means that φ needs."""
    if activation.linear or roles.means:
        return
    needs = f"{type(activation).__name__}, which is not odd,"
    needs = "biases or an initial state" if roles.bias or roles.start else needs
    if roles.bias or roles.start or not activation.odd:
        raise ValueError(
            f"The Gaussian closure with {needs} needs the means of the vectors: add the column of "
            f"ones with overlaps.with_means(z=…, v=…, …), or reduce a network, which has it."
        )


def variance_beyond(
    activation: AbstractActivation, mean: Values, variance: Values
) -> tuple[Values, Values]:
    """Var φ(h) for h ~ N(μ, Δ), and ρ = Var φ(h) − g²Δ: what of it is not linear in h.

    >>> total, beyond = reduced.variance_beyond(lrnn.Identity(), jnp.array(0.0), jnp.array(2.0))
    >>> float(total), float(beyond)
    (2.0, 0.0)
    """
    gain, average = activation.gain(mean, variance), activation.average(mean, variance)
    whole = activation.power(mean, variance) - average**2
    return whole, whole - gain**2 * variance
