"""The error function in float64, several times as fast as XLA's on a CPU."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NEAR = tuple(
    2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(13)
)
"""Taylor coefficients of erf(x)/x in x²: next one 5e-19 at x = 1/2."""

CENTRE = 3.75
FAR = (
    1.2375126308378275,
    -0.14024059858554522,
    0.0035854154854663067,
    0.08227673848999159,
    -0.10880393014193915,
    0.09230432116435616,
    -0.058693398584491845,
    0.028362277371370044,
    -0.00974657962081509,
    0.0017556261692276722,
    0.00029371408777227685,
    -0.0002901553656394713,
    5.164737123871838e-05,
    2.238759272534769e-05,
    -1.143961526007595e-05,
    -9.79297529099823e-07,
    1.7438577411359181e-06,
    -5.0816911811698186e-08,
    -2.4996538037405243e-07,
    1.8778501156468795e-08,
    3.256499083798513e-08,
    -1.952790162974837e-09,
    -2.7293941332533855e-09,
)
"""(1 + 2x) e^{x²} erfc(x) for x ≥ 0 as a polynomial in t = (x − 3.75)/(x + 3.75): interpolated at
23 Chebyshev points in 50-digit arithmetic. The form is from M. M. Shepherd and J. G. Laframboise,
Math. Comp. 36 (1981) 249."""


@jax.custom_jvp
def erf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """erf(x), odd and within 5e-16 (relative: 1e-15) in float64; XLA's own in other precisions.

        |x| < 1/2: Taylor;   else 1 − e^{−x²} P(t)/(1 + 2|x|),   t = (|x| − 3.75)/(|x| + 3.75)

    One exponential, which the derivative shares, and one division.

    >>> round(float(networks.erf(jnp.array(1.0))), 12)
    0.84270079295
    """
    if x.dtype != jnp.float64:
        return jax.lax.erf(x)
    size, square = jnp.abs(x), x * x
    slope, shift = 1 + 2 * size, size + CENTRE
    inverse = 1 / (slope * shift)
    ratio = (size - CENTRE) * slope * inverse
    far = 1 - jnp.exp(-square) * _polynomial(FAR, ratio) * shift * inverse
    value = jnp.where(size < 0.5, size * _polynomial(NEAR, square), far)
    # beyond 6 it is 1 to rounding, and infinity would make the ratio NaN
    value = jnp.where(size < 6, value, jnp.where(jnp.isnan(x), x, 1.0))
    return jnp.where(x < 0, -value, value)


@erf.defjvp
def _erf_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return erf(x), (2 / math.sqrt(math.pi)) * jnp.exp(-(x * x)) * dx


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Σ c_n xⁿ in pairs (Estrin's scheme): processors work on them side by side."""
    terms: list[Any] = list(coefficients)
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2])
        odd = terms[-1:] if len(terms) % 2 else []
        terms, x = [a + b * x for a, b in pairs] + odd, x * x
    return terms[0]
