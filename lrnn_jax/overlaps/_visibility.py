"""Which overlaps a loss can see, and which remember instead."""

from typing import Any, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from lrnn_jax._types import Gram
from lrnn_jax.overlaps._overlaps import from_vector
from lrnn_jax.overlaps._roles import Roles


class Visibility(eqx.Module):
    """The loss-visible entries of a Gram matrix, as a mask with names and projections.

    Arguments:
        roles: the columns of Q.
        mask: True where a loss can depend on the entry, shape (k, k), symmetric.

    Source: [LR] sec. 3.
    """

    roles: Roles = eqx.field(static=True)
    mask: Bool[np.ndarray, "k k"]

    @property
    def visible(self) -> tuple[str, ...]:
        """Names of the overlaps that a loss can depend on."""
        return tuple(n for n, pair in zip(self.roles.names, self.roles.pairs) if self.mask[pair])

    @property
    def invisible(self) -> tuple[str, ...]:
        """Names of the overlaps on which no loss can depend."""
        return tuple(n for n in self.roles.names if n not in self.visible)

    def project(self, gram: Gram) -> Gram:
        """The visible part of a Gram matrix or of a change of one; the rest set to zero."""
        return jnp.where(self.mask, gram, 0)

    def project_invisible(self, gram: Gram) -> Gram:
        """The invisible part of a Gram matrix or of a change of one; the rest set to zero."""
        return jnp.where(self.mask, 0, gram)

    def distance(self, a: Gram, b: Gram) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Largest absolute difference of two Gram matrices in (visible, invisible) overlaps."""
        difference = jnp.abs(a - b)
        parts = self.project(difference), self.project_invisible(difference)
        return jnp.max(parts[0], axis=(-2, -1)), jnp.max(parts[1], axis=(-2, -1))


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


@overload
def visible(model: Any) -> Visibility: ...
@overload
def visible(model: Any, objective: Any, *, key: PRNGKeyArray | None = None) -> Sensitivity: ...
def visible(
    model: Any, objective: Any = None, *, key: PRNGKeyArray | None = None
) -> Visibility | Sensitivity:
    """Which overlaps the output of a network, and with it any loss, can depend on.

    By theory: for linear φ the block S = [Z V]ᵀ[M U]/s; for other φ, in the Gaussian closure, also
    R = [M U]ᵀ[M U]/s, and the means where there are such. The rest is invisible.

    With an objective: by the rank of the Jacobian of its outputs with respect to the overlaps, at
    the model's own Q. Then a direction counts as seen when its singular value exceeds the largest
    one times 10 ε √(outputs · overlaps) (ε: machine epsilon).

    Arguments:
        model: a network, a reduction, or bare `Overlaps` (read as those of a linear network).
            With an objective: a reduction.
        objective: a task or a closed loop, whose outputs are looked at.
        key: draws its data, where they are random.

    Returns: `Visibility`, or with an objective `Sensitivity`; both list `visible` and `invisible`.

    Errors: ValueError for an objective with a model that is not a reduction, or without the key it
    needs.

    Source: [LR] sec. 3 and appendix; by the Jacobian: ours.
    """
    if objective is not None:
        return _sensitivity(model, objective, key)
    activation = getattr(model, "activation", None)
    linear = activation is None or activation.linear
    return Visibility(roles=model.roles, mask=visible_mask(model.roles, linear=linear))


def visible_mask(roles: Roles, *, linear: bool) -> Bool[np.ndarray, "k k"]:
    """True at the entries of Q that a loss can depend on."""
    left, right = roles.left, roles.right
    mask = np.zeros((roles.size, roles.size), bool)
    mask[:left, left:right] = True
    if not linear:
        mask[left:right, left:right] = True
        mask[:right, right:] = True
    return mask | mask.T


def _sensitivity(model: Any, objective: Any, key: PRNGKeyArray | None) -> Sensitivity:
    if not hasattr(model, "with_gram"):
        raise ValueError(
            f"The outputs of a {type(model).__name__} are no function of its overlaps alone: pass "
            f"reduce(network)."
        )
    if not hasattr(objective, "output"):
        raise ValueError(
            f"{type(objective).__name__} does not tell its outputs: give it a method "
            f"`output(model, batch)` that returns what its loss looks at."
        )
    if objective.stochastic and key is None:
        raise ValueError(f"{type(objective).__name__} draws its data: pass `key`.")
    objective.check(model)
    batch = objective.sample(key) if objective.stochastic else None
    roles: Roles = model.roles

    @jax.jit
    @jax.jacfwd
    def derivative(vector: Float[Array, " overlap"]) -> Float[Array, " output"]:
        return jnp.ravel(objective.output(model.with_gram(from_vector(vector, roles)), batch))

    jacobian = np.asarray(derivative(model.overlaps.vector()))
    missing = max(jacobian.shape[1] - jacobian.shape[0], 0)  # all directions, also of few outputs
    _, values, directions = np.linalg.svd(np.pad(jacobian, ((0, missing), (0, 0))), False)
    tolerance = 10 * np.finfo(jacobian.dtype).eps * np.sqrt(jacobian.size) * values[0]
    return Sensitivity(
        roles=roles,
        jacobian=jacobian,
        singular_values=values,
        directions=directions,
        rank=int((values > tolerance).sum()),
        tolerance=float(tolerance),
    )
