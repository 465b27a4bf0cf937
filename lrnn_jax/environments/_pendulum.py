"""A small nonlinear plant: balance a pendulum upside down."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import number
from lrnn_jax._types import Numbers, State
from lrnn_jax.environments._base import AbstractAutonomousPlant, Controls, Seen, as_plant_dt
from lrnn_jax.environments._starts import NOISE, AbstractStart, as_start, check_noise


class Pendulum(AbstractAutonomousPlant):
    """An inverted pendulum, θ = 0 upright, of which the angle is seen.

        θ' = θ + dt ω,   ω' = ω + dt (g sin θ − γ ω + u),      o = θ,   cost (θ² + ω²)/2

    Arguments:
        gravity: g, gravity over length [1 / time²]; near θ = 0 it grows at rate √g.
        damping: γ [1 / time].
        dt: time step in membrane time constants; the controller's.
        noise: standard deviation of the process noise per step, one or one for each state.
        observation_noise: standard deviation of the observation noise.
        start: law of (θ, ω) at step 0; a number or an array is the half-width of a uniform one.

    Errors: ValueError for dt ≤ 0, negative damping or noise.

    Source: ours.

    >>> pendulum = environments.Pendulum(gravity=1.0, damping=0.1, dt=0.1)
    >>> print(pendulum.step(jnp.array([0.1, 0.0]), jnp.array([0.0])).round(3))
    [0.1  0.01]
    """

    gravity: Float[Array, ""]
    damping: Float[Array, ""]
    dt: Float[Array, ""]
    start: AbstractStart
    process_noise: Float[Array, "state state"] | None = eqx.field(metadata=NOISE)
    observation_noise: Float[Array, "seen seen"] | None
    state_size, controls, observations, linear_within = 2, 1, 1, None

    def __init__(
        self,
        gravity: ArrayLike = 1.0,
        damping: ArrayLike = 0.1,
        *,
        dt: ArrayLike = 0.1,
        noise: ArrayLike | None = None,
        observation_noise: ArrayLike | None = None,
        start: AbstractStart | ArrayLike = 0.5,
    ):
        self.gravity = number(gravity, "gravity")
        self.damping = number(damping, "damping", 0)
        self.dt = as_plant_dt(dt)
        self.start = as_start(start, 2)
        self.process_noise = check_noise(noise, 2, "noise")
        self.observation_noise = check_noise(observation_noise, 1, "observation_noise")

    def step(self, x: State, u: Controls) -> State:
        angle, speed = x[..., :1], x[..., 1:]
        push = self.gravity * jnp.sin(angle) - self.damping * speed + u
        return jnp.concatenate([angle + self.dt * speed, speed + self.dt * push], axis=-1)

    def observe(self, x: State, signal: None) -> Seen:
        return x[..., :1]

    def cost(self, x: State, u: Controls, signal: None) -> Numbers:
        return jnp.sum(x**2, axis=-1) / 2
