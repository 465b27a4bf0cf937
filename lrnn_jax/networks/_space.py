"""What learning moves: the one place where networks and reductions differ for learning.

Every update rule moves matrices X whose rows are abstract and whose columns are loading vectors.
A metric M gives the overlaps, Q = XᵀMX, and the gradient of a loss L(Q) in that metric is XΓ with
Γ = ∂L/∂Q + (∂L/∂Q)ᵀ:

    low rank     X = Θ (N×k)    M = 1/s     gradient s ∂L/∂Θ, by autodiff through the simulation
    reduction    X = T (k×k)    M = Q_0     gradient T Γ, with Θ_t = Θ_0 T_t and T_0 = 1
    mixture      X = (T_p)      M = π_p Q_p likewise in each population, gradient T_p Γ_p/π_p
    any other    X = arrays     M = 1       gradient ∂L/∂X
    read-out bias beside any of the first three, X = (…, c), with M = 1 and gradient ∂L/∂c

A rule that only uses linear combinations of X and gradients, with coefficients that depend on
scalar products in the metric, does the same in all of them.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from lrnn_jax._checks import component, number
from lrnn_jax._files import path_name
from lrnn_jax._readable import of_part
from lrnn_jax.networks._base import AbstractOverlapRNN, AbstractRNN, as_network
from lrnn_jax.networks._feedback import Feedback
from lrnn_jax.overlaps import Roles

Weights = PyTree[Float[Array, "..."]]
Loss = Callable[[AbstractRNN], Float[Array, ""]]


class AbstractSpace(eqx.Module):
    """The weights of a network as matrices that update rules can move.

    >>> space = networks.weight_space(net)
    >>> isinstance(space, networks.AbstractSpace), space.start.shape
    (True, (40, 4))
    """

    network: eqx.AbstractVar[AbstractRNN]
    realisable: eqx.AbstractVar[Bool[Array, ""] | bool]
    """Whether there are weights to start from: Q_0 of a reduction may be of no vectors."""
    fixed: ClassVar[Any] = Feedback()
    """What the learning rule holds fixed beside X."""
    crowd: ClassVar[Any] = None
    """The many neurons for which noise is drawn, where X has a few rows that stand for them."""
    uneven: ClassVar[Any] = False
    """Whether rows stand for different numbers of neurons, as nodes of a population do."""
    lifted: ClassVar[Any] = None
    """X → the network of many neurons, where the space knows it."""
    coefficients: eqx.AbstractClassVar[bool]
    """Whether X stand for the weights of more neurons, such as T of Θ = Θ_0 T: only rules that
    commute with linear maps of the neurons are exact in it."""

    @property
    @abstractmethod
    def start(self) -> Weights:
        """X at epoch 0."""

    @property
    @abstractmethod
    def roles(self) -> Roles | None:
        """What the columns of Q are; None where there are no loading vectors."""

    @property
    @abstractmethod
    def neurons(self) -> "AbstractSpace":
        """The space of a network of neurons that moves as this one does: mostly itself."""

    @abstractmethod
    def point(self, weights: Weights) -> Any:
        """What the loss of weights X is a function of: X, or Q."""

    @abstractmethod
    def model_at(self, point: Any) -> AbstractRNN:
        """The model at such a point."""

    @abstractmethod
    def direction(self, weights: Weights, slope: Any) -> Weights:
        """The gradient XΓ in the metric, from the slope of the loss at the point of X."""

    def model(self, weights: Weights) -> AbstractRNN:
        """The model with weights X."""
        return self.model_at(self.point(weights))

    def gradient(
        self, loss: Loss, weights: Weights, at: Any = None
    ) -> tuple[Float[Array, ""], Weights]:
        """The loss and its gradient XΓ in the metric; `at` is the point of X, where it is known."""
        at = self.point(weights) if at is None else at
        value, slope = jax.value_and_grad(lambda point: loss(self.model_at(point)))(at)
        return value, self.direction(weights, slope)

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
        """D broadcast against X, from multipliers by name; None for D = 1."""

    @abstractmethod
    def transform(self, weights: Weights) -> Float[Array, "..."] | None:
        """T with Θ = Θ_0 T; None where it is not known."""

    def allowed(self, weights: Weights) -> Weights:
        """X, or the nearest to it that masks and signs of the network allow; turned, of a crowd."""
        if self.crowd is not None:
            return self.crowd.turned(weights)
        constrain = self.network.constrain
        return weights if constrain is None else weight_space(constrain(self.model(weights))).start

    def norm(self, weights: Weights) -> Float[Array, ""]:
        """√tr(XᵀMX): for a gradient, √s ‖∂L/∂Θ‖_F, which does not depend on N."""
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), weights, self.metric(weights))
        square = jax.tree.reduce(jnp.add, products)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


class AbstractOwnSpace(AbstractSpace):
    """A space whose weights X are those of its network's own neurons."""

    def point(self, weights: Weights) -> Weights:
        return weights

    @property
    def neurons(self) -> AbstractSpace:
        return self

    def transform(self, weights: Weights) -> None:
        return None


