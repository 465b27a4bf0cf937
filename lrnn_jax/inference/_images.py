"""All Gram matrices with the same learning curve, and what tells them apart."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._checks import component, flag
from lrnn_jax.inference._methods import Traits, traits
from lrnn_jax.learning import AbstractMethod
from lrnn_jax.overlaps import (
    AbstractOverlapModel,
    Overlaps,
    Roles,
    one_set,
    regauged,
    transposed,
)
from lrnn_jax.rules import steering


class Symmetry(NamedTuple):
    """A change of overlaps that a learning curve may not show.

    Fields: name; holds, whether curves stay the same; why, in words.

    >>> flat = inference.images(net, lrnn.Flow(1e-2)).symmetries[-1]
    >>> flat.name, flat.holds
    ('flat', True)
    """

    name: str
    holds: bool
    why: str


class Direction(NamedTuple):
    """An infinitesimal change of overlaps: dQ = AᵀQ + QA + B.

    Fields: name; a, b: whole numbers, or multipliers, shape (k, k).
    """

    name: str
    a: Float[np.ndarray, "k k"]
    b: Float[np.ndarray, "k k"]


class Images(eqx.Module):
    """All Gram matrices with the same learning curve: separate points, and directions.

    Fields:
        overlaps: the given Q first, then its images, shape (image, k, k). Of rank 2 and more, the
            signs of each pair (u_i, v_i): points of the orbit of all rotations.
        null: dQ along which no curve changes, at the given Q, shape (direction, k, k).
        names: what made each of the images.
        null_names: what each null direction is.
        symmetries: signs, rotation, gauge, transposition, scale, P, R, flat: which hold here, why.

    >>> found = inference.images(net, descent)
    >>> found.holds("transposition"), found.overlaps.gram.shape
    (True, (4, 4, 4))
    """

    overlaps: Overlaps
    null: Float[Array, "direction k k"]
    names: tuple[str, ...] = eqx.field(static=True)
    null_names: tuple[str, ...] = eqx.field(static=True)
    symmetries: tuple[Symmetry, ...] = eqx.field(static=True)

    def holds(self, name: str) -> bool:
        """Whether one of the symmetries holds, by its name."""
        return {symmetry.name: symmetry.holds for symmetry in self.symmetries}[name]


def images(
    model: AbstractOverlapModel, method: AbstractMethod, *, see_overlaps: bool = False
) -> Images:
    """All overlaps that learn with the same curve, and which information tells them apart.

        signs           u_i, v_i → −u_i, −v_i
        rotation        V → VC, U → UC, C orthogonal
        gauge           V → VC⁻ᵀ, U → UC, any C: only while neither U nor V learns
        transposition   (Z, V, M, U) → (M, U, Z, V): one input, one output, equal multipliers
        scale           Z → cZ, M → M/c: only while neither Z nor M learns
        P, R            P → P + any: only while neither M nor U learns along Z and V (they are
                        frozen, or get errors by fixed vectors); R: while Z and V are frozen
        flat            Q → Q + εJ₀ (`flat_direction`): exact for `Flow`; for descent at O(η)

    Rank 1, all learning by the gradient: the sign of (u, v) and the transpose make four images.
    Other rules break transposition and the flat direction, and leave what they never read.

    Arguments:
        model: Q, or a network or reduction that has it: its frozen columns and its activation
            break symmetries.
        method: how it learns: multipliers, flow or steps, rule.
        see_overlaps: whether the visible overlaps S themselves are observed, not only outputs and
            losses.

    Errors: ValueError for a batch of overlaps, for a method that is not exact on overlaps, or whose
    rule sends no errors back.

    Source: ours.

    >>> inference.images(net, descent).names
    ('itself', 'sign of v, u', 'transposed', 'sign of v, u; transposed')
    >>> inference.images(net, lrnn.Descent(0.05, rates={"m": 0.0})).names
    ('itself', 'sign of v, u')
    """
    component(model, AbstractOverlapModel, "model", "Overlaps, a network, or a reduction")
    how, see = traits(method), flag(see_overlaps, "see_overlaps")
    overlaps, roles = one_set(model.overlaps, "model"), model.roles
    found, directions = symmetries(model, how, see=see)
    holds = {symmetry.name: symmetry.holds for symmetry in found}
    points, labels = [overlaps], ["itself"]
    if holds["signs"]:
        pairs = [f"{v}, {u}" for v, u in zip(*(roles.labels[roles.slices[f]] for f in "vu"))]
        for signs in list(itertools.product((1.0, -1.0), repeat=roles.rank))[1:]:
            points.append(regauged(overlaps, np.diag(signs)))
            labels.append(f"sign of {'; '.join(p for p, s in zip(pairs, signs) if s < 0)}")
    if holds["transposition"]:
        points += [transposed(point) for point in points]
        labels += ["transposed", *(f"{label}; transposed" for label in labels[1:])]
    gram = overlaps.gram
    tangents = [tangent(gram, direction) for direction in directions]
    null = jnp.stack(tangents) if tangents else jnp.zeros((0, *gram.shape), gram.dtype)
    return Images(
        overlaps=Overlaps(jnp.stack([point.gram for point in points]), roles),
        null=null,
        names=tuple(labels),
        null_names=tuple(direction.name for direction in directions),
        symmetries=found,
    )


def tangent(gram: Float[Array, "k k"], direction: Direction) -> Float[Array, "k k"]:
    """dQ = AᵀQ + QA + B."""
    turn = gram @ jnp.asarray(direction.a, gram.dtype)
    return turn + turn.T + jnp.asarray(direction.b, gram.dtype)


def symmetries(
    model: AbstractOverlapModel, how: Traits, *, see: bool
) -> tuple[tuple[Symmetry, ...], tuple[Direction, ...]]:
    """What leaves curves as they are, and along which independent directions."""
    hidden = set(unread(model, how))
    reasons = _against(model, how, hidden, see)
    found = tuple(Symmetry(n, not r, r[0] if r else _HOLDS[n]) for n, r in reasons.items())
    kept = {symmetry.name for symmetry in found if symmetry.holds}
    d = np.array(model.multipliers(how.rates))
    return found, tuple(_directions(model.roles, d, kept, hidden))


def _against(
    model: AbstractOverlapModel, how: Traits, hidden: set[tuple[int, int]], see: bool
) -> dict[str, list[str]]:
    """Why each symmetry does not hold, by its name."""
    roles, d = model.roles, np.array(model.multipliers(how.rates))
    still = {f: not d[s].any() for f, s in roles.slices.items()}
    p_free = hidden.issuperset(_within(0, roles.left))
    r_free = hidden.issuperset(_within(roles.left, roles.right))
    left, right = d[: roles.left], d[roles.left : roles.right]
    sides = np.count_nonzero(left), np.count_nonzero(right)
    few = (max(sides) == 1 and how.plain) or not min(sides)
    equal = len(set(d[roles.slices["v"]])) == len(set(d[roles.slices["u"]])) == 1
    extra = roles.size > 2 * roles.rank + roles.inputs + roles.outputs
    swapped = len(left) == len(right) and np.array_equal(left, right)
    nonlinear = (not model.linear, "outputs of a nonlinear network depend on R too")
    beside = (extra, "biases, initial states, fixed vectors or means are not turned with it")
    against = {
        "signs": [(see, "the observed S has the sign of u and v")],
        "rotation": [
            (roles.rank == 1, "one pair (u, v) has no rotations but its sign"),
            (see, "the observed S turns with U and V"),
            (not equal, "columns of U or V learn at different rates"),
        ],
        "gauge": [
            (see, "the observed S changes with U and V"),
            (not (still["u"] and still["v"]), "learning goes by the norms of u and v"),
        ],
        "transposition": [
            (see, "the observed S tells Z V from M U"),
            nonlinear,
            beside,
            (roles.inputs != roles.outputs, "inputs and outputs differ in number"),
            (roles.inputs > 1, "responses between several channels become their transpose"),
            (not swapped, "M U and Z V are frozen or learn differently"),
            (not how.gradient, "the rule does not send errors back the way that signals came"),
        ],
        "scale": [
            (see, "the observed S has the norms of z and m"),
            nonlinear,
            beside,
            (not (still["z"] and still["m"]), "learning goes by the norms of z and m"),
            (
                how.backward.source == "f",
                "errors reach neurons by vectors that do not change with z",
            ),
        ],
        "P": [(not p_free, "M or U learn along Z or V, by their lengths and angles")],
        "R": [nonlinear, (not r_free, "Z or V learn along M and U, by their lengths and angles")],
        "flat": [
            nonlinear,
            (
                not how.gradient,
                "under this rule curves do not depend on R and P by their sum alone",
            ),
            (not (how.flow or few), "finite steps see it, at O(η) over a run"),
        ],
    }
    return {n: [why for true, why in listed if true] for n, listed in against.items()}


def _within(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Pairs of columns of a block of Q."""
    return itertools.combinations_with_replacement(range(low, high), 2)


