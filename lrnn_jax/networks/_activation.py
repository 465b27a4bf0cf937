"""Single-neuron nonlinearities and their averages over Gaussian inputs."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lrnn_jax._checks import component, shape_of, shown
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Values, is_traced
from lrnn_jax.networks._erf import erf
from lrnn_jax.networks._quadrature import trapezoid

if TYPE_CHECKING:  # type checkers would take abstract class variables for fields
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractActivation(AbstractReadable):
    """A single-neuron nonlinearity φ, applied to each entry of the activity h.

    `linear` and `odd` (φ(−h) = −φ(h)) decide which theory applies.

    >>> lrnn.Tanh().odd, lrnn.ReLU().odd, lrnn.Identity().linear
    (True, False, True)
    """

    linear: AbstractClassVar[bool]
    odd: AbstractClassVar[bool]

    @abstractmethod
    def __call__(self, h: Values) -> Values:
        """φ(h), entry by entry."""

    @abstractmethod
    def gain(self, mean: Values, variance: Values) -> Values:
        """G = ⟨φ'(μ + √Δ ξ)⟩ over ξ ~ N(0, 1); smooth in Δ, also at Δ = 0.

        Arguments: μ and Δ ≥ 0, of equal shapes; μ = 0 throughout for odd φ.
        """

    @abstractmethod
    def average(self, mean: Values, variance: Values) -> Values:
        """⟨φ(μ + √Δ ξ)⟩ over ξ ~ N(0, 1); arguments as for `gain`."""

    @abstractmethod
    def power(self, mean: Values, variance: Values) -> Values:
        """⟨φ(μ + √Δ ξ)²⟩ over ξ ~ N(0, 1); arguments as for `gain`."""


def as_activation(activation: Any) -> AbstractActivation:
    """The activation itself.

    Errors: ValueError for anything else, with the spelling for a class or a function.

    >>> networks.as_activation(lrnn.Tanh())
    Tanh()
    >>> networks.as_activation("tanh")
    Traceback (most recent call last):
        ...
    ValueError: `activation` must be such as Tanh(), or OddActivation(f) of a ...
    """
    such_as = "Tanh(), or OddActivation(f) of a function f"
    return component(activation, AbstractActivation, "activation", such_as)


class Identity(AbstractActivation):
    """φ(h) = h: linear networks, for which the overlap theory is exact.

    >>> float(lrnn.Identity()(jnp.array(0.3)))
    0.3
    """

    linear = True
    odd = True

    def __call__(self, h: Values) -> Values:
        return h

    def gain(self, mean: Values, variance: Values) -> Values:
        return jnp.ones_like(variance)

    def average(self, mean: Values, variance: Values) -> Values:
        return mean

    def power(self, mean: Values, variance: Values) -> Values:
        return mean**2 + variance


class Erf(AbstractActivation):
    """φ(h) = erf(√π h / 2), slope 1 at zero; all averages in closed form.

        G = e^{−πμ²/(4c)}/√c,   c = 1 + πΔ/2,      ⟨φ²⟩ = (2/π) asin(πΔ/2 / c) for μ = 0

    Source: [LR] methods.

    >>> phi = lrnn.Erf()
    >>> round(float(jax.grad(phi)(0.0)), 6)
    1.0
    """

    linear = False
    odd = True

    def __call__(self, h: Values) -> Values:
        return erf(math.sqrt(math.pi) / 2 * h)

    def gain(self, mean: Values, variance: Values) -> Values:
        c = 1 + np.pi / 2 * variance
        if not is_traced(mean) and not np.asarray(mean).any():
            return jax.lax.rsqrt(c)
        return jnp.exp(-np.pi / 4 * mean**2 / c) / jnp.sqrt(c)

    def average(self, mean: Values, variance: Values) -> Values:
        return self(mean / jnp.sqrt(1 + np.pi / 2 * variance))

    def power(self, mean: Values, variance: Values) -> Values:
        return _mean_square(self, mean, variance)


READOUT = {"argument": "readout"}
"""Of the field `readout_activation`: what constructors call it."""


def read_out(
    activation: AbstractActivation, readout: AbstractActivation | None
) -> AbstractActivation:
    """What is read out: φ(h) with the network's own φ, or h itself.

    Errors: ValueError for a read-out of neither.

    >>> networks.read_out(lrnn.Tanh(), None), networks.read_out(lrnn.Tanh(), lrnn.Identity())
    (Tanh(), Identity())
    """
    readout = component(
        activation if readout is None else readout, AbstractActivation, "readout", "Identity()"
    )
    if not readout.linear and type(readout) is not type(activation):
        raise ValueError(
            f"`readout` is Identity(), to read out h, or None, to read out φ(h) with the network's "
            f"own {type(activation).__name__}; got {type(readout).__name__}."
        )
    return readout


class AbstractSmooth(AbstractActivation):
    """A smooth φ whose averages are taken by quadrature (see `gaussian_average`)."""

    def gain(self, mean: Values, variance: Values) -> Values:
        return gaussian_average(self, 1, mean, variance)

    def average(self, mean: Values, variance: Values) -> Values:
        return gaussian_average(self, 0, mean, variance)

    def power(self, mean: Values, variance: Values) -> Values:
        return _mean_square(self, mean, variance)


class Tanh(AbstractSmooth):
    """φ(h) = tanh h.

    >>> round(float(lrnn.Tanh()(jnp.array(1.0))), 4)
    0.7616
    """

    linear = False
    odd = True

    def __call__(self, h: Values) -> Values:
        return jnp.tanh(h)


class Softplus(AbstractSmooth):
    """φ(h) = log(1 + eʰ): smooth, not odd.

    >>> round(float(networks.Softplus()(jnp.array(0.0))), 4)
    0.6931
    """

    linear = False
    odd = False

    def __call__(self, h: Values) -> Values:
        return jax.nn.softplus(h)


class OddActivation(AbstractSmooth):
    """Any odd, smooth φ from a JAX function.

    Arguments: `function`, as for `SmoothActivation`.

    Errors: ValueError when φ(−h) = −φ(h) fails (checked at a few points).

    >>> phi = lrnn.OddActivation(lambda x: x / jnp.sqrt(1 + x**2))
    >>> round(float(phi(jnp.array(1.0))), 4), phi.odd
    (0.7071, True)
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    linear = False
    odd = True

    def __init__(self, function: Callable[[Any], Any]):
        self.function = _elementwise(function)
        points = jnp.asarray([0.0, 0.1, 0.7, 1.5, 4.0])
        with jax.ensure_compile_time_eval():
            gap = float(jnp.max(jnp.abs(function(points) + function(-points))))
            size = float(jnp.max(jnp.abs(function(points))))
        if not gap <= 1e-5 * size:
            raise ValueError(
                f"`function` is not odd, as φ(h) + φ(−h) reaches {gap:.3g}: use "
                f"`SmoothActivation` for it."
            )

    def __call__(self, h: Values) -> Values:
        return self.function(h)


