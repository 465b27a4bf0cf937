"""One epoch on several devices: each takes its share of the trials."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lrnn_jax._devices import device_mesh, local_devices, share_out
from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractObjective

AXIS = "trial"


def trial_mesh(objective: AbstractObjective, devices: int, data: Callable[[], Any]) -> Mesh | None:
    """The devices that share the trials of an epoch, which `data` returns; None for one.

    Errors: ValueError for more devices than there are, data that are no trials, and trials that
    cannot be shared out evenly.
    """
    if devices == 1:
        return None
    shared = local_devices(devices)
    batch = jax.eval_shape(data)
    if batch is None or jax.eval_shape(objective.weight, batch) is None:
        raise ValueError(
            f"`devices` share the trials of an epoch, and the data of this "
            f"{type(objective).__name__} are no trials: let one device learn, or give the "
            f"objective a `batch`."
        )
    trials = jax.tree.leaves(batch)[0].shape[0]
    if trials % devices:
        raise ValueError(
            f"{trials} trials do not share out evenly over {devices} devices: take as many trials "
            f"as a multiple of the devices."
        )
    return device_mesh(shared, AXIS)


def mean_over_devices(
    loss: Callable[[AbstractRNN, AbstractObjective, Any], Float[Array, ""]],
    mesh: Mesh,
    model: AbstractRNN,
    objective: AbstractObjective,
    batch: Any,
) -> Float[Array, ""]:
    """L = Σ_d w_d L_d / Σ_d w_d over the devices' shares of the trials.

    Arguments:
        loss: of (model, objective, trials).
        mesh: the devices.
        model, objective: on each of them.
        batch: trials along the first axis of every array, shared out.
    """
    arrays, rest = eqx.partition((model, objective), eqx.is_array)

    def share(arrays: Any, trials: Any) -> Float[Array, ""]:
        model, objective = eqx.combine(arrays, rest)
        value = loss(model, objective, trials)
        weight = objective.weight(trials).astype(value.dtype)
        counted = jnp.where(weight > 0, weight * value, 0)  # a share may have nothing scored
        total = jax.lax.psum(jnp.stack([counted, weight]), AXIS)
        return total[0] / total[1]

    return share_out(share, mesh, 1, gathered=False)(arrays, batch)


def gathered(tree: Any) -> Any:
    """The same arrays on the default device, free to go anywhere (unless traced)."""
    if is_traced(tree):
        return tree
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)) if eqx.is_array(a) else a, tree)
