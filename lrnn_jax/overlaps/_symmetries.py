"""Which Gram matrices learn alike: gauge, rotations, transposition, and the flat direction."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, flag, real_array, shaped
from lrnn_jax._types import Gram, is_traced
from lrnn_jax.overlaps._geometry import tolerance
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel, Overlaps, one_set
from lrnn_jax.overlaps._roles import Roles


def multipliers(model: AbstractOverlapModel, rates: Mapping[str, Any] | None) -> list[float]:
    """D: one learning-rate multiplier a column, 0 for what is frozen and for the column of ones.

    Errors: ValueError for traced rates and for what is no mapping; UnknownOverlap for wrong names.
    """
    rates = component({} if rates is None else rates, Mapping, "rates", '{"m": 0.0}')
    if is_traced(rates):
        raise ValueError("`rates` decide which symmetries hold: pass them untraced.")
    values = {name: real_array(rate, "rates", 0) for name, rate in rates.items() if name != "c"}
    d = model.roles.per_column({name: float(rate) for name, rate in values.items()})
    frozen = model.roles.frozen_columns(tuple(name for name in model.frozen if name != "c"))
    return [0.0 if still else rate for rate, still in zip(d, frozen)]


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
    """
    such_as = "Overlaps, a network, or a reduction"
    component(overlaps, AbstractOverlapModel, "overlaps", such_as)
    if not overlaps.linear:
        raise ValueError(
            "`overlaps` must be those of a linear network: outputs of a nonlinear one depend on "
            "R, and no direction is flat."
        )
    roles, d = overlaps.roles, multipliers(overlaps, rates)
    sign = [-1.0] * roles.left + [1.0] * (roles.right - roles.left) + [0.0] * roles.means
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
    """
    direction = flat_direction(overlaps, rates)
    gram = overlaps.overlaps.gram
    values, vectors = jnp.linalg.eigh(gram)
    with jax.numpy_rank_promotion("allow"):
        floor = jnp.asarray(tolerance(gram))[..., None]
        half = vectors / jnp.sqrt(jnp.maximum(values, floor))[..., None, :]
        both = jnp.linalg.eigvalsh(jnp.swapaxes(half, -1, -2) @ direction @ half)
    lowest, highest = both[..., 0], both[..., -1]
    inf = jnp.asarray(jnp.inf, gram.dtype)
    low = jnp.where(highest > 0, -1 / jnp.where(highest > 0, highest, 1.0), -inf)
    return low, jnp.where(lowest < 0, -1 / jnp.where(lowest < 0, lowest, -1.0), inf)


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
    """
    roles = component(overlaps, Overlaps, "overlaps", "network.overlaps").roles
    c = real_array(c, "c")
    c = shaped(c.reshape(1, 1) if c.ndim == 0 else c, "c", roles.rank, roles.rank)
    if not is_traced(c) and np.linalg.matrix_rank(np.asarray(c)) < roles.rank:
        raise ValueError("`c` must be invertible, such as a rotation; got a singular matrix.")
    gram = overlaps.gram
    return Overlaps(_turned(gram, roles, c.astype(gram.dtype)), roles)


def _turned(gram: Gram, roles: Roles, c: Float[Array, "r r"]) -> Gram:
    v, u = roles.slices["v"], roles.slices["u"]
    a = jnp.eye(roles.size, dtype=gram.dtype).at[v, v].set(jnp.linalg.inv(c).T).at[u, u].set(c)
    with jax.numpy_rank_promotion("allow"):
        return a.T @ gram @ a


def transposed(overlaps: Overlaps) -> Overlaps:
    """The overlaps of the network that runs backwards: (Z, V, M, U) → (M, U, Z, V).

        S → Sᵀ,   R ↔ P:      zu ↔ vm, mm ↔ zz, mu ↔ zv, uu ↔ vv

    A linear network's response becomes its transpose: with one input and one output it is the same,
    and stays so while both learn. So outputs and losses cannot tell mm from zz.

    Errors: ValueError for columns beside these four families.

    Source: ours.
    """
    roles = component(overlaps, Overlaps, "overlaps", "network.overlaps").roles
    if roles.bias or roles.start or roles.means:
        raise ValueError(
            f"`overlaps` of Z, V, M and U alone have a transpose; got {roles.describe()}."
        )
    order = np.r_[roles.left : roles.size, 0 : roles.left]
    back = Roles(outputs=roles.inputs, rank=roles.rank, inputs=roles.outputs)
    return Overlaps(overlaps.gram[..., order[:, None], order], back)


class Symmetry(NamedTuple):
    """A change of overlaps that a learning curve may not show.

    Fields: name; holds, whether curves stay the same; why, in words.
    """

    name: str
    holds: bool
    why: str


class Images(eqx.Module):
    """All Gram matrices with the same learning curve, as far as these are separate points.

    Fields:
        overlaps: the given Q first, then its images, shape (image, k, k). Of rank 2 and more, the
            signs of each pair (u_i, v_i): points of the orbit of all rotations.
        rotations: tangents at Q of the orbit under rotations, shape (r(r−1)/2, k, k): null
            directions of all curves (none for rank 1).
        names: what made each of them.
        symmetries: gauge, signs, rotation, transposition, flat: which hold here, and why.
    """

    overlaps: Overlaps
    rotations: Float[Array, "turn k k"]
    names: tuple[str, ...] = eqx.field(static=True)
    symmetries: tuple[Symmetry, ...] = eqx.field(static=True)

    def holds(self, name: str) -> bool:
        """Whether one of the symmetries holds, by its name."""
        return {symmetry.name: symmetry.holds for symmetry in self.symmetries}[name]


