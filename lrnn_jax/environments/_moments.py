"""Second moments of linear closed loops: exact expectations that do not overflow.

A quantity is carried as value · 2^exponent with a whole exponent and entries of the value below 1,
so that |λ|^{2T} may leave the range of floating-point numbers. Exponents are constants for
differentiation, and powers of two are exact, so that neither values nor gradients lose a digit.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import component
from lrnn_jax._types import FEW, cast, small_matmul
from lrnn_jax.environments._base import AbstractPlant
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.tasks import power_sum


class Scaled(NamedTuple):
    """value · 2^exponent, with entries of the value below 1 in size.

    >>> big = environments.Scaled(jnp.array(0.5), jnp.array(2000))  # beyond the largest float64
    >>> round(float(jnp.log10(big.value) + big.exponent * jnp.log10(2.0)), 1)
    601.8
    """

    value: Float[Array, "..."]
    exponent: Int[Array, ""]

    def log(self) -> Float[Array, "..."]:
        """Natural logarithm."""
        two = jnp.log(jnp.asarray(2, self.value.dtype))
        return jnp.log(self.value) + two * self.exponent.astype(self.value.dtype)

    def bounded(self) -> Float[Array, "..."]:
        """The number itself as far as floating-point numbers reach, and above that a finite one.

        Its gradient is the number's own below 2^480 (float32: 2^48), and above that cut to this
        exponent, so that squares stay finite; its direction is right at any size.
        """
        return _bounded(self.value, self.exponent)


class LinearLoop(eqx.Module):
    """A plant and its controller as one linear system: s_{t+1} = P s_t + noise, s = (x, h).

    Arguments:
        matrix: P, shape (d, d), d = state + neurons (or latents).
        control: K with u_t = K s_t, shape (controls, d).
        noise: covariance of the noise per step, shape (d, d); None without noise.

    >>> system = environments.linear_loop(reduction, loop.plant)
    >>> system.matrix.shape, system.control.shape
    ((4, 4), (1, 4))
    """

    matrix: Float[Array, "d d"]
    control: Float[Array, "controls d"]
    noise: Float[Array, "d d"] | None


def linear_loop(model: AbstractRNN, plant: AbstractPlant) -> LinearLoop:
    """The closed loop of a plant and a controller as one linear system.

        x' = A x + B C_h h,   h' = A_h h + B_h C x'      (noise w enters x' and h', v enters h')

    Nonlinear ones are linearised at x = 0, h = 0 without signals.

    Arguments:
        model: controller, a network or a reduction.
        plant: what it controls.

    Source: [CL] eq. 9 (rank 1, double integrator).

    >>> system = environments.linear_loop(reduction, loop.plant)
    >>> full = environments.linear_loop(net, loop.plant)
    >>> system.matrix.shape, full.matrix.shape
    ((4, 4), (42, 42))
    """
    as_network(model, "model")
    component(plant, AbstractPlant, "plant", "KIntegrator(2), a plant")
    if (model.inputs, model.outputs) != (plant.observations, plant.controls):
        raise ValueError(
            f"`plant` has {plant.observations} observation(s) and {plant.controls} control(s), but "
            f"`model` {model.inputs} input(s) and {model.outputs} output(s)."
        )
    plant, n = cast(plant, model.dtype), plant.state_size
    sizes = n + model.state_size, n, plant.observations
    signals = jax.eval_shape(lambda: plant.signals(jnp.zeros(plant.start_size), 1))
    signal = jax.tree.map(lambda s: jnp.zeros(s.shape[1:], s.dtype), signals)

    def joint(s: Float[Array, " d"], w: Float[Array, " x"], v: Float[Array, " seen"]) -> Any:
        x, h = s[:n], s[n:]
        u = model.readout(h)
        x = plant.step(x, u) + w
        return jnp.concatenate([x, model.step(h, plant.observe(x, signal) + v)]), u

    at_rest = [jnp.zeros(size, model.dtype) for size in sizes]
    matrix, control = jax.jacfwd(joint)(*at_rest)
    noise = None
    for source, factor in ((1, plant.process_noise), (2, plant.observation_noise)):
        if factor is not None:
            into = jax.jacfwd(joint, source)(*at_rest)[0] @ factor
            noise = into @ into.T if noise is None else noise + into @ into.T
    return LinearLoop(matrix, control, noise)


@eqx.filter_jit
def moments(system: LinearLoop, start: Float[Array, "x x"], steps: int) -> tuple[Scaled, Scaled]:
    """Σ_{t<T} ⟨s_t s_tᵀ⟩ and Σ_{t≤T, t>0} ⟨s_t s_tᵀ⟩ in O(log T) products of matrices.

        S_{t+1} = P S_t Pᵀ + N,      S_0 = Σ_0 for the plant's state, 0 for the controller's

    Arguments:
        system: P and N.
        start: Σ_0 = ⟨x_0 x_0ᵀ⟩.
        steps: T.

    >>> system = environments.linear_loop(reduction, loop.plant)
    >>> before, after = environments.moments(system, jnp.eye(2) / 3, 20)
    >>> before.value.shape, after.value.shape
    ((4, 4), (4, 4))
    """
    d, n = len(system.matrix), len(start)
    first = jnp.zeros((d, d), start.dtype).at[:n, :n].set(start)
    one = jnp.ones((), start.dtype)
    power = scaled(system.matrix), None if system.noise is None else scaled(system.noise)

    def compose(left: tuple, right: tuple) -> tuple:
        """Pᵐ⁺ⁿ and N_{m+n} = Pᵐ N_n Pᵐᵀ + N_m."""
        p = scaled(_matmul(left[0].value, right[0].value), left[0].exponent + right[0].exponent)
        if left[1] is None:
            return p, None
        return p, add(_congruence(left[0], right[1]), left[1])

    def shift(power: tuple, sums: tuple) -> tuple:
        """Σ_t S_{t+n} = Pⁿ (Σ_t S_t) Pⁿᵀ + (number of terms) N_n."""
        p, noise = power
        total, count = sums
        moved = _congruence(p, total)
        if noise is not None:
            moved = add(moved, Scaled(count * noise.value, noise.exponent))
        return moved, count

    def plus(a: tuple, b: tuple) -> tuple:
        return add(a[0], b[0]), a[1] + b[1]

    total = power_sum(steps, power, (scaled(first), one), compose, shift, plus=plus)
    return total[0], scaled(*shift(power, total)[0])


@jax.custom_jvp
def _bounded(value: Float[Array, "..."], exponent: Int[Array, ""]) -> Float[Array, "..."]:
    # half of the power twice: 2^1024 is no number, but the value times it may be
    top = jnp.minimum(exponent, _layout(value.dtype)[2] + 1)
    return 2 * value * _power_of_two(top - 1, value.dtype)


@_bounded.defjvp
def _bounded_jvp(primals: Any, tangents: Any) -> Any:
    value, exponent = primals
    integer, _, bias = _layout(value.dtype)
    cap = bias // 2 + 1 - 4 * integer.itemsize
    slope = _power_of_two(jnp.minimum(exponent, cap), value.dtype)
    return _bounded(value, exponent), tangents[0] * slope


def scaled(value: Float[Array, "..."], exponent: Int[Array, ""] | int = 0) -> Scaled:
    """value · 2^exponent in standard form; zero, infinity and NaN stay what they are."""
    reached = jnp.max(_exponent(jnp.abs(jax.lax.stop_gradient(value))) + exponent) + 1
    return Scaled(value * _power_of_two(exponent - reached, value.dtype), reached)


def add(a: Scaled, b: Scaled) -> Scaled:
    """The sum."""
    top = jnp.maximum(a.exponent, b.exponent)
    parts = (x.value * _power_of_two(x.exponent - top, x.value.dtype) for x in (a, b))
    return scaled(sum(parts, jnp.zeros_like(a.value)), top)


def _congruence(p: Scaled, s: Scaled) -> Scaled:
    """P S Pᵀ, its entries below d⁴ in place of 1."""
    value = _matmul(_matmul(p.value, s.value), p.value.T)
    return Scaled(value, 2 * p.exponent + s.exponent)


def _matmul(a: Float[Array, "i j"], b: Float[Array, "j k"]) -> Float[Array, "i k"]:
    return small_matmul(a, b) if len(b) <= FEW else a @ b


def _layout(dtype: jnp.dtype) -> tuple[jnp.dtype, int, int]:
    """Integer type, bits of the mantissa and exponent bias of a floating dtype."""
    info = jnp.finfo(dtype)
    return jnp.dtype(f"int{info.bits}"), int(info.nmant), int(info.maxexp) - 1


def _exponent(x: Float[Array, "..."]) -> Int[Array, "..."]:
    """⌊log₂ x⌋ of x ≥ 0, read off its bits; −bias for 0 and numbers below the normal ones."""
    integer, mantissa, bias = _layout(x.dtype)
    bits = jax.lax.bitcast_convert_type(x, integer)
    return (bits >> mantissa).astype(jnp.int32) - bias


def _power_of_two(exponent: Int[Array, ""], dtype: jnp.dtype) -> Float[Array, ""]:
    """2^exponent exactly, from its bits; 0 below the normal numbers, inf above."""
    integer, mantissa, bias = _layout(dtype)
    bits = (jnp.clip(exponent, -bias, bias + 1) + bias).astype(integer) << mantissa
    return jax.lax.bitcast_convert_type(bits, dtype)
