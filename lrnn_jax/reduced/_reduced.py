"""The reduced network: a handful of latents whose coefficients are overlaps."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._types import as_float, check_dt
from lrnn_jax.networks import AbstractActivation, AbstractRNN, Identity, scan_states
from lrnn_jax.overlaps import Overlaps, Roles
from lrnn_jax.reduced._closure import closure_readout, closure_states


class LinearSystem(NamedTuple):
    """κ' = A κ + B x, y = C κ': a linear network as a linear time-invariant system.

    Fields: a, shape (d, d); b, shape (d, d_in); c, shape (d_out, d), with d = d_in + r latents.
    """

    a: Float[Array, "d d"]
    b: Float[Array, "d inputs"]
    c: Float[Array, "outputs d"]


class ReducedRNN(AbstractRNN):
    """A low-rank network seen through its overlaps: h = M κ_m + U κ_u.

        κ_m' = κ_m + dt (−κ_m + x),   κ_u' = κ_u + dt (−κ_u + g S_v κ),   y = g' S_z κ'

    with κ = (κ_m, κ_u) and S = [S_z; S_v]. Linear φ: g = 1, exact. Odd nonlinear φ: the Gaussian
    closure g = G(Δ) = ⟨φ'(√Δ ξ)⟩, Δ = κᵀRκ, with R the Gram matrix of [M U] (g' from κ'); exact for
    infinitely many neurons with jointly Gaussian loadings, which learning does not keep Gaussian:
    compare with `population`.

    Arguments:
        overlaps: Q and roles; for nonlinear φ in the scaling s = N.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ; linear or odd.
        frozen: vectors that do not learn: families ("m") or single columns ("u2").

    Errors: ValueError for dt outside (0, 1] or φ that is not odd; UnknownOverlap for a wrong name
    in `frozen`.

    Source: [LR] eq. 5.
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
        if not activation.odd:
            raise ValueError(
                f"The Gaussian closure takes an odd activation, φ(−h) = −φ(h), but "
                f"{type(activation).__name__} is not. Use `population` for the infinite width."
            )
        check_dt(dt)
        overlaps.roles.frozen_columns(frozen)
        self.overlaps = overlaps
        self.dt = as_float(dt)
        self.activation = activation
        self.frozen = tuple(frozen)

    @property
    def roles(self) -> Roles:
        """What each column of the Gram matrix is."""
        return self.overlaps.roles

    @property
    def inputs(self) -> int:
        return self.roles.inputs

    @property
    def outputs(self) -> int:
        return self.roles.outputs

    @property
    def state_size(self) -> int:
        return self.roles.inputs + self.roles.rank

    @property
    def dtype(self) -> jnp.dtype:
        return self.overlaps.gram.dtype

    def with_gram(self, gram: Float[Array, "k k"]) -> "ReducedRNN":
        """The same network with another Gram matrix, not checked for being realisable."""
        return eqx.tree_at(lambda rnn: rnn.overlaps.gram, self, gram)

    def system(self) -> LinearSystem:
        """The latents' linear dynamics.

        Errors: ValueError for nonlinear φ.
        """
        if not self.activation.linear:
            raise ValueError("Only a linear network is a linear system.")
        dt, s = self.dt.astype(self.dtype), self.overlaps.S
        inputs, rank = self.roles.inputs, self.roles.rank
        s_z, s_v = s[: self.roles.outputs], s[self.roles.outputs :]
        eye = jnp.eye(inputs + rank, dtype=self.dtype)
        into_u = jnp.concatenate([jnp.zeros((inputs, inputs + rank), self.dtype), s_v])
        return LinearSystem(a=(1 - dt) * eye + dt * into_u, b=dt * eye[:, :inputs], c=s_z)

    def step(
        self, state: Float[Array, "*batch d"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch d"]:
        dt = self.dt.astype(self.dtype)
        s_v = self.overlaps.S[self.roles.outputs :]
        drive = jnp.concatenate([x, self._gain(state) * (state @ s_v.T)], axis=-1)
        return state + dt * (drive - state)

    def _states(
        self,
        inputs: Float[Array, "time *batch inputs"],
        state: Float[Array, "*batch d"],
        noise: Float[Array, "time *batch d"] | None,
    ) -> Float[Array, "time *batch d"]:
        if self.activation.linear:
            return scan_states(self, inputs, state, noise)
        return closure_states(self, inputs, state, noise)

    def readout(self, state: Float[Array, "*batch d"]) -> Float[Array, "*batch outputs"]:
        if not self.activation.linear:
            return closure_readout(self, state)
        return state @ self.overlaps.S[: self.roles.outputs].T

    def variance(self, state: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """Δ = κᵀRκ ≥ 0, the variance of the activity over neurons."""
        return jnp.maximum(jnp.sum((state @ self.overlaps.R) * state, axis=-1), 0)

    def _gain(self, state: Float[Array, "*batch d"]) -> Float[Array, "*batch _"]:
        """g, with a last axis of length 1."""
        if self.activation.linear:
            return jnp.ones((*state.shape[:-1], 1), state.dtype)
        variance = self.variance(state)
        return self.activation.gain(jnp.zeros_like(variance), variance)[..., None]
