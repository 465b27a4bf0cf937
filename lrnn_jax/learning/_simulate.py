"""How a model is simulated while it learns: plainly, in little memory, or not at all."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp

from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import (
    AbstractDenseRNN,
    AbstractRNN,
    AbstractSpace,
    CheckpointedRNN,
    LowRankRNN,
    Weights,
)
from lrnn_jax.reduced import AbstractReduction, CoreSpace, compress, reduce
from lrnn_jax.rules import AbstractRule


class AbstractSimulate(AbstractReadable):
    """How the loss of a model is computed while it learns, given to `learn(simulate=…)`.

    >>> isinstance(learning.Plain(), learning.AbstractSimulate)
    True
    """

    @abstractmethod
    def space(self, model: AbstractRNN, rule: AbstractRule) -> AbstractSpace:
        """What moves when the model learns by this rule; its `network` learns in the model's place.

        Errors: ValueError, with the reason, for a model that this is not for.
        """

    @abstractmethod
    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        """The learner as losses see it."""

    @abstractmethod
    def learned(
        self, space: AbstractSpace, weights: Weights, model: AbstractRNN, rule: AbstractRule
    ) -> AbstractRNN:
        """The model, in its own terms, when the learner has these weights by this rule."""


class Plain(AbstractSimulate):
    """As the model is: all states of a trial are kept for the gradient.

    >>> same = lrnn.learn(net, task, descent, epochs=5, simulate=learning.Plain())
    >>> bool(abs(same.loss - curve.loss[:6]).max() < 1e-12)
    True
    """

    def space(self, model: AbstractRNN, rule: AbstractRule) -> AbstractSpace:
        return rule.space(model)

    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        return model

    def learned(
        self, space: AbstractSpace, weights: Weights, model: AbstractRNN, rule: AbstractRule
    ) -> AbstractRNN:
        return space.model(weights)


class Checkpointed(AbstractSimulate):
    """In blocks of √(T/3) steps, whose states are computed again for the gradient.

    Memory for about 4√T states instead of 3T: long trials of wide networks then fit (T = 10 000,
    N = 1000, 10 trials: 30 MB in place of 2400), and are often faster, because a block fits into
    the processor's cache; short ones are slower. In a loss of your own: `CheckpointedRNN(network)`.

    >>> same = lrnn.learn(net, task, descent, epochs=5, simulate=lrnn.Checkpointed())
    >>> bool(abs(same.loss - curve.loss[:6]).max() < 1e-12)
    True
    """

    def space(self, model: AbstractRNN, rule: AbstractRule) -> AbstractSpace:
        if not rule.of_losses:
            raise ValueError(
                f"`Checkpointed` saves memory for losses that are differentiated, and "
                f"{type(rule).__name__} looks at the states of a trial: use Plain()."
            )
        if isinstance(model, AbstractReduction):
            raise ValueError(
                "`Checkpointed` is for networks that are simulated neuron by neuron; a reduction "
                "is small."
            )
        return rule.space(model)

    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        return CheckpointedRNN(model)  # pyright: ignore[reportCallIssue]

    def learned(
        self, space: AbstractSpace, weights: Weights, model: AbstractRNN, rule: AbstractRule
    ) -> AbstractRNN:
        return space.model(weights)


class ThroughReduction(AbstractSimulate):
    """Not at all: a linear network learns by its reduction, and gets its weights at the end.

        Θ = Θ_0 T,    or of a dense network    W = c·1 + O (C − c·1) Oᵀ

    The same to rounding, at the price of the theory; `watch` sees the network itself. (Vectors that
    are dependent to about 1e-7 of their lengths, 1e-3 in float32, but not exactly, have overlaps
    from which that part cannot be told: it stays as it is.) A `DenseRNN` or `CurrentRNN` has few
    neurons that learn as it does where W_0 = c·1 + low rank (see `compress`).

    >>> fast = lrnn.learn(net, task, descent, epochs=20, simulate=lrnn.ThroughReduction())
    >>> fast.model.z.shape, bool(fast.distance(curve).max < 1e-12)
    ((40, 1), True)
    """

    def space(self, model: AbstractRNN, rule: AbstractRule) -> AbstractSpace:
        if isinstance(model, LowRankRNN) and model.linear and model.bulk is None:
            return rule.space(reduce(model, feedback=rule.feedback_of(model)))
        if isinstance(model, AbstractDenseRNN) and model.activation.linear:
            if rule.backward is None:
                raise ValueError(
                    f"`ThroughReduction` of a dense network takes rules that send errors back, "
                    f"which move it in the span of a few vectors; got {type(rule).__name__}: use "
                    f"Plain()."
                )
            rule.space(model)  # which raises where the rule is not for such networks
            return CoreSpace(compress(model, rule.feedback_of(model)))
        raise ValueError(
            f"`ThroughReduction` takes a linear LowRankRNN, whose reduction is exact, or a linear "
            f"DenseRNN; got a {type(model).__name__} with φ = {type(model.activation).__name__}"
            f"{' and a bulk' * (model.bulk is not None)}. Let it learn by simulation, or learn "
            f"with reduce(network) for its approximation: the closure, or the limit over a bulk."
        )

    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        return model

    def learned(
        self, space: AbstractSpace, weights: Weights, model: Any, rule: AbstractRule
    ) -> AbstractRNN:
        if space.lifted is not None:
            return space.lifted(weights)
        transform = space.transform(weights)
        if transform is None:
            raise ValueError(
                "`ThroughReduction` has no way back to the network from a reduction with noise of "
                "neurons, which follows the law of overlaps: use Plain(), or learn reduce(net)."
            )
        fixed = rule.feedback_of(model)
        return model.transformed(jnp.asarray(transform), space.model(weights).c, fixed)
