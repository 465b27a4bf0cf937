"""Squared error between the impulse responses of a network and of a target filter.

    L = dt Σ_{t<T} ω_t ‖Y_t − F_t‖²,      ω_t = 1, or T − t ("triangular": white-noise input)

Y_t is the (inputs × outputs) response at step t to an input of 1/dt at step 0. For a linear
reduction Y_t = C Aᵗ B/dt, and the sum over time needs no simulation.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from operator import mul
from typing import Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Inexact

from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Scalar, small_matmul
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.reduced import AbstractReduction, LinearSystem
from lrnn_jax.tasks._base import Evaluation

Power = TypeVar("Power")
Sums = TypeVar("Sums")
Poles = Inexact[Array, " modes"]
Sampled = Float[Array, "time inputs outputs"]


class AbstractResponse(AbstractReadable):
    """The impulse response F of a target filter, and what is known of how it comes about.

    >>> isinstance(tasks.Samples(jnp.ones((50, 1, 1))), tasks.AbstractResponse)
    True
    """

    generator: ClassVar[Any] = None
    """A linear system with this response, where one is known."""
    modes: ClassVar[Any] = None
    """F as a sum of exponentials, where it is one."""

    @abstractmethod
    def samples(self, steps: int) -> Sampled:
        """F_0 … F_{T-1}."""


class Samples(AbstractResponse):
    """Any response, given as an array of shape (time, inputs, outputs).

    >>> tasks.Samples(jnp.ones((50, 1, 1))).samples(50).shape
    (50, 1, 1)
    """

    values: Sampled

    def samples(self, steps: int) -> Sampled:
        return self.values


class Generated(AbstractResponse):
    """The response F_t = C Aᵗ B of a linear system.

    >>> response = tasks.Generated(reduced.linear_system(reduction))
    >>> response.samples(50).shape
    (50, 1, 1)
    """

    generator: LinearSystem

    @eqx.filter_jit
    def samples(self, steps: int) -> Sampled:
        a, b, c = self.generator

        def body(state: Array, _: None) -> tuple[Array, Array]:
            return a @ state, (c @ state).T

        return jax.lax.scan(body, b, length=steps)[1]


class Modes(AbstractResponse):
    """A filter made of exponentials: F_t = Re Σ_j c_j ρ_jᵗ.

    Arguments:
        poles: ρ, per step, shape (modes,); complex for oscillations.
        amplitudes: c, real, shape (modes, inputs, outputs).

    >>> half = tasks.Modes(jnp.array([0.5]), jnp.ones((1, 1, 1)))
    >>> print(half.samples(4).ravel())
    [1.    0.5   0.25  0.125]
    """

    poles: Poles
    amplitudes: Float[Array, "modes inputs outputs"]

    def astype(self, dtype: Any) -> "Modes":
        """The same filter in another floating dtype."""
        poles = np.result_type(dtype, np.complex64) if jnp.iscomplexobj(self.poles) else dtype
        return Modes(self.poles.astype(poles), self.amplitudes.astype(dtype))

    def samples(self, steps: int) -> Sampled:
        powers = self.poles[None, :] ** jnp.arange(steps, dtype=self.poles.dtype)[:, None]
        return jnp.einsum("tj,jio->tio", jnp.real(powers), self.amplitudes)

    @property
    def modes(self) -> "Modes":
        return self

    @property
    def generator(self) -> LinearSystem:
        """One state per mode and input (two if complex)."""
        modes, inputs, outputs = self.amplitudes.shape
        rho = self.poles
        if jnp.iscomplexobj(rho):
            a = jnp.stack([rho.real, -rho.imag, rho.imag, rho.real], -1).reshape(modes, 2, 2)
        else:
            a = rho[:, None, None]
        each = a.shape[-1]
        a = jnp.kron(jax.scipy.linalg.block_diag(*a), jnp.eye(inputs, dtype=a.dtype))
        first = jnp.eye(each, dtype=a.dtype)[0]
        b = jnp.kron(jnp.tile(first, modes)[:, None], jnp.eye(inputs, dtype=a.dtype))
        c = jnp.einsum("jio,e->ojei", self.amplitudes, first).reshape(outputs, -1)
        return LinearSystem(a=a, b=b, c=c)


@partial(jax.jit, static_argnames=("inputs", "steps"))
def impulses(inputs: int, steps: int, dt: Scalar) -> Float[Array, "inputs time inputs"]:
    """An impulse of 1/dt at step 0, on one input channel in each trial."""
    pulse = jnp.eye(inputs, dtype=dt.dtype) / dt
    return jnp.zeros((inputs, steps, inputs), dt.dtype).at[:, 0].set(pulse)


def impulse_response(model: AbstractRNN, steps: int) -> Sampled:
    """Y_t: outputs at step t after an input of 1/dt at step 0, one input channel at a time.

    >>> same = tasks.impulse_response(net, 50) - tasks.impulse_response(reduction, 50)
    >>> bool(abs(same).max() < 1e-12)
    True
    """
    inputs = impulses(model.inputs, steps, model.dt.astype(model.dtype))
    return jnp.swapaxes(model.rollout(inputs), 0, 1)


def response_error(
    model: AbstractRNN,
    target: AbstractResponse,
    steps: int,
    *,
    evaluation: Evaluation = Evaluation.AUTO,
    triangular: bool = False,
) -> Scalar:
    """dt Σ_t ω_t ‖Y_t − F_t‖² by the requested or the fastest applicable way.

    Arguments:
        model: a network (always simulated) or a linear reduction.
        target: F.
        steps: T.
        evaluation: how, for a reduction.
        triangular: ω_t = T − t in place of 1.

    Errors: ValueError when the requested way does not apply to this model and target.
    """
    dt = model.dt.astype(model.dtype)
    way = choose_evaluation(model, target, evaluation)
    if way is Evaluation.CLOSED_FORM:
        return dt * _closed_form(model, target.modes, steps, triangular)
    if way is Evaluation.DOUBLING:
        return dt * _by_doubling(model, target.generator, steps, triangular)
    error = impulse_response(model, steps) - target.samples(steps).astype(model.dtype)
    squared = jnp.sum(error**2, axis=(1, 2))
    weights = steps - jnp.arange(steps, dtype=squared.dtype)
    return dt * jnp.sum(squared * weights if triangular else squared)


def choose_evaluation(
    model: AbstractRNN, target: AbstractResponse, asked: Evaluation
) -> Evaluation:
    """The way a loss is computed.

    Errors: ValueError when the one asked for does not apply to this reduction and target.

    >>> half = tasks.Modes(jnp.array([0.5]), jnp.ones((1, 1, 1)))
    >>> tasks.choose_evaluation(reduction, half, lrnn.Evaluation.AUTO)
    <Evaluation.CLOSED_FORM: 4>
    """
    if not isinstance(model, AbstractReduction) or not model.is_linear_system:
        return Evaluation.ROLLOUT
    closed = target.modes is not None and model.roles.rank == 1
    if asked is Evaluation.CLOSED_FORM and not closed:
        kind = "something else" if target.modes is None else "exponentials"
        raise ValueError(
            f"The closed form takes rank 1 and a target made of exponentials; here the reduction "
            f"has rank {model.roles.rank} and the target is made of {kind}. Use Evaluation.AUTO."
        )
    if asked is Evaluation.DOUBLING and target.generator is None:
        raise ValueError(
            "Doubling takes a target with a generator (exponentials, another linear network); "
            "this one is an array of samples. Use Evaluation.ROLLOUT or AUTO."
        )
    if asked is not Evaluation.AUTO:
        return asked
    if closed:
        return Evaluation.CLOSED_FORM
    return Evaluation.ROLLOUT if target.generator is None else Evaluation.DOUBLING


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
    >>> total  # 1 + 2 + 4 + 8 + 16
    31.0
    """
    n, now, s, v = 1, power, first, first
    for bit in f"{steps:b}"[1:]:
        if triangular:
            v = plus(v, jax.tree.map(lambda x, n=n: n * x, s), shift(now, v))
        s, now, n = plus(s, shift(now, s)), compose(now, now), 2 * n
        if bit == "1":
            s, now, n = plus(s, shift(now, first)), compose(now, power), n + 1
            v = plus(v, s) if triangular else v
    return v if triangular else s


