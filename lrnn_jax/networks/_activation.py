"""Single-neuron nonlinearities."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import equinox as eqx
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractActivation(eqx.Module):
    """A single-neuron nonlinearity φ, applied to each entry of the activity h."""

    linear: AbstractClassVar[bool]
    odd: AbstractClassVar[bool]

    @abstractmethod
    def __call__(self, h: Float[Array, "..."]) -> Float[Array, "..."]:
        """φ(h), entry by entry."""


class Identity(AbstractActivation):
    """φ(h) = h: linear networks, for which the overlap theory is exact."""

    linear = True
    odd = True

    def __call__(self, h: Float[Array, "..."]) -> Float[Array, "..."]:
        return h
