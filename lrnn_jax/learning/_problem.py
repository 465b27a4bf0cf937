"""What learning is given, and what it keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lrnn_jax._results import RESULTS
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._devices import mean_over_devices
from lrnn_jax.learning._simulate import AbstractSimulate
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Weights
from lrnn_jax.rules import EpochLoss
from lrnn_jax.tasks import AbstractObjective

Progress = Callable[[int, int, float], None]
Watch = Callable[[Any], Any]


class Data(eqx.Module):
    """Where the data of each epoch come from: given batches, or a key for the objective."""

    key: PRNGKeyArray | None
    batches: Any

    def at(self, objective: AbstractObjective, epoch: Int[Array, ""] | int) -> Any:
        """The data of an epoch; of the last one beyond it."""
        if self.batches is not None:
            last = jax.tree.leaves(self.batches)[0].shape[0] - 1
            return jax.tree.map(lambda b: b[jnp.minimum(epoch, last)], self.batches)
        if self.key is None or not objective.stochastic:
            return None
        return objective.sample(jr.fold_in(self.key, epoch))

    @property
    def fixed(self) -> bool:
        """Whether the data given are those of one epoch, the same in all."""
        return self.batches is not None and jax.tree.leaves(self.batches)[0].shape[0] == 1

    def check(self, objective: AbstractObjective, least: int) -> None:
        """Raise ValueError unless these are data for that many epochs, where any are needed."""
        if self.batches is not None:
            lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(self.batches)}
            if len(lengths) != 1 or () in lengths or next(iter(lengths))[0] < least:
                shapes = [jnp.shape(x) for x in jax.tree.leaves(self.batches)]
                raise ValueError(
                    f"`batches` hold the data of each epoch along their first axis, at least "
                    f"{least} of them; got arrays of shapes {shapes}."
                )
        elif objective.stochastic and self.key is None:
            name = type(objective).__name__
            raise ValueError(f"{name} draws fresh data in each epoch: pass `key` or `batches`.")


class Record(NamedTuple):
    """What is kept of an epoch."""

    loss: Float[Array, "..."]
    gram: Float[Array, "..."]
    transform: Float[Array, "..."] | None
    held_out: Float[Array, "..."] | None
    watched: Any


class Problem(eqx.Module):
    """Everything that stays the same while a model learns.

    Arguments:
        model: what learns, as the user has it.
        space: what moves.
        objective, data: what is learned, from what.
        watch: a function of the model, kept for every recorded epoch; or None.
        simulate: how losses are computed.
        mesh: the devices that share the trials of an epoch; None for one.
    """

    model: AbstractRNN
    space: AbstractSpace
    objective: AbstractObjective
    data: Data
    watch: Watch | None
    simulate: AbstractSimulate
    mesh: Mesh | None = eqx.field(static=True)

    def learned(self, weights: Weights) -> AbstractRNN:
        """The model with weights X."""
        return self.simulate.learned(self.space, weights, self.model)

    def loss(self, epoch: Any) -> EpochLoss:
        """The loss of an epoch."""
        simulated = self.simulate.simulated

        def evaluate(
            model: AbstractRNN, objective: AbstractObjective, batch: Any
        ) -> Float[Array, ""]:
            return objective.loss(simulated(model), batch)

        way = evaluate if self.mesh is None else partial(mean_over_devices, evaluate, self.mesh)
        return EpochLoss(self.objective, self.data.at(self.objective, epoch), way)

    def record(self, weights: Weights, loss: Float[Array, ""]) -> Record:
        """What is kept of weights and their loss."""
        space, unseen = self.space, self.objective.held_out
        held_out = watched = None
        if unseen is not None:
            model = self.simulate.simulated(self.space.model(weights))
            held_out = self.objective.loss(model, unseen)
        if self.watch is not None:
            watched = jax.tree.map(jnp.asarray, self.watch(self.learned(weights)))
        return Record(loss, space.gram(weights), space.transform(weights), held_out, watched)

    def curve(
        self, epochs: Any, history: Record, stopped: Any, result: RESULTS, weights: Weights
    ) -> LearningCurve:
        """The curve of a run that ended with these weights."""
        return LearningCurve(
            epochs=epochs,
            stopped=stopped,
            result=RESULTS.where(self.space.realisable, result, RESULTS.unrealisable),
            model=self.learned(weights),
            roles=self.space.roles,
            **history._asdict(),
        )


def nothing(a: Array) -> Any:
    """What stands for a value that there is none of: NaN, or zero for whole numbers."""
    return jnp.nan if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.zeros((), a.dtype)
