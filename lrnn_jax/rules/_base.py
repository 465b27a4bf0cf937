"""The contract of a learning rule."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Feedback, Weights
from lrnn_jax.tasks import AbstractObjective


class EpochLoss(eqx.Module):
    """The loss of one epoch, as a function of the model.

    Arguments:
        objective: what is learned.
        batch: the epoch's data.
        epoch: its number.
        evaluate: (model, objective, batch) → L, on as many devices and in as little memory as asked
            for.
        at: the point of the weights before the epoch (Q of T), for `space.gradient`; None where
            it is not known beforehand.

    >>> loss = rules.EpochLoss(task, None, 0, lambda model, task, batch: task.loss(model, batch))
    >>> bool(loss(net) == task.loss(net, None))
    True
    """

    objective: AbstractObjective
    batch: Any
    epoch: Any
    evaluate: Callable[[AbstractRNN, AbstractObjective, Any], Float[Array, ""]]
    at: Any = None

    def __call__(self, model: AbstractRNN) -> Float[Array, ""]:
        return self.evaluate(model, self.objective, self.batch)


class Backward(NamedTuple):
    """How a rule sends errors back.

    Fields:
        source: columns by which errors reach neurons: "z", the read-out's own, or "f".
        carried: columns by which they go on in time: "v" (with "u", as the gradient does), "c"
            (with "g"), or "" for the leak of each neuron alone.
        window: how many of the last updates are credited; None for all.
        chunks: whether windows stand one after another, in place of sliding.

    >>> lrnn.EProp().backward
    Backward(source='z', carried='', window=None, chunks=False)
    """

    source: str = "z"
    carried: str = "v"
    window: int | None = None
    chunks: bool = False


class AbstractRule(AbstractReadable):
    """How the direction of learning is computed; a method decides what is made of it.

    Updates take −direction for the way that weights go: that of `Gradient` is XΓ. Rules are written
    for neurons; a reduction runs them on the few neurons that learn as it does.

    Class variables:
        of_losses: whether the rule takes nothing but losses, which any objective, simulation and
            number of devices has; others look at outputs and states.
        no_flow: why `Flow` cannot follow it; "" if it can.
        backward: how errors go back; None where the rule does not say.
        feedback: fixed vectors that it was given, a field of some; None where it has or draws none.
        inside: of rules whose weights move within a trial: (rule, space, loss, X, memory of the
            update, update) → (loss before the trial, X after it, memory), with `update` of (X,
            direction, memory, loss) → (X, memory); None: they move after it, along `direction`.

    >>> isinstance(lrnn.Gradient(), lrnn.rules.AbstractRule)
    True
    >>> type(lrnn.EProp().space(net)).__name__
    'VectorSpace'
    """

    of_losses: ClassVar[bool] = True
    no_flow: ClassVar[str] = ""
    backward: ClassVar[Backward | None] = None
    feedback: ClassVar[Any] = None
    inside: ClassVar[Callable[..., Any] | None] = None

    @abstractmethod
    def space(self, model: AbstractRNN) -> AbstractSpace:
        """What moves when a model learns by this rule.

        Errors: ValueError, with the reason, for a model that it is not for.
        """

    @abstractmethod
    def feedback_of(self, network: AbstractRNN) -> Feedback:
        """The fixed vectors that the rule has beside those of a network; `Feedback()` for none."""

    @abstractmethod
    def check(self, objective: AbstractObjective) -> None:
        """Raise ValueError, with the reason, unless the rule can learn this."""

    @abstractmethod
    def init(self, space: AbstractSpace) -> Any:
        """What the rule remembers, at epoch 0; None for nothing."""

    @abstractmethod
    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: Any
    ) -> tuple[Float[Array, ""], Weights, Any]:
        """The loss, the direction against which weights X go, and the memory an epoch later."""


class AbstractMemoryless(AbstractRule):
    """A rule without memory or vectors of its own, for any objective."""

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return Feedback()

    def check(self, objective: AbstractObjective) -> None:
        """Any will do."""

    def init(self, space: AbstractSpace) -> None:
        return None
