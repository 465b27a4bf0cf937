"""Fixed points of a network at a constant input, and what learning does to them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int, PRNGKeyArray

from lrnn_jax._checks import component, number, one_key, real_array, whole
from lrnn_jax._types import cast
from lrnn_jax.learning import LearningCurve
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.reduced import reduce

STEPS = 200
"""Iterations after which a start counts as leading nowhere."""


class FixedPoints(eqx.Module):
    """Where a network stays at a constant input, sorted from stable to unstable.

    Arguments:
        latents: κ of each, shape (point, size): of a low-rank network or a reduction the recurrent
            latents κ_u, of other networks the state itself.
        states: h, shape (point, state).
        outputs: y, shape (point, outputs).
        eigenvalues: λ of one step at the point, largest first, shape (point, size); the others that
            a step has are 1 − dt.
        found: share of the starts that led to each.

    >>> found = lrnn.fixed_points(bent, key=key, starts=5)
    >>> found.latents.shape[1], found.states.shape[1]
    (1, 40)
    """

    latents: Float[np.ndarray, "point size"]
    states: Float[np.ndarray, "point state"]
    outputs: Float[np.ndarray, "point outputs"]
    eigenvalues: Complex[np.ndarray, "point size"]
    found: Float[np.ndarray, " point"]

    @property
    def unstable(self) -> Int[np.ndarray, " point"]:
        """How many directions lead away from each: 0 for a stable point, all for a repeller."""
        return np.sum(np.abs(self.eigenvalues) >= 1, axis=-1)

    @property
    def stable(self) -> Any:
        """Which are stable."""
        return self.unstable == 0

    @property
    def kinds(self) -> np.ndarray:
        """What each is: "stable", "saddle" or "repelling" (in all directions), shape (point,)."""
        repelling = np.where(self.unstable == self.states.shape[-1], "repelling", "saddle")
        return np.where(self.stable, "stable", repelling)

    def __len__(self) -> int:
        return len(self.latents)

    def __str__(self) -> str:
        counts = {name: np.sum(self.kinds == name) for name in ("stable", "repelling", "saddle")}
        parts = [f"{count} {name}" for name, count in counts.items() if count]
        return f"{len(self)} fixed point(s): {', '.join(parts) or 'none found'}"


def fixed_points(
    model: AbstractRNN,
    x: ArrayLike | None = None,
    *,
    key: PRNGKeyArray,
    starts: int = 50,
    spread: float = 2.0,
    tol: float = 1e-6,
) -> FixedPoints:
    """All fixed points that Levenberg–Marquardt finds from many starts, with their stability.

        κ* = κ* + drift(κ*; x),      λ = 1 + dt eig(∂drift/∂κ)

    Low-rank networks: h = Uκ + Mx + b and drift = (1/s)Vᵀφ(h) − κ, so that r equations are solved,
    not N; reductions likewise with drift = ⟨vφ⟩ − κ. There may be more than are found: take more
    starts, or another `spread`, until their number stays. To look at them:

        points = lrnn.fixed_points(net, key=key)
        figures.plot_fixed_points(ax, points.latents, points.kinds)

    Arguments:
        model: any network or reduction; for linear ones without biases the only one is 0.
        x: constant input, shape (inputs,), or one number for one input; None: 0.
        key: draws the starts.
        starts: how many.
        spread: starts lie in random directions, at distances uniform in [0, spread √size].
        tol: points closer than this, relative to 1 + their size, are one, and a start has arrived
            where all drifts are below tol²·(1 + size) and rounding.

    Errors: ValueError for an input that does not fit the network, starts < 1, spread or tol ≤ 0.

    Source: Sussillo & Barak 2013; in latents: Beiran et al. 2021.

    >>> found = lrnn.fixed_points(reduction, key=key, starts=5)  # linear: the origin alone
    >>> found.latents.shape, bool(abs(found.latents).max() < 1e-6)
    ((1, 1), True)
    """
    precise = jnp.result_type(float)  # in which points are solved for
    model, key = cast(as_network(model, "model"), precise), one_key(key)
    size, dt = model.equilibria.size(model), float(np.asarray(model.dt))
    x = constant_input(model, x)
    begin = draw_starts(key, whole(starts, "starts"), size, spread, model.dtype)
    tol = float(number(tol, "tol", 0, open_start=True))
    found = jax.tree.map(np.asarray, _solve(model, x, begin))
    return _distinct(found, dt, tol)


class FixedPointHistory(eqx.Module):
    """Fixed points over learning.

    Arguments:
        epochs: recorded epochs.
        points: the fixed points at each.

    >>> found = stability.fixed_points_of_learning(curve, key=key, starts=3)
    >>> len(found.points), len(found.epochs)
    (21, 21)
    """

    epochs: Int[np.ndarray, " record"]
    points: tuple[FixedPoints, ...]

    @property
    def counts(self) -> Int[np.ndarray, "record 2"]:
        """Numbers of stable and of other fixed points at each recorded epoch."""
        return np.array([(np.sum(p.stable), len(p) - np.sum(p.stable)) for p in self.points])

    def changes(self) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
        """When their number or stability changes: (epoch, counts before, counts from it on)."""
        counts = [(int(stable), int(rest)) for stable, rest in self.counts]
        pairs = zip(self.epochs[1:], counts, counts[1:])
        return [(int(epoch), old, new) for epoch, old, new in pairs if old != new]


def fixed_points_of_learning(
    curve: LearningCurve,
    x: ArrayLike | None = None,
    *,
    key: PRNGKeyArray,
    starts: int = 50,
    spread: float = 2.0,
    tol: float = 1e-6,
) -> FixedPointHistory:
    """Fixed points at every recorded epoch of a reduction's curve: which appear, merge, turn over.

    A low-rank network's curve holds overlaps, not vectors: its points are those of its closure. To
    look at them:

        found = stability.fixed_points_of_learning(curve, key=key)
        latents, kinds = zip(*((p.latents, p.kinds) for p in found.points))
        changes = [epoch for epoch, *_ in found.changes()]
        figures.plot_branches(ax, found.epochs, latents, kinds, changes=changes)

    Arguments: the curve; the rest as for `fixed_points`.

    Errors: as there; ValueError for the curve of a network without loading vectors.

    Source: ours.

    >>> found = stability.fixed_points_of_learning(curve, key=key, starts=3)
    >>> found.changes()
    []
    """
    component(curve, LearningCurve, "curve", "what learn(…) returns")
    key = one_key(key)
    if curve.roles is None:
        raise ValueError(
            f"The curve of a {type(curve.model).__name__} holds no overlaps; call fixed_points on "
            f"the models that you keep."
        )
    model = cast(reduce(curve.model), jnp.result_type(float))
    x, size = constant_input(model, x), model.equilibria.size(model)
    begin = draw_starts(key, whole(starts, "starts"), size, spread, model.dtype)
    tol = float(number(tol, "tol", 0, open_start=True))
    finite = np.isfinite(np.asarray(curve.gram)).all(axis=(-2, -1))
    many = eqx.filter_vmap(lambda gram: _solve(model.with_gram(gram), x, begin))
    found = jax.tree.map(np.asarray, many(curve.gram[finite].astype(model.dtype)))
    dt = float(np.asarray(model.dt))
    points = [_distinct(each, dt, tol) for each in zip(*found)]
    return FixedPointHistory(np.asarray(curve.epochs)[finite], tuple(points))


def constant_input(model: AbstractRNN, x: ArrayLike | None) -> Float[Array, " inputs"]:
    """x as an array.

    Errors: ValueError unless it is one number for each input channel.
    """
    given = jnp.zeros(model.inputs) if x is None else jnp.atleast_1d(real_array(x, "x"))
    if given.shape != (model.inputs,):
        raise ValueError(
            f"`x` is a constant input, one number for each of {model.inputs} channel(s); got shape "
            f"{given.shape}."
        )
    return given.astype(model.dtype)


def draw_starts(
    key: PRNGKeyArray, starts: int, size: int, spread: float, dtype: Any
) -> Float[Array, "start size"]:
    """Random directions, at distances uniform in [0, spread √size]; the first start is 0."""
    return _drawn(key, starts, size, number(spread, "spread", 0, open_start=True), dtype)


@eqx.filter_jit
def _drawn(key: PRNGKeyArray, starts: int, size: int, spread: Array, dtype: Any) -> Array:
    direction, distance = jr.split(key)
    z = jr.normal(direction, (starts, size), dtype)
    z = z / jnp.linalg.norm(z, axis=-1, keepdims=True) * size**0.5
    return z * spread.astype(dtype) * jr.uniform(distance, (starts, 1), dtype).at[0].set(0)


@eqx.filter_jit
def _solve(
    model: AbstractRNN, x: Float[Array, " inputs"], begin: Float[Array, "start size"]
) -> tuple[Array, Array, Array, Array, Array]:
    """κ, the size of the drift there, ∂drift/∂κ, h and y, from each start."""
    import optimistix as optx

    eps = float(jnp.finfo(begin.dtype).eps)
    solver = optx.LevenbergMarquardt(rtol=eps**0.75, atol=eps**0.75)

    def drift(kappa: Array, _: Any = None) -> Array:
        return model.equilibria.drift(model, kappa, x)

    def one(start: Array) -> tuple[Array, Array, Array, Array, Array]:
        kappa = optx.root_find(drift, solver, start, max_steps=STEPS, throw=False).value
        state = model.equilibria.state(model, kappa, x)
        slope = jax.jacobian(drift)(kappa)
        return kappa, jnp.max(jnp.abs(drift(kappa))), slope, state, model.readout(state)

    return jax.vmap(one)(begin)


def _distinct(found: Any, dt: float, tol: float) -> FixedPoints:
    """Each fixed point once, of those that some starts have led to."""
    kappa, drift, slope, states, outputs = found
    size = 1 + np.abs(kappa).max(axis=-1, initial=0)
    arrived = np.isfinite(kappa).all(axis=-1) & (
        drift < size * max(tol**2, 100 * np.finfo(kappa.dtype).eps)
    )
    groups: list[list[int]] = []
    for i in np.flatnonzero(arrived):
        near = [g for g in groups if np.abs(kappa[g[0]] - kappa[i]).max() < tol * size[i]]
        if near:
            near[0].append(int(i))
        else:
            groups.append([int(i)])
    first = [g[0] for g in groups]
    values = 1 + dt * np.linalg.eigvals(slope[first]).astype(complex)
    values = np.take_along_axis(values, np.argsort(-np.abs(values), axis=-1), axis=-1)
    order = np.lexsort((outputs[first][:, 0], np.sum(np.abs(values) >= 1, axis=-1)))
    shares = np.array([len(g) for g in groups], float) / len(kappa)
    first = np.array(first, int)[order]
    return FixedPoints(kappa[first], states[first], outputs[first], values[order], shares[order])
