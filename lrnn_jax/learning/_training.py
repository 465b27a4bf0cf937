"""Any optax optimiser, and which of them are exact on overlaps."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrnn_jax._checks import component
from lrnn_jax.learning._descent import as_rule, times
from lrnn_jax.learning._exact import mixing, obstacle, updated
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
    that do not depend on N: then Θ_t = Θ_0 T_t and it acts on T. Whether it does is read off its
    program: updates must be linear in weights and gradients, with coefficients that depend on the
    epoch and the loss at most. Plain, momentum and Nesterov SGD, weight decay, schedules and
    accumulation over epochs pass; elementwise rules (Adam, RMSProp, Lion, sign descent, elementwise
    clipping, noise) do not, however late they start to move, nor do rules that use the raw norm
    ‖∂L/∂Θ‖, which depends on N: for those use `Descent(clip=…)`, `NormalisedDescent`, `Muon`.

    What an elementwise optimiser does to neuron j is a function of what neuron j has seen. For
    loadings drawn independently its limit of infinitely many neurons is `population(…)`, of which
    nodes are its neurons: exact but for their number, for linear φ too, where Adam makes loadings
    non-Gaussian. Optimisers that take neurons together (raw norms, LAMB, optax's Muon) are refused
    there. As gradients are s ∂L/∂Θ, of order 1, the ε of Adam in `torch.optim`, which sees ∂L/∂Θ,
    is ε/s: `optax.adam(η, eps=s * 1e-8)` is Adam there with 1e-8.

    Arguments:
        optimiser: an `optax.GradientTransformation`. Make it once and use it again: two of them
            are different programs to JAX, which compiles for each.
        rule: how the direction that the optimiser sees is computed.

    Errors: ValueError for what is no optimiser; when learning starts, for a reduction with one that
    is not exact there, and for a population with one that takes neurons together, with the reason.

    Source: ours.

    >>> adam = lrnn.learn(net, task, lrnn.Training(optax.adam(1e-2)), epochs=20)
    >>> bool(adam.loss[-1] < adam.loss[0])
    True
    >>> lrnn.learn(reduction, task, lrnn.Training(optax.adam(1e-2)), epochs=20)
    Traceback (most recent call last):
        ...
    ValueError: This `optimiser` cannot run on a reduction: its updates are not ...
    """

    optimiser: optax.GradientTransformation
    rule: AbstractRule

    def __init__(
        self,
        optimiser: optax.GradientTransformation | optax.MultiSteps,
        *,
        rule: AbstractRule = Gradient(),
    ):
        if isinstance(optimiser, optax.MultiSteps):
            optimiser = optimiser.gradient_transformation()
        self.optimiser = component(
            optimiser, optax.GradientTransformation, "optimiser", "optax.sgd(0.1)"
        )
        self.rule = as_rule(rule)

    def fits(self, space: AbstractSpace) -> None:
        shapes = {name: block.shape for name, block in space.blocks(space.start).items()}
        columns = {name: None if c == n > 1 else c for name, (n, c) in shapes.items()}
        if space.coefficients and (reason := obstacle(self.optimiser, columns)):
            local = space.roles is not None and mixing(self.optimiser, columns) is None
            instead = "population(…), of which it is exact for infinitely many neurons, or " * local
            raise ValueError(
                f"This `optimiser` cannot run on a reduction: {reason}, so the overlaps do not "
                f"determine learning (as with every elementwise rule, and with the norm of the raw "
                f"gradient). Train {instead}the full network with it, or use Descent(clip=…), "
                f"NormalisedDescent or Muon, which are exact on both."
            )
        if space.uneven and (what := mixing(self.optimiser, columns)):
            raise ValueError(
                f"This `optimiser` takes neurons together (`{what}`), and counts each node of a "
                f"population once, whatever its weight: use one that treats each neuron by itself, "
                f"such as optax.adam, or Descent(clip=…), NormalisedDescent or Muon, whose norms "
                f"are weighted."
            )

    def init(self, space: AbstractSpace) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return self.optimiser.init(space.blocks(space.start))

    def update(self, space: AbstractSpace, step: Step) -> tuple[Weights, Any]:
        rates = space.rates({})
        direction = space.blocks(times(step.direction, rates))
        with jax.numpy_dtype_promotion("standard"):
            blocks = space.blocks(step.weights)
            change, memory = updated(self.optimiser, step.memory, blocks, direction, step.loss)
        change = space.join(jax.tree.map(lambda _, a: jnp.asarray(a), blocks, change))
        change = times(change, rates)
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), step.weights, change), memory
