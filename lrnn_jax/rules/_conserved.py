"""What a learning rule conserves, on every task."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component
from lrnn_jax.overlaps import AbstractOverlapModel, Overlaps, invariants_of
from lrnn_jax.rules._base import AbstractRule, Backward


class Conserved(eqx.Module):
    """A function of overlaps that learning by a rule does not change.

    Arguments:
        name: the quantity in symbols.
        at_any_step: whether finite steps keep it to rounding; else the flow does, and steps of size
            η change it by O(η) over a given time.
        why: the reason.
        of: overlaps, with any leading axes → its value, such as `curve.overlaps`.

    >>> first, *_ = rules.conserved(lrnn.Gradient(), net)
    >>> first.name, first.of(net.overlaps).shape
    ('UᵀU − VᵀV', (1, 1))
    """

    name: str = eqx.field(static=True)
    at_any_step: bool = eqx.field(static=True)
    why: str = eqx.field(static=True)
    of: Callable[[Overlaps], Float[Array, "..."]] = eqx.field(static=True)


def balance(overlaps: Overlaps) -> Float[Array, "*batch r r"]:
    """UᵀU/s − VᵀV/s."""
    return overlaps.block("u", "u") - overlaps.block("v", "v")


def spectrum(overlaps: Overlaps) -> Float[Array, "*batch k"]:
    """Eigenvalues of JQ, ascending."""
    return invariants_of(overlaps, {}, (), linear=True).spectrum


def trace(overlaps: Overlaps) -> Float[Array, "*batch"]:
    """tr JQ = tr ZᵀZ + tr VᵀV − tr MᵀM − tr UᵀU, with biases and initial state as M."""
    return jnp.trace(invariants_of(overlaps, {}, (), linear=True).matrix, axis1=-2, axis2=-1)


def fixed_gram(overlaps: Overlaps) -> Float[Array, "*batch c c"]:
    """The Gram matrix of F, C and G."""
    names = "".join(f for f in "fcg" if f in overlaps.roles.sizes)
    return overlaps.block(names, names)


def outside_feedback(overlaps: Overlaps) -> Float[Array, "*batch w w"]:
    """R − E (BᵀB/s)⁻¹ Eᵀ of what writes, [M U b h], with B = F or [F C] and E = [M U b h]ᵀB/s."""
    there = overlaps.roles.sizes
    write = "".join(f for f in "mubh" if f in there)
    span = "f" + "c" * ("c" in there)
    across = overlaps.block(write, span)
    explained = jnp.linalg.solve(overlaps.block(span, span), jnp.swapaxes(across, -1, -2))
    return overlaps.block(write, write) - across @ explained


def conserved(rule: AbstractRule, model: AbstractOverlapModel) -> tuple[Conserved, ...]:
    """What learning by a rule conserves in a network or reduction, whatever the task.

        UᵀU − VᵀV                    flow, every rule that reaches U and V through a change of W:
                                     Uᵀ(GV) = (GᵀU)ᵀV whatever G
        spectrum of JQ               flow, the gradient alone, linear φ; over a bulk its trace alone
        FᵀF, …                       any step: what the rule holds fixed
        R − E (FᵀF)⁻¹ Eᵀ             any step, RFLO, linear φ: M and U move in the span of F; with
                                     feedback alignment in time, in that of [F C]

    The values are for rates of 1 and without weight decay, which ends all but the fixed ones;
    `invariants` has the first two with rates. Perturbation rules conserve nothing.

    Arguments:
        rule: how weights learn.
        model: a network, a reduction, or bare `Overlaps` (linear).

    Errors: ValueError for what is no rule or has no overlaps.

    Source: ours.

    >>> [found.name for found in rules.conserved(lrnn.Gradient(), net)]
    ['UᵀU − VᵀV', 'spectrum of JQ']
    >>> [found.name for found in rules.conserved(lrnn.RFLO(key=key), net)]
    ['UᵀU − VᵀV', 'Gram matrix of F, C, G', 'R − E(FᵀF)⁻¹Eᵀ']
    """
    component(rule, AbstractRule, "rule", "RFLO(key=…)")
    component(model, AbstractOverlapModel, "model", "a network, a reduction, or Overlaps")
    way, frozen = rule.backward, model.roles.frozen_columns(model.frozen)
    found = []
    if way is None:
        return ()
    still = {label[0] for label, stays in zip(model.roles.labels, frozen) if stays}
    if not still & set("uv"):
        why = "U and V learn through one change of W, and UᵀGV is the transpose of VᵀGᵀU"
        found.append(Conserved("UᵀU − VᵀV", False, why, balance))
    learns = way == Backward() and model.linear and not still & set("zvmubh")
    if learns and model.bulk is not None:
        why = (
            "outputs do not change when what writes grows by a factor and what reads shrinks by it"
        )
        found.append(Conserved("trace of JQ", False, why, trace))
    elif learns:
        why = "JΓ = −ΓJ for linear φ, so JQ moves by similarity"
        found.append(Conserved("spectrum of JQ", False, why, spectrum))
    if way.source == "f":
        found.append(Conserved("Gram matrix of F, C, G", True, "they are fixed", fixed_gram))
        if way.carried != "v" and model.linear:
            why = "what writes moves in the span of fixed vectors alone"
            found.append(Conserved("R − E(FᵀF)⁻¹Eᵀ", True, why, outside_feedback))
    return tuple(found)
