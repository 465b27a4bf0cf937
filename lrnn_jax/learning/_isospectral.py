"""A geometric integrator for the overlap flow."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Matrix = Float[Array, "*population k k"]


class GroupInterpolation(diffrax.AbstractLocalInterpolation):
    """T(t_0 + θh) = T_0 exp(θΩ): stays on the group between steps."""

    t0: Any
    t1: Any
    y0: Matrix
    omega: Matrix

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Matrix:
        del left
        if t1 is not None:
            return self.evaluate(t1) - self.evaluate(t0)
        span = jnp.where(self.t1 > self.t0, self.t1 - self.t0, 1)
        fraction = jnp.asarray((t0 - self.t0) / span, self.omega.dtype)
        return self.y0 @ jax.scipy.linalg.expm(fraction * self.omega)


class Isospectral(diffrax.AbstractAdaptiveSolver):
    """Exponential midpoint rule for dT/dt = T Ω(T), which keeps the spectrum of J D⁻¹ Q exactly.

        T_½ = T exp(½h Ω(T)),      T' = T exp(h Ω(T_½)),      Ω = −η Γ D

    Each step multiplies Q = TᵀQ_0T from both sides by e^{−hηDΓ}, e^{−hηΓD}; since JΓ = −ΓJ, J D⁻¹ Q
    moves by similarity, so its eigenvalues are kept to rounding at any step size (the balance
    UᵀU − VᵀV is kept to the tolerance only). Second order;
    the difference to the Euler rule T exp(hΩ(T)) is the error estimate for adaptive steps. The
    terms' vector field must return Ω (k×k), not T Ω: `Flow(solver=Isospectral())` does that.

    Source: ours (a Lie group method; Iserles et al. 2000 for the class).

    >>> flow = lrnn.Flow(0.05, solver=learning.Isospectral(), rtol=1e-5, atol=1e-7)
    >>> learned = lrnn.learn(reduction, task, flow, epochs=5)
    >>> before, after = lrnn.invariants(net).spectrum, lrnn.invariants(learned.model).spectrum
    >>> bool(abs(after - before).max() < 1e-12)
    True
    """

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable[..., GroupInterpolation]] = GroupInterpolation

    def order(self, terms: Any) -> int:
        return 2

    def error_order(self, terms: Any) -> int:
        return 2

    def init(self, terms: Any, t0: Any, t1: Any, y0: Matrix, args: Any) -> None:
        return None

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Matrix,
        args: Any,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[Matrix, Matrix, dict[str, Matrix], None, diffrax.RESULTS]:
        del solver_state, made_jump
        expm = jax.scipy.linalg.expm
        h = jnp.asarray(t1 - t0, y0.dtype)
        first = terms.vf(t0, y0, args)
        middle = terms.vf(t0 + (t1 - t0) / 2, y0 @ expm(h / 2 * first), args)
        omega = h * middle
        y1 = y0 @ expm(omega)
        error = y1 - y0 @ expm(h * first)
        return y1, error, {"y0": y0, "omega": omega}, None, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Matrix, args: Any) -> Matrix:
        return y0 @ terms.vf(t0, y0, args)
