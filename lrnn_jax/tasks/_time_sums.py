"""Sums over time without a simulation: by doubling, and from sums of geometric series."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Inexact

from lrnn_jax._types import Scalar, small_matmul
from lrnn_jax.reduced import LinearSystem

Power = TypeVar("Power")
Sums = TypeVar("Sums")
Poles = Inexact[Array, " modes"]


def _plus(*sums: Any) -> Any:
    return jax.tree.map(lambda *x: sum(x[1:], x[0]), *sums)


def power_sum(
    steps: int,
    power: Power,
    first: Sums,
    compose: Callable[[Power, Power], Power],
    shift: Callable[[Power, Sums], Sums],
    *,
    plus: Callable[..., Sums] = _plus,
    triangular: bool = False,
) -> Sums:
    """Σ_{t<T} ω_t f_t in O(log T) operations, for terms that a linear shift moves through time.

        S_{2n} = S_n + shift_n(S_n),      S_{n+1} = S_n + shift_n(f_0)
        V_{2n} = V_n + n S_n + shift_n(V_n),      V_{n+1} = V_n + S_{n+1}

    No division and no eigenvectors: coincident and unstable eigenvalues are no special cases.

    Arguments:
        steps: T.
        power: what moves terms by one step (e.g. the matrix A).
        first: f_0 (e.g. the covariance B Bᵀ); a pytree.
        compose: power over m and n steps → power over m + n steps (e.g. the matrix product).
        shift: power over n steps, Σ_t f_t → Σ_t f_{t+n} (e.g. P, W → P W Pᵀ), linear in the sums.
        plus: addition of sums (default: leaf by leaf).
        triangular: ω_t = T − t (the sum V) in place of 1 (the sum S).

    >>> total = tasks.power_sum(5, 2.0, 1.0, lambda a, b: a * b, lambda p, s: p * s)
    >>> float(total)  # 1 + 2 + 4 + 8 + 16
    31.0
    """

    def stage(now: tuple, at: Array) -> tuple[tuple, None]:
        (p, s, v), (n, odd) = now, at
        if triangular:
            v = plus(v, jax.tree.map(lambda x: n.astype(x.dtype) * x, s), shift(p, v))
        s, p = plus(s, shift(p, s)), compose(p, p)
        longer = plus(s, shift(p, first))
        more = compose(p, power), longer, plus(v, longer) if triangular else v
        return jax.tree.map(partial(jnp.where, odd), more, (p, s, v)), None

    # unrolled, learning takes twice as long to compile; one network alone, at XLA's default flags,
    # runs twice as fast, and else nothing does
    at = np.array(_doublings(steps), int).reshape(-1, 2)
    power, first = jax.tree.map(jnp.asarray, (power, first))
    _, s, v = jax.lax.scan(stage, (power, first, first), jnp.asarray(at))[0]
    return v if triangular else s


def _doublings(steps: int) -> list[tuple[int, bool]]:
    """From n = 1 to T: each n that is doubled, and whether one more is added then."""
    ns = [steps >> i for i in reversed(range(steps.bit_length()))]
    return [(n, after % 2 == 1) for n, after in pairwise(ns)]


@eqx.filter_jit
def by_doubling(model: Any, target: Any, steps: int, triangular: bool) -> Scalar:
    """Σ_t ω_t ‖Y_t − F_t‖² from the Gramians of the network, of the target and between the two."""
    system, dt = model.system(), model.dt.astype(model.dtype)
    ours = LinearSystem(a=system.a, b=system.b / dt, c=system.c)
    theirs = LinearSystem(*(x.astype(model.dtype) for x in target))

    def compose(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        return small_matmul(x[0], y[0]), small_matmul(x[1], y[1])

    def shift(power: tuple[Array, Array], w: tuple[Array, ...]) -> tuple[Array, ...]:
        p, q = power
        pairs = (p, w[0], p), (p, w[1], q), (q, w[2], q)
        return tuple(small_matmul(small_matmul(a, w), b.T) for a, w, b in pairs)

    pairs = (ours, ours), (ours, theirs), (theirs, theirs)
    first = tuple(small_matmul(x.b, y.b.T) for x, y in pairs)
    power = ours.a, theirs.a
    own, between, other = power_sum(steps, power, first, compose, shift, triangular=triangular)
    return (
        jnp.sum(small_matmul(ours.c, own) * ours.c)
        - 2 * jnp.sum(small_matmul(ours.c, between) * theirs.c)
        + jnp.sum(small_matmul(theirs.c, other) * theirs.c)
    )


def closed_form(model: Any, target: Any, steps: int, triangular: bool) -> Scalar:
    """Σ_t ω_t ‖a pᵗ + b D_t − Re Σ_j c_j ρ_jᵗ‖² from sums of geometric series.

    p = 1 − dt, q = p + dt·vu, D_t = (qᵗ − pᵗ)/(q − p), a = S_zm, b = dt S_zu S_vm.
    """
    s, dt, outputs = model.overlaps.S, model.dt.astype(model.dtype), model.outputs
    a = s[:outputs, : model.inputs].T
    b = dt * jnp.outer(s[outputs, : model.inputs], s[:outputs, model.inputs])
    p = 1 - dt
    q = p + dt * s[outputs, model.inputs]
    target = target.astype(model.dtype)
    rho, c = target.poles, target.amplitudes
    fixed = _fixed_series(steps, p, rho)
    pp, rp, modes = fixed.total[triangular]
    pd, dd, rd = _moving_sums(steps, triangular, q, fixed)
    own = jnp.sum(a * a) * pp + 2 * jnp.sum(a * b) * pd + jnp.sum(b * b) * dd
    along_a, along_b = jnp.sum(a[None] * c, axis=(1, 2)), jnp.sum(b[None] * c, axis=(1, 2))
    cross = jnp.sum(along_a * jnp.real(rp) + along_b * jnp.real(rd))
    return own - 2 * cross + jnp.sum(jnp.einsum("jio,kio->jk", c, c) * modes)


class _Fixed(NamedTuple):
    """Powers and sums that learning does not change, for each n of `_doublings`.

    Fields: p, rho: pⁿ and ρⁿ; p2, rho2: p²ⁿ and ρ²ⁿ; pp, rp: Σ_{t<n} of pᵗpᵗ and ρᵗpᵗ, and the same
    with ω_t = n − t; total: these and Σ_t (Re ρ_jᵗ)(Re ρ_kᵗ) for n = T, and with ω_t.
    """

    p: Float[Array, " n"]
    rho: Inexact[Array, "n mode"]
    p2: Float[Array, " n"]
    rho2: Inexact[Array, "n mode"]
    pp: tuple[Float[Array, " n"], Float[Array, " n"]]
    rp: tuple[Inexact[Array, "n mode"], Inexact[Array, "n mode"]]
    total: tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]


def _fixed_series(steps: int, p: Scalar, rho: Poles) -> _Fixed:
    """Geometric series of x = (p, p², ρ, pρ, ρρ, ρρ*) by the recursions of `power_sum`.

    In a loop, which XLA takes out of that over the epochs: one after another, each of the powers
    and sums would be a kernel of its own, to compile and to hand to every epoch.
    """
    modes, p = len(rho), p.astype(rho.dtype)[None]
    x = [p, p * p, rho, p * rho, jnp.outer(rho, jnp.concatenate([rho, rho.conj()])).ravel()]
    x, one = jnp.concatenate(x), jnp.ones(sum(part.size for part in x), rho.dtype)
    alone, with_p, pairs = np.split(np.arange(2, x.size), [modes, 2 * modes])

    def double(at: Any, step: tuple[Array, Array]) -> tuple[Any, Any]:
        (power, s, v), (n, odd) = at, step
        square = power * power
        twice = square, s + power * s, v + n.astype(x.dtype) * s + power * v
        more = square * x, twice[1] + square, twice[2] + twice[1] + square
        powers = jnp.real(power[0]), power[alone], jnp.real(square[0]), square[alone]
        sums = (jnp.real(s[1]), jnp.real(v[1])), (s[with_p], v[with_p])
        return jax.tree.map(partial(jnp.where, odd), more, twice), (*powers, *sums)

    def total(end: Array) -> tuple[Array, Array, Array]:
        both = jnp.real(end[pairs]).reshape(modes, 2, modes)
        return jnp.real(end[1]), end[with_p], jnp.mean(both, axis=1)

    ways = _doublings(steps)
    each = jnp.array([n for n, _ in ways], int), jnp.array([odd for _, odd in ways], bool)
    (_, *ends), seen = jax.lax.scan(double, (x, one, one), each)
    return _Fixed(*seen, total=(total(ends[0]), total(ends[1])))


def _moving(steps: int, triangular: bool, q: Scalar, fixed: _Fixed) -> tuple[Array, ...]:
    """Σ_t ω_t of pᵗD_t, D_tD_t and ρᵗD_t by the recursions of `power_sum`."""
    kind = fixed.rho.dtype
    s = v = jnp.zeros_like(q), jnp.zeros_like(q), jnp.zeros_like(fixed.total[0][1])

    def shift(i: int, qn: Scalar, d: Scalar, sums: Any, weighted: bool) -> tuple[Array, ...]:
        (pd, dd, rd), pp, rp = sums, fixed.pp[weighted][i], fixed.rp[weighted][i]
        return (
            fixed.p[i] * (qn * pd + d * pp),
            qn**2 * dd + 2 * qn * d * pd + d**2 * pp,
            fixed.rho[i] * (qn.astype(kind) * rd + d.astype(kind) * rp),
        )

    qn, d = q, jnp.ones_like(q)
    for i, (n, odd) in enumerate(_doublings(steps)):
        if triangular:
            v = _plus(v, tuple(n * x for x in s), shift(i, qn, d, v, True))
        s = _plus(s, shift(i, qn, d, s, False))
        qn, d = qn * qn, (qn + fixed.p[i]) * d
        if odd:
            s = _plus(s, (fixed.p2[i] * d, d * d, fixed.rho2[i] * d.astype(kind)))
            qn, d = qn * q, qn + fixed.p[0] * d
            v = _plus(v, s) if triangular else v
    return v if triangular else s


_moving_sums = jax.custom_jvp(_moving, nondiff_argnums=(0, 1))


@partial(_moving_sums.defjvp, symbolic_zeros=True)
def _moving_sums_jvp(steps: int, triangular: bool, primals: Any, tangents: Any) -> Any:
    """By q, which is all that learning moves, in one pass with the sums: no way back is shorter."""
    q, fixed = primals
    sums, by_q = jax.jvp(lambda q: _moving(steps, triangular, q, fixed), (q,), (jnp.ones_like(q),))
    still = jax.tree.map(lambda x: isinstance(x, SymbolicZero), tangents)
    dq, dfixed = jax.tree.map(
        lambda x, d, zero: jnp.zeros_like(x) if zero else d, primals, tangents, still
    )
    changes = [slope * dq.astype(slope.dtype) for slope in by_q]
    if not all(jax.tree.leaves(still[1])):
        by_fixed = jax.jvp(partial(_moving, steps, triangular, q), (fixed,), (dfixed,))[1]
        changes = [a + b for a, b in zip(changes, by_fixed)]
    return sums, tuple(changes)
