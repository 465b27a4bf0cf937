"""Smaller steps from some point on."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import number
from lrnn_jax.learning._method import AbstractUpdate, Step
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.rules import AbstractRule


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
    """

    method: AbstractUpdate
    below: Float[Array, ""] = eqx.field(converter=partial(number, name="below", low=0))
    factor: Float[Array, ""] = eqx.field(
        converter=partial(number, name="factor", low=0, open_start=True)
    )

    def __check_init__(self):
        if not isinstance(self.method, AbstractUpdate):
            raise ValueError(f"`method` must take steps, e.g. Descent(lr=…); got {self.method!r}.")

    @property
    def rule(self) -> AbstractRule:
        return self.method.rule

    def fits(self, space: AbstractSpace) -> None:
        self.method.fits(space)

    def init(self, space: AbstractSpace) -> Any:
        return self.method.init(space), jnp.array(False)

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        inner, slow = step.memory
        slow = slow | (step.loss < self.below.astype(step.loss.dtype))
        new, inner = self.method.update(space, step._replace(memory=inner))

        def shorter(a: Array, b: Array) -> Array:
            return jnp.where(slow, a + (b - a) / self.factor.astype(a.dtype), b)

        return jax.tree.map(shorter, step.weights, new), (inner, slow)
