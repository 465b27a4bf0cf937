"""Where the weights live: the one place where networks and reductions differ for learning.

Every update rule moves a matrix X whose rows are abstract and whose columns are loading vectors.
A metric M gives the overlaps, Q = XᵀMX, and the gradient of a loss L(Q) in that metric is XΓ with
Γ = ∂L/∂Q + (∂L/∂Q)ᵀ:

    network      X = Θ (N×k)    M = 1/s     gradient s ∂L/∂Θ, by autodiff through the simulation
    reduction    X = T (k×k)    M = Q_0     gradient T Γ, with Θ_t = Θ_0 T_t and T_0 = 1
    mixture      X = (T_p)      M = π_p Q_p likewise in each population, gradient T_p Γ_p/π_p
    dense        X = weights    M = 1       gradient ∂L/∂W

A rule that only uses linear combinations of X and gradients, with coefficients that depend on
scalar products in the metric, does the same in all of them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lrnn_jax._types import is_traced, tiny_matmul
from lrnn_jax.networks import AbstractRNN, DenseRNN, LowRankRNN
from lrnn_jax.overlaps import Roles, range_projector
from lrnn_jax.reduced import MixtureRNN, ReducedRNN

Weights = PyTree[Float[Array, "..."]]
Loss = Callable[[AbstractRNN], Float[Array, ""]]


class AbstractCoordinates(eqx.Module):
    """The weights of a model as matrices that update rules can move."""

    @property
    @abstractmethod
    def start(self) -> Weights:
        """X at epoch 0."""

    @abstractmethod
    def model(self, x: Weights) -> AbstractRNN:
        """The model with weights X."""

    @abstractmethod
    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        """The loss and its gradient XΓ in the metric."""

    @abstractmethod
    def metric(self, x: Weights) -> Weights:
        """M X."""

    @abstractmethod
    def blocks(self, x: Weights) -> dict[str, Float[Array, "..."]]:
        """X, or a change of it, as one matrix a family of vectors that can learn."""

    @abstractmethod
    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        """A change of X from one matrix a family; a column of ones does not change."""

    @abstractmethod
    def gram(self, x: Weights) -> Float[Array, "k k"]:
        """Q of weights X; empty where there are no loading vectors."""

    @abstractmethod
    def transform(self, x: Weights) -> Float[Array, "..."] | None:
        """T with Θ = Θ_0 T; None where it is not known."""

    @abstractmethod
    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        """D broadcast against X, from multipliers by family or column; None for D = 1."""

    def norm(self, x: Weights) -> Float[Array, ""]:
        """√tr(XᵀMX): for a gradient, √s ‖∂L/∂Θ‖_F, which does not depend on N."""
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), x, self.metric(x))
        square = sum(jax.tree.leaves(products), jnp.zeros((), self.model(x).dtype))
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


class VectorCoordinates(AbstractCoordinates):
    """Loading vectors of a low-rank network: X = Θ, M = 1/s."""

    network: LowRankRNN

    @property
    def start(self) -> Weights:
        return self.network.vectors

    def model(self, x: Weights) -> AbstractRNN:
        return self.network.with_vectors(x)

    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        value, slope = jax.value_and_grad(lambda theta: loss(self.model(theta)))(x)
        return value, slope * self.network.scale.astype(x.dtype).reshape(-1, 1)

    def metric(self, x: Weights) -> Weights:
        return self.network.weighted(x)

    def blocks(self, x: Weights) -> dict[str, Float[Array, "..."]]:
        return _split(x, self.network.roles)

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return _joined(blocks, self.network.roles)

    def gram(self, x: Weights) -> Float[Array, "k k"]:
        return x.T @ self.metric(x)

    def transform(self, x: Weights) -> None:
        return None

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        return column_rates(self.network.roles, values, self.network.frozen, self.network.dtype)


class GramCoordinates(AbstractCoordinates):
    """Overlaps of a reduction: X = T with Q = TᵀQ_0T, M = Q_0.

    Where Q_0 is singular, T starts as the projector onto its range in place of 1: Θ_0 T is the
    same, and T stays bounded (its part outside the range means nothing, but could grow).
    """

    reduction: ReducedRNN
    projector: Weights

    def __init__(self, reduction: ReducedRNN):
        self.reduction = reduction
        self.projector = range_projector(reduction.overlaps.gram)

    @property
    def start(self) -> Weights:
        return self.projector

    def model(self, x: Weights) -> AbstractRNN:
        return self.reduction.with_gram(self.gram(x))

    def generator(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Float[Array, "k k"]]:
        """The loss and Γ = ∂L/∂Q + (∂L/∂Q)ᵀ."""
        value, slope = jax.value_and_grad(lambda q: loss(self.reduction.with_gram(q)))(self.gram(x))
        return value, slope + slope.T

    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        value, gamma = self.generator(loss, x)
        return value, tiny_matmul(x, gamma)

    def metric(self, x: Weights) -> Weights:
        return tiny_matmul(self.reduction.overlaps.gram, x)

    def blocks(self, x: Weights) -> dict[str, Float[Array, "..."]]:
        return _split(x, self.reduction.roles)

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return _joined(blocks, self.reduction.roles)

    def gram(self, x: Weights) -> Float[Array, "k k"]:
        return tiny_matmul(x.T, self.metric(x))

    def transform(self, x: Weights) -> Float[Array, "k k"]:
        return x

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        reduction = self.reduction
        return column_rates(reduction.roles, values, reduction.frozen, reduction.dtype)


class MixtureCoordinates(AbstractCoordinates):
    """Overlaps of a mixture: X = T of shape (P, k, k) with Q_p = T_pᵀQ_p0 T_p, M = π_p Q_p0."""

    reduction: MixtureRNN
    projector: Weights

    def __init__(self, reduction: MixtureRNN):
        self.reduction = reduction
        self.projector = jnp.stack([range_projector(gram) for gram in reduction.overlaps.gram])

    @property
    def start(self) -> Weights:
        return self.projector

    def model(self, x: Weights) -> MixtureRNN:
        return self.reduction.with_gram(jnp.swapaxes(x, -1, -2) @ self.reduction.overlaps.gram @ x)

    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        def of(gram: Array) -> Array:
            return loss(self.reduction.with_gram(gram))

        value, slope = jax.value_and_grad(of)(self.model(x).overlaps.gram)
        return value, x @ (slope + jnp.swapaxes(slope, -1, -2)) / self._weights

    def metric(self, x: Weights) -> Weights:
        return self._weights * (self.reduction.overlaps.gram @ x)

    @property
    def _weights(self) -> Float[Array, "population 1 1"]:
        return self.reduction.weights.astype(self.reduction.dtype)[:, None, None]

    def blocks(self, x: Weights) -> dict[str, Float[Array, "..."]]:
        return _split(x, self.reduction.roles)

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return _joined(blocks, self.reduction.roles)

    def gram(self, x: Weights) -> Float[Array, "k k"]:
        return jnp.einsum("pai,paj->ij", x, self.metric(x))

    def transform(self, x: Weights) -> Float[Array, "population k k"]:
        return x

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        reduction = self.reduction
        row = column_rates(reduction.roles, values, reduction.frozen, reduction.dtype)
        return None if row is None else row[None]


class DenseCoordinates(AbstractCoordinates):
    """Weight matrices of a dense network, each with one row a neuron: X = (W, W_in, W_outᵀ, b)."""

    network: DenseRNN

    @property
    def start(self) -> Weights:
        net = self.network
        start = {"w": net.w, "w_in": net.w_in, "w_out": net.w_out.T}
        return start if net.b is None else {**start, "b": net.b[:, None]}

    def model(self, x: Weights) -> AbstractRNN:
        new = {"w_out": x["w_out"].T} | ({"b": x["b"][:, 0]} if "b" in x else {})
        values = [new.get(name, x[name]) for name in self.network.weights]
        return eqx.tree_at(
            lambda net: [getattr(net, name) for name in net.weights], self.network, values
        )

    def gradient(self, loss: Loss, x: Weights) -> tuple[Float[Array, ""], Weights]:
        return jax.value_and_grad(lambda weights: loss(self.model(weights)))(x)

    def metric(self, x: Weights) -> Weights:
        return x

    def blocks(self, x: Weights) -> dict[str, Float[Array, "..."]]:
        return x

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return blocks

    def gram(self, x: Weights) -> Float[Array, "k k"]:
        return jnp.zeros((0, 0), self.network.dtype)

    def transform(self, x: Weights) -> None:
        return None

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        names = self.network.weights
        if unknown := set(values) - set(names):
            raise ValueError(f"`rates` of a dense network are for {names}; got {sorted(unknown)}.")
        if not values and not self.network.frozen:
            return None
        out = {name: values.get(name, 1.0) for name in names}
        out.update(dict.fromkeys(self.network.frozen, 0.0))
        return {name: jnp.full((1, 1), rate, self.network.dtype) for name, rate in out.items()}


def coordinates(model: AbstractRNN) -> AbstractCoordinates:
    """The coordinates that learning uses for this kind of model.

    Errors: TypeError for a kind that is not known.
    """
    if isinstance(model, ReducedRNN):
        return GramCoordinates(model)
    if isinstance(model, LowRankRNN):
        return VectorCoordinates(model)
    if isinstance(model, MixtureRNN):
        return MixtureCoordinates(model)
    if isinstance(model, DenseRNN):
        return DenseCoordinates(model)
    raise TypeError(
        f"learn takes a LowRankRNN, a DenseRNN, a ReducedRNN or a MixtureRNN; got "
        f"{type(model).__name__}."
    )


def column_rates(
    roles: Roles, values: Mapping[str, Any], frozen: tuple[str, ...], dtype: Any
) -> Float[Array, "1 k"] | None:
    """D as a row: multipliers by family or column (default 1), zero where frozen; None for D = 1.

    Errors: UnknownOverlap for a wrong name; ValueError for a negative multiplier.
    """
    if not values and not frozen and not roles.means:
        return None
    rates = roles.per_column(values)
    for name, rate in values.items():
        if not is_traced(rate) and not (np.isfinite(rate) and rate >= 0):
            raise ValueError(f"The rate of `{name}` must be finite and not negative; got {rate}.")
    columns = [0.0 if f else r for f, r in zip(roles.frozen_columns(frozen), rates)]
    return jnp.stack([jnp.asarray(c, dtype) for c in columns])[None, :]


def _split(x: Float[Array, "*axes k"], roles: Roles) -> dict[str, Float[Array, "..."]]:
    return {f: x[..., s] for f, s in roles.slices.items() if f != "o"}


def _joined(blocks: dict[str, Float[Array, "..."]], roles: Roles) -> Float[Array, "*axes k"]:
    parts = list(blocks.values())
    ones = [jnp.zeros_like(parts[0][..., :1])] if roles.means else []
    return jnp.concatenate(parts + ones, axis=-1)
