"""Which overlap enters the learning of which: the algebra of Q, written out."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrnn_jax._checks import component, flag
from lrnn_jax.overlaps._roles import Roles
from lrnn_jax.overlaps._visibility import visible_mask


class Coupling(NamedTuple):
    """The linear map from loss gradients to overlap velocities, and how it depends on overlaps.

        dq_a/dt = −Σ_b C_ab g_b,      C_ab = Σ_c K_abc q_c,      g_b = ∂L/∂q_b

    for the distinct overlaps q (each off-diagonal entry of Q counted once).

    Fields:
        names: of the overlaps, in the order of all three axes.
        tensor: K, whole numbers, shape (overlap, overlap, overlap).
        drives: which gradients can be non-zero (the loss-visible overlaps), shape (overlap,).

    >>> coupling = lrnn.coupling(net.roles)
    >>> coupling.tensor.shape, int(coupling.drives.sum())
    ((10, 10, 10), 4)
    """

    names: tuple[str, ...]
    tensor: Int[np.ndarray, "overlap overlap overlap"]
    drives: np.ndarray

    def matrix(self, vector: Float[Array, " overlap"]) -> Float[Array, "overlap overlap"]:
        """C at given overlaps (ordered as `names`)."""
        return jnp.asarray(self.tensor, vector.dtype) @ vector

    def entry(self, a: str, b: str) -> str:
        """C_ab in words, e.g. "2 mu" or "uu + vv"; empty where it vanishes."""
        row = self.tensor[self.names.index(a), self.names.index(b)]
        terms = (f"{count} {name}" for name, count in zip(self.names, row) if count)
        return " + ".join(term.removeprefix("1 ") for term in terms)


def coupling(roles: Roles, *, linear: bool = True) -> Coupling:
    """The coupling of overlaps in learning, for any rank and numbers of channels.

    From dQ/dt = −(DΓQ + QΓD) with Γ_ij = g_ij off the diagonal, Γ_ii = 2 g_ii, and D = 1 but for
    the column of ones, which does not learn.

    Arguments:
        roles: columns of Θ.
        linear: loss-visible are S only (linear φ), or S, R and means (closure of a nonlinear φ).

    Source: [LR] fig. 11; the general form: ours.

    >>> coupling = lrnn.coupling(net.roles)
    >>> len(coupling.names), coupling.tensor.shape
    (10, (10, 10, 10))
    """
    component(roles, Roles, "roles", "network.roles")
    flag(linear, "linear")
    pairs, k, count = roles.pairs, roles.size, len(roles.pairs)
    basis = np.zeros((count, k, k), int)
    for c, (i, j) in enumerate(pairs):
        basis[c, i, j] = basis[c, j, i] = 1
    gamma = basis * (1 + np.eye(k, dtype=int))
    learns = 1 - np.array(roles.frozen_columns(()), int)
    product = np.einsum("i,bij,cjk->bcik", learns, gamma, basis)
    product = product + np.swapaxes(product, -1, -2)
    rows, columns = np.array(pairs).T
    tensor = np.moveaxis(product[:, :, rows, columns], -1, 0)
    seen = visible_mask(roles, linear=linear)
    return Coupling(roles.names, tensor, seen[rows, columns])
