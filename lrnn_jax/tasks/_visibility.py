"""Which overlaps the outputs on one objective depend on, measured at one Gram matrix."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import component, one_key, shown
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.overlaps import Roles, from_vector
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks._base import AbstractObjective


class Sensitivity(eqx.Module):
    """How the outputs on an objective depend on each overlap, at one Gram matrix.

    Arguments:
        roles: the columns of Q.
        jacobian: ∂(outputs)/∂(distinct overlaps), shape (output, overlap).
        singular_values: of the Jacobian, descending.
        directions: right singular vectors, one a row, in the order of the singular values: the
            first `rank` of them are seen, the others are the null directions.
        rank: number of independent combinations of overlaps that the outputs depend on.
        tolerance: below this, singular values and columns count as zero.

    Source: ours.

    >>> found = lrnn.measured_visible(reduction, task)
    >>> found.rank, found.visible
    (3, ('zm', 'zu', 'vm', 'vu'))
    """

    roles: Roles = eqx.field(static=True)
    jacobian: Float[np.ndarray, "output overlap"]
    singular_values: Float[np.ndarray, " overlap"]
    directions: Float[np.ndarray, "overlap overlap"]
    rank: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)

    @property
    def visible(self) -> tuple[str, ...]:
        """Names of the overlaps on which some output depends."""
        seen = np.linalg.norm(self.jacobian, axis=0) > self.tolerance
        return tuple(name for name, sees in zip(self.roles.names, seen) if sees)

    @property
    def invisible(self) -> tuple[str, ...]:
        """Names of the overlaps on which no output depends."""
        return tuple(n for n in self.roles.names if n not in self.visible)

    @property
    def null(self) -> Float[np.ndarray, "null overlap"]:
        """Orthonormal changes of the overlaps (ordered as `roles.names`) that no output notices."""
        return self.directions[self.rank :]


def measured_visible(
    reduction: AbstractRNN, objective: AbstractObjective, *, key: PRNGKeyArray | None = None
) -> Sensitivity:
    """Which overlaps the outputs on an objective depend on, by the rank of their Jacobian.

    At the reduction's own Q, with respect to the overlaps. A direction counts as seen when its
    singular value exceeds the largest one times 10 ε √(outputs · overlaps) (ε: machine epsilon).

    Arguments:
        reduction: of a network, `reduce(network)`.
        objective: a task or a closed loop, whose `output` is looked at.
        key: draws its data, where they are random.

    Returns: `Sensitivity`, which lists `visible`, `invisible` and the null directions.

    Errors: ValueError for a model that is not a reduction to one Gram matrix, or without the key it
    needs.

    Source: ours ([LR] sec. 3 and appendix for what theory says: `visible`).

    >>> found = lrnn.measured_visible(reduction, task)
    >>> found.visible, found.rank  # zu and vm count by their product
    (('zm', 'zu', 'vm', 'vu'), 3)
    """
    if not isinstance(reduction, ReducedRNN):
        raise ValueError(
            f"`reduction` must be reduce(network), as the outputs of anything else are no function "
            f"of its overlaps Q alone; got {shown(reduction)}."
        )
    component(objective, AbstractObjective, "objective", "ExponentialFilter(0.2, dt, steps)")
    if key is None and objective.stochastic:
        raise ValueError(f"{type(objective).__name__} draws its data: pass `key`.")
    batch = None if key is None else objective.sample(one_key(key))
    objective.check(reduction)
    jacobian = np.asarray(_derivative(reduction, objective, batch))
    missing = max(jacobian.shape[1] - jacobian.shape[0], 0)  # all directions, also of few outputs
    _, values, directions = np.linalg.svd(np.pad(jacobian, ((0, missing), (0, 0))), False)
    tolerance = 10 * np.finfo(jacobian.dtype).eps * np.sqrt(jacobian.size) * values[0]
    return Sensitivity(
        roles=reduction.roles,
        jacobian=jacobian,
        singular_values=values,
        directions=directions,
        rank=int((values > tolerance).sum()),
        tolerance=float(tolerance),
    )


@eqx.filter_jit
def _derivative(
    reduction: ReducedRNN, objective: AbstractObjective, batch: Any
) -> Float[Array, "output overlap"]:
    """∂(all outputs)/∂(distinct overlaps)."""

    def outputs(vector: Float[Array, " overlap"]) -> Float[Array, " output"]:
        gram = from_vector(vector, reduction.roles)
        return jnp.ravel(objective.output(reduction.with_gram(gram), batch))

    return jax.jacfwd(outputs)(reduction.overlaps.vector())
