"""Follow a moving reference in the plane."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import number, optional, real_array, shaped
from lrnn_jax._types import Numbers, State
from lrnn_jax.environments._base import AbstractPlant, Controls, Seen, Start, as_plant_dt
from lrnn_jax.environments._starts import NOISE, AbstractStart, RandomPhases, as_start, check_noise

FREQUENCIES = ((0.1, 0.3), (0.2, 0.4))
"""Of the reference, by axis [1 / time unit]."""


class TrackingPlant(AbstractPlant):
    """A point mass in the plane that should follow a sum of sinusoids.

        p' = clip(p + dt v),  v' = clip(v + dt u),      o = (p_x, p_y, r_x, r_y)
        r_i(t) = min(t/ramp, 1) a Σ_j sin(2π f_ij t + φ_ij),      cost Σ_i (p_i − r_i)²

    A trial is fixed by its phases, as cos φ (axis by axis, sinusoid by sinusoid), then sin φ: the
    reference is linear in them, and other numbers scale its sinusoids. It starts at rest at the
    origin. The state is (p_x, p_y, v_x, v_y).

    Arguments:
        dt: time step in membrane time constants; the controller's.
        frequencies: f, by axis, shape (axes, sinusoids) [1 / membrane time constant].
        amplitude: a.
        ramp: time over which the reference sets in [membrane time constants]; 0: at once.
        clamp: bound on positions and velocities; None: none.
        noise: standard deviation of the process noise per step, one or one for each state.
        observation_noise: standard deviation of the observation noise, likewise.
        start: law of the cosines and sines of the phases; default: phases U(−π, π).

    Errors: ValueError for dt ≤ 0, a clamp ≤ 0, a negative ramp, frequencies that are not a
    rectangle.

    Source: [CL] fig. 6.

    >>> plant = lrnn.TrackingPlant(dt=0.1)
    >>> plant.state_size, plant.controls, plant.observations
    (4, 2, 4)
    """

    dt: Float[Array, ""]
    frequencies: Float[Array, "axes sinusoids"]
    amplitude: Float[Array, ""]
    ramp: Float[Array, ""]
    clamp: float | None = eqx.field(static=True)
    start: AbstractStart
    process_noise: Float[Array, "state state"] | None = eqx.field(metadata=NOISE)
    observation_noise: Float[Array, "seen seen"] | None

    def __init__(
        self,
        dt: ArrayLike = 0.1,
        frequencies: ArrayLike | tuple[tuple[float, ...], ...] = FREQUENCIES,
        amplitude: ArrayLike = 2.31,
        ramp: ArrayLike = 1.0,
        clamp: float | int | None = 10.0,
        *,
        noise: ArrayLike | None = None,
        observation_noise: ArrayLike | None = None,
        start: AbstractStart | ArrayLike = RandomPhases(),
    ):
        self.dt = as_plant_dt(dt)
        shaped(frequencies, "frequencies", "axes", "sinusoids")
        self.frequencies = real_array(frequencies, "frequencies")
        if 0 in self.frequencies.shape:
            raise ValueError("`frequencies` must hold at least one, by axis.")
        self.amplitude, self.ramp = number(amplitude, "amplitude"), number(ramp, "ramp", 0)
        bound = optional(clamp, "clamp", 0, open_start=True)
        self.clamp = None if bound is None else float(bound)
        self.start = as_start(start, self.start_size)
        self.process_noise = check_noise(noise, self.state_size, "noise")
        self.observation_noise = check_noise(
            observation_noise, self.observations, "observation_noise"
        )

    @property
    def axes(self) -> int:
        """Dimensions of the space."""
        return self.frequencies.shape[0]

    @property
    def state_size(self) -> int:
        return 2 * self.axes

    @property
    def controls(self) -> int:
        return self.axes

    @property
    def observations(self) -> int:
        return 2 * self.axes

    @property
    def start_size(self) -> int:
        return 2 * self.frequencies.size

    @property
    def linear_within(self) -> float:
        return math.inf if self.clamp is None else self.clamp

    def initial(self, start: Start) -> State:
        return jnp.zeros((*start.shape[:-1], self.state_size), start.dtype)

    def signals(self, start: Start, steps: int) -> Float[Array, "time *batch axes"]:
        """r at the steps 1 … T: sin(ωt + φ) = sin(ωt) cos φ + cos(ωt) sin φ."""
        time = self.dt * jnp.arange(1, steps + 1, dtype=self.dt.dtype)
        # the smallest positive number makes a ramp of 0 a step
        tiny = float(jnp.finfo(time.dtype).tiny)
        ramp = self.amplitude * jnp.minimum(time / jnp.maximum(self.ramp, tiny), 1.0)
        angles = 2 * np.pi * self.frequencies[None] * time[:, None, None]
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=1) * ramp[:, None, None, None]
        parts = start.reshape(*start.shape[:-1], 2, *self.frequencies.shape)
        return jnp.einsum("tpaf,...paf->t...a", waves, parts)

    def step(self, x: State, u: Controls) -> State:
        position, velocity = x[..., : self.axes], x[..., self.axes :]
        new = jnp.concatenate([position + self.dt * velocity, velocity + self.dt * u], axis=-1)
        return new if self.clamp is None else jnp.clip(new, -self.clamp, self.clamp)

    def observe(self, x: State, signal: Float[Array, "*batch axes"]) -> Seen:
        return jnp.concatenate([x[..., : self.axes], signal], axis=-1)

    def cost(self, x: State, u: Controls, signal: Float[Array, "*batch axes"]) -> Numbers:
        return jnp.sum((x[..., : self.axes] - signal) ** 2, axis=-1)

    def amplitudes(
        self, error: Float[Array, "*batch time axes"], first: int
    ) -> Float[Array, "*batch axes sinusoids"]:
        """Mean square of the error's components at the reference's frequencies.

            ½ |c_ij|²,   c_ij = (2/n) Σ_t e_i(t) e^{−2πi f_ij t}

        Arguments:
            error: p − r at the steps 1 … T.
            first: where to start counting (after the transient); best with whole periods after it.
        """
        steps = error.shape[-2]
        time = self.dt * jnp.arange(first + 1, steps + 1, dtype=self.dt.dtype)
        angle = 2 * np.pi * self.frequencies[None] * time[:, None, None]
        part = error[..., first:, :]
        cosine, sine = (
            2 / (steps - first) * jnp.einsum("...ta,taf->...af", part, wave)
            for wave in (jnp.cos(angle), jnp.sin(angle))
        )
        return (cosine**2 + sine**2) / 2
