"""Controllers seen as static gains, the best of them, and their landscape."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lrnn_jax._checks import component, real_array, shaped, shown
from lrnn_jax._types import Scalar, cast
from lrnn_jax.environments import AbstractPlant, ClosedLoop, LinearLoop, moments
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.stability._spectrum import leading_is_complex, radius


def effective_gains(
    model: AbstractRNN, loop: ClosedLoop, batch: Any = None
) -> Float[Array, "controls state"]:
    """The static gains nearest to a controller: regression of u on x without intercept.

        k = ⟨Σ_t u_t x_tᵀ⟩ ⟨Σ_t x_t x_tᵀ⟩⁻¹,      t = 1 … T

    t = 0 is left out: no controller acts there (h_0 = 0). Linear loops need no trials: the sums are
    exact expectations, also where the loop is unstable.

    Arguments:
        model: a network or a reduction.
        loop: the loop that it acts in.
        batch: trials to simulate (needed unless model and plant are linear).

    Returns: k with u ≈ k x, shape (controls, state).

    Source: [CL] fig. 2.

    >>> lrnn.effective_gains(reduction, loop).shape
    (1, 2)
    """
    _check_loop(loop)
    if batch is None:
        n = loop.plant.state_size
        system, _, after = loop.second_moments(model)
        return system.control @ after.value[:, :n] @ jnp.linalg.inv(after.value[:n, :n])
    run = loop.simulate(model, batch)
    x, u = run.states[1:-1], run.controls[1:]
    ux, xx = (jnp.einsum("tbi,tbj->ij", a, x) for a in (u, x))
    return ux @ jnp.linalg.inv(xx)


def lqr_gain(loop: ClosedLoop) -> Float[np.ndarray, "controls state"]:
    """The best static state feedback over an infinite horizon: the linear-quadratic regulator.

        minimise Σ_t xᵀQx + uᵀ(R + Tβ)u    →    u = k x,  k = −(R' + BᵀPB)⁻¹ BᵀPA

    with P from the discrete Riccati equation (SciPy). T weighs β as in the loop's loss, in which
    the state cost is a mean over T steps and the control cost a sum.

    Arguments:
        loop: a closed loop around a linear plant.

    Returns: k, shape (controls, state); negative for stabilising feedback on positive states.

    Errors: ValueError for a plant that is not linear, controls that cost nothing, or a plant that
    no feedback stabilises.

    Source: [CL] fig. 2.

    >>> k = lrnn.lqr_gain(lrnn.ClosedLoop(loop.plant, 20, control_cost=0.1))
    >>> k.shape, bool((k < 0).all())
    ((1, 2), True)
    """
    from scipy.linalg import solve_discrete_are

    plant = _linear_plant(loop)
    a, b, _, q, r = (np.asarray(x, float) for x in plant.matrices)
    r = r + loop.horizon * float(loop.control_cost) * np.eye(len(r))
    if np.linalg.eigvalsh(r).min() <= 0:
        raise ValueError(
            "The Riccati equation needs a control cost above zero: give the `loop` a "
            "`control_cost` (a small one comes close to no cost)."
        )
    try:
        p = solve_discrete_are(a, b, q, r)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"No feedback stabilises this plant at finite cost ({error}).") from None
    return -np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)


class Landscape(NamedTuple):
    """Loops closed by static gains u = k x, over any grid of k.

    Fields: log_loss, ln of the expected loss; radius, max |λ| of A + Bk; stable, max |λ| < 1;
    oscillatory, the largest |λ| belongs to a complex pair; all of shape (*grid,).

    >>> found = stability.gain_landscape(loop, jnp.array([[[-1.0, -1.0]]]))
    >>> found.radius.shape, found.stable.tolist()
    ((1,), [True])
    """

    log_loss: Float[Array, "*grid"]
    radius: Float[Array, "*grid"]
    stable: Bool[Array, "*grid"]
    oscillatory: Bool[Array, "*grid"]


def gain_landscape(loop: ClosedLoop, gains: Float[Array, "*grid controls state"]) -> Landscape:
    """Expected loss and stability of static state feedback u_t = k x_t, all at once.

        x_{t+1} = (A + B k) x_t,      no control at t = 0

    Arguments:
        loop: a closed loop around a linear plant.
        gains: k, shape (..., controls, state).

    Errors: ValueError for a plant that is not linear, or gains that do not fit.

    Source: [CL] fig. 2.

    >>> gains = jnp.array([[[-1.0, -1.0]], [[1.0, 1.0]]])  # feedback with both signs
    >>> stability.gain_landscape(loop, gains).stable.tolist()
    [True, False]
    """
    plant = _linear_plant(loop)
    gains = real_array(shaped(gains, "gains", "…", plant.controls, plant.state_size), "gains")
    plant = cast(plant, gains.dtype)
    grid = gains.shape[:-2]
    log_loss = jax.vmap(lambda k: _log_loss(plant, loop, k))(gains.reshape(-1, *gains.shape[-2:]))
    a, b, *_ = plant.matrices
    loops = np.asarray(a) + np.einsum("ij,...jk->...ik", b, gains)
    values = np.linalg.eigvals(loops)
    size, oscillatory = jnp.asarray(radius(values)), jnp.asarray(leading_is_complex(values))
    return Landscape(log_loss.reshape(grid), size, size < 1, oscillatory)


def _check_loop(loop: Any) -> ClosedLoop:
    return component(loop, ClosedLoop, "loop", "ClosedLoop(KIntegrator(2), horizon)")


def _linear_plant(loop: Any) -> AbstractPlant:
    plant = _check_loop(loop).plant
    if plant.matrices is None:
        raise ValueError(f"`loop` must be around a linear plant here; got {shown(plant)}.")
    return plant


def _log_loss(plant: AbstractPlant, loop: ClosedLoop, k: Float[Array, "controls state"]) -> Scalar:
    """ln of the mean cost of x_1 … x_T and of u_1 … u_{T−1}; x_1 = A x_0."""
    (a, b, _, q, cost_of_u), noise = plant.matrices, plant.process_noise
    covariance = jnp.zeros_like(a) if noise is None else noise @ noise.T
    start = a @ plant.start_moment().astype(k.dtype) @ a.T + covariance
    steps, beta = loop.horizon, loop.control_cost.astype(k.dtype)
    system = LinearLoop(a + b @ k, k, None if noise is None else covariance)
    total, _ = moments(system, start, steps)
    weight = q / steps
    r = k.T @ (cost_of_u / steps + beta * jnp.eye(plant.controls, dtype=k.dtype)) @ k
    cost = jnp.sum(weight * total.value)
    if steps > 1:
        before, _ = moments(system, start, steps - 1)
        shrink = jnp.exp2((before.exponent - total.exponent).astype(k.dtype))
        cost = cost + shrink * jnp.sum(r * before.value)
    return total._replace(value=cost).log()
