"""From the learning curve of a reduction back to N neurons."""

from typing import Any, TypeVar

import numpy as np
from jaxtyping import ArrayLike

from lrnn_jax._checks import component, whole
from lrnn_jax.learning._curve import LearningCurve, alike, listed
from lrnn_jax.networks import (
    AbstractDenseRNN,
    Feedback,
    LowRankRNN,
    as_feedback,
    overlaps_beside,
)
from lrnn_jax.reduced import compress

Full = TypeVar("Full", bound=LowRankRNN | AbstractDenseRNN)


def lift(
    curve: LearningCurve,
    network: Full,
    epoch: int | None = None,
    *,
    feedback: Feedback | ArrayLike | None = None,
) -> Full:
    """The N-dimensional weights that a network has after the learning of its reduction.

        Θ_t = Θ_0 T_t,    or of a dense network    W_t = c·1 + O (C_t − c·1) Oᵀ

    with T recorded by `learn(reduce(network), …)`: no N-dimensional simulation.

    Arguments:
        curve: learning curve of the network's reduction, with its transforms.
        network: the network at epoch 0.
        epoch: a recorded epoch; default the last one, or the last before an early end; of a dense
            network no other.
        feedback: fixed vectors of the learning rule, where there are such, as in
            `reduce(network, feedback=…)`.

    Errors: ValueError for a curve of a network, another network's curve, or an epoch that was not
    recorded, or not reached.

    Source: ours.

    >>> theory = lrnn.learn(reduction, task, descent, epochs=20)
    >>> truth = lrnn.learn(net, task, descent, epochs=20)
    >>> bool(abs(lrnn.lift(theory, net).z - truth.model.z).max() < 1e-12)
    True
    """
    component(curve, LearningCurve, "curve", "learn(reduce(network), …)").check_single("lift")
    component(network, (LowRankRNN, AbstractDenseRNN), "network", "the one that was reduced")
    if isinstance(network, AbstractDenseRNN):
        return _lift_dense(curve, network, epoch, feedback)
    if curve.transform is None:
        raise ValueError("Only the `curve` of a reduction lifts; this one is of a full network.")
    if curve.transform.ndim != 3:
        raise ValueError(
            "A mixture's `curve` holds a transform for each population: apply "
            "curve.transform[epoch, p] to the vectors of the neurons of population p."
        )
    fixed = as_feedback(feedback, network)
    start = overlaps_beside(network, fixed)
    if curve.roles is not None and curve.roles != start.roles and alike(curve.roles, start.roles):
        raise ValueError(
            f"`feedback` must be the fixed vectors of the rule by which `curve` was learned, of "
            f"{curve.roles.describe()}; with what came it is {start.roles.describe()}."
        )
    if not _same_overlaps(np.asarray(curve.gram[0]), np.asarray(start.gram)):
        raise ValueError(
            "This `network`'s overlaps are not those that `curve` starts from: lift takes the "
            "network at epoch 0, the one that was reduced."
        )
    index = _place(curve, epoch)
    c = None if curve.c is None else curve.c[index]
    return network.transformed(curve.transform[index], c, fixed)


def _place(curve: LearningCurve, epoch: int | None) -> int:
    """Where an epoch is in the records.

    Errors: ValueError for one that was not recorded, or not reached.
    """
    reached: list[bool] = (~np.isnan(np.asarray(curve.transform)[:, 0, 0])).tolist()
    if epoch is None:
        return int(np.flatnonzero(np.array(reached))[-1])
    places = np.flatnonzero(np.asarray(curve.epochs) == whole(epoch, "epoch", 0))
    if not len(places):
        raise ValueError(f"`epoch` {epoch} was not recorded; recorded are {listed(curve.epochs)}.")
    index = int(places[0])
    if not reached[index]:
        raise ValueError(f"`epoch` {epoch} was not reached: it ended at epoch {curve.stopped}.")
    return index


def _lift_dense(
    curve: LearningCurve, network: AbstractDenseRNN, epoch: int | None, feedback: Any
) -> AbstractDenseRNN:
    """`lift` of the few neurons of a dense network."""
    last = int(np.asarray(curve.epochs)[-1])
    if epoch is not None and whole(epoch, "epoch", 0) != last:
        raise ValueError(
            f"`epoch` of a dense network is the last one, {last}, as its curve keeps no weights of "
            f"others; got {epoch}: learn with watch=, and lift with compress(network).lift."
        )
    few = component(curve.model, AbstractDenseRNN, "curve", "learn(reduce(network), …)")
    return compress(network, feedback).lift(few)


def _same_overlaps(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether Gram matrices are equal to rounding, in units of the vectors' own lengths."""
    if a.shape != b.shape:
        return False
    eps = max(np.finfo(a.dtype).eps, np.finfo(b.dtype).eps)
    length = np.sqrt(np.maximum(np.diagonal(a), np.diagonal(b)))
    # 1e4: sums over many neurons, in another order; and vectors made from overlaps
    return bool((np.abs(a - b) <= 1e4 * eps * np.outer(length, length)).all())
