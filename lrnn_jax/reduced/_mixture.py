"""Several populations of neurons, each with its own Gaussian law: one Gram matrix each."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_dt, as_float
from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractActivation, Identity, LowRankRNN
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.reduced._reduced import AbstractReduction, check_closure, gaussian_read


class MixtureRNN(AbstractReduction):
    """The reduction of a network whose loadings follow a Gaussian mixture.

    Population p holds a share π_p of the neurons, with Gram matrix Q_p = Θ_pᵀΘ_p/(π_p s). Latents
    are common to all, h = M κ_m + U κ_u, and the populations add up:

        (1/s) Σ_i θ_i φ(h_i) = Σ_p π_p ⟨θ φ(h)⟩_p

    with the closure of `ReducedRNN` in each. Linear φ: exact. Learning moves each population by its
    Γ_p = ∂L/∂Q_p + (∂L/∂Q_p)ᵀ, Θ_p' = Θ_p (1 − ηΓ_pD/π_p), in the same `learn`; its curve holds the
    total Q = Σ_p π_p Q_p, and one transform a population.

    Arguments:
        overlaps: of each population, all with the same roles; means by `Overlaps.with_means`.
        weights: π, positive, Σ π = 1, shape (population,).
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ; without means linear or odd.
        frozen: vectors that do not learn: families ("m") or single columns ("u2").

    Errors: ValueError for no populations, other numbers of them and of weights, different roles,
    weights that are not positive or do not sum to 1, dt outside (0, 1], or nonlinear φ without the
    means it needs; UnknownOverlap for a wrong name in `frozen`.

    Source: ours; populations: Dubreuil et al. 2022, Beiran et al. 2021.
    """

    overlaps: Overlaps
    weights: Float[Array, " population"]
    dt: Float[Array, ""]
    activation: AbstractActivation
    frozen: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        overlaps: Sequence[Overlaps],
        weights: ArrayLike,
        *,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        frozen: tuple[str, ...] = (),
    ):
        weights = as_float(weights)
        if not len(overlaps) or weights.shape != (len(overlaps),):
            raise ValueError(
                f"A mixture takes overlaps and one weight for each population; got "
                f"{len(overlaps)} and weights of shape {weights.shape}."
            )
        roles = overlaps[0].roles
        if any(other.roles != roles or other.gram.ndim != 2 for other in overlaps):
            raise ValueError(
                "All populations of a mixture have the same columns: "
                + "; ".join(str(other) for other in overlaps)
            )
        if not is_traced(weights) and not (
            (np.asarray(weights) > 0).all() and abs(float(jnp.sum(weights)) - 1) < 1e-5
        ):
            raise ValueError(f"The weights of a mixture are positive and sum to 1; got {weights}.")
        check_closure(roles, activation)
        roles.frozen_columns(frozen)
        self.overlaps = Overlaps(jnp.stack([other.gram for other in overlaps]), roles)
        self.weights = weights
        self.dt = as_dt(dt)
        self.activation = activation
        self.frozen = tuple(frozen)

    @property
    def total(self) -> Overlaps:
        """Q = Σ_p π_p Q_p, the overlaps of all neurons together."""
        weights = self.weights.astype(self.dtype)
        return Overlaps(jnp.einsum("p,pij->ij", weights, self.overlaps.gram), self.roles)

    def read(
        self, state: Float[Array, "*batch d"], start: int, stop: int
    ) -> Float[Array, "*batch read"]:
        def each(gram: Float[Array, "k k"]) -> Float[Array, "*batch read"]:
            return gaussian_read(Overlaps(gram, self.roles), self.activation, state, start, stop)

        parts = jax.vmap(each)(self.overlaps.gram)
        return jnp.tensordot(self.weights.astype(self.dtype), parts, axes=1)

    def network(self, n: int, *, key: PRNGKeyArray) -> LowRankRNN:
        """A network of N neurons, π_p N of them (to a whole number) in each population.

        Each population has its Q_p to rounding, so that Q is the mixture's where all π_p N are
        whole numbers. Its neurons stand one population after another.

        Errors: ValueError when a population gets fewer neurons than rank(Q_p).
        """
        bounds = np.round(n * np.cumsum(np.asarray(self.weights))).astype(int)
        sizes = np.diff(bounds, prepend=0)
        options = {"dt": self.dt, "activation": self.activation, "frozen": self.frozen}
        parts = [
            LowRankRNN.with_overlaps(Overlaps(gram, self.roles), int(size), key=k, **options)
            for gram, size, k in zip(self.overlaps.gram, sizes, jr.split(key, len(sizes)))
        ]
        theta = jnp.concatenate([part.vectors[:, : self.roles.right] for part in parts])
        return LowRankRNN.from_stack(theta, self.roles, n, **options)
