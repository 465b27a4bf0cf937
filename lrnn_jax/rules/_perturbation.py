"""Rules that try out noise, and take the loss alone."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import number, one_key
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Feedback, Weights, weight_space
from lrnn_jax.reduced import AbstractReduction
from lrnn_jax.rules._base import AbstractMemoryless, AbstractRule, EpochLoss
from lrnn_jax.rules._offline import pulled, simulate
from lrnn_jax.tasks import AbstractObjective, AbstractTask

sigma_of = partial(number, name="sigma", low=0, open_start=True)


def _neurons(rule: AbstractRule, model: AbstractRNN) -> AbstractSpace:
    """What moves in a network.

    Errors: ValueError for a reduction, whose neurons are not there to get noise.
    """
    if isinstance(model, AbstractReduction):
        raise ValueError(
            f"{type(rule).__name__} gives each of N neurons noise of its own, so that overlaps are "
            f"random, with fluctuations that a reduction does not follow: let the network learn."
        )
    return weight_space(model)


def _normal(key: PRNGKeyArray, like: Any) -> Any:
    """ξ ~ N(0, 1) in the shape of a tree of arrays."""
    leaves, tree = jax.tree.flatten(like)
    keys = jr.split(key, len(leaves))
    return tree.unflatten([jr.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves)])


class WeightPerturbation(AbstractMemoryless):
    """All weights get noise; they go along it by as much as it made the loss fall.

        G = (L(Θ + σξ) − L(Θ))/σ · sξ,      ξ ~ N(0, 1), drawn afresh in each epoch

    On average the gradient of ⟨L(Θ + σξ)⟩; each step also adds η²N tr(ΓQΓ) to the squared norm of
    every vector, so η has to stay far below 1/N. It takes nothing but losses: plants and loops too.
    Frozen weights get no noise.

    Arguments:
        sigma: σ > 0.
        key: draws ξ of epoch e by `fold_in(key, e)`.

    Errors: ValueError for σ ≤ 0; when learning starts, for a reduction.

    Source: Cauwenberghs 1993; the norms: ours.
    """

    sigma: Float[Array, ""] = eqx.field(converter=sigma_of)
    key: PRNGKeyArray = eqx.field(converter=one_key, kw_only=True)
    no_flow = "its steps are random: Gradient() is what they are on average, for small sigma"

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return _neurons(self, model)

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        noise = _normal(jr.fold_in(self.key, loss.epoch), weights)
        if (rates := space.rates({})) is not None:
            noise = jax.tree.map(lambda a, d: jnp.where(d > 0, a, 0), noise, rates)
        tried = jax.tree.map(lambda a, b: a + self.sigma.astype(a.dtype) * b, weights, noise)
        value = loss(space.model(weights))
        gain = (loss(space.model(tried)) - value) / self.sigma.astype(value.dtype)
        return value, space.direction(weights, jax.tree.map(lambda a: gain * a, noise)), None


class NodePerturbation(AbstractRule):
    """All neurons get noise in all steps; weights learn by noise times what was presynaptic.

        h_{t+1} = step(h_t, x_t) + σζ_t,      a_{t+1} = (L(σζ) − L(0))/σ · ζ_t,      ζ ~ N(0, 1)

    in the place of backpropagated signals: ΔW ∝ Σ_t a_{t+1} φ(h_t)ᵀ. The read-out learns by the
    gradient of the noisy run.

    Arguments:
        sigma: σ > 0, per step.
        key: draws ζ of epoch e by `fold_in(key, e)`.

    Errors: ValueError for σ ≤ 0; when learning starts, for a reduction, and for objectives that are
    no tasks.

    Source: Williams 1992; Fiete & Seung 2006.
    """

    sigma: Float[Array, ""] = eqx.field(converter=sigma_of)
    key: PRNGKeyArray = eqx.field(converter=one_key, kw_only=True)
    of_losses = False
    no_flow = "its steps are random: Gradient() is what they are on average, for small sigma"

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return _neurons(self, model)

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return Feedback()

    def check(self, objective: AbstractObjective) -> None:
        if not isinstance(objective, AbstractTask):
            raise ValueError(
                f"NodePerturbation gives noise to the states of a task's trials; got a "
                f"{type(objective).__name__}: use WeightPerturbation(sigma), which takes the loss "
                f"alone."
            )

    def init(self, space: AbstractSpace) -> None:
        return None

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        network = space.model(weights)
        value, quiet = simulate(network, loss)
        noise = jr.normal(jr.fold_in(self.key, loss.epoch), quiet.after.shape, network.dtype)
        sigma = self.sigma.astype(network.dtype)
        noisy, run = simulate(network, loss, sigma * noise)
        signals = (jnp.zeros_like(quiet.after[0]), (noisy - value) / sigma * noise)
        return value, pulled(space, weights, run, signals), None
