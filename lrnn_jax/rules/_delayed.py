"""What is learned of an epoch arrives some epochs later."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component, whole
from lrnn_jax._readable import of_part
from lrnn_jax.networks import AbstractSpace, Weights
from lrnn_jax.rules._base import AbstractRule, EpochLoss


class DelayedRule(AbstractRule):
    """Another rule, whose direction arrives d epochs late.

        X_{e+1} = X_e − η G(X_{e−d}),      nothing before epoch d      (for `Descent`)

    Arguments:
        rule: any other.
        epochs: d.

    Errors: ValueError for d < 1 or what is no rule; that of `Flow`, in which a delay vanishes.

    Source: ours.

    >>> late = lrnn.DelayedRule(lrnn.Gradient(), epochs=3)
    >>> learned = lrnn.learn(reduction, task, lrnn.Descent(0.05, rule=late), epochs=20)
    >>> bool((learned.loss[:4] == learned.loss[0]).all())
    True
    """

    rule: AbstractRule
    epochs: int = eqx.field(converter=partial(whole, name="epochs"), static=True)
    no_flow = "a delay of some epochs vanishes in the flow: give the rule that is delayed"
    of_losses, backward = of_part("rule", "of_losses"), of_part("rule", "backward")
    space, feedback_of = of_part("rule", "space"), of_part("rule", "feedback_of")
    check = of_part("rule", "check")

    def __check_init__(self) -> None:
        rule = component(self.rule, AbstractRule, "rule", "Gradient()")
        if rule.inside is not None:
            raise ValueError(
                f"`rule` of DelayedRule has one direction a trial, and {type(rule).__name__} moves "
                f"weights within it."
            )

    def init(self, space: AbstractSpace) -> Any:
        """Directions of the last d epochs, and what the rule remembers."""
        nothing = jax.tree.map(lambda a: jnp.zeros((self.epochs, *a.shape), a.dtype), space.start)
        return nothing, self.rule.init(space)

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: Any
    ) -> tuple[Float[Array, ""], Weights, Any]:
        late, inner = memory
        value, direction, inner = self.rule.direction(space, loss, weights, inner)
        place = loss.epoch % self.epochs
        arrived = jax.tree.map(lambda a: a[place], late)
        late = jax.tree.map(lambda a, b: a.at[place].set(b), late, direction)
        return value, arrived, (late, inner)
