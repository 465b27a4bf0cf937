"""Outcomes of learning: codes that survive jit and vmap, with messages that say what to do."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int


class RESULTS(eqx.Enumeration):
    """How a learning run, or an estimate, ended.

    >>> bool(curve.result == lrnn.RESULTS.successful)
    True
    """

    successful = ""
    diverged = (
        "Learning diverged: the loss or a weight stopped being finite. The curve up to that epoch "
        "is kept and the model is the last finite one. Try a smaller learning rate, `clip`, or a "
        "shorter horizon."
    )
    unrealisable = (
        "The initial Gram matrix is not positive semidefinite, so no loading vectors have these "
        "overlaps. Draw or choose another one."
    )
    invariants_lost = (
        "The flow lost its conserved quantities beyond `invariant_tol`: the trajectory is not to "
        "be trusted. Tighten rtol and atol (`Isospectral` keeps the spectrum of J D⁻¹ Q by itself, "
        "but not UᵀU − VᵀV)."
    )
    # of flows, by diffrax's names
    event_occurred = "The loss fell to `stop_at_loss`, where the flow ends."
    max_steps_reached = (
        "The flow took `max_steps` steps before its last epoch. Raise `max_steps`, or loosen rtol "
        "and atol."
    )
    dt_min_reached = "The steps of the flow became too small. Loosen rtol and atol."
    max_steps_rejected = "The flow's solver rejected too many steps. Loosen rtol and atol."
    nonlinear_divergence = (
        "The equations of an implicit solver's step were not solved. Take an explicit one, such as "
        "`diffrax.Dopri8()`."
    )
    internal_error = (
        "The flow's solver failed. Take another one, such as `diffrax.Dopri8()`, or looser "
        "tolerances."
    )
    # of estimates
    weak = (
        "Some combinations of overlaps are known to little more than their prior: their intervals "
        "are not calibrated. Observe more epochs, or with less noise."
    )
    unresolved = (
        "No two starts found the same overlaps, so that a better fit may have been missed. Use "
        "more `starts`."
    )
    rejected = (
        "No overlaps fit the data within their noise: the task, the way of learning or the noise "
        "is another one."
    )


OUTCOMES = tuple(RESULTS._name_to_item)
"""Names of all outcomes; `outcome_code` counts along them."""


def outcome(result: RESULTS) -> str:
    """The name of a single (not batched) result: "successful", "diverged", …

    >>> learning.outcome(curve.result)
    'successful'
    """
    return next(name for name in OUTCOMES if bool(result == RESULTS._name_to_item[name]))


def outcome_code(result: RESULTS) -> Int[Array, "*batch"]:
    """The position of a result, or of each of a batch, in `OUTCOMES`: plain numbers for storage.

    >>> int(learning.outcome_code(curve.result))
    0
    """
    fits = [jnp.asarray(result == RESULTS._name_to_item[name]) for name in OUTCOMES]
    return jnp.argmax(jnp.stack(fits), axis=0)


class LearningError(RuntimeError):
    """Learning ended without success. `curve` holds everything up to that point.

    >>> try:
    ...     lrnn.learn(reduction, task, lrnn.Descent(50.0), epochs=50)
    ... except lrnn.LearningError as error:
    ...     print(learning.outcome(error.curve.result))
    ...
    diverged
    >>> short = lrnn.learn(reduction, task, lrnn.Descent(50.0), epochs=50, throw=False)
    >>> learning.outcome(short.result)
    'diverged'
    """

    def __init__(self, message: str, curve: Any):
        super().__init__(message)
        self.curve = curve


class Interrupted(KeyboardInterrupt):
    """Learning was interrupted. `curve` holds everything up to that point.

    >>> issubclass(lrnn.Interrupted, KeyboardInterrupt)
    True
    """

    def __init__(self, curve: Any):
        super().__init__("interrupted")
        self.curve = curve
