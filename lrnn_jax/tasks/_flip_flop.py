"""The flip-flop: remember the sign of the last pulse."""

import math

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._types import as_float, check_dt, is_traced
from lrnn_jax.tasks._base import Trials, check_steps
from lrnn_jax.tasks._trials import AbstractTrialTask

FIRST, PULSE, DELAY = 0.5, 0.5, 2.0
"""Time of the first pulse, length of a pulse, unscored time after it [membrane time constants]."""


class FlipFlop(AbstractTrialTask):
    """Output the sign of the last pulse.

    Pulses of random sign, amplitude a and length 0.5, the first at time 0.5; the 2 time units
    after a pulse are not scored; then a wait ~ U(wait) is scored, with the target ±target_amp, and
    the next pulse comes.

    Arguments:
        dt: Euler step in membrane time constants, in (0, 1]; the network's.
        steps: T, steps of a trial.
        batch: trials per epoch.
        wait: (lowest, highest) scored waiting time in membrane time constants.
        input_amp: amplitude of the pulses.
        target_amp: amplitude of the target.

    Errors: ValueError for dt outside (0, 1], batch < 1, waits shorter than a step or reversed, and
    trials that end before anything is scored.

    Source: [LR] methods.
    """

    dt: Float[Array, ""]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    wait: tuple[float, float] = eqx.field(static=True)
    input_amp: Float[Array, ""]
    target_amp: Float[Array, ""]

    def __init__(
        self,
        dt: ArrayLike,
        steps: int,
        batch: int,
        wait: tuple[float, float] = (2.0, 5.0),
        input_amp: ArrayLike = 1.0,
        target_amp: ArrayLike = 1.0,
    ):
        check_dt(dt)
        check_steps(steps)
        check_trials(batch)
        low, high = (float(w) for w in wait)
        if not is_traced(dt):
            step, scored = float(np.asarray(dt)), FIRST + PULSE + DELAY
            if not step <= low <= high:
                raise ValueError(
                    f"`wait` is (lowest, highest) scored waiting time, at least one step of "
                    f"{step:g}; got {tuple(wait)}."
                )
            if steps * step <= scored + step:
                raise ValueError(
                    f"A trial of {steps} steps of {step:g} lasts {steps * step:g}, but the first "
                    f"pulse is scored from {scored:g} on: nothing would be scored. Take more steps."
                )
        self.dt = as_float(dt)
        self.steps = steps
        self.batch = batch
        self.wait = (low, high)
        self.input_amp = as_float(input_amp)
        self.target_amp = as_float(target_amp)

    @property
    def duration(self) -> int:
        return self.steps

    def sample(self, key: PRNGKeyArray) -> Trials:
        low, high = self.wait
        sign_key, wait_key = jr.split(key)
        # enough pulses for the shortest waits at the largest step, dt = 1
        shortest = PULSE + DELAY + low
        pulses = math.ceil(self.steps / shortest) + 1
        signs = jr.rademacher(sign_key, (self.batch, pulses), self.dt.dtype)
        waits = jr.uniform(wait_key, (self.batch, pulses - 1), self.dt.dtype, low, high)
        cycles = PULSE + DELAY + waits
        starts = FIRST + jnp.pad(jnp.cumsum(cycles, axis=1), ((0, 0), (1, 0)))
        time = self.dt * jnp.arange(self.steps, dtype=self.dt.dtype) + 1e-6 * self.dt
        begun = starts[:, None, :] <= time[None, :, None]
        current = jnp.maximum(jnp.sum(begun, axis=-1) - 1, 0)
        sign = jnp.take_along_axis(signs, current, axis=1)
        since = time[None, :] - jnp.take_along_axis(starts, current, axis=1)
        pulse = (since >= 0) & (since < PULSE)
        scored = since >= PULSE + DELAY
        inputs = jnp.where(pulse, self.input_amp * sign, 0)
        target = jnp.where(since >= 0, self.target_amp * sign, 0)
        return Trials(inputs[..., None], target[..., None], scored.astype(self.dt.dtype))


def check_trials(batch: int) -> None:
    """Raise ValueError unless batch is a whole number of at least 1."""
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"`batch` must be a whole number of at least 1; got {batch!r}.")