def unread(model: AbstractOverlapModel, how: Traits) -> list[tuple[int, int]]:
    """Entries of Q that neither outputs nor learning ever read; of nonlinear models those of P."""
    roles, d = model.roles, np.array(model.multipliers(how.rates))
    own = {f: s for f, s in roles.slices.items() if s.start < roles.right}
    still = tuple(f for f, s in own.items() if not d[s].any())
    silent = steering(how.rule, roles, frozen=still).silent
    pairs = [pair for name, pair in zip(roles.names, roles.pairs) if name in silent]
    last = roles.right if model.linear else roles.left
    return [pair for pair in pairs if max(pair) < last]


_HOLDS = {
    "signs": "u_i and v_i turned round together change no output and no length",
    "rotation": "U → UC, V → VC for orthogonal C changes no output and no length",
    "gauge": "U → UC, V → VC⁻ᵀ changes no output, and neither U nor V learns",
    "transposition": "one input and one output: the reversed network has the same response",
    "scale": "Z → cZ, M → M/c changes no output, and neither Z nor M learns",
    "P": "nothing learns along Z and V: how they lie to each other enters nowhere",
    "R": "neither Z nor V learns: how M and U lie to each other enters nowhere",
    "flat": "Γ couples Z V with M U only, so that R and P change curves by their sum only",
}