class LeafSpace(AbstractOwnSpace):
    """The arrays of any network, by name, in the metric 1.

    All floating-point arrays of the network learn, but for `dt`, those of its activation and those
    that `frozen` names. Names are paths: "w", or "cell.w", of which "cell" is the beginning.

    >>> sorted(networks.LeafSpace(dense).start)
    ['w', 'w_in', 'w_out']
    """

    network: AbstractRNN
    fixed: Feedback
    coefficients, realisable = False, True
    roles = of_part("network", "roles")

    def __init__(self, network: AbstractRNN, fixed: Feedback = Feedback()):
        component(fixed, Feedback, "fixed", "Feedback(f, c, g), arrays of fixed vectors")
        self.network, self.fixed = as_network(network), fixed
        arrays = _arrays(network)
        for name in network.frozen:
            if not _among(arrays, name):
                raise ValueError(f"`frozen` names weights among {list(arrays)}; got {name!r}.")
        if not self.start:
            raise ValueError(f"Nothing can learn in this {type(network).__name__}.")

    @property
    def start(self) -> Weights:
        return {
            name: array
            for name, array in _arrays(self.network).items()
            if not any(_within(name, beginning) for beginning in self.network.frozen)
        }

    def model_at(self, point: Weights) -> AbstractRNN:
        leaves, tree = jax.tree_util.tree_flatten_with_path(self.network)
        return tree.unflatten([point.get(path_name(path), leaf) for path, leaf in leaves])

    def direction(self, weights: Weights, slope: Weights) -> Weights:
        return slope

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
        values, start, dtype = check_rates(values), self.start, self.network.dtype
        for name in values:
            if not _among(start, name):
                raise ValueError(f"`rates` are for weights among {list(start)}; got {name!r}.")
        if not values:
            return None
        out: dict[str, Any] = dict.fromkeys(start, 1.0)
        for beginning in sorted(values, key=len):  # the longer name is about less, and goes first
            out |= {name: values[beginning] for name in start if _within(name, beginning)}
        return {name: jnp.full([1] * array.ndim, out[name], dtype) for name, array in start.items()}


class Beside(NamedTuple):
    """What learns beside each other.

    Fields: vectors, X of loading vectors; c, bias of the read-out.
    """

    vectors: Any
    c: Any


_of_vectors = partial(of_part, "vectors")


