"""Sums over time without a simulation: by doubling, and from sums of geometric series."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
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

    stages = steps.bit_length() - 1

    def stage(i: Array, now: tuple) -> tuple:
        p, s, v = now
        n = steps >> (stages - i)
        if triangular:
            v = plus(v, jax.tree.map(lambda x: n.astype(x.dtype) * x, s), shift(p, v))
        s, p = plus(s, shift(p, s)), compose(p, p)
        if steps == 1 << stages:
            return p, s, v
        longer = plus(s, shift(p, first))
        more = compose(p, power), longer, plus(v, longer) if triangular else v
        odd = (steps >> (stages - 1 - i)) % 2 == 1
        return jax.tree.map(partial(jnp.where, odd), more, (p, s, v))

    # unrolled, learning takes twice as long to compile; one network alone, at XLA's default flags,
    # runs twice as fast, and else nothing does
    power, first = jax.tree.map(jnp.asarray, (power, first))
    _, s, v = jax.lax.fori_loop(0, stages, stage, (power, first, first))
    return v if triangular else s


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
    """Σ_t ω_t ‖a pᵗ + b D_t − Re Σ_j c_j ρ_jᵗ‖² from sums of products of pᵗ, D_t and ρᵗ.

    p = 1 − dt, a = S_zm, b = dt S_zu S_vm, D_t = ((p + e)ᵗ − pᵗ)/e, e = dt S_vu.
    """
    s, dt, outputs = model.overlaps.S, model.dt.astype(model.dtype), model.outputs
    a = s[:outputs, : model.inputs].T
    b = dt * jnp.outer(s[outputs, : model.inputs], s[:outputs, model.inputs])
    e, p = dt * s[outputs, model.inputs], 1 - dt
    target = target.astype(model.dtype)
    rho, c = target.poles, target.amplitudes
    still = _still_sums(steps, triangular, jnp.concatenate([p[None].astype(rho.dtype), rho]))
    pd, dd, rd = _moving_sums(steps, triangular, e, p, rho)
    own = jnp.sum(a * a) * still[0, 0] + 2 * jnp.sum(a * b) * pd + jnp.sum(b * b) * dd
    along_a, along_b = jnp.sum(a[None] * c, axis=(1, 2)), jnp.sum(b[None] * c, axis=(1, 2))
    cross = jnp.sum(along_a * still[1:, 0] + along_b * jnp.real(rd))
    return own - 2 * cross + jnp.sum(jnp.einsum("jio,kio->jk", c, c) * still[1:, 1:])


def _still_sums(steps: int, triangular: bool, x: Poles) -> Float[Array, "pole pole"]:
    """Σ_t ω_t (Re x_jᵗ)(Re x_kᵗ)."""
    pairs = x[:, None, None] * jnp.stack([x, x.conj()])[None]
    one = jnp.ones_like(pairs)
    sums = power_sum(steps, pairs, one, jnp.multiply, jnp.multiply, triangular=triangular)
    return jnp.real(jnp.mean(sums, axis=1))


def _moving(steps: int, triangular: bool, e: Scalar, p: Scalar, rho: Poles) -> tuple[Array, ...]:
    """Σ_t ω_t of pᵗD_t, D_tD_t and ρᵗD_t, with qᵗ = (p + e)ᵗ = pᵗ + e D_t.

    Single numbers, which sweeps compute side by side, and few: XLA makes one kernel of the loop
    at its default flags while a trip touches less than 1 kB.
    """
    one, zero, kind = jnp.ones_like(e), jnp.zeros_like(e), rho.dtype

    def compose(m: Any, n: Any) -> Any:
        (pm, dm, rm), (pn, dn, rn) = m, n
        return pm * pn, (pm + e * dm) * dn + dm * pn, rm * rn

    def shift(power: Any, sums: Any) -> Any:
        (p, d, rho), (pp, pd, dd, rp, rd) = power, sums
        q = p + e * d
        return (
            p * p * pp,
            p * (q * pd + d * pp),
            q * (q * dd + 2 * d * pd) + d * d * pp,
            rho * (p.astype(kind) * rp),
            rho * (q.astype(kind) * rd + d.astype(kind) * rp),
        )

    first = one, zero, zero, jnp.ones_like(rho), jnp.zeros_like(rho)
    sums = power_sum(steps, (p, one, rho), first, compose, shift, triangular=triangular)
    _, pd, dd, _, rd = sums
    return pd, dd, rd


_moving_sums = jax.custom_jvp(_moving, nondiff_argnums=(0, 1))


@partial(_moving_sums.defjvp, symbolic_zeros=True)
def _moving_sums_jvp(steps: int, triangular: bool, primals: Any, tangents: Any) -> Any:
    """By e, which is all that learning moves, in one pass with the sums: no way back is shorter."""
    e, *fixed = primals
    sums, by_e = jax.jvp(lambda e: _moving(steps, triangular, e, *fixed), (e,), (jnp.ones_like(e),))
    still = [isinstance(x, SymbolicZero) for x in tangents]
    de, *dfixed = (jnp.zeros_like(x) if zero else d for x, d, zero in zip(primals, tangents, still))
    changes = [slope * de.astype(slope.dtype) for slope in by_e]
    if not all(still[1:]):
        by_fixed = jax.jvp(partial(_moving, steps, triangular, e), fixed, dfixed)[1]
        changes = [a + b for a, b in zip(changes, by_fixed)]
    return sums, tuple(changes)
