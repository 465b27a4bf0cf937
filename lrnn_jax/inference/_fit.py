"""Levenberg–Marquardt through learning: tempered, first in log-Cholesky coordinates, then in Q."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lrnn_jax.inference._predict import Setting

TEMPER = (30.0, 5.0, 1.0, 1.0)
"""σ is multiplied by this, stage by stage: where noise is assumed large, the prior rules."""
LARGE = (0.3, 0.05, 0.0, 0.0)
"""It is at least this share of the size of the data, however precise these are."""
STEPS = (20, 20, 60, 25)
GAIN = (1e-2, 1e-2, 1e-3, 1e-10)
"""A stage ends where a linear problem would gain less than this share of the cost, or at STEPS …"""
SLOW, PATIENCE = (1e-2, 1e-2, 1e-2, 1e-6), 8
"""… or where so many trial points in a row brought less than this share."""
POLISH = len(TEMPER) - 1
"""The last stage goes by entries of Q, in which valleys are straight."""
LONGEST, LOG_LOW, LOG_HIGH = 1.5, -9.0, 3.0


class State(NamedTuple):
    """Where one fit stands: θ, data expected there and their slopes, damping, stage, its tries."""

    theta: Float[Array, " parameter"]
    y: Float[Array, " datum"]
    slopes: Float[Array, "datum parameter"]
    known: Bool[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    stage: Int[Array, ""]
    tries: Int[Array, ""]
    slow: Int[Array, ""]


class Fits(NamedTuple):
    """Ends of all starts: θ, χ² of the data, χ² and prior together; and R, by QR, there:

        RᵀR = JᵀΣ⁻¹J + prior,    J = ∂y/∂θ

    >>> ends = {"theta": jnp.ones((2, 10)), "chi2": jnp.zeros(2), "cost": jnp.ones(2)}
    >>> inference.Fits(**ends, root=jnp.ones((2, 10, 10))).chi2.shape
    (2,)
    """

    theta: Float[Array, "start parameter"]
    chi2: Float[Array, " start"]
    cost: Float[Array, " start"]
    root: Float[Array, "start parameter parameter"]


def coordinates(theta: Array, setting: Setting) -> Array:
    """x = (log diag L, L below the diagonal, unknowns) with Q = LLᵀ."""
    low = jnp.linalg.cholesky(setting.gram(theta))
    diagonal = jnp.clip(jnp.log(jnp.diagonal(low)), LOG_LOW, LOG_HIGH)
    i, j = np.tril_indices(len(low), -1)
    return jnp.concatenate([diagonal, low[i, j], theta[setting.overlaps :]])


def parameters(x: Array, setting: Setting) -> Array:
    """θ of coordinates x."""
    k, n = setting.model.roles.size, setting.overlaps
    i, j = np.tril_indices(k, -1)
    low = jnp.diag(jnp.exp(jnp.clip(x[:k], LOG_LOW, LOG_HIGH))).at[i, j].set(x[k:n])
    rows, columns = np.array(setting.model.roles.pairs).T
    return jnp.concatenate([(low @ low.T)[rows, columns], x[n:]])


def root_of(slopes: Array, noise: Array, std: Array) -> Float[Array, "parameter parameter"]:
    """R of slopes, noise and prior."""
    rows = jnp.concatenate([slopes / noise[:, None], jnp.diag(1 / std)])
    return jnp.linalg.qr(rows, mode="r")


@eqx.filter_jit
def fit(
    setting: Setting,
    data: Float[Array, " datum"],
    noise: Float[Array, " datum"],
    mean: Float[Array, " parameter"],
    std: Float[Array, " parameter"],
    starts: Float[Array, "start parameter"],
) -> Fits:
    """All starts at once; one program for each setting, whatever the data.

    >>> looks = inference.Setting(reduction, task, descent, data.channel, data.epochs, 5, ())
    >>> sigma, mean, starts = jnp.full(20, 0.01), net.overlaps.vector(), net.overlaps.vector()[None]
    >>> ends = inference.fit(looks, data.values.ravel(), sigma, mean, jnp.full(10, 2.0), starts)
    >>> bool(ends.chi2[0] < 1e-6)  # it starts at the truth
    True
    """
    one = _Fit(setting, data, noise, mean, std)
    return jax.vmap(one.run)(starts)


class _Fit(eqx.Module):
    """min over θ of Σ (d − y(θ))²/σ² + Σ (θ − mean)²/std²."""

    setting: Setting
    data: Array
    noise: Array
    mean: Array
    std: Array

    def run(self, start: Array) -> Fits:
        precision = jnp.sqrt(jnp.mean(self.data**2) / jnp.mean(self.noise**2))
        large = jnp.asarray(LARGE, start.dtype) * precision
        schedule = jnp.maximum(jnp.asarray(TEMPER, start.dtype), large), jnp.asarray(STEPS)
        zero, size = jnp.zeros((), int), len(self.data)
        state = State(
            theta=start,
            y=jnp.zeros(size, start.dtype),
            slopes=jnp.zeros((size, len(start)), start.dtype),
            known=jnp.zeros((), bool),
            damping=jnp.asarray(1e-2, start.dtype),
            growth=jnp.asarray(2.0, start.dtype),
            stage=zero,
            tries=zero,
            slow=zero,
        )
        end = jax.lax.while_loop(
            lambda s: s.stage < len(TEMPER), lambda s: self.attempt(s, *schedule), state
        )
        chi2 = self.squares(end.y, end.theta, jnp.ones((), start.dtype), end.known, prior=False)
        cost = self.squares(end.y, end.theta, jnp.ones((), start.dtype), end.known)
        return Fits(end.theta, chi2, cost, root_of(end.slopes, self.noise, self.std))

    def squares(self, y: Array, theta: Array, temper: Array, known: Any, prior: bool = True) -> Any:
        """The cost; infinite where something is not finite."""
        terms = jnp.sum(((y - self.data) / (self.noise * temper)) ** 2)
        terms = terms + jnp.sum(((theta - self.mean) / self.std) ** 2) if prior else terms
        return jnp.where(known & jnp.isfinite(terms), terms, jnp.inf)

    def attempt(self, s: State, temper: Array, steps: Array) -> State:
        """One trial point, taken if the cost falls there."""
        polish, factor = s.stage == POLISH, temper[s.stage]
        trial, gain = self.trial(s, polish, factor)
        trial = jnp.where(s.known, trial, s.theta)
        gram = self.setting.gram(trial)
        inside = jnp.linalg.eigvalsh(gram)[0] > 1e-12 * jnp.trace(gram)
        y, slopes = self.setting.linearised(jnp.where(inside, trial, s.theta))
        fine = inside & jnp.all(jnp.isfinite(y)) & jnp.all(jnp.isfinite(slopes))
        old = self.squares(s.y, s.theta, factor, s.known)
        new = self.squares(y, trial, factor, fine)
        good = new < old
        damping = jnp.where(good, s.damping / 5, s.damping * s.growth)
        enough = s.known & (gain < jnp.asarray(GAIN, old.dtype)[s.stage] * old)
        little = ~(new < old * (1 - jnp.asarray(SLOW, old.dtype)[s.stage]))
        slow = jnp.where(little, s.slow + 1, 0)
        done = enough | (slow >= PATIENCE) | (s.tries + 1 >= steps[s.stage])
        fresh = jnp.where(s.stage + 1 == POLISH, 1e-6, 1e-2).astype(damping.dtype)
        return State(
            theta=jnp.where(good, trial, s.theta),
            y=jnp.where(good, y, s.y),
            slopes=jnp.where(good, slopes, s.slopes),
            known=s.known | good,
            damping=jnp.where(done, fresh, jnp.clip(damping, 1e-20, 1e13)),
            growth=jnp.where(good | done, 2.0, jnp.minimum(2 * s.growth, 64.0)),
            stage=s.stage + done.astype(s.stage.dtype),
            tries=jnp.where(done, 0, s.tries + 1),
            slow=jnp.where(done, 0, slow),
        )

    def trial(self, s: State, polish: Array, factor: Array) -> tuple[Array, Array]:
        """θ after a damped Gauss–Newton step, in Q itself or in log-Cholesky coordinates, and what
        an undamped one would gain if everything were linear."""
        x = coordinates(s.theta, self.setting)
        turn = jax.jacfwd(lambda x: parameters(x, self.setting))(x)
        turn = jnp.where(polish, jnp.eye(len(x), dtype=x.dtype), turn)
        weight = (self.noise * factor)[:, None]
        slopes = jnp.concatenate([s.slopes / weight, jnp.diag(1 / self.std)]) @ turn
        errors = (s.y - self.data) / weight[:, 0]
        errors = jnp.concatenate([errors, (s.theta - self.mean) / self.std])
        q, r = jnp.linalg.qr(slopes)
        damp = jnp.sqrt(s.damping) * jnp.maximum(jnp.linalg.norm(r, axis=0), 1e-8)
        q2, r2 = jnp.linalg.qr(jnp.concatenate([r, jnp.diag(damp)]))
        right = jnp.concatenate([-(q.T @ errors), jnp.zeros_like(x)])
        step = jax.scipy.linalg.solve_triangular(r2, q2.T @ right)
        step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0.0)
        step = step * jnp.minimum(1.0, LONGEST / (jnp.linalg.norm(step) + 1e-30))
        gain = jnp.sum((q.T @ errors) ** 2)
        return jnp.where(polish, s.theta + step, parameters(x + step, self.setting)), gain