class ReadoutSpace(AbstractSpace):
    """Loading vectors and a bias c of the read-out: each in its own metric, 1 for c.

    >>> biased = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, c=np.zeros(1), dt=0.1)
    >>> type(networks.weight_space(biased)).__name__
    'ReadoutSpace'
    """

    vectors: AbstractSpace

    network, realisable = _of_vectors("network"), _of_vectors("realisable")
    coefficients, roles = _of_vectors("coefficients"), _of_vectors("roles")
    fixed, uneven = _of_vectors("fixed"), _of_vectors("uneven")

    def __init__(self, vectors: AbstractSpace):
        self.vectors = vectors

    @property
    def start(self) -> Weights:
        return Beside(self.vectors.start, self.network.c)

    def point(self, weights: Weights) -> Any:
        return Beside(self.vectors.point(weights.vectors), weights.c)

    def model_at(self, point: Any) -> AbstractRNN:
        return eqx.tree_at(lambda net: net.c, self.vectors.model_at(point.vectors), point.c)

    def direction(self, weights: Weights, slope: Any) -> Weights:
        return Beside(self.vectors.direction(weights.vectors, slope.vectors), slope.c)

    @property
    def neurons(self) -> "ReadoutSpace":
        return ReadoutSpace(self.vectors.neurons)

    def metric(self, weights: Weights) -> Weights:
        return Beside(self.vectors.metric(weights.vectors), weights.c)

    def blocks(self, weights: Weights) -> dict[str, Float[Array, "..."]]:
        return {**self.vectors.blocks(weights.vectors), "c": weights.c[:, None]}

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return Beside(self.vectors.join(blocks), blocks["c"][:, 0])

    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        return self.vectors.gram(weights.vectors)

    def transform(self, weights: Weights) -> Float[Array, "..."] | None:
        return self.vectors.transform(weights.vectors)

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        rate = check_rates(values).get("c", jnp.ones(()))
        vectors = self.vectors.rates({name: d for name, d in values.items() if name != "c"})
        frozen, dtype = "c" in self.network.frozen, self.network.dtype
        c = jnp.zeros((), dtype) if frozen else jnp.asarray(rate, dtype)
        return Beside(jnp.ones((), dtype) if vectors is None else vectors, c)


def with_readout(space: AbstractSpace) -> AbstractSpace:
    """What moves in a network with loading vectors: these, and a read-out bias if it has one.

    >>> space = networks.VectorSpace(net)
    >>> networks.with_readout(space) is space  # no bias
    True
    """
    return space if space.network.c is None else ReadoutSpace(space)


def weight_space(model: AbstractRNN, fixed: Feedback = Feedback()) -> AbstractSpace:
    """What learning moves in a model: what its class names, or else its arrays.

    Arguments: the model, and what a learning rule holds fixed beside.

    >>> sorted(networks.weight_space(dense).start)
    ['w', 'w_in', 'w_out']
    >>> type(networks.weight_space(net)).__name__
    'VectorSpace'
    """
    component(fixed, Feedback, "fixed", "Feedback(f, c, g), arrays of fixed vectors")
    make = as_network(model, "model").space or LeafSpace
    return make(model) if all(x is None for x in fixed) else make(model, fixed)


def check_rates(values: Mapping[str, Any]) -> dict[str, Array]:
    """The multipliers as numbers of at least 0.

    >>> networks.check_rates({"m": 0.5})["m"].item()
    0.5
    >>> networks.check_rates({"m": -1.0})
    Traceback (most recent call last):
        ...
    ValueError: `rates['m']` must lie in [0, inf); got -1.0.
    """
    component(values, Mapping, "rates", '{"m": 0.0}, a number by name')
    for name in values:
        component(name, str, "rates", '{"m": 0.0}, by names')
    return {name: number(rate, f"rates[{name!r}]", 0) for name, rate in values.items()}


def column_rates(
    network: AbstractOverlapRNN, values: Mapping[str, Any]
) -> Float[Array, "1 k"] | None:
    """D as a row: multipliers by family or column, zero where frozen; None for D = 1.

    >>> print(networks.column_rates(net, {"m": 0.5}))
    [[1.  1.  0.5 1. ]]
    """
    roles, frozen = network.roles, network.frozen_vectors
    if not values and not frozen and not roles.means:
        return None
    rates = roles.per_column(check_rates(values))
    columns = [0.0 if f else r for f, r in zip(roles.frozen_columns(frozen), rates)]
    return jnp.stack([jnp.asarray(c, network.dtype) for c in columns])[None, :]


def _arrays(network: AbstractRNN) -> dict[str, Array]:
    """All floating-point arrays of a network but dt and those of its activation."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(network, eqx.is_inexact_array))
    named = {path_name(path): leaf for path, leaf in leaves}
    own = ("dt", "activation", "readout_activation")
    return {n: leaf for n, leaf in named.items() if not any(_within(n, field) for field in own)}


def _within(name: str, beginning: str) -> bool:
    return name == beginning or name.startswith((f"{beginning}.", f"{beginning}["))


def _among(names: Iterable[str], beginning: str) -> bool:
    return any(_within(name, beginning) for name in names)
