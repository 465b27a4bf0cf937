"""Which overlaps a loss can see, and which remember instead."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lrnn_jax._checks import component
from lrnn_jax._types import Gram
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel
from lrnn_jax.overlaps._roles import Roles


class Visibility(eqx.Module):
    """The loss-visible entries of a Gram matrix, as a mask with names and projections.

    Arguments:
        roles: the columns of Q.
        mask: True where a loss can depend on the entry, shape (k, k), symmetric.

    Source: [LR] sec. 3.

    >>> found = lrnn.visible(net)
    >>> found.visible, found.invisible
    (('zm', 'zu', 'vm', 'vu'), ('mu', 'zv', 'mm', 'uu', 'vv', 'zz'))
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


def visible(model: AbstractOverlapModel | Roles) -> Visibility:
    """Which overlaps the output of a network, and with it any loss, can depend on.

    For linear φ the block S = [Z V]ᵀ[M U]/s; for other φ, in the Gaussian closure, also
    R = [M U]ᵀ[M U]/s, and the means where there are such. The rest is invisible. What the outputs
    on one task depend on, at one Q: `measured_visible`.

    Arguments:
        model: a network, a reduction, bare `Overlaps`, or their `Roles` (read as those of a linear
            network).

    Source: [LR] sec. 3.

    >>> lrnn.visible(net).visible
    ('zm', 'zu', 'vm', 'vu')
    >>> len(lrnn.visible(bent).visible)  # the closure's depend on R, too
    7
    """
    such_as = "a network with loading vectors, a reduction, Overlaps, or Roles"
    component(model, (AbstractOverlapModel, Roles), "model", such_as)
    roles, linear = (model, True) if isinstance(model, Roles) else (model.roles, model.linear)
    return Visibility(roles=roles, mask=visible_mask(roles, linear=linear))


def visible_mask(roles: Roles, *, linear: bool) -> Bool[np.ndarray, "k k"]:
    """True at the entries of Q that a loss can depend on.

    >>> int(overlaps.visible_mask(net.roles, linear=True).sum())
    8
    """
    left, right = roles.left, roles.right
    mask = np.zeros((roles.size, roles.size), bool)
    mask[:left, left:right] = True
    if not linear:
        mask[left:right, left:right] = True
        mask[:right, right:] = True
    return mask | mask.T
