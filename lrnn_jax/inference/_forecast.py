"""The later learning curve of a network, predicted from recordings made before."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, real_array, shaped, whole
from lrnn_jax.inference._observations import Observations
from lrnn_jax.inference._predict import Setting, setting
from lrnn_jax.inference._recordings import Recorded, jackknife_std, student
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.learning import AbstractMethod, learn
from lrnn_jax.overlaps import Overlaps, regauged
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks import AbstractObjective

FARTHEST = 1.0
"""The search for a gauge starts from ln C between ± this, in all directions alike."""
STEPS = 20
"""Damped Gauss–Newton steps from each."""


class Forecast(AbstractSaved):
    """A learning curve that is expected, and how well.

    Fields:
        loss: L at each epoch from 0 on, shape (epoch,).
        std: of ln L: from the recordings, and from the gauge where it was fitted.
        overlaps: Q that it starts from.
        gauge: C, relative to the balanced gauge, shape (rank, rank).
        gauge_std: of the distinct entries of ln C, on and below the diagonal; zeros where C was
            given.
        groups: of trials that the recordings had.

    >>> some = jnp.array([1.0, 0.5]), jnp.array([0.0, 0.1]), net.overlaps, jnp.eye(1), jnp.zeros(1)
    >>> low, high = inference.Forecast(*some, groups=20).band()
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([1.0, 0.406], [1.0, 0.616])
    """

    loss: Float[Array, " epoch"]
    std: Float[Array, " epoch"]
    overlaps: Overlaps
    gauge: Float[Array, "rank rank"]
    gauge_std: Float[Array, " entry"]
    groups: int = eqx.field(static=True)

    def band(
        self, level: ArrayLike = 0.95
    ) -> tuple[Float[Array, " epoch"], Float[Array, " epoch"]]:
        """(lowest, highest) L at each epoch: L · exp(± t std).

        Arguments:
            level: share of repetitions whose band holds the truth, at each epoch by itself.

        Errors: ValueError for a level outside (0, 1).
        """
        width = jnp.exp(student(level, self.groups) * self.std)
        return self.loss / width, self.loss * width


def predict(
    estimate: Recorded,
    objective: AbstractObjective,
    method: AbstractMethod,
    *,
    epochs: int,
    gauge: ArrayLike | None = None,
    seen: Observations | None = None,
) -> Forecast:
    """How a recorded network will learn, in a gauge that recordings do not show.

        U → UC,  V → VC⁻ᵀ,      L_e = L(Q_e),  Q_0 = Q̂ in gauge C

    C is 1 (balance), or given, or that of the first epochs of a curve that was seen,

        min over ln C (symmetric) of   Σ (d − y(C))²/σ² + Σ (ln C)²

    by damped Gauss–Newton steps from as many C as there are groups; the last term keeps C where
    data do not show it. (C times a rotation learns alike: symmetric ln C are all there is.) Of rank
    1, C² = √(uu/vv). The band is that of a jackknife: the curves of the estimates without each
    group of trials, each with a gauge of its own; where C was fitted, what the noise of d adds.

    Arguments:
        estimate: what recordings show.
        objective: what will be learned: a task or closed loop without draws.
        method, epochs: how, and how long.
        gauge: C, shape (rank, rank), of rank 1 also a number; default 1.
        seen: the first epochs of the curve, in place of a gauge.

    Errors: ValueError for both a gauge and a curve, a method not exact on overlaps.

    Source: ours.

    >>> alike = jnp.stack([net.overlaps.gram] * 20)
    >>> values = map(jnp.asarray, ([3.0, 0.9], 0.1, 0.1))
    >>> known = inference.Recorded(net.overlaps, alike, *values)
    >>> expected = inference.predict(known, task, descent, epochs=20)
    >>> bool(jnp.allclose(expected.loss, curve.loss))  # it is balanced: uu = vv
    True
    """
    component(estimate, Recorded, "estimate", "from_recordings(states, inputs, outputs, dt=0.1)")
    component(objective, AbstractObjective, "objective", "ExponentialFilter(…), or ClosedLoop(…)")
    epochs, model, rank = whole(epochs, "epochs"), estimate.model, estimate.overlaps.roles.rank
    if gauge is not None and seen is not None:
        raise ValueError("`gauge`, or the first epochs `seen`, which fix it: give one of the two.")

    course = _Course(model, objective, method, epochs)
    grams = jnp.concatenate([estimate.overlaps.gram[None], estimate.left_out])
    own, gauge_std = jnp.zeros(()), jnp.zeros(rank * (rank + 1) // 2)
    if seen is None:
        gauges = jnp.broadcast_to(_given(gauge, estimate.overlaps), (len(grams), rank, rank))
        curves = _curves(course, grams, gauges)
    else:
        component(seen, Observations, "seen", "Observations(Loss(), loss, epochs=(0, 5), …)")
        looks = setting(model, objective, method, seen.channel, seen.epochs, seen.stride, ())
        turns, covariance = _gauges(_Gauge(looks, seen.values.ravel(), seen.noise.ravel()), grams)
        gauges, gauge_std = as_gauge(turns, rank), jnp.sqrt(jnp.diagonal(covariance))
        slopes, curves = _sloping(course, grams, turns)
        own = jnp.sum(slopes[0] @ covariance * slopes[0], axis=1)
    return Forecast(
        loss=jnp.exp(curves[0]),
        std=jnp.sqrt(jackknife_std(curves[1:]) ** 2 + own),
        overlaps=regauged(estimate.overlaps, gauges[0]),
        gauge=gauges[0],
        gauge_std=gauge_std,
        groups=len(estimate.left_out),
    )


def _given(gauge: ArrayLike | None, overlaps: Overlaps) -> Float[Array, "rank rank"]:
    """C, 1 where it is left out.

    Errors: ValueError for another shape or a singular C.
    """
    rank = overlaps.roles.rank
    c = jnp.eye(rank) if gauge is None else real_array(gauge, "gauge")
    c = shaped(c.reshape(1, 1) if c.ndim == 0 else c, "gauge", rank, rank)
    if np.linalg.matrix_rank(np.asarray(c)) < rank:
        raise ValueError("`gauge` must be invertible, such as 1.5; got a singular matrix.")
    return c


def as_gauge(turn: Float[Array, "*batch entry"], rank: int) -> Float[Array, "*batch rank rank"]:
    """C from the distinct entries of ln C, on and below its diagonal."""
    i, j = np.tril_indices(rank)
    log = jnp.zeros((*turn.shape[:-1], rank, rank), turn.dtype)
    return jax.scipy.linalg.expm(log.at[..., i, j].set(turn).at[..., j, i].set(turn))


class _Course(eqx.Module):
    """What happens to overlaps in some gauge."""

    model: ReducedRNN
    objective: AbstractObjective
    method: AbstractMethod
    epochs: int

    def log_loss(self, gram: Array, c: Array) -> Array:
        """ln L at each epoch."""
        start = self.model.with_gram(regauged(Overlaps(gram, self.model.roles), c).gram)
        curve = learn(start, self.objective, self.method, epochs=self.epochs, throw=False)
        return jnp.log(curve.loss)


@eqx.filter_jit
def _curves(course: _Course, grams: Array, gauges: Array) -> Array:
    return jax.vmap(course.log_loss)(grams, gauges)


@eqx.filter_jit
def _sloping(course: _Course, grams: Array, turns: Array) -> tuple[Array, Array]:
    """∂ ln L/∂ ln C, and ln L."""
    rank = course.model.roles.rank

    def both(turn: Array, gram: Array) -> tuple[Array, Array]:
        log = course.log_loss(gram, as_gauge(turn, rank))
        return log, log

    return jax.vmap(jax.jacfwd(both, has_aux=True))(turns, grams)


class _Gauge(eqx.Module):
    """Σ (d − y(C))²/σ² + Σ (ln C)² as squares of misfits."""

    looks: Setting
    data: Array
    noise: Array

    def misfits(self, turn: Array, gram: Array) -> Any:
        """All terms, twice, for derivatives that come with their values."""
        roles = self.looks.model.roles
        q = regauged(Overlaps(gram, roles), as_gauge(turn, roles.rank))
        errors = (self.looks.predict(q.vector()).ravel() - self.data) / self.noise
        terms = jnp.concatenate([errors, turn])
        return terms, terms

    def fit(self, gram: Array, start: Array) -> tuple[Array, Array, Array]:
        """ln C, the cost, and slopes of all terms, after damped Gauss–Newton steps."""

        def step(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
            turn, terms, slopes, damping = state
            normal = slopes.T @ slopes
            damped = normal + damping * jnp.diag(jnp.diagonal(normal))
            move = jnp.linalg.solve(damped, slopes.T @ terms)
            trial = jnp.where(jnp.isfinite(move), turn - move, turn)  # at first, the start itself
            new_slopes, new = jax.jacfwd(self.misfits, has_aux=True)(trial, gram)
            better = jnp.sum(new**2) < jnp.sum(terms**2)  # not where it diverges
            taken = zip((trial, new, new_slopes, damping / 10), (*state[:3], damping * 10))
            return tuple(jnp.where(better, a, b) for a, b in taken)

        size, entries = self.data.size + start.size, start.size
        worst = (
            jnp.full(size, jnp.inf),
            jnp.zeros((size, entries)).at[-entries:].set(jnp.eye(entries)),
        )
        first = start, *worst, jnp.asarray(1e-2)
        turn, terms, slopes, _ = jax.lax.fori_loop(0, STEPS + 1, step, first)
        return turn, jnp.sum(terms**2), slopes


@eqx.filter_jit
def _fits(problem: _Gauge, grams: Array, starts: Array) -> tuple[Array, Array, Array]:
    return jax.vmap(problem.fit)(grams, starts)


def _gauges(problem: _Gauge, grams: Array) -> tuple[Array, Array]:
    """ln C for each Gram matrix, and the covariance of the first by the noise of the data."""
    i, j = np.tril_indices(problem.looks.model.roles.rank)
    far = jnp.linspace(-FARTHEST, FARTHEST, len(grams))
    starts = jnp.outer(far, jnp.asarray(i == j, float))
    turns, costs, _ = _fits(problem, jnp.broadcast_to(grams[0], grams.shape), starts)
    best = jnp.broadcast_to(turns[jnp.nanargmin(costs)], starts.shape)
    each, _, slopes = _fits(problem, grams, best)
    return each, jnp.linalg.inv(slopes[0].T @ slopes[0])
