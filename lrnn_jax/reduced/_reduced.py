"""The reduced network: a handful of latents whose coefficients are overlaps."""

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_dt, as_readout_bias, names
from lrnn_jax._types import Numbers, State
from lrnn_jax.networks import (
    READOUT,
    AbstractActivation,
    Identity,
    Simulation,
    as_activation,
    read_after,
    read_out,
)
from lrnn_jax.overlaps import Overlaps, one_set
from lrnn_jax.reduced._base import AbstractReduction, power_of_latents
from lrnn_jax.reduced._closure import Read, activity, check_closure, closure_states, gaussian_read


class ReducedRNN(AbstractReduction):
    """A low-rank network seen through its overlaps: h = M κ_m + U κ_u.

        κ_m' = κ_m + dt (−κ_m + x),   κ_u' = κ_u + dt (−κ_u + g S_v κ),   y = g' S_z κ'

    with κ = (κ_m, κ_u) and S = [S_z; S_v]. Linear φ: g = 1, exact. Odd nonlinear φ: the Gaussian
    closure g = G(Δ) = ⟨φ'(√Δ ξ)⟩, Δ = κᵀRκ, with R the Gram matrix of [M U] (g' from κ'); exact for
    infinitely many neurons with jointly Gaussian loadings, which learning does not keep Gaussian:
    compare with `population`. With means (a column of ones in Q), for any φ,

        (1/N) Σ_i θ_i φ(h_i) = g (S_θ κ − μ_θ μ_h) + μ_θ ⟨φ⟩,   μ_h = μ_right κ,   Δ = κᵀRκ − μ_h²

    for θ = z, v, with g and ⟨φ⟩ the averages of φ' and φ over N(μ_h, Δ). Biases are one latent
    more, κ_b' = κ_b + dt (1 − κ_b), an initial state another, κ_h' = κ_h − dt κ_h from κ_h = 1.

    Arguments:
        overlaps: Q and roles; for nonlinear φ in the scaling s = N.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ; without means linear or odd.
        readout: `Identity()` to read out h in place of φ(h); None: φ(h).
        c: bias of the read-out, shape (outputs,); None: none.
        frozen: what does not learn: families ("m"), single columns ("u2"), or "c".

    Errors: ValueError for a batch of overlaps, dt outside (0, 1], or nonlinear φ without the means
    it needs; UnknownOverlap for a wrong name in `frozen`.

    Source: [LR] eq. 5; means and biases: ours.

    >>> q = lrnn.Overlaps.from_gram(np.eye(4))
    >>> lrnn.ReducedRNN(q, dt=0.1, activation=lrnn.Tanh()).rollout(jnp.ones((50, 1))).shape
    (50, 1)
    """

    overlaps: Overlaps
    c: Float[Array, " outputs"] | None
    dt: Float[Array, ""]
    activation: AbstractActivation
    readout_activation: AbstractActivation = eqx.field(metadata=READOUT)
    frozen: tuple[str, ...] = eqx.field(static=True)
    simulation = Simulation(closure_states, read_after, power=power_of_latents)

    def __init__(
        self,
        overlaps: Overlaps,
        *,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        c: ArrayLike | None = None,
        frozen: tuple[str, ...] = (),
    ):
        self.overlaps = one_set(overlaps)
        self.c = as_readout_bias(c, self.outputs)
        self.dt = as_dt(dt)
        self.activation = as_activation(activation)
        self.readout_activation = read_out(self.activation, readout)
        self.frozen = names(frozen, "frozen")
        check_closure(self.roles, activation)
        self.roles.frozen_columns(self.frozen_vectors)

    @property
    def laws(self) -> Overlaps:
        return self.overlaps

    @property
    def shares(self) -> float:
        return 1.0

    def with_gram(self, gram: Float[Array, "k k"]) -> "ReducedRNN":
        return eqx.tree_at(lambda rnn: rnn.overlaps.gram, self, gram)

    def check_reducible(self) -> None:
        """It is a reduction."""

    def moved_to(self, overlaps: Overlaps) -> "ReducedRNN":
        return self.with_gram(overlaps.gram)

    def read(self, state: State, start: int, stop: int, activation: AbstractActivation) -> Read:
        return gaussian_read(self.overlaps, activation, state, start, stop)

    def activity(self, state: State) -> tuple[Numbers, Numbers]:
        """Mean μ_h and variance Δ ≥ 0 of the activity over neurons."""
        return activity(self.overlaps, state)
