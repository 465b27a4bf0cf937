"""What the symmetries of learning depend on, read off a method."""

from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, NamedTuple

from lrnn_jax._checks import component, shown
from lrnn_jax.learning import Descent, Flow, Muon, NormalisedDescent
from lrnn_jax.rules import Gradient


class Traits(NamedTuple):
    """What the symmetries of learning depend on.

    Fields:
        rates: D, multipliers by family or column.
        lr: η, a number or a schedule.
        momentum: whether there is one.
        flow: whether learning is the limit of small steps.
        plain: whether steps are polynomials of Q (no clip, norm, decay, schedule).
    """

    rates: Mapping[str, Any]
    lr: Any
    momentum: bool
    flow: bool
    plain: bool


@singledispatch
def traits(method: Any) -> Traits:
    """The traits of a method that is exact on overlaps and follows the gradient.

    Errors: ValueError for any other.
    """
    raise ValueError(
        f"`method` must be exact on overlaps, such as Descent(5e-3) or Flow(5e-3); got "
        f"{shown(method)}."
    )


def _gradient(method: Any) -> None:
    """Errors: ValueError for another rule than the gradient."""
    component(method.rule, Gradient, "method", "Descent(5e-3), with the gradient as its rule")


def _number(lr: Any) -> bool:
    return not isinstance(lr, Callable)


@traits.register
def _(method: Descent) -> Traits:
    _gradient(method)
    plain = method.clip is None and method.weight_decay is None and not method.nesterov
    plain = plain and _number(method.lr)
    return Traits(method.rates, method.lr, method.momentum is not None, False, plain)


@traits.register(NormalisedDescent)
@traits.register(Muon)
def _(method: NormalisedDescent | Muon) -> Traits:
    _gradient(method)
    return Traits(method.rates, method.lr, method.momentum is not None, False, False)


@traits.register
def _(method: Flow) -> Traits:
    _gradient(method)
    return Traits(method.rates, method.lr, False, True, _number(method.lr))
