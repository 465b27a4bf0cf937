"""The reduced network: a handful of latents whose coefficients are overlaps."""

from abc import abstractmethod
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_dt
from lrnn_jax.networks import AbstractActivation, AbstractRNN, Identity, scan_states
from lrnn_jax.overlaps import Overlaps, Roles
from lrnn_jax.reduced._closure import closure_read, closure_states

Same = TypeVar("Same", bound=AbstractRNN)


class LinearSystem(NamedTuple):
    """κ' = A κ + B x, y = C κ': a linear network as a linear time-invariant system.

    Fields: a, shape (d, d); b, shape (d, d_in); c, shape (d_out, d), with d = d_in + r latents.
    """

    a: Float[Array, "d d"]
    b: Float[Array, "d inputs"]
    c: Float[Array, "outputs d"]


class AbstractReduction(AbstractRNN):
    """What all networks of a few latents share: overlaps with roles, and κ for a state.

    κ = (κ_m, κ_u[, κ_b]) moves by κ' = κ + dt (−κ + (x, ⟨v φ⟩[, 1])), and y = ⟨z φ⟩; a reduction
    says what the averages ⟨θ φ⟩ over neurons are.
    """

    overlaps: eqx.AbstractVar[Overlaps]
    frozen: eqx.AbstractVar[tuple[str, ...]]

    @abstractmethod
    def read(
        self, state: Float[Array, "*batch d"], start: int, stop: int
    ) -> Float[Array, "*batch read"]:
        """(1/s) Σ_i θ_i φ(h_i) for the columns θ = start … stop − 1 of [Z V]."""

    @property
    def roles(self) -> Roles:
        """What each column of a Gram matrix is."""
        return self.overlaps.roles

    @property
    def inputs(self) -> int:
        return self.roles.inputs

    @property
    def outputs(self) -> int:
        return self.roles.outputs

    @property
    def state_size(self) -> int:
        return self.roles.right - self.roles.left

    @property
    def biased(self) -> bool:
        return self.roles.bias

    @property
    def dtype(self) -> jnp.dtype:
        return self.overlaps.gram.dtype

    def with_gram(self: Same, gram: Float[Array, "*population k k"]) -> Same:
        """The same network with other Gram matrices, not checked for being realisable."""
        return eqx.tree_at(lambda rnn: rnn.overlaps.gram, self, gram)

    def step(
        self, state: Float[Array, "*batch d"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch d"]:
        drive = [x, self.read(state, self.roles.outputs, self.roles.left)]
        if self.biased:
            drive.append(jnp.ones_like(x[..., :1]))
        return state + self.dt.astype(self.dtype) * (jnp.concatenate(drive, axis=-1) - state)

    def readout(self, state: Float[Array, "*batch d"]) -> Float[Array, "*batch outputs"]:
        return self.read(state, 0, self.roles.outputs)


class ReducedRNN(AbstractReduction):
    """A low-rank network seen through its overlaps: h = M κ_m + U κ_u.

        κ_m' = κ_m + dt (−κ_m + x),   κ_u' = κ_u + dt (−κ_u + g S_v κ),   y = g' S_z κ'

    with κ = (κ_m, κ_u) and S = [S_z; S_v]. Linear φ: g = 1, exact. Odd nonlinear φ: the Gaussian
    closure g = G(Δ) = ⟨φ'(√Δ ξ)⟩, Δ = κᵀRκ, with R the Gram matrix of [M U] (g' from κ'); exact for
    infinitely many neurons with jointly Gaussian loadings, which learning does not keep Gaussian:
    compare with `population`. With means (a column of ones in Q), for any φ,

        (1/N) Σ_i θ_i φ(h_i) = g (S_θ κ − μ_θ μ_h) + μ_θ ⟨φ⟩,   μ_h = μ_right κ,   Δ = κᵀRκ − μ_h²

    for θ = z, v, with g and ⟨φ⟩ the averages of φ' and φ over N(μ_h, Δ). Biases are one latent
    more, κ_b' = κ_b + dt (1 − κ_b).

    Arguments:
        overlaps: Q and roles; for nonlinear φ in the scaling s = N.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ; without means linear or odd.
        frozen: vectors that do not learn: families ("m") or single columns ("u2").

    Errors: ValueError for dt outside (0, 1], or nonlinear φ without the means it needs;
    UnknownOverlap for a wrong name in `frozen`.

    Source: [LR] eq. 5; means and biases: ours.
    """

    overlaps: Overlaps
    dt: Float[Array, ""]
    activation: AbstractActivation
    frozen: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        overlaps: Overlaps,
        *,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        frozen: tuple[str, ...] = (),
    ):
        check_closure(overlaps.roles, activation)
        overlaps.roles.frozen_columns(frozen)
        self.overlaps = overlaps
        self.dt = as_dt(dt)
        self.activation = activation
        self.frozen = tuple(frozen)

    def system(self) -> LinearSystem:
        """The latents' linear dynamics.

        Errors: ValueError for nonlinear φ, or with biases.
        """
        if not self.is_linear_system:
            raise ValueError("Only a linear network without biases is a linear system.")
        dt, s = self.dt.astype(self.dtype), self.overlaps.S
        inputs, rank = self.roles.inputs, self.roles.rank
        s_z, s_v = s[: self.roles.outputs], s[self.roles.outputs :]
        eye = jnp.eye(inputs + rank, dtype=self.dtype)
        into_u = jnp.concatenate([jnp.zeros((inputs, inputs + rank), self.dtype), s_v])
        return LinearSystem(a=(1 - dt) * eye + dt * into_u, b=dt * eye[:, :inputs], c=s_z)

    def read(
        self, state: Float[Array, "*batch d"], start: int, stop: int
    ) -> Float[Array, "*batch read"]:
        return gaussian_read(self.overlaps, self.activation, state, start, stop)

    def _states(
        self,
        inputs: Float[Array, "time *batch inputs"],
        state: Float[Array, "*batch d"],
        noise: Float[Array, "time *batch d"] | None,
    ) -> Float[Array, "time *batch d"]:
        if self.activation.linear or self.roles.means:
            return scan_states(self, inputs, state, noise)
        dt = self.dt.astype(self.dtype)
        return closure_states(self.overlaps, self.activation, dt, inputs, state, noise)

    def activity(
        self, state: Float[Array, "*batch d"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Mean μ_h and variance Δ ≥ 0 of the activity over neurons."""
        return activity(self.overlaps, state)


def activity(
    overlaps: Overlaps, state: Float[Array, "*batch d"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """μ_h = μ_right κ (zero without means) and Δ = κᵀRκ − μ_h² ≥ 0, over neurons."""
    square = jnp.sum((state @ overlaps.R) * state, axis=-1)
    if not overlaps.roles.means:
        return jnp.zeros_like(square), jnp.maximum(square, 0)
    mean = state @ overlaps.mean[overlaps.roles.left : overlaps.roles.right]
    return mean, jnp.maximum(square - mean**2, 0)


def gaussian_read(
    overlaps: Overlaps,
    activation: AbstractActivation,
    state: Float[Array, "*batch d"],
    start: int,
    stop: int,
) -> Float[Array, "*batch read"]:
    """(1/N) Σ_i θ_i φ(h_i) in the closure, for the columns θ = start … stop − 1 of [Z V]."""
    linear = state @ overlaps.S[start:stop].T
    if activation.linear:
        return linear
    if not overlaps.roles.means:
        return closure_read(overlaps, activation, state, start, stop)
    mean, variance = activity(overlaps, state)
    gain = activation.gain(mean, variance)[..., None]
    offset = activation.average(mean, variance)[..., None] - gain * mean[..., None]
    return gain * linear + offset @ overlaps.mean[None, start:stop]


def check_closure(roles: Roles, activation: AbstractActivation) -> None:
    """Raise ValueError unless the roles have the means that φ needs."""
    if activation.linear or roles.means:
        return
    needs = "biases" if roles.bias else f"{type(activation).__name__}, which is not odd,"
    if roles.bias or not activation.odd:
        raise ValueError(
            f"The Gaussian closure with {needs} needs the means of the vectors: add the column of "
            f"ones with overlaps.with_means(z=…, v=…, …), or reduce a network, which has it."
        )
