"""Smaller steps from some point on."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, number
from lrnn_jax._readable import of_part
from lrnn_jax.learning._method import AbstractUpdate, Step
from lrnn_jax.networks import AbstractSpace, Weights


class Slowed(AbstractUpdate):
    """Another method, with its steps divided once the loss has been small for the first time.

        X' = X + (step of the method) / d,      d = factor from the first epoch with L < below on

    The loss is that of the epoch's own data.

    Arguments:
        method: any but `Flow`.
        below: the loss that has to be reached.
        factor: what steps are divided by from then on.

    Errors: ValueError for a method that takes no steps, factor ≤ 0.

    Source: [LR] methods (memory).

    >>> slowed = learning.Slowed(descent, below=float(curve.loss[10]), factor=10.0)
    >>> learned = lrnn.learn(reduction, task, slowed, epochs=20)
    >>> bool(learned.loss[-1] > curve.loss[-1])
    True
    """

    method: AbstractUpdate
    below: Float[Array, ""]
    factor: Float[Array, ""]
    rule, fits = of_part("method", "rule"), of_part("method", "fits")

    def __init__(self, method: AbstractUpdate, below: ArrayLike, factor: ArrayLike):
        self.method = component(method, AbstractUpdate, "method", "Descent(0.1), which takes steps")
        self.below = number(below, "below", 0)
        self.factor = number(factor, "factor", 0, open_start=True)

    def init(self, space: AbstractSpace) -> Any:
        return self.method.init(space), jnp.array(False)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        inner, slow = step.memory
        slow = slow | (step.loss < self.below.astype(step.loss.dtype))
        new, inner = self.method.update(space, step._replace(memory=inner))

        def shorter(a: Array, b: Array) -> Array:
            return jnp.where(slow, a + (b - a) / self.factor.astype(a.dtype), b)

        return jax.tree.map(shorter, step.weights, new), (inner, slow)
