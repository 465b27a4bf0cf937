"""Maps of overlaps that learning does not see, or hardly: gauge, transposition, flat direction."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, real_array, shaped
from lrnn_jax._types import is_traced
from lrnn_jax.overlaps._geometry import tolerance
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel, Overlaps
from lrnn_jax.overlaps._roles import Roles


def flat_direction(
    overlaps: AbstractOverlapModel, rates: Mapping[str, Any] | None = None
) -> Float[Array, "k k"]:
    """The direction in which gradient flow of a linear network cannot see its overlaps.

        J₀ = diag(−D on Z V, +D on M U):      Q + εJ₀ has the curve of Q, plus εJ₀, for ever

    Γ couples [Z V] with [M U] only, so DΓJ₀ + J₀ΓD = 0: ε drops out of dQ/dt = −(DΓQ + QΓD), at any
    rank, for tasks and loops, also with frozen columns. Finite steps see it at O(η²) per step.

    Arguments:
        overlaps: Q, or a network or reduction that has it; its frozen columns have d = 0.
        rates: D, multipliers by family or column, as in `Descent`.

    Returns: J₀, shape (k, k), not normalised: rank 1, all learning: mm and uu +1, vv and zz −1.

    Errors: ValueError for a network that is not linear: its outputs see R, and nothing is flat.

    Source: ours.

    >>> j = overlaps.flat_direction(net)  # in the order z, v, m, u
    >>> np.diag(j).tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    such_as = "Overlaps, a network, or a reduction"
    component(overlaps, AbstractOverlapModel, "overlaps", such_as)
    if not overlaps.linear:
        raise ValueError(
            "`overlaps` must be those of a linear network: outputs of a nonlinear one depend on "
            "R, and no direction is flat."
        )
    roles, d = overlaps.roles, overlaps.multipliers(rates)
    sign = [-1.0] * roles.left + [1.0] * (roles.right - roles.left)
    sign += [0.0] * (roles.size - roles.right)
    return jnp.diag(jnp.asarray(np.multiply(sign, d), overlaps.overlaps.gram.dtype))


def flat_range(
    overlaps: AbstractOverlapModel, rates: Mapping[str, Any] | None = None
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """How far overlaps can go along the flat direction and still have vectors.

        Q + εJ₀ ⪰ 0   ⟺   ε ∈ [−1/λ_max, −1/λ_min],      λ: eigenvalues of Q^{-½} J₀ Q^{-½}

    This is all that gradient flow leaves known of ε. The median width is 1.5 for `random_overlaps`.

    Arguments: as for `flat_direction`.

    Returns: (lowest, highest) ε, shape (...,); infinite where no vector shrinks that way.

    Source: ours.

    >>> q = lrnn.Overlaps.from_gram(np.diag([1.0, 0.5, 2.0, 1.0]))
    >>> [round(float(end), 6) for end in overlaps.flat_range(q)]  # vv ends it, or uu
    [-1.0, 0.5]
    """
    direction = flat_direction(overlaps, rates)
    gram = overlaps.overlaps.gram
    values, vectors = jnp.linalg.eigh(gram)
    with jax.numpy_rank_promotion("allow"):
        floor = jnp.asarray(tolerance(gram))[..., None]
        half = vectors / jnp.sqrt(jnp.maximum(values, floor))[..., None, :]
        both = jnp.linalg.eigvalsh(jnp.swapaxes(half, -1, -2) @ direction @ half)
    lowest, highest = both[..., 0], both[..., -1]
    inf, least = jnp.asarray(jnp.inf, gram.dtype), jnp.max(jnp.abs(both), axis=-1)
    least = 100 * gram.shape[-1] * jnp.finfo(gram.dtype).eps * least  # rounding, otherwise zero
    low = jnp.where(highest > least, -1 / jnp.where(highest > least, highest, 1.0), -inf)
    return low, jnp.where(lowest < -least, -1 / jnp.where(lowest < -least, lowest, -1.0), inf)


def regauged(overlaps: Overlaps, c: ArrayLike) -> Overlaps:
    """Overlaps after U → UC, V → VC⁻ᵀ, which leaves UVᵀ, and so what the network computes.

        Q' = AᵀQA,      A = diag(1, C⁻ᵀ, 1, C)

    Learning is the same only for orthogonal C (then Q' learns as Q does, turned); any other C
    changes the norms of u and v, which learning shows.

    Arguments:
        overlaps: Q, of any batch.
        c: C, shape (rank, rank), invertible; for rank 1 also a number.

    Errors: ValueError for another shape or a singular C.

    Source: ours.

    >>> other = overlaps.regauged(net.overlaps, 2.0)
    >>> float(other["uu"] / net.overlaps["uu"]), float(other["vu"] / net.overlaps["vu"])
    (4.0, 1.0)
    """
    roles = component(overlaps, Overlaps, "overlaps", "network.overlaps").roles
    c = real_array(c, "c")
    c = shaped(c.reshape(1, 1) if c.ndim == 0 else c, "c", roles.rank, roles.rank)
    if not is_traced(c) and np.linalg.matrix_rank(np.asarray(c)) < roles.rank:
        raise ValueError("`c` must be invertible, such as a rotation; got a singular matrix.")
    gram, v, u = overlaps.gram, roles.slices["v"], roles.slices["u"]
    c = c.astype(gram.dtype)
    a = jnp.eye(roles.size, dtype=gram.dtype).at[v, v].set(jnp.linalg.inv(c).T).at[u, u].set(c)
    with jax.numpy_rank_promotion("allow"):
        return Overlaps(a.T @ gram @ a, roles)


def transposed(overlaps: Overlaps) -> Overlaps:
    """The overlaps of the network that runs backwards: (Z, V, M, U) → (M, U, Z, V).

        S → Sᵀ,   R ↔ P:      zu ↔ vm, mm ↔ zz, mu ↔ zv, uu ↔ vv

    A linear network's response becomes its transpose: with one input and one output it is the same,
    and stays so while both learn. So outputs and losses cannot tell mm from zz.

    Errors: ValueError for columns beside these four families.

    Source: ours.

    >>> back = overlaps.transposed(net.overlaps)
    >>> bool(back["zz"] == net.overlaps["mm"]), bool(back["zu"] == net.overlaps["vm"])
    (True, True)
    """
    roles = component(overlaps, Overlaps, "overlaps", "network.overlaps").roles
    if roles.bias or roles.start or roles.means:
        raise ValueError(
            f"`overlaps` of Z, V, M and U alone have a transpose; got {roles.describe()}."
        )
    order = np.r_[roles.left : roles.size, 0 : roles.left]
    back = Roles(outputs=roles.inputs, rank=roles.rank, inputs=roles.outputs)
    return Overlaps(overlaps.gram[..., order[:, None], order], back)
