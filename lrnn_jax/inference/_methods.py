"""What the symmetries of learning depend on, read off a method."""

from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, NamedTuple

from lrnn_jax._checks import component, shown
from lrnn_jax.learning import Descent, Flow, Muon, NormalisedDescent
from lrnn_jax.rules import AbstractOffline, AbstractRule, Backward, Gradient


class Traits(NamedTuple):
    """What the symmetries of learning depend on.

    Fields:
        rates: D, multipliers by family or column.
        lr: η, a number or a schedule.
        momentum: whether there is one.
        flow: whether learning is the limit of small steps.
        plain: whether steps are polynomials of Q (no clip, norm, decay, schedule).
        rule: how errors go back.
    """

    rates: Mapping[str, Any]
    lr: Any
    momentum: bool
    flow: bool
    plain: bool
    rule: AbstractRule

    @property
    def backward(self) -> Backward:
        """How the rule sends errors back."""
        assert self.rule.backward is not None
        return self.rule.backward

    @property
    def gradient(self) -> bool:
        """Whether errors go back the way that signals came."""
        return self.backward == Gradient.backward


@singledispatch
def traits(method: Any) -> Traits:
    """The traits of a method that is exact on overlaps, its rule without noise or memory.

    Errors: ValueError for any other.
    """
    raise ValueError(
        f"`method` must be exact on overlaps, such as Descent(5e-3) or Flow(5e-3); got "
        f"{shown(method)}."
    )


def _rule(method: Any) -> AbstractRule:
    """Errors: ValueError for a rule that perturbs, delays, or moves weights within a trial."""
    such_as = "Descent(5e-3), or Descent(5e-3, rule=RFLO(key=key)): its rule sends errors back"
    return component(method.rule, (Gradient, AbstractOffline), "method", such_as)


def _number(lr: Any) -> bool:
    return not isinstance(lr, Callable)


@traits.register
def _(method: Descent) -> Traits:
    plain = method.clip is None and method.weight_decay is None and not method.nesterov
    plain = plain and _number(method.lr)
    return Traits(method.rates, method.lr, method.momentum is not None, False, plain, _rule(method))


@traits.register(NormalisedDescent)
@traits.register(Muon)
def _(method: NormalisedDescent | Muon) -> Traits:
    return Traits(method.rates, method.lr, method.momentum is not None, False, False, _rule(method))


@traits.register
def _(method: Flow) -> Traits:
    return Traits(method.rates, method.lr, False, True, _number(method.lr), _rule(method))
