"""Perceptual decision making: integrate a noisy stimulus, then respond."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_dt, number, one_key, real_array, shaped, whole
from lrnn_jax._types import is_traced
from lrnn_jax.tasks._base import AbstractTrialTask, Trials

FIXATION, STIMULUS, DELAY, RESPONSE = 1.0, 9.0, 1.0, 9.0
"""Lengths of the phases of a trial [membrane time constants]."""


class DecisionMaking(AbstractTrialTask):
    """Report the strength of a noisy stimulus after it is gone.

    Fixation 1, stimulus 9 (input 3.2/100 · coherence plus noise), delay 1, response 9 time units;
    scored in the response, with target coherence/16. Coherences are drawn from ±coherences.

    Arguments:
        dt: Euler step in membrane time constants, in (0, 1]; the network's. Sets T = 20/dt.
        batch: trials per epoch.
        coherences: magnitudes; each trial has one of them, with either sign.
        noise: standard deviation of the input noise per step, during the stimulus.

    Errors: ValueError for dt outside (0, 1], batch < 1, no or non-finite coherences, noise < 0.

    Source: [LR] methods.

    >>> decide = lrnn.DecisionMaking(dt=0.1, batch=4)
    >>> decide.trials(decide.sample(key)).inputs.shape
    (4, 200, 1)
    """

    dt: Float[Array, ""]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    coherences: Float[Array, " level"]
    noise: Float[Array, ""]

    def __init__(
        self,
        dt: float,
        batch: int,
        coherences: ArrayLike = (2.0, 8.0, 16.0),  # pyright: ignore[reportArgumentType]
        noise: ArrayLike = 0.05,
    ):
        self.dt = as_dt(dt)
        if is_traced(self.dt):
            raise ValueError("`dt` sets the number of steps: pass it untraced, as a plain number.")
        self.batch = whole(batch, "batch")
        self.steps = round((FIXATION + STIMULUS + DELAY + RESPONSE) / float(self.dt))
        self.coherences = real_array(shaped(coherences, "coherences", "level"), "coherences", 0)
        if not self.coherences.size:
            raise ValueError("`coherences` must hold at least one magnitude.")
        self.noise = number(noise, "noise", 0)

    def sample(self, key: PRNGKeyArray) -> Trials:
        level_key, sign_key, noise_key = jr.split(one_key(key), 3)
        magnitude = jr.choice(level_key, self.coherences, (1, self.batch))
        coherence = magnitude * jr.rademacher(sign_key, (1, self.batch), magnitude.dtype)
        time = self.dt * jnp.arange(self.steps, dtype=self.dt.dtype)[:, None] + 1e-6 * self.dt
        stimulus = (time >= FIXATION) & (time < FIXATION + STIMULUS)
        response = time >= FIXATION + STIMULUS + DELAY
        noise = self.noise * jr.normal(noise_key, (self.steps, self.batch), self.dt.dtype)
        inputs = jnp.where(stimulus, coherence * (3.2 / 100) + noise, 0)
        target = jnp.where(response, coherence / 16, 0)
        mask = jnp.broadcast_to(response, inputs.shape).astype(self.dt.dtype)
        return Trials(inputs.T[..., None], target.T[..., None], mask.T)
