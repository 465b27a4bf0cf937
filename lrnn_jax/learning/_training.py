"""Any optax optimiser, and which of them are exact on overlaps."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

from lrnn_jax.learning._descent import times
from lrnn_jax.learning._method import AbstractUpdate, Step
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.rules import AbstractRule, Gradient


class Training(AbstractUpdate):
    """Learning with an optax optimiser.

    On a network the optimiser sees its own arrays, {"z", "v", "m", "u"} (of other networks all that
    learn, as matrices with at least as many rows as columns), and the gradients s ∂L/∂Θ, so that
    `optax.sgd(η)` is `Descent(η)`. Frozen columns get zero gradients and no update. Optimisers that
    ask for them get the loss as `value` and these gradients as `grad`; line searches, which ask for
    `value_fn`, are not supported.

    On a reduction the optimiser must keep the weights in the column space of Θ_0 with coefficients
    that do not depend on N: then Θ_t = Θ_0 T_t and it acts on T. Whether it does is measured, on
    random weights and gradients: its updates must commute with every linear map of the rows. Plain,
    momentum and Nesterov SGD, weight decay and schedules pass; elementwise rules (Adam, RMSProp,
    Lion, sign descent, elementwise clipping, noise) do not, nor do rules that use the raw norm
    ‖∂L/∂Θ‖, which depends on N: for those use `Descent(clip=…)`, `NormalisedDescent`, `Muon`.

    Arguments:
        optimiser: an `optax.GradientTransformation`. Make it once and use it again: two of them
            are different programs to JAX, which compiles for each.
        rule: how the direction that the optimiser sees is computed.

    Errors: ValueError, when learning starts, for a reduction with an optimiser that is not exact
    there, with the reason.

    Source: ours.
    """

    optimiser: optax.GradientTransformation
    rule: AbstractRule

    def __init__(self, optimiser: optax.GradientTransformation, *, rule: AbstractRule = Gradient()):
        self.optimiser = optimiser
        self.rule = rule

    def fits(self, space: AbstractSpace) -> None:
        columns = {name: block.shape[-1] for name, block in space.blocks(space.start).items()}
        if space.coefficients and (reason := _obstacle(self.optimiser, columns)):
            raise ValueError(
                f"This optimiser cannot run on a reduction: {reason} Train the full network with "
                f"it, or use Descent, NormalisedDescent or Muon, which are exact on both."
            )

    def init(self, space: AbstractSpace) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return self.optimiser.init(space.blocks(space.start))

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        rates = space.rates({})
        direction = space.blocks(times(step.direction, rates))
        with jax.numpy_dtype_promotion("standard"):
            blocks = space.blocks(step.weights)
            change, memory = _update(self.optimiser, direction, step.memory, blocks, step.loss)
        change = space.join(jax.tree.map(lambda _, a: jnp.asarray(a), blocks, change))
        change = times(change, rates)
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), step.weights, change), memory


def _update(optimiser: Any, slope: Any, memory: Any, weights: Any, loss: Any) -> tuple[Any, Any]:
    """An optimiser's change; those that ask for the loss and its gradient are given them."""
    update = optax.with_extra_args_support(optimiser).update
    return update(slope, memory, weights, value=loss, grad=slope)


def _obstacle(optimiser: optax.GradientTransformation, sizes: dict[str, int]) -> str | None:
    """Why an optimiser is not exact on overlaps, or None where it is.

    Three updates are taken from random weights and gradients, and again after mapping the rows of
    both by a random matrix: the results must be mapped likewise, to 1e-4 (float32 rounding over
    three updates; rules that fail do so by order 1).
    """
    with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):
        rows = sum(sizes.values())
        keys = iter(jr.split(jr.key(0), 32))
        names = list(sizes)
        weights = {f: jr.normal(next(keys), (rows, sizes[f])) for f in names}
        slopes = [{f: jr.normal(next(keys), (rows, sizes[f])) for f in names} for _ in range(3)]
        orthonormal = jnp.linalg.qr(jr.normal(next(keys), (rows + 3, rows)))[0]
        general = jr.normal(next(keys), (rows, rows)) + 3 * jnp.eye(rows)

        def error(row_map: Float[Array, "a b"]) -> float:
            """Largest relative error over sizes of the gradient: thresholds must not hide."""
            return max(error_at(row_map, size) for size in (1e-6, 1.0, 1e6))

        def error_at(row_map: Float[Array, "a b"], size: float) -> float:
            sized = [{f: size * g for f, g in slope.items()} for slope in slopes]
            plain = _updated(optimiser, weights, sized)
            mapped = _updated(
                optimiser,
                {f: row_map @ w for f, w in weights.items()},
                [{f: row_map @ g for f, g in slope.items()} for slope in sized],
            )
            gap = max(float(jnp.abs(row_map @ plain[f] - mapped[f]).max()) for f in names)
            moved = max(float(jnp.abs(mapped[f] - row_map @ weights[f]).max()) for f in names)
            # weights of order 1 carry a rounding error of their own
            rounding = 1e2 * float(jnp.finfo(plain[names[0]].dtype).eps)
            return max(gap - rounding, 0.0) / max(moved, float(np.finfo(np.float32).tiny))

        try:
            if error(orthonormal) > 1e-4:
                return (
                    "its updates do not commute with rotations of the neurons, as for every "
                    "elementwise rule (Adam, RMSProp, Lion, …): they leave the column space of "
                    "the initial loading vectors, so the overlaps do not determine learning."
                )
            if error(general) > 1e-4:
                return (
                    "its updates use the norm of the raw gradient, which depends on the number "
                    "of neurons, so the overlaps do not determine learning."
                )
        except (jax.errors.ConcretizationTypeError, jax.errors.UnexpectedTracerError):
            return (
                "its hyperparameters are traced (inside jit, vmap or grad), so it cannot be "
                "checked that it is exact on overlaps."
            )
    return None


def _updated(
    optimiser: optax.GradientTransformation,
    weights: dict[str, Array],
    slopes: list[dict[str, Array]],
) -> dict[str, Array]:
    memory = optimiser.init(weights)
    for slope in slopes:
        step, memory = _update(optimiser, slope, memory, weights, jnp.ones(()))
        weights = jax.tree.map(jnp.add, weights, step)
    return weights
