"""What all reductions share: a few latents, and overlaps that learning moves."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lrnn_jax._readable import of_part
from lrnn_jax._types import Input, Numbers, Output, State, tiny_matmul
from lrnn_jax.networks import (
    AbstractActivation,
    AbstractOverlapRNN,
    AbstractSpace,
    Constant,
    Equilibria,
    Kappa,
    Simulation,
    Weights,
    column_rates,
    plus_bias,
    read_after,
    scan_states,
    with_readout,
)
from lrnn_jax.overlaps import Overlaps, is_realisable, range_projector
from lrnn_jax.reduced._closure import Read, gaussian_power

Same = TypeVar("Same", bound="AbstractReduction")


class LinearSystem(NamedTuple):
    """κ' = A κ + B x, y = C κ': a linear network as a linear time-invariant system.

    Fields: a, shape (d, d); b, shape (d, d_in); c, shape (d_out, d), with d = d_in + r latents.

    >>> system = reduced.linear_system(reduction)
    >>> system.a.shape, system.b.shape, system.c.shape
    ((2, 2), (2, 1), (1, 2))
    """

    a: Float[Array, "d d"]
    b: Float[Array, "d inputs"]
    c: Float[Array, "outputs d"]


class GramSpace(AbstractSpace):
    """Overlaps of a reduction: X = T, Q = TᵀQ_0T, M = Q_0; for a mixture, those of each population.

    A population's share π_p weighs it: M = π_p Q_p, gradient T_p Γ_p/π_p. Where Q_0 is singular, X
    starts as the projector P onto its range in place of 1: Θ_0 X is the same to rounding, and X
    stays bounded (its part outside the range means nothing, but could grow). T = 1 + X − P then.

    >>> reduced.GramSpace(reduction).start.shape
    (4, 4)
    """

    network: "AbstractReduction"
    projector: Weights
    coefficients = True
    roles = of_part("network", "roles")

    def __init__(self, reduction: "AbstractReduction"):
        self.network = reduction
        self.projector = range_projector(reduction.laws.gram)

    @property
    def start(self) -> Weights:
        return self.projector

    @property
    def realisable(self) -> Bool[Array, ""]:
        return jnp.all(is_realisable(jax.lax.stop_gradient(self.network.laws.gram)))

    def point(self, weights: Weights) -> Float[Array, "*population k k"]:
        return self.grams(weights)

    def model_at(self, point: Float[Array, "*population k k"]) -> "AbstractReduction":
        return self.network.with_gram(point)

    def grams(self, weights: Weights) -> Float[Array, "*population k k"]:
        """Q of each population."""
        image = tiny_matmul(self.network.laws.gram, weights)
        return tiny_matmul(jnp.swapaxes(weights, -1, -2), image)

    def generator(self, slope: Float[Array, "*population k k"]) -> Weights:
        """Γ = ∂L/∂Q + (∂L/∂Q)ᵀ of each population, over its share, from ∂L/∂Q."""
        return (slope + jnp.swapaxes(slope, -1, -2)) / self.network.shares

    def direction(self, weights: Weights, slope: Any) -> Weights:
        return tiny_matmul(weights, self.generator(slope))

    @property
    def neurons(self) -> "GramSpace":
        return self

    def transform(self, weights: Weights) -> Float[Array, "..."]:
        """T = 1 + X − P: what the projector P drops of Θ_0 stays as it is."""
        one = jnp.eye(weights.shape[-1], dtype=weights.dtype)
        return jnp.broadcast_to(one, weights.shape) + (weights - self.projector)

    def metric(self, weights: Weights) -> Weights:
        return self.network.shares * tiny_matmul(self.network.laws.gram, weights)

    def blocks(self, weights: Weights) -> dict[str, Float[Array, "..."]]:
        return self.network.roles.split(weights)

    def join(self, blocks: dict[str, Float[Array, "..."]]) -> Weights:
        return self.network.roles.join(blocks)

    def gram(self, weights: Weights) -> Float[Array, "k k"]:
        parts = self.network.shares * self.grams(weights)
        return parts if parts.ndim == 2 else jnp.sum(parts, axis=0)

    def rates(self, values: Mapping[str, Any]) -> Weights | None:
        row = column_rates(self.network, values)
        return row if row is None else row.reshape(*[1] * (self.projector.ndim - 2), 1, -1)


def coefficients_and_bias(reduction: "AbstractReduction") -> AbstractSpace:
    """What learns in a reduction."""
    return with_readout(GramSpace(reduction))


def state_of_latents(
    reduction: "AbstractReduction", kappa: Kappa, x: Constant
) -> Float[Array, " d"]:
    """(x, κ_u), then κ_b = 1 and κ_h = 0 where there are such."""
    return jnp.concatenate([x, kappa, reduction.fixed_drive(x)])


def drift_of_latents(reduction: "AbstractReduction", kappa: Kappa, x: Constant) -> Kappa:
    """⟨v φ⟩ − κ_u."""
    state = state_of_latents(reduction, kappa, x)
    roles = reduction.roles
    return reduction.read(state, roles.outputs, roles.left, reduction.activation) - kappa


def power_of_latents(reduction: "AbstractReduction", state: State) -> Numbers:
    """(1/s) Σ_i φ(h_i)², each population over its share."""
    laws, roles = reduction.laws.gram, reduction.roles

    def each(gram: Float[Array, "k k"]) -> Numbers:
        return gaussian_power(Overlaps(gram, roles), reduction.activation, state)

    parts = jax.vmap(each)(laws.reshape(-1, *laws.shape[-2:]))
    shares = jnp.ravel(jnp.asarray(reduction.shares, reduction.dtype))
    return jnp.tensordot(shares, parts, axes=1)


class AbstractReduction(AbstractOverlapRNN):
    """What all networks of a few latents share: overlaps with roles, and κ for a state.

    κ = (κ_m, κ_u[, κ_b][, κ_h]) moves by κ' = κ + dt (−κ + (x, ⟨v φ⟩[, 1][, 0])) from 0, but for
    κ_h(0) = 1 of an initial state, and y = ⟨z φ⟩, or ⟨z h⟩, plus c where the read-out has a bias; a
    reduction says what the averages ⟨θ φ⟩ over neurons are.

    >>> isinstance(reduction, reduced.AbstractReduction), reduction.state_size
    (True, 2)
    """

    mean_field = True
    roles = of_part("laws", "roles")
    inputs, outputs = of_part("roles", "inputs"), of_part("roles", "outputs")
    space = staticmethod(coefficients_and_bias)
    simulation = Simulation(scan_states, read_after, power=power_of_latents)
    equilibria = Equilibria(lambda reduced: reduced.roles.rank, state_of_latents, drift_of_latents)

    @property
    @abstractmethod
    def laws(self) -> Overlaps:
        """What determines the reduction: Q, or Q_p of each population, shape (population, k, k)."""

    @property
    @abstractmethod
    def shares(self) -> Float[Array, "population 1 1"] | float:
        """π_p of each population, to multiply Gram matrices with; 1 where there is one."""

    @abstractmethod
    def with_gram(self: Same, gram: Float[Array, "*population k k"]) -> Same:
        """The same with other Gram matrices, not checked for being realisable."""

    @abstractmethod
    def read(self, state: State, start: int, stop: int, activation: AbstractActivation) -> Read:
        """(1/s) Σ_i θ_i φ(h_i) for the columns θ = start … stop − 1 of [Z V]."""

    @property
    def state_size(self) -> int:
        return self.roles.right - self.roles.left

    @property
    def biased(self) -> bool:
        return self.roles.bias or self.roles.start

    @property
    def initial_state(self) -> Float[Array, " d"]:
        rest = jnp.zeros(self.state_size, self.dtype)
        return rest.at[-1].set(1) if self.roles.start else rest

    @property
    def dtype(self) -> jnp.dtype:
        return self.laws.gram.dtype

    def system(self) -> LinearSystem:
        """The latents' linear dynamics.

        Errors: ValueError for nonlinear φ, or with biases or an initial state.
        """
        if not self.is_linear_system:
            raise ValueError(
                "Only a linear network without biases or initial state is a linear system."
            )
        dt, s = self.dt.astype(self.dtype), self.overlaps.S
        inputs, rank = self.roles.inputs, self.roles.rank
        s_z, s_v = s[: self.roles.outputs], s[self.roles.outputs :]
        eye = jnp.eye(inputs + rank, dtype=self.dtype)
        into_u = jnp.concatenate([jnp.zeros((inputs, inputs + rank), self.dtype), s_v])
        return LinearSystem(a=(1 - dt) * eye + dt * into_u, b=dt * eye[:, :inputs], c=s_z)

    def step(self, state: State, x: Input) -> State:
        recurrent = self.read(state, self.roles.outputs, self.roles.left, self.activation)
        drive = jnp.concatenate([x, recurrent, self.fixed_drive(x)], axis=-1)
        return state + self.dt.astype(self.dtype) * (drive - state)

    def readout(self, state: State) -> Output:
        return plus_bias(self.read(state, 0, self.roles.outputs, self.readout_activation), self.c)

    def fixed_drive(self, x: Input) -> Float[Array, "*batch more"]:
        """What κ_b and κ_h are driven by, as far as there are such: 1 and 0."""
        drive = [1.0] * self.roles.bias + [0.0] * self.roles.start
        return jnp.broadcast_to(jnp.asarray(drive, x.dtype), (*x.shape[:-1], len(drive)))
