"""What an experimenter sees of a network at each epoch: outputs, losses, overlaps, successes."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from equinox import field
from jaxtyping import Array, Float

from lrnn_jax._checks import flag, whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax.networks import AbstractOverlapRNN
from lrnn_jax.tasks import AbstractObjective

Extra = Mapping[str, Float[Array, ""]]


class AbstractChannel(AbstractReadable):
    """What is seen of a network at one epoch, and how a curve of it becomes data.

    Class variables:
        kind: the kind of observation that `exact_ranks` counts: "outputs", "loss" or "visible".
        extra: numbers beside Q and the method that data depend on, by name, with their usual value;
            they can be left to be inferred.

    >>> inference.Loss().kind, dict(inference.Loss().extra)
    ('loss', {'gain': 1.0, 'offset': 0.0})
    """

    kind: ClassVar[str]
    extra: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def look(
        self, objective: AbstractObjective, model: AbstractOverlapRNN
    ) -> Float[Array, " number"]:
        """What one epoch shows."""

    @abstractmethod
    def link(
        self, seen: Float[Array, "epoch number"], first: Float[Array, " number"], extra: Extra
    ) -> Float[Array, "epoch number"]:
        """Expected data at the observed epochs, from what these show and from epoch 0."""


class Outputs(AbstractChannel):
    """Outputs of the network, at every n-th step: d_{e,t} = gain · y_{e,t} + offset.

    y is `objective.output`: responses to impulses in a filter task; controls in a loop, in quiet
    trials from each unit initial state. Signed errors of a movement at one time are such data, with
    gain and offset unknown.

    Arguments:
        every: n, steps.
        first: the first of these steps.

    >>> inference.Outputs(every=10).look(task, reduction).shape  # of 50 steps
    (5,)
    """

    every: int = field(converter=lambda x: whole(x, "every"), static=True, default=1)
    first: int = field(converter=lambda x: whole(x, "first", 0), static=True, default=0)
    kind = "outputs"
    extra = {"gain": 1.0, "offset": 0.0}

    def look(
        self, objective: AbstractObjective, model: AbstractOverlapRNN
    ) -> Float[Array, " number"]:
        y = jnp.moveaxis(objective.output(model), objective.time_axis, 0)
        return y[self.first :: self.every].ravel()

    def link(
        self, seen: Float[Array, "epoch number"], first: Float[Array, " number"], extra: Extra
    ) -> Float[Array, "epoch number"]:
        return extra["gain"] * seen + extra["offset"]


class Loss(AbstractChannel):
    """The loss: d_e = gain · L_e + offset, or its logarithm (noise relative to its size).

    Arguments:
        log: whether data are ln(gain · L_e + offset).

    >>> bool(inference.Loss().look(task, net)[0] == task.loss(net))
    True
    """

    log: bool = field(converter=lambda x: flag(x, "log"), static=True, default=False)
    kind = "loss"
    extra = {"gain": 1.0, "offset": 0.0}

    def look(
        self, objective: AbstractObjective, model: AbstractOverlapRNN
    ) -> Float[Array, " number"]:
        return objective.loss(model)[None]

    def link(
        self, seen: Float[Array, "epoch number"], first: Float[Array, " number"], extra: Extra
    ) -> Float[Array, "epoch number"]:
        loss = extra["gain"] * seen + extra["offset"]
        return jnp.log(loss) if self.log else loss


class Visible(AbstractChannel):
    """The visible overlaps S = [Z V]ᵀ[M U]/s, row by row: angles between vectors, recorded.

    >>> inference.Visible().look(task, net).shape  # zm, zu, vm, vu
    (4,)
    """

    kind = "visible"

    def look(
        self, objective: AbstractObjective, model: AbstractOverlapRNN
    ) -> Float[Array, " number"]:
        return model.overlaps.S.ravel()

    def link(
        self, seen: Float[Array, "epoch number"], first: Float[Array, " number"], extra: Extra
    ) -> Float[Array, "epoch number"]:
        return seen


class Successes(AbstractChannel):
    """Share of successful trials of a session: p_e = floor + span (1 − L_e/L_0).

    Sessions are epochs that are observed; how much is learned from one to the next is the learning
    rate, left unknown.

    >>> rewarded = inference.Successes()
    >>> share = {"floor": jnp.array(0.5), "span": jnp.array(0.4)}
    >>> loss = jnp.array([[1.0], [0.5], [0.0]])
    >>> rewarded.link(loss, loss[0], share)[:2, 0].tolist()
    [0.5, 0.7]
    """

    kind = "loss"
    extra = {"floor": 0.0, "span": 1.0}

    def look(
        self, objective: AbstractObjective, model: AbstractOverlapRNN
    ) -> Float[Array, " number"]:
        return objective.loss(model)[None]

    def link(
        self, seen: Float[Array, "epoch number"], first: Float[Array, " number"], extra: Extra
    ) -> Float[Array, "epoch number"]:
        return extra["floor"] + extra["span"] * (1 - seen / jnp.broadcast_to(first, seen.shape))


def dependence(channel: AbstractChannel, unknown: tuple[str, ...]) -> tuple[str, ...]:
    """Unknowns in the words of `exact_ranks`: floor and span together shift and scale the loss.

    Errors: ValueError for one of the two alone, since L_0 then matters.
    """
    both = {"floor": "offset", "span": "gain"}
    if both.keys() & channel.extra.keys() and not both.keys() <= set(unknown):
        raise ValueError(
            f"`unknown` must name both floor and span for an exact rank; got {unknown}."
        )
    return tuple(both.get(name, name) for name in unknown)