def images(
    model: AbstractOverlapModel,
    *,
    rates: Mapping[str, Any] | None = None,
    see_overlaps: bool = False,
) -> Images:
    """All overlaps that learn with the same curve, and which information tells them apart.

    Rank 1: the sign of (u, v) and the transpose (`transposed`) make four. Rank r: 2^r signs out of
    all rotations V → VC, U → UC, and their transposes. Beyond these, gradient flow cannot see the
    `flat_direction`.

    Arguments:
        model: Q, or a network or reduction that has it (frozen columns and the activation break
            symmetries).
        rates: multipliers by family or column; unequal ones break symmetries.
        see_overlaps: whether the visible overlaps S themselves are observed, not only outputs and
            losses.

    Errors: ValueError for a batch of overlaps.

    Source: ours.
    """
    component(model, AbstractOverlapModel, "model", "Overlaps, a network, or a reduction")
    d, see = multipliers(model, rates), flag(see_overlaps, "see_overlaps")
    overlaps, roles = one_set(model.overlaps, "model"), model.roles
    found = _symmetries(roles, np.array(d), linear=model.linear, see=see)
    holds = {symmetry.name: symmetry.holds for symmetry in found}
    grams, labels = [overlaps.gram], ["itself"]
    if holds["signs"]:
        pairs = [f"{v}, {u}" for v, u in zip(*(roles.labels[roles.slices[f]] for f in "vu"))]
        for signs in list(itertools.product((1.0, -1.0), repeat=roles.rank))[1:]:
            c = jnp.diag(jnp.asarray(signs, overlaps.gram.dtype))
            grams.append(_turned(overlaps.gram, roles, c))
            labels.append(f"sign of {'; '.join(p for p, s in zip(pairs, signs) if s < 0)}")
    if holds["transposition"]:
        grams += [transposed(Overlaps(gram, roles)).gram for gram in grams]
        labels += ["transposed", *(f"{label}; transposed" for label in labels[1:])]
    turns = [_tangent(overlaps.gram, roles, i, j) for i, j in _planes(roles) if holds["rotation"]]
    none = jnp.zeros((0, roles.size, roles.size), overlaps.gram.dtype)
    rotations = jnp.stack(turns) if turns else none
    return Images(Overlaps(jnp.stack(grams), roles), rotations, tuple(labels), found)


def _symmetries(roles: Roles, d: np.ndarray, *, linear: bool, see: bool) -> tuple[Symmetry, ...]:
    """What leaves curves as they are, given multipliers, linearity, and whether S is observed."""
    equal = len(set(d[roles.slices["v"]])) == len(set(d[roles.slices["u"]])) == 1
    swapped = np.r_[d[roles.left :], d[: roles.left]]
    extra = roles.bias or roles.start or roles.means
    against = {
        "gauge": [(True, "learning goes by the norms of u and v, which U → UC, V → VC⁻ᵀ changes")],
        "signs": [(see, "the observed S has the sign of u and v")],
        "rotation": [
            (roles.rank == 1, "one pair (u, v) has no rotations but its sign"),
            (see, "the observed S turns with U and V"),
            (not equal, "columns of U or V learn at different rates"),
        ],
        "transposition": [
            (see, "the observed S tells Z V from M U"),
            (not linear, "outputs of a nonlinear network depend on R, not on P"),
            (extra, "biases, initial states and means have no counterpart that reads"),
            (roles.inputs != roles.outputs, "inputs and outputs differ in number"),
            (roles.inputs > 1, "responses between several channels become their transpose"),
            (not np.array_equal(swapped, d), "M U and Z V are frozen or learn differently"),
        ],
        "flat": [
            (not linear, "outputs of a nonlinear network depend on R"),
        ],
    }
    held = {
        "signs": "U → UC, V → VC for diagonal C of signs changes no output and no length",
        "rotation": "U → UC, V → VC for orthogonal C changes no output and no length",
        "transposition": "one input and one output: the reversed network has the same response",
        "flat": "Γ couples Z V with M U only: flow is blind to it, descent sees it at O(η)",
    }
    reasons = {n: [why for true, why in listed if true] for n, listed in against.items()}
    return tuple(Symmetry(n, not r, r[0] if r else held[n]) for n, r in reasons.items())


def _planes(roles: Roles) -> Iterator[tuple[int, int]]:
    """Pairs of columns of U, and V, that a rotation may turn into each other."""
    return itertools.combinations(range(roles.rank), 2)


def _tangent(gram: Gram, roles: Roles, i: int, j: int) -> Gram:
    """dQ of a rotation in the plane (i, j) of V and of U: AᵀQ + QA."""
    a = np.zeros((roles.size, roles.size))
    for family in "vu":
        start = roles.slices[family].start
        a[start + i, start + j], a[start + j, start + i] = 1.0, -1.0
    turn = gram @ jnp.asarray(a, gram.dtype)
    return turn + turn.T


def fixed_gauge(overlaps: Overlaps) -> Overlaps:
    """The same overlaps, turned as one can agree on: V → VC, U → UC with orthogonal C, so that

        VᵀU + UᵀV is diagonal, its entries falling;      z₁ᵀu_i ≥ 0 for all i

    Entries of what is left can be compared, and have intervals, where rotations are a symmetry.
    Differentiable where the diagonal entries differ and z₁ᵀu_i ≠ 0.

    Arguments:
        overlaps: Q, one Gram matrix.

    Errors: ValueError for a batch.

    Source: ours.
    """
    roles, gram = one_set(overlaps).roles, overlaps.gram
    v, u = roles.slices["v"], roles.slices["u"]
    block = gram[v, u]
    c = jnp.linalg.eigh(block + block.T)[1][:, ::-1]
    sign = jnp.where(gram[0, u] @ c < 0, -1.0, 1.0).astype(gram.dtype)
    return Overlaps(_turned(gram, roles, c * sign[None]), roles)
