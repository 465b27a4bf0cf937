"""Probes: what to let networks learn, so that their curves tell most of invisible overlaps."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, function, number, one_key, whole
from lrnn_jax.inference._channels import AbstractChannel
from lrnn_jax.inference._methods import traits
from lrnn_jax.inference._observations import Observations, as_epochs
from lrnn_jax.inference._predict import Setting, setting
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.tasks import MixedFilter

STEADY = 1e5
"""What a rise of the loss costs a probe, in units of the first loss."""
RISE = 1e-6
"""A loss rises where it grows by more than this share of the first one."""

_Score = Callable[[Setting, int], tuple[Array, Array]]
"""What a filter is worth, and the losses at every so many epochs: a module, so that one program
serves for all of its arrays."""


class Probe(AbstractSaved):
    """A task that was designed, and what it is worth.

    Fields:
        objective: the filter to be learned.
        value: what it reaches: σ between two networks (`separate`), or the criterion.
        reference: the same for the filter that it started from, of the same energy.
        halved: its value at half the step and twice the epochs; much less: a finding about steps,
            not about overlaps.
        rises: at how many epochs a loss rises by a millionth of the first; not 0: the probe works
            by instability.

    >>> leaky = tasks.MixedFilter(np.array([0.2]), np.array([1.0]), dt=0.1, steps=9)
    >>> probe = inference.Probe(leaky, 20.0, 2.0, 19.0, 0)
    >>> probe.gain, probe.sound
    (10.0, True)
    """

    objective: MixedFilter
    value: float
    reference: float
    halved: float
    rises: int

    @property
    def gain(self) -> float:
        """Value over that of the reference."""
        return self.value / self.reference

    @property
    def sound(self) -> bool:
        """Whether no loss rises and half the step loses no more than a fifth."""
        return self.rises == 0 and self.halved >= 0.8 * self.value


def separate(
    first: AbstractOverlapRNN,
    second: AbstractOverlapRNN,
    objective: MixedFilter,
    method: AbstractMethod,
    *,
    epochs: Sequence[int] | np.ndarray | Array,
    observe: AbstractChannel,
    noise: ArrayLike,
    starts: int = 6,
    key: PRNGKeyArray,
) -> Probe:
    """The filter whose learning tells two networks apart best.

        max over a of  ‖y₁(a) − y₂(a)‖/σ      at the energy dt Σ_t F_t² of `objective`

    by L-BFGS with derivatives through learning, from the given amplitudes and from random ones; a
    rise of a loss costs, so that at a large step what was found may be worth less than the given
    filter, whose loss rises. `rises` and `halved` say whether to believe what was found.

    Arguments:
        first, second: two reductions, such as a twin of another, with equal roles.
        objective: terms of the filter, its energy, and what to compare with.
        method: how they learn: `Descent`, `Flow`, …
        epochs, observe, noise: what will be seen, as for `identifiable`.
        starts: how many; local optima differ much.
        key: draws them.

    Errors: ValueError as for `identifiable`, for networks of different roles, and where learning
    the given filter diverges.

    Source: ours.

    >>> q = overlaps.random_overlaps(key=jr.key(1))
    >>> one, other = (lrnn.ReducedRNN(q.replace(mu=x), dt=0.1) for x in (q["mu"], q["mu"] - 0.2))
    >>> filters = tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, 0.0]), dt=0.1, steps=50)
    >>> seen = {"epochs": range(0, 21, 5), "observe": inference.Visible(), "noise": 0.01}
    >>> gentle = lrnn.Descent(0.02)
    >>> probe = inference.separate(one, other, filters, gentle, **seen, starts=2, key=key)
    >>> probe.gain > 1, probe.sound
    (True, True)
    """
    component(first, AbstractOverlapRNN, "first", "reduce(network)")
    component(second, AbstractOverlapRNN, "second", "reduce(network)")
    if first.roles != second.roles:
        raise ValueError(
            f"`second` must have the roles of `first`, {first.roles.describe()}; got "
            f"{second.roles.describe()}."
        )
    sigma = number(noise, "noise", 0, open_start=True)
    apart = _Apart(jnp.stack([x.overlaps.vector() for x in (first, second)]), sigma)
    return _best(apart, _setting(first, objective, method, epochs, observe), starts, key)


class _Apart(eqx.Module):
    """‖y₁ − y₂‖/σ of two networks, and their losses."""

    grams: Float[Array, "two overlap"]
    sigma: Float[Array, ""]

    def __call__(self, s: Setting, record: int) -> tuple[Array, Array]:
        curves = jax.vmap(lambda theta: s.learned(theta, record))(self.grams)
        seen = jax.vmap(lambda w, theta: s.expected(w, theta, record))(curves.watched, self.grams)
        return jnp.sqrt(jnp.sum((seen[1] - seen[0]) ** 2)) / self.sigma, curves.loss


def d_optimal(values: Float[Array, " direction"]) -> Float[Array, ""]:
    """The geometric mean of 1/sd of directions.

    >>> float(inference.d_optimal(jnp.array([4.0, 1.0])))
    2.0
    """
    return jnp.exp(jnp.mean(jnp.log(values)))


def e_optimal(values: Float[Array, " direction"]) -> Float[Array, ""]:
    """1/sd of the direction that is known worst.

    >>> float(inference.e_optimal(jnp.array([4.0, 1.0])))
    1.0
    """
    return jnp.min(values)


def optimal_probe(
    model: AbstractOverlapRNN,
    objective: MixedFilter,
    method: AbstractMethod,
    *,
    epochs: Sequence[int] | np.ndarray | Array,
    observe: AbstractChannel,
    noise: ArrayLike,
    directions: int,
    criterion: Callable[[Array], Array] = d_optimal,
    starts: int = 6,
    key: PRNGKeyArray,
) -> Probe:
    """The filter whose learning fixes the overlaps of a network best.

        max over a of  criterion(s_1 … s_n)      s: singular values of ∂y/∂Q/σ, largest first

    Arguments:
        model: a reduction, at whose Q is asked.
        objective, method, epochs, observe, noise, starts, key: as for `separate`.
        directions: n, how many count: 9 for rank 1 (of 10; the flat one is never seen).
        criterion: `d_optimal`, `e_optimal`, or a function of these n values that is to be large and
            positive.

    Errors: ValueError as for `identifiable`, for more directions than overlaps, and where learning
    the given filter diverges.

    Source: ours.

    >>> filters = tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, 0.0]), dt=0.1, steps=50)
    >>> seen = {"epochs": range(0, 21, 5), "observe": inference.Visible(), "noise": 0.01}
    >>> way = {**seen, "directions": 6, "starts": 1, "key": key}
    >>> inference.optimal_probe(reduction, filters, descent, **way).gain >= 1
    True
    """
    function(criterion, "criterion", "singular values, such as d_optimal")
    sigma = number(noise, "noise", 0, open_start=True)
    s = _setting(model, objective, method, epochs, observe)
    directions = whole(directions, "directions", 1, s.overlaps)
    known = _Known(s.model.overlaps.vector(), sigma, directions, criterion)
    return _best(known, s, starts, key)


class _Known(eqx.Module):
    """A criterion of the singular values of ∂y/∂Q/σ, and the loss."""

    theta: Float[Array, " overlap"]
    sigma: Float[Array, ""]
    directions: int = eqx.field(static=True)
    criterion: Callable[[Array], Array]

    def __call__(self, s: Setting, record: int) -> tuple[Array, Array]:
        def seen(theta: Array) -> tuple[Array, Array]:
            curve = s.learned(theta, record)
            return s.expected(curve.watched, theta, record).ravel(), curve.loss

        slopes, loss = jax.jacfwd(seen, has_aux=True)(self.theta)
        values = jnp.linalg.svd(slopes / self.sigma, compute_uv=False)[: self.directions]
        return self.criterion(values), loss[None]


def _setting(
    model: AbstractOverlapRNN, objective: Any, method: Any, epochs: Any, observe: Any
) -> Setting:
    component(objective, MixedFilter, "objective", "tasks.MixedFilter(rates, amplitudes, …)")
    component(observe, AbstractChannel, "observe", "Outputs(every=20)")
    epochs = as_epochs(epochs)
    stride = Observations(observe, np.zeros(len(epochs)), epochs=epochs, noise=1.0).stride
    s = setting(model, objective, method, observe, epochs, stride, ())
    if callable(traits(method).lr):
        raise ValueError("`method` must have a number as its rate, which can be halved.")
    return s


def _best(score: _Score, s: Setting, starts: int, key: Any) -> Probe:
    """The best amplitudes on the sphere of equal energy, and what they are worth."""
    starts, key = whole(starts, "starts"), one_key(key)
    reference, loss = _worth(score, s, 1)
    if not (np.isfinite(reference) and np.isfinite(loss).all()):
        raise ValueError(
            "`method`: learning the given `objective` diverges before the last of `epochs`: take a "
            "smaller step."
        )
    rows = np.asarray(_terms(s))
    turn = np.linalg.cholesky(rows @ rows.T + 1e-12 * np.trace(rows @ rows.T) * np.eye(len(rows)))
    a0 = np.asarray(s.objective.amplitudes)  # pyright: ignore
    sphere = _Sphere(jnp.asarray(turn), jnp.asarray(np.linalg.norm(turn.T @ a0)))
    begin = np.r_[[turn.T @ a0], np.asarray(jr.normal(key, (starts - 1, len(a0))))]

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        gradient, total = _slope(score, s, sphere, jnp.asarray(x / np.linalg.norm(x)))
        fine = np.isfinite(total) & np.all(np.isfinite(gradient))
        return (float(total), np.asarray(gradient)) if fine else (1e6, np.zeros(len(x)))

    begin = begin / np.linalg.norm(begin, axis=1, keepdims=True)
    few = {"maxiter": 50, "ftol": 1e-5}
    ends = [
        scipy.optimize.minimize(both, x, jac=True, method="L-BFGS-B", options=few) for x in begin
    ]
    found = _with(s, sphere.amplitudes(jnp.asarray(min(ends, key=lambda end: end.fun).x)))
    value, loss = _worth(score, found, 1)
    half = eqx.tree_at(lambda s: s.method.lr, found, traits(s.method).lr / 2)
    half = dataclasses.replace(half, epochs=tuple(2 * epoch for epoch in s.epochs))
    return Probe(
        objective=found.objective,  # pyright: ignore
        value=float(value),
        reference=float(reference),
        halved=float(_worth(score, half, 2)[0]),
        rises=int(jnp.sum(jnp.any(loss[:, 1:] > loss[:, :-1] + RISE * loss[:, :1], axis=0))),
    )


class _Sphere(eqx.Module):
    """Amplitudes of equal energy: CᵀA on a sphere, C from the Gram matrix of the terms."""

    turn: Float[Array, "term term"]
    radius: Float[Array, ""]

    def amplitudes(self, x: Float[Array, " term"]) -> Float[Array, " term"]:
        """Those of a direction."""
        return jnp.linalg.solve(self.turn.T, self.radius * x / jnp.linalg.norm(x))


def _with(s: Setting, amplitudes: Array) -> Setting:
    """The setting with another filter."""
    return eqx.tree_at(lambda s: s.objective.amplitudes, s, amplitudes)


@eqx.filter_jit
def _terms(s: Setting) -> Float[Array, "term sample"]:
    """The terms of the filter, each of amplitude 1, over time."""
    each = jnp.eye(len(s.objective.amplitudes))  # pyright: ignore
    return jax.vmap(lambda a: _with(s, a).objective.samples.ravel())(each)  # pyright: ignore


@eqx.filter_jit
def _worth(score: _Score, s: Setting, record: int) -> tuple[Array, Array]:
    """What a filter is worth, and the losses at every so many epochs."""
    return score(s, record)


@eqx.filter_jit
def _slope(score: _Score, s: Setting, sphere: _Sphere, x: Array) -> tuple[Array, Array]:
    """How the cost of a direction changes with it, and the cost: −log worth, and rises."""

    def cost(x: Array) -> tuple[Array, Array]:
        value, loss = score(_with(s, sphere.amplitudes(x)), 1)
        up = jnp.maximum(loss[:, 1:] - loss[:, :-1], 0.0)
        total = STEADY * jnp.sum(up / loss[:, :1]) - jnp.log(value)
        return total, total

    return jax.jacfwd(cost, has_aux=True)(x)
