"""Several populations of neurons, each with its own Gaussian law: one Gram matrix each."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import (
    as_dt,
    as_readout_bias,
    component,
    names,
    one_key,
    real_array,
    shown,
    whole,
)
from lrnn_jax._types import State, is_traced
from lrnn_jax.networks import (
    READOUT,
    AbstractActivation,
    Identity,
    LowRankRNN,
    as_activation,
    read_out,
    vectors_with_overlaps,
)
from lrnn_jax.overlaps import Overlaps, one_set
from lrnn_jax.reduced._base import AbstractReduction
from lrnn_jax.reduced._closure import Read, check_closure, gaussian_read


class MixtureRNN(AbstractReduction):
    """The reduction of a network whose loadings follow a Gaussian mixture.

    Population p holds a share π_p of the neurons, with Gram matrix Q_p = Θ_pᵀΘ_p/(π_p s). Latents
    are common to all, h = M κ_m + U κ_u, and the populations add up:

        (1/s) Σ_i θ_i φ(h_i) = Σ_p π_p ⟨θ φ(h)⟩_p

    with the closure of `ReducedRNN` in each. Linear φ: exact. Learning moves each population by its
    Γ_p = ∂L/∂Q_p + (∂L/∂Q_p)ᵀ, Θ_p' = Θ_p (1 − ηΓ_pD/π_p), in the same `learn`; its curve holds the
    total Q = Σ_p π_p Q_p, and one transform a population.

    Arguments:
        populations: overlaps of each population, all with the same roles (means by
            `Overlaps.with_means`): a list of them, or `Overlaps` with a leading axis.
        weights: π, positive, Σ π = 1, shape (population,).
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ; without means linear or odd.
        readout: `Identity()` to read out h in place of φ(h); None: φ(h).
        c: bias of the read-out, shape (outputs,); None: none.
        frozen: what does not learn: families ("m"), single columns ("u2"), or "c".

    Errors: ValueError for no populations, other numbers of them and of weights, different roles,
    weights that are not positive or do not sum to 1, dt outside (0, 1], or nonlinear φ without the
    means it needs; UnknownOverlap for a wrong name in `frozen`.

    Source: ours; populations: Dubreuil et al. 2022, Beiran et al. 2021.

    >>> mixture = lrnn.MixtureRNN([net.overlaps, bent.overlaps], np.array([0.5, 0.5]), dt=0.1)
    >>> mixture.rollout(jnp.ones((50, 1))).shape
    (50, 1)
    """

    populations: Overlaps
    weights: Float[Array, " population"]
    c: Float[Array, " outputs"] | None
    dt: Float[Array, ""]
    activation: AbstractActivation
    readout_activation: AbstractActivation = eqx.field(metadata=READOUT)
    frozen: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        populations: Sequence[Overlaps] | Overlaps,
        weights: ArrayLike,
        *,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        c: ArrayLike | None = None,
        frozen: tuple[str, ...] = (),
    ):
        weights, laws = real_array(weights, "weights", 0, open_start=True), _stacked(populations)
        if weights.shape != laws.gram.shape[:1]:
            raise ValueError(
                f"`weights` of a mixture are one for each of its populations, shape "
                f"({len(laws.gram)},); got {shown(weights)}."
            )
        if not is_traced(weights) and abs(float(np.sum(weights)) - 1) > 1e-5:
            raise ValueError(f"`weights` of a mixture sum to 1; got {weights}.")
        self.populations = laws
        self.c = as_readout_bias(c, laws.roles.outputs)
        self.weights = weights
        self.dt = as_dt(dt)
        self.activation = as_activation(activation)
        self.readout_activation = read_out(self.activation, readout)
        self.frozen = names(frozen, "frozen")
        check_closure(laws.roles, activation)
        laws.roles.frozen_columns(self.frozen_vectors)

    @property
    def laws(self) -> Overlaps:
        return self.populations

    @property
    def shares(self) -> Float[Array, "population 1 1"]:
        return self.weights.astype(self.dtype)[:, None, None]

    @property
    def overlaps(self) -> Overlaps:
        return Overlaps(jnp.sum(self.shares * self.populations.gram, axis=0), self.roles)

    def with_gram(self, gram: Float[Array, "population k k"]) -> "MixtureRNN":
        return eqx.tree_at(lambda rnn: rnn.populations.gram, self, gram)

    def check_reducible(self) -> None:
        if not self.linear:
            raise ValueError(
                "The closure of a nonlinear mixture has a Gram matrix for each population: with "
                "one for all it would be another network."
            )

    def moved_to(self, overlaps: Overlaps) -> "MixtureRNN":
        raise ValueError(
            "A mixture has overlaps in each population, which their sum does not determine: change "
            "its `populations`."
        )

    def read(self, state: State, start: int, stop: int, activation: AbstractActivation) -> Read:
        def each(gram: Float[Array, "k k"]) -> Read:
            return gaussian_read(Overlaps(gram, self.roles), activation, state, start, stop)

        parts = jax.vmap(each)(self.populations.gram)
        return jnp.tensordot(self.weights.astype(self.dtype), parts, axes=1)

    def network(self, n: int, *, key: PRNGKeyArray) -> LowRankRNN:
        """A network of N neurons, π_p N of them (to a whole number) in each population.

        Each population has its Q_p to rounding, so that Q is the mixture's where all π_p N are
        whole numbers. Its neurons stand one population after another.

        Errors: ValueError when a population gets fewer neurons than rank(Q_p).
        """
        n, key = whole(n, "n"), one_key(key)
        bounds = np.round(n * np.cumsum(np.asarray(self.weights))).astype(int)
        sizes = np.diff(bounds, prepend=0)
        options = {"dt": self.dt, "activation": self.activation, "frozen": self.frozen}
        options |= {"readout": self.readout_activation, "c": self.c}
        parts = [
            vectors_with_overlaps(Overlaps(gram, self.roles), int(size), int(size), key=k)
            for gram, size, k in zip(self.populations.gram, sizes, jr.split(key, len(sizes)))
        ]
        theta = jnp.concatenate([part[:, : self.roles.right] for part in parts])
        return LowRankRNN.from_stack(theta, self.roles, n, **options)


def _stacked(populations: Sequence[Overlaps] | Overlaps) -> Overlaps:
    """Overlaps of all populations along a leading axis.

    Errors: ValueError for none, for different roles, and for overlaps of another shape.
    """
    if isinstance(populations, Overlaps):
        if populations.gram.ndim != 3:
            raise ValueError(
                f"`populations` are Overlaps with one leading axis, or a list of them; got a Gram "
                f"matrix of shape {populations.gram.shape}."
            )
        populations = [Overlaps(gram, populations.roles) for gram in populations.gram]
    if not component(populations, Sequence, "populations", "a list of Overlaps"):
        raise ValueError("`populations` is empty: give the overlaps of at least one.")
    roles = one_set(populations[0], "populations[0]").roles
    if any(one_set(other, "populations").roles != roles for other in populations):
        raise ValueError(
            "`populations` of a mixture have the same columns; got "
            + "; ".join(str(other) for other in populations)
        )
    return Overlaps(jnp.stack([other.gram for other in populations]), roles)
