"""Whether model, objective, method and data fit each other."""

from typing import Any

import jax
import jax.numpy as jnp

from lrnn_jax.learning._coordinates import (
    AbstractCoordinates,
    DenseCoordinates,
    VectorCoordinates,
    coordinates,
)
from lrnn_jax.learning._descent import AbstractMethod, AbstractUpdate
from lrnn_jax.learning._direct import DirectDescent, direct_coordinates
from lrnn_jax.learning._flow import Flow
from lrnn_jax.networks import AbstractRNN, LowRankRNN
from lrnn_jax.tasks import AbstractObjective


def checked_coordinates(model: Any, objective: Any, method: Any) -> AbstractCoordinates:
    """Coordinates of the model; refuses models, objectives and methods that do not fit."""
    where = (direct_coordinates if isinstance(method, DirectDescent) else coordinates)(model)
    objective.check(model)
    if not isinstance(method, (Flow, AbstractUpdate)):
        raise TypeError(f"`method` must be a learning method, e.g. Descent(lr=…); got {method!r}.")
    method.check(where)
    return where


def linear_network(model: AbstractRNN) -> LowRankRNN:
    """The network, if its reduction is exact."""
    if isinstance(model, LowRankRNN) and model.activation.linear:
        return model
    raise ValueError(
        f"`through_reduction` takes a linear LowRankRNN, whose reduction is exact; got a "
        f"{type(model).__name__} with φ = {type(model.activation).__name__}. Let it learn by "
        f"simulation, or learn with reduce(network) for the closure's approximation."
    )


def check_checkpoint(where: AbstractCoordinates, checkpoint: bool) -> None:
    """Raise ValueError for checkpoints of what is not simulated neuron by neuron."""
    if checkpoint and not isinstance(where, (VectorCoordinates, DenseCoordinates)):
        raise ValueError("`checkpoint` is for networks that are simulated; a reduction is small.")


def check_counts(**counts: tuple[Any, int]) -> None:
    """Raise ValueError unless each (value, least) is a whole number of at least that much."""
    for name, (value, least) in counts.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}; got {value!r}.")


def check_data(
    objective: AbstractObjective, method: AbstractMethod, epochs: int, key: Any, batches: Any
) -> None:
    """Raise ValueError unless the data are what the objective and the method need."""
    name, flows = type(objective).__name__, isinstance(method, Flow)
    if batches is not None:
        least = 1 if flows else max(epochs, 1)
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(batches)}
        if len(lengths) != 1 or () in lengths or next(iter(lengths))[0] < least:
            raise ValueError(
                f"`batches` hold the data of each epoch along their first axis, at least {least} "
                f"of them; got arrays of shapes {[jnp.shape(x) for x in jax.tree.leaves(batches)]}."
            )
    fixed = batches is not None and jax.tree.leaves(batches)[0].shape[0] == 1
    if flows and not fixed and (objective.stochastic or batches is not None):
        raise ValueError(
            f"Flow follows the gradient of one loss, but {name} draws fresh data in each epoch. "
            f"Use its expectation (batch=None, no label noise), fixed data (`batches` with a "
            f"leading axis of length 1), or Descent."
        )
    if objective.stochastic and key is None and batches is None:
        raise ValueError(f"{name} draws fresh data in each epoch: pass `key` or `batches`.")
