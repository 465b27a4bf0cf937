"""Path integration: report a heading, of which the angular velocity is seen."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import number, real_array, shaped
from lrnn_jax._types import Numbers, State
from lrnn_jax.environments._base import AbstractPlant, Controls, Seen, Start, as_plant_dt
from lrnn_jax.environments._starts import NOISE, AbstractStart, RandomPhases, as_start, check_noise


class Ring(AbstractPlant):
    """A heading that turns, to be reported as its cosine and sine, with the error fed back.

        x' = u,   θ' = θ + dt ω,   ω(t) = a Σ_j sin(2π f_j t + φ_j)
        o = (ω, x_1 − cos θ, x_2 − sin θ),      cost (x_1 − cos θ)² + (x_2 − sin θ)²

    The state x is the last report; the heading is a signal. What is reported in one step is
    compared with the heading in the next, which ω tells. A trial is fixed by the phases θ_0 and
    φ_j, as all their cosines, then all their sines. With x' = u this plant has no dynamics of its
    own: unlike an integrator it is stable without control.

    Arguments:
        dt: time step in membrane time constants; the controller's.
        frequencies: f, shape (sinusoids,) [1 / membrane time constant].
        amplitude: a, radians per membrane time constant.
        noise: standard deviation of the process noise per step, one or one for each report.
        observation_noise: standard deviation of the observation noise, likewise.
        start: law of the cosines and sines; default: phases U(−π, π).

    Errors: ValueError for dt ≤ 0, frequencies that are no list of numbers, negative noise.

    Source: ours.

    >>> ring = environments.Ring(dt=0.1)
    >>> ring.state_size, ring.controls, ring.observations
    (2, 2, 3)
    """

    dt: Float[Array, ""]
    frequencies: Float[Array, " sinusoids"]
    amplitude: Float[Array, ""]
    start: AbstractStart
    process_noise: Float[Array, "state state"] | None = eqx.field(metadata=NOISE)
    observation_noise: Float[Array, "seen seen"] | None
    state_size, controls, observations, linear_within = 2, 2, 3, None

    def __init__(
        self,
        dt: ArrayLike = 1.0,
        frequencies: ArrayLike | tuple[float, ...] = (0.02, 0.05, 0.11),
        amplitude: ArrayLike = 0.1,
        *,
        noise: ArrayLike | None = None,
        observation_noise: ArrayLike | None = None,
        start: AbstractStart | ArrayLike = RandomPhases(),
    ):
        self.dt = as_plant_dt(dt)
        self.frequencies = real_array(
            shaped(frequencies, "frequencies", "sinusoids"), "frequencies"
        )
        self.amplitude = number(amplitude, "amplitude")
        self.start = as_start(start, self.start_size)
        self.process_noise = check_noise(noise, 2, "noise")
        self.observation_noise = check_noise(observation_noise, 3, "observation_noise")

    @property
    def start_size(self) -> int:
        return 2 * (1 + self.frequencies.size)

    def initial(self, start: Start) -> State:
        return jnp.zeros((*start.shape[:-1], 2), start.dtype)

    def signals(self, start: Start, steps: int) -> Float[Array, "time *batch 3"]:
        """(ω, cos θ, sin θ) at the steps 1 … T."""
        cosine, sine = jnp.split(start, 2, axis=-1)
        time = self.dt * jnp.arange(steps + 1, dtype=self.dt.dtype)
        angles = 2 * np.pi * self.frequencies[None] * time[:, None]
        waves = jnp.einsum("tf,...f->t...", jnp.sin(angles), cosine[..., 1:])
        waves = waves + jnp.einsum("tf,...f->t...", jnp.cos(angles), sine[..., 1:])
        velocity = self.amplitude * waves
        turned = self.dt * jnp.cumsum(velocity[:-1], axis=0)
        heading = jnp.arctan2(sine[..., 0], cosine[..., 0])[None] + turned
        return jnp.stack([velocity[1:], jnp.cos(heading), jnp.sin(heading)], axis=-1)

    def step(self, x: State, u: Controls) -> State:
        return u

    def observe(self, x: State, signal: Float[Array, "*batch 3"]) -> Seen:
        return jnp.concatenate([signal[..., :1], x - signal[..., 1:]], axis=-1)

    def cost(self, x: State, u: Controls, signal: Float[Array, "*batch 3"]) -> Numbers:
        return jnp.sum((x - signal[..., 1:]) ** 2, axis=-1)
