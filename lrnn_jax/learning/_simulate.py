"""How a model is simulated while it learns: plainly, in little memory, or not at all."""

from abc import abstractmethod

import jax.numpy as jnp

from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import AbstractRNN, AbstractSpace, CheckpointedRNN, LowRankRNN, Weights
from lrnn_jax.reduced import AbstractReduction, reduce
from lrnn_jax.rules import AbstractRule


class AbstractSimulate(AbstractReadable):
    """How the loss of a model is computed while it learns, given to `learn(simulate=…)`."""

    @abstractmethod
    def learner(self, model: AbstractRNN, rule: AbstractRule) -> AbstractRNN:
        """The model that learns in its place, by this rule.

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
    """As the model is: all states of a trial are kept for the gradient."""

    def learner(self, model: AbstractRNN, rule: AbstractRule) -> AbstractRNN:
        return model

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
    """

    def learner(self, model: AbstractRNN, rule: AbstractRule) -> AbstractRNN:
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
        return model

    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        return CheckpointedRNN(model)  # pyright: ignore[reportCallIssue]

    def learned(
        self, space: AbstractSpace, weights: Weights, model: AbstractRNN, rule: AbstractRule
    ) -> AbstractRNN:
        return space.model(weights)


class ThroughReduction(AbstractSimulate):
    """Not at all: a linear `LowRankRNN` learns by its overlaps, and gets its weights at the end.

        Θ = Θ_0 T

    The same to rounding, at the price of the theory; `watch` sees the network itself. (Vectors that
    are dependent to about 1e-7 of their lengths, 1e-3 in float32, but not exactly, have overlaps
    from which that part cannot be told: it stays as it is.)
    """

    def learner(self, model: AbstractRNN, rule: AbstractRule) -> AbstractRNN:
        if isinstance(model, LowRankRNN) and model.linear:
            return reduce(model, feedback=rule.feedback_of(model))
        raise ValueError(
            f"`ThroughReduction` takes a linear LowRankRNN, whose reduction is exact; got a "
            f"{type(model).__name__} with φ = {type(model.activation).__name__}. Let it learn by "
            f"simulation, or learn with reduce(network) for the closure's approximation."
        )

    def simulated(self, model: AbstractRNN) -> AbstractRNN:
        return model

    def learned(
        self, space: AbstractSpace, weights: Weights, model: LowRankRNN, rule: AbstractRule
    ) -> AbstractRNN:
        transform = space.transform(weights)
        if transform is None:
            raise ValueError(
                "`ThroughReduction` has no way back to the network from a reduction with noise of "
                "neurons, which follows the law of overlaps: use Plain(), or learn reduce(net)."
            )
        fixed = rule.feedback_of(model)
        return model.transformed(jnp.asarray(transform), space.model(weights).c, fixed)
