"""The flip-flop: remember the sign of the last pulse."""

import math

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_dt, number, one_key, real_array, shaped, whole
from lrnn_jax._types import is_traced
from lrnn_jax.tasks._base import AbstractTrialTask, Trials

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

    >>> flips = lrnn.FlipFlop(dt=0.1, steps=60, batch=4)
    >>> flips.trials(flips.sample(key)).inputs.shape
    (4, 60, 1)
    """

    dt: Float[Array, ""]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    pulses: int = eqx.field(static=True)
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
        self.dt = as_dt(dt)
        self.steps = steps = whole(steps, "steps")
        self.batch = whole(batch, "batch")
        low, high = np.asarray(real_array(shaped(wait, "wait", 2), "wait")).tolist()
        if not is_traced(dt):
            step, scored = float(np.asarray(dt)), FIRST + PULSE + DELAY
            if not step <= low <= high:
                raise ValueError(
                    f"`wait` is (lowest, highest) scored waiting time, at least one step of "
                    f"{step:g}; got {tuple(wait)}."
                )
            if steps * step <= scored + step:
                raise ValueError(
                    f"A trial of {steps} `steps` of {step:g} lasts {steps * step:g}, but the first "
                    f"pulse is scored from {scored:g} on: take more, or nothing would be scored."
                )
        # enough for the shortest waits; for a traced dt at its largest, 1
        longest = steps * (1.0 if is_traced(dt) else float(np.asarray(dt)))
        self.pulses = math.ceil(longest / (PULSE + DELAY + low)) + 1
        self.wait = (low, high)
        self.input_amp = number(input_amp, "input_amp")
        self.target_amp = number(target_amp, "target_amp")

    def sample(self, key: PRNGKeyArray) -> Trials:
        low, high = self.wait
        sign_key, wait_key = jr.split(one_key(key))
        signs = jr.rademacher(sign_key, (self.pulses, self.batch), self.dt.dtype)
        shape = (self.pulses - 1, self.batch)
        waits = jr.uniform(wait_key, shape, self.dt.dtype, low, high)
        starts = FIRST + jnp.cumsum(PULSE + DELAY + waits, axis=0)
        time = self.dt * jnp.arange(self.steps, dtype=self.dt.dtype)[:, None] + 1e-6 * self.dt
        since = jnp.broadcast_to(time - FIRST, (self.steps, self.batch))
        sign = jnp.broadcast_to(signs[0][None], since.shape)
        # one pass over all steps for each pulse: a few, and cheaper than looking up the last one
        for start, new in zip(starts, signs[1:]):
            begun = time >= start[None]
            since = jnp.where(begun, time - start[None], since)
            sign = jnp.where(begun, new[None], sign)
        pulse = (since >= 0) & (since < PULSE)
        scored = since >= PULSE + DELAY
        inputs = jnp.where(pulse, self.input_amp * sign, 0)
        target = jnp.where(since >= 0, self.target_amp * sign, 0)
        mask = scored.astype(self.dt.dtype)
        return Trials(inputs.T[..., None], target.T[..., None], mask.T)