class SmoothActivation(AbstractSmooth):
    """Any smooth φ from a JAX function, odd or not; its closure takes the means into account.

    Arguments:
        function: φ, elementwise, at least three times differentiable; the same function object
            each time, or JAX compiles again.

    >>> phi = lrnn.SmoothActivation(jax.nn.gelu)
    >>> phi.odd, phi.linear
    (False, False)
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    linear = False
    odd = False

    def __init__(self, function: Callable[[Any], Any]):
        self.function = _elementwise(function)

    def __call__(self, h: Values) -> Values:
        return self.function(h)


class ReLU(AbstractActivation):
    """φ(h) = max(h, 0); all averages in closed form.

        G = Φ(r),   ⟨φ⟩ = μ Φ(r) + √Δ ϕ(r),   ⟨φ²⟩ = (μ² + Δ) Φ(r) + μ √Δ ϕ(r),   r = μ/√Δ

    with Φ, ϕ the standard normal law and its density. At Δ = 0 these are φ and its slope at μ, with
    derivative zero in Δ (the true one-sided derivative is infinite at μ = Δ = 0).

    >>> print(lrnn.ReLU()(jnp.array([-1.0, 2.0])))
    [0. 2.]
    """

    linear = False
    odd = False

    def __call__(self, h: Values) -> Values:
        return jax.nn.relu(h)

    def gain(self, mean: Values, variance: Values) -> Values:
        spread, noisy = _deviation(variance)
        step = jnp.heaviside(mean, jnp.full_like(mean, 0.5))
        return jnp.where(noisy, jax.scipy.stats.norm.cdf(mean / spread), step)

    def average(self, mean: Values, variance: Values) -> Values:
        spread, noisy = _deviation(variance)
        r = mean / spread
        law = jax.scipy.stats.norm
        return jnp.where(noisy, mean * law.cdf(r) + spread * law.pdf(r), jax.nn.relu(mean))

    def power(self, mean: Values, variance: Values) -> Values:
        spread, noisy = _deviation(variance)
        r = mean / spread
        law = jax.scipy.stats.norm
        square = (mean**2 + spread**2) * law.cdf(r) + mean * spread * law.pdf(r)
        return jnp.where(noisy, square, jax.nn.relu(mean) ** 2)


def _elementwise(function: Any) -> Callable[[Any], Any]:
    """The function itself, refused unless JAX can trace it and it keeps the shape."""
    if (shape := shape_of(function, 3)) != (3,):
        raise ValueError(
            f"`function` must be an elementwise function of JAX arrays, such as jnp.tanh; got "
            f"{shown(function)}, and {shape} for an array of shape (3,)."
        )
    return function


def _deviation(variance: Values) -> tuple[Values, Any]:
    """√Δ, or 1 where Δ = 0, and where it is not."""
    noisy = variance > 0
    return jnp.sqrt(jnp.where(noisy, variance, 1.0)), noisy


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def gaussian_average(
    function: Callable[[Any], Any], order: int, mean: Values, variance: Values
) -> Values:
    """⟨φ^{(n)}(μ + √Δ ξ)⟩ over ξ ~ N(0, 1), for the n-th derivative (`order`) of a smooth φ.

    Derivatives are exact and finite, also at Δ = 0, by the heat equation:

        d/dμ ⟨φ^{(n)}⟩ = ⟨φ^{(n+1)}⟩,      d/dΔ ⟨φ^{(n)}⟩ = ½ ⟨φ^{(n+2)}⟩

    >>> mean = networks.gaussian_average(jnp.cos, 0, jnp.array(0.0), jnp.array(1.0))
    >>> round(float(mean - jnp.exp(-0.5)), 6)
    0.0
    """
    derivative = function
    for _ in range(order):
        derivative = _elementwise_derivative(derivative)
    xi, weights = (jnp.asarray(a, variance.dtype) for a in trapezoid())
    shape = (1,) * variance.ndim + (-1,)
    spread = jnp.sqrt(jnp.maximum(variance, 0))[..., None]
    values = derivative(mean[..., None] + spread * xi.reshape(shape))
    return jnp.sum(values * weights.reshape(shape), axis=-1)


@gaussian_average.defjvp
def _gaussian_average_jvp(function: Any, order: int, primals: Any, tangents: Any) -> Any:
    (mean, variance), (d_mean, d_variance) = primals, tangents
    value, by_mean, by_variance = (
        gaussian_average(function, order + more, mean, variance) for more in range(3)
    )
    return value, by_mean * d_mean + by_variance / 2 * d_variance


def _elementwise_derivative(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda h: jax.jvp(function, (h,), (jnp.ones_like(h),))[1]


def _mean_square(phi: AbstractActivation, mean: Values, variance: Values) -> Values:
    """⟨φ²⟩ by quadrature, unless it is known beforehand that nothing varies."""
    if not is_traced(variance) and not np.asarray(variance).any():
        return phi(mean) ** 2
    return gaussian_average(lambda h: phi(h) ** 2, 0, mean, variance)