def _by_doubling(model: Any, target: Any, steps: int, triangular: bool) -> Scalar:
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


class _Pair(NamedTuple):
    """Powers over n steps of the triangular matrix [[p, 1], [0, q]], and of the target's poles."""

    p: Array
    q: Array
    d: Array  # the divided difference (qⁿ − pⁿ)/(q − p)
    rho: Array


def _closed_form(model: Any, target: Any, steps: int, triangular: bool) -> Scalar:
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
    pp, pd, dd, rp, rd = _sums(steps, triangular, q, p, rho)
    own = jnp.sum(a * a) * pp + 2 * jnp.sum(a * b) * pd + jnp.sum(b * b) * dd
    along_a, along_b = jnp.sum(a[None] * c, axis=(1, 2)), jnp.sum(b[None] * c, axis=(1, 2))
    cross = jnp.sum(along_a * jnp.real(rp) + along_b * jnp.real(rd))
    return own - 2 * cross + _power_of_modes(rho, c, steps, triangular)


def _series(steps: int, triangular: bool, q: Scalar, p: Scalar, rho: Poles) -> tuple[Array, ...]:
    """Σ_t ω_t of pᵗpᵗ, pᵗD_t, D_tD_t, ρᵗpᵗ and ρᵗD_t, with D_t = (qᵗ − pᵗ)/(q − p)."""
    one, zero = jnp.ones_like(p), jnp.zeros_like(p)

    def cast(x: Array) -> Array:
        return x.astype(rho.dtype)

    def compose(x: _Pair, y: _Pair) -> _Pair:
        return _Pair(x.p * y.p, x.q * y.q, x.q * y.d + y.p * x.d, x.rho * y.rho)

    def shift(x: _Pair, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        pp, pd, dd, rp, rd = sums
        return (
            x.p**2 * pp,
            x.p * (x.q * pd + x.d * pp),
            x.q**2 * dd + 2 * x.q * x.d * pd + x.d**2 * pp,
            x.rho * cast(x.p) * rp,
            x.rho * (cast(x.q) * rd + cast(x.d) * rp),
        )

    first = (one, zero, zero, jnp.ones_like(rho), jnp.zeros_like(rho))
    power = _Pair(p, q, one, rho)
    return power_sum(steps, power, first, compose, shift, triangular=triangular)


_sums = jax.custom_jvp(_series, nondiff_argnums=(0, 1))


@partial(_sums.defjvp, symbolic_zeros=True)
def _sums_jvp(steps: int, triangular: bool, primals: Any, tangents: Any) -> Any:
    """By q, which is all that learning moves, in one pass with the sums: no way back is shorter."""
    q, *others = primals
    sums, by_q = jax.jvp(
        lambda q: _series(steps, triangular, q, *others), (q,), (jnp.ones_like(q),)
    )
    still = [isinstance(x, SymbolicZero) for x in tangents]
    moved = [jnp.zeros_like(x) if s else d for x, d, s in zip(primals, tangents, still)]
    pp, pd, dd, rp, rd = by_q
    pd, dd, rd = (slope * moved[0].astype(slope.dtype) for slope in (pd, dd, rd))
    # pp and rp, which are 0, stay as they are: of many q, JAX wants one where there is one sum
    changes = [pp, pd, dd, rp, rd]
    if not all(still[1:]):
        by_others = jax.jvp(lambda *x: _series(steps, triangular, q, *x), others, moved[1:])[1]
        changes = [a + b for a, b in zip(changes, by_others)]
    return sums, tuple(changes)


def _power_of_modes(
    rho: Poles, c: Float[Array, "modes inputs outputs"], steps: int, triangular: bool
) -> Scalar:
    """Σ_t ω_t ‖Re Σ_j c_j ρ_jᵗ‖² from sums of geometric series."""

    def geometric(x: Array) -> Array:
        return power_sum(steps, x, jnp.ones_like(x), mul, mul, triangular=triangular)

    pairs = jnp.einsum("jio,kio->jk", c, c)
    sums = geometric(rho[:, None] * rho[None, :])
    if jnp.iscomplexobj(rho):
        sums = (jnp.real(sums) + jnp.real(geometric(rho[:, None] * rho[None, :].conj()))) / 2
    return jnp.sum(pairs * sums)