def _directions(
    roles: Roles, d: np.ndarray, kept: set[str], hidden: set[tuple[int, int]]
) -> Iterator[Direction]:
    """Independent null directions of the symmetries that hold."""
    k, labels, zero = roles.size, roles.labels, np.zeros((roles.size, roles.size))
    v, u = (range(*roles.slices[family].indices(k)) for family in "vu")
    for i, j in itertools.product(range(roles.rank), repeat=2):
        a = zero.copy()
        a[u[i], u[j]], a[v[j], v[i]] = 1.0, -1.0
        if "gauge" in kept:
            yield Direction(f"gauge {labels[u[i]]} → {labels[u[j]]}", a, zero)
        elif "rotation" in kept and i < j:
            name = f"rotation of {labels[v[i]]}, {labels[v[j]]}; {labels[u[i]]}, {labels[u[j]]}"
            a[u[j], u[i]], a[v[i], v[j]] = -1.0, 1.0
            yield Direction(name, a, zero)
    if "scale" in kept:
        sign = {"z": 1.0, "m": -1.0}
        yield Direction("scale", np.diag([sign.get(label[0], 0.0) for label in labels]), zero)
    for i, j in sorted(hidden):
        b = zero.copy()
        b[i, j] = b[j, i] = 1.0
        yield Direction(labels[i] + labels[j], zero, b)
    if "flat" in kept and not kept & {"P", "R"}:
        sign = np.r_[-np.ones(roles.left), np.ones(roles.right - roles.left)]
        sign = np.r_[sign, np.zeros(k - roles.right)]
        yield Direction("flat", zero, np.diag(sign * d))
