"""What learning moves: the one place where networks and reductions differ for learning.

Every update rule moves matrices X whose rows are abstract and whose columns are loading vectors.
A metric M gives the overlaps, Q = XᵀMX, and the gradient of a loss L(Q) in that metric is XΓ with
Γ = ∂L/∂Q + (∂L/∂Q)ᵀ:

    low rank     X = Θ (N×k)    M = 1/s     gradient s ∂L/∂Θ, by autodiff through the simulation
    reduction    X = T (k×k)    M = Q_0     gradient T Γ, with Θ_t = Θ_0 T_t and T_0 = 1
    mixture      X = (T_p)      M = π_p Q_p likewise in each population, gradient T_p Γ_p/π_p
    any other    X = arrays     M = 1       gradient ∂L/∂X

A rule that only uses linear combinations of X and gradients, with coefficients that depend on
scalar products in the metric, does the same in all of them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from lrnn_jax._files import path_name
from lrnn_jax._types import is_traced
from lrnn_jax.networks._base import AbstractOverlapRNN, AbstractRNN
from lrnn_jax.overlaps import Roles

Weights = PyTree[Float[Array, "..."]]
Loss = Callable[[AbstractRNN], Float[Array, ""]]


class AbstractSpace(eqx.Module):
    """The weights of a network as matrices that update rules can move."""

    network: eqx.AbstractVar[AbstractRNN]
    coefficients: ClassVar[bool]
    """Whether X are coefficients T of the initial vectors, Θ = Θ_0 T, and not weights themselves:
    only rules that commute with every linear map of the neurons are exact in it."""

    @property
    @abstractmethod
    def start(self) -> Weights:
        """X at epoch 0."""

    @property
    def roles(self) -> Roles | None:
        """What the columns of Q are; None where there are no loading vectors."""
        return self.network.roles

    @property
    @abstractmethod
    def realisable(self) -> Bool[Array, ""]:
        """Whether there are weights to start from: Q_0 of a reduction may be of no vectors."""

    @abstractmethod
    def model(self, weights: Weights) -> AbstractRNN:
        """The model with weights X."""

    @abstractmethod
    def gradient(self, loss: Loss, weights: Weights) -> tuple[Float[Array, ""], Weights]:
        """The loss and its gradient XΓ in the metric."""

    @abstractmethod
    def metric(self, weights: Weights) -> Weights:
        """M X."""

    @abstractmethod
    def blocks(self, weights: Weights) -> dict[str, Float[Array, "..."]]:
        """X, or a change of it, as one matrix a family of vectors that can learn."""

    @abstractmethod
    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        """A change of X from one matrix a family; a column of ones does not change."""

    @abstractmethod
    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        """Q of weights X; empty where there are no loading vectors."""

    @abstractmethod
    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        """D broadcast against X, from multipliers by name; None for D = 1.

        Errors: ValueError or UnknownOverlap for a name that is none, a negative multiplier.
        """

    def transform(self, weights: Weights) -> Float[Array, "..."] | None:
        """T with Θ = Θ_0 T; None where it is not known."""
        return weights if self.coefficients else None

    def norm(self, weights: Weights) -> Float[Array, ""]:
        """√tr(XᵀMX): for a gradient, √s ‖∂L/∂Θ‖_F, which does not depend on N."""
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), weights, self.metric(weights))
        leaves = jax.tree.leaves(products)
        square = sum(leaves[1:], leaves[0])
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


class LeafSpace(AbstractSpace):
    """The arrays of any network, by name, in the metric 1.

    All floating-point arrays of the network learn, but for `dt`, those of its activation and those
    that `frozen` names. Names are paths: "w", or "cell.w", of which "cell" is the beginning.

    Errors: ValueError for a network in which nothing can learn, or a name in `frozen` that is none.
    """

    network: AbstractRNN
    coefficients = False

    def __init__(self, network: AbstractRNN):
        self.network = network
        names = list(_arrays(network))
        for name in network.frozen:
            if not _among(names, name):
                raise ValueError(f"`frozen` names weights among {names}; got {name!r}.")
        if not self.start:
            raise ValueError(f"Nothing can learn in this {type(network).__name__}.")

    @property
    def start(self) -> Weights:
        frozen = self.network.frozen
        return {
            name: array
            for name, array in _arrays(self.network).items()
            if not any(_within(name, beginning) for beginning in frozen)
        }

    @property
    def realisable(self) -> Bool[Array, ""]:
        return jnp.array(True)

    def model(self, weights: Weights) -> AbstractRNN:
        leaves, tree = jax.tree_util.tree_flatten_with_path(self.network)
        return tree.unflatten([weights.get(path_name(path), leaf) for path, leaf in leaves])

    def gradient(self, loss: Loss, weights: Weights) -> tuple[Float[Array, ""], Weights]:
        return jax.value_and_grad(lambda weights: loss(self.model(weights)))(weights)

    def metric(self, weights: Weights) -> Weights:
        return weights

    def blocks(self, weights: Weights) -> dict[str, Float[Array, "..."]]:
        """Each array as a matrix with at least as many rows as columns."""
        flat = {name: a.reshape(a.shape[0] if a.ndim else 1, -1) for name, a in weights.items()}
        return {name: a if a.shape[0] >= a.shape[1] else a.T for name, a in flat.items()}

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        shapes = {name: array.shape for name, array in self.start.items()}
        wide = {name: np.prod(s[1:], dtype=int) > (s or (1,))[0] for name, s in shapes.items()}
        return {n: (b.T if wide[n] else b).reshape(shapes[n]) for n, b in blocks.items()}

    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        if self.roles is None:
            return jnp.zeros((0, 0), self.network.dtype)
        return self.model(weights).overlaps.gram  # pyright: ignore[reportAttributeAccessIssue]

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        check_rates(values)
        names = list(self.start)
        for name in values:
            if not _among(names, name):
                raise ValueError(f"`rates` are for weights among {names}; got {name!r}.")
        if not values:
            return None
        out: dict[str, Any] = dict.fromkeys(names, 1.0)
        for beginning in sorted(values, key=len):  # the longer name is about less, and goes first
            out |= {name: values[beginning] for name in names if _within(name, beginning)}
        dtype = self.network.dtype
        return {
            name: jnp.full([1] * array.ndim, out[name], dtype) for name, array in self.start.items()
        }


def weight_space(model: AbstractRNN) -> AbstractSpace:
    """What learning moves in a model: what its class names, or else its arrays."""
    return (model.space or LeafSpace)(model)


def check_rates(values: Mapping[str, Any]) -> None:
    """Raise ValueError for a multiplier that is negative or not finite."""
    for name, rate in values.items():
        if not is_traced(rate) and not (np.ndim(rate) == 0 and 0 <= float(rate) < np.inf):
            raise ValueError(
                f"The rate of `{name}` must be one number, finite and not negative; got {rate}."
            )


def column_rates(
    network: AbstractOverlapRNN, values: Mapping[str, Any]
) -> Float[Array, "1 k"] | None:
    """D as a row: multipliers by family or column (default 1), zero where frozen; None for D = 1.

    Errors: UnknownOverlap for a wrong name; ValueError for a negative multiplier.
    """
    roles, frozen = network.roles, network.frozen
    if not values and not frozen and not roles.means:
        return None
    rates = roles.per_column(values)
    check_rates(values)
    columns = [0.0 if f else r for f, r in zip(roles.frozen_columns(frozen), rates)]
    return jnp.stack([jnp.asarray(c, network.dtype) for c in columns])[None, :]


def _arrays(network: AbstractRNN) -> dict[str, Array]:
    """All floating-point arrays of a network but dt and those of its activation."""
    leaves = jax.tree_util.tree_leaves_with_path(network)
    named = {path_name(path): leaf for path, leaf in leaves}
    return {
        name: leaf
        for name, leaf in named.items()
        if eqx.is_array(leaf)
        and jnp.issubdtype(leaf.dtype, jnp.floating)
        and not (_within(name, "dt") or _within(name, "activation"))
    }


def _within(name: str, beginning: str) -> bool:
    return name == beginning or name.startswith((f"{beginning}.", f"{beginning}["))


def _among(names: list[str], beginning: str) -> bool:
    return any(_within(name, beginning) for name in names)
