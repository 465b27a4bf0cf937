"""Rules that try out noise, and take the loss alone."""

from dataclasses import KW_ONLY
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, number, one_key, optional, whole, whole_or_none
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Feedback, Weights, weight_space
from lrnn_jax.reduced import AbstractReduction, ReducedRNN, as_crowd
from lrnn_jax.rules._base import AbstractRule, EpochLoss
from lrnn_jax.rules._offline import pulled, simulate
from lrnn_jax.tasks import AbstractObjective, AbstractTask

sigma_of = partial(number, name="sigma", low=0, open_start=True)
neurons_of = partial(whole_or_none, name="neurons", none_means="networks")
scale_of = partial(optional, name="scale", low=0, open_start=True)


def _normal(key: PRNGKeyArray, like: Any) -> Any:
    """ξ ~ N(0, 1) in the shape of a tree of arrays."""
    leaves, tree = jax.tree.flatten(like)
    keys = jr.split(key, len(leaves))
    return tree.unflatten([jr.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves)])


class AbstractPerturbation(AbstractRule):
    """A rule by which each neuron gets noise σ ξ of its own, with ξ by `key` and epoch."""

    sigma: Float[Array, ""] = eqx.field(converter=sigma_of)
    _: KW_ONLY
    key: PRNGKeyArray = eqx.field(converter=one_key)
    neurons: int | None = eqx.field(converter=neurons_of, static=True, default=None)
    scale: Float[Array, ""] | None = eqx.field(converter=scale_of, default=None)
    no_flow = "its steps are random: Gradient() is what they are on average, for small sigma"

    def feedback_of(self, network: AbstractRNN) -> Feedback:
        return Feedback()

    def init(self, space: AbstractSpace) -> None:
        return None

    def space(self, model: AbstractRNN) -> AbstractSpace:
        """What moves in a network, or in rows that stand for one.

        Errors: ValueError for a reduction of unknown N, and where neurons stand for more of them.
        """
        if isinstance(model, AbstractReduction):
            if self.neurons is None:
                raise ValueError(
                    f"{type(self).__name__} gives each neuron noise of its own, whose size in "
                    f"overlaps depends on N: say of how many `neurons` this is the reduction."
                )
            return as_crowd(model, self.neurons, self.scale)
        space = weight_space(model)
        if space.coefficients:
            raise ValueError(
                f"{type(self).__name__} gives each neuron noise of its own, and the neurons of "
                f"this network stand for more of them: let the network with its bulk learn."
            )
        return space


class WeightPerturbation(AbstractPerturbation):
    """All weights get noise; they go along it by as much as it made the loss fall.

        G = (L(Θ + σξ) − L(Θ))/σ · sξ,      ξ ~ N(0, 1), drawn afresh in each epoch

    On average the gradient of ⟨L(Θ + σξ)⟩; each step also adds η²N tr(ΓQΓ) to the squared norm of
    every vector, so η has to stay far below 1/N. It takes nothing but losses: plants and loops too.
    Frozen weights get no noise.

    Overlaps are then a Markov chain. A linear reduction with `neurons` given is a draw of it, exact
    in law at any N and σ (not of the network's own noise), for methods without momentum:

        X = RᵀG/√s,  Y = (GᵀG + HᵀH)/s,  Q' = Q − ηsδ (X + Xᵀ) + (ηsδ)² Y,
        δ = (L(Q + σ(X + Xᵀ) + σ²Y) − L(Q))/σ

    with Q = RᵀR, G standard normal and HᵀH ~ Wishart(N − k).

    Arguments:
        sigma: σ > 0.
        key: draws ξ of epoch e by `fold_in(key, e)`; another one than that of `learn`.
        neurons: N of the network that a reduction stands for, at least 2k; networks know theirs.
        scale: its s; default N.

    Errors: ValueError for σ ≤ 0; when learning starts, for a reduction without `neurons`, one that
    is not linear, or has a read-out bias, and for methods with momentum on a reduction.

    Source: Cauwenberghs 1993; the norms: ours.

    >>> rule = lrnn.WeightPerturbation(1e-3, key=jr.key(1), neurons=40)
    >>> learned = lrnn.learn(reduction, task, lrnn.Descent(1e-3, rule=rule), epochs=20)
    >>> learned.loss.shape
    (21,)
    """

    def check(self, objective: AbstractObjective) -> None:
        """Any will do."""

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        key = jr.fold_in(self.key, loss.epoch)
        if space.crowd is None:
            noise = _normal(key, weights)
        else:
            noise = space.crowd.noise(weights.shape[1], weights.shape[1], key, weights.dtype)
        if (rates := space.rates({})) is not None:
            noise = jax.tree.map(lambda a, d: jnp.where(d > 0, a, 0), noise, rates)
        tried = jax.tree.map(lambda a, b: a + self.sigma.astype(a.dtype) * b, weights, noise)
        value = loss(space.model(weights))
        gain = (loss(space.model(tried)) - value) / self.sigma.astype(value.dtype)
        return value, space.direction(weights, jax.tree.map(lambda a: gain * a, noise)), None


class NodePerturbation(AbstractPerturbation):
    """All neurons get noise in all steps; weights learn by noise times what was presynaptic.

        h_{t+1} = step(h_t, x_t) + σζ_t,      a_{t+1} = (L(σζ) − L(0))/σ · ζ_t,      ζ ~ N(0, 1)

    in the place of backpropagated signals: ΔW ∝ Σ_t a_{t+1} φ(h_t)ᵀ. The read-out learns by the
    gradient of the noisy run.

    Overlaps are then a Markov chain. A linear reduction with `neurons` given is a draw of it, exact
    in law at any N and σ (not of the network's own noise), for methods without momentum: a network
    of k neurons and one more for each step and trial carries noise of N neurons, [R 0] beside [G
    H], as in `WeightPerturbation`. It pays for few steps and trials: more than N of them cost what
    the network does.

    Arguments:
        sigma: σ > 0, per step.
        key: draws ζ of epoch e by `fold_in(key, e)`; another one than that of `learn`, whose trials
            would be drawn by the same numbers.
        neurons: N of the network that a reduction stands for, at least 2k; networks know theirs.
        scale: its s; default N.

    Errors: ValueError for σ ≤ 0; when learning starts, for objectives that are no tasks (a loop has
    no error of outputs, by which the read-out could learn), for a reduction without `neurons`, one
    that is not linear, or has a read-out bias, and for methods with momentum on a reduction.

    Source: Williams 1992; Fiete & Seung 2006; on overlaps: ours.

    >>> rule = lrnn.NodePerturbation(0.01, key=jr.key(1), neurons=40)
    >>> slow = lrnn.Descent(1e-3, rule=rule)
    >>> [lrnn.learn(x, flips, slow, epochs=5, key=key).loss.shape for x in (net, reduction)]
    [(6,), (6,)]
    """

    of_losses = False

    def check(self, objective: AbstractObjective) -> None:
        if not isinstance(objective, AbstractTask):
            raise ValueError(
                f"NodePerturbation gives noise to the states of a task's trials; got a "
                f"{type(objective).__name__}: use WeightPerturbation(sigma), which takes the loss "
                f"alone."
            )

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        task: Any = loss.objective
        trials, steps, _ = jnp.shape(task.inputs(loss.batch))
        key, dtype = jr.fold_in(self.key, loss.epoch), space.network.dtype
        if space.crowd is None:
            shape = steps, trials, space.network.state_size
            return *self._pulled(space, loss, weights, jr.normal(key, shape, dtype)), None
        few: Any = space
        k = weights.shape[1]
        noise = few.crowd.noise(k, steps * trials, key, dtype)
        many = few.spread_out(weights, len(noise) - k)
        kicks = noise.T.reshape(steps, trials, -1)
        value, way = self._pulled(many, loss, many.start, kicks)
        return value, few.crowd.folded(way[:k], way[k:]), None

    def _pulled(
        self,
        space: AbstractSpace,
        loss: EpochLoss,
        weights: Weights,
        noise: Float[Array, "step trial neuron"],
    ) -> tuple[Float[Array, ""], Weights]:
        """The loss without noise, and the direction with it."""
        network = space.model(weights)
        value, quiet = simulate(network, loss)
        sigma = self.sigma.astype(network.dtype)
        noisy, run = simulate(network, loss, sigma * noise)
        signals = (jnp.zeros_like(quiet.after[0]), (noisy - value) / sigma * noise)
        return value, pulled(space, weights, run, signals)


class PerturbationMoments(NamedTuple):
    """Mean and covariance of Q after one step of weight perturbation.

    Fields: mean, E Q', shape (k, k); covariance, Cov(Q'_ab, Q'_cd), shape (k, k, k, k).

    >>> found = lrnn.rules.perturbation_moments(reduction, task, lr=1e-3, neurons=40)
    >>> found.mean.shape, found.covariance.shape
    ((4, 4), (4, 4, 4, 4))
    """

    mean: Float[Array, "k k"]
    covariance: Float[Array, "k k k k"]


def perturbation_moments(
    reduction: ReducedRNN,
    objective: AbstractObjective,
    *,
    lr: ArrayLike,
    neurons: int,
    batch: Any = None,
) -> PerturbationMoments:
    """The law of one step of `WeightPerturbation` for σ → 0, where s = N.

        E Q' = Q − η(ΓQ + QΓ) + η² [N tr(ΓQΓ) 1 + 2 ΓQΓ]
        Cov = η² [tr(ΓQΓ)(Q_ac δ_bd + Q_ad δ_bc + Q_bc δ_ad + Q_bd δ_ac)
                  + (ΓQ + QΓ)_ab (ΓQ + QΓ)_cd] + O(η³)

    Every squared norm grows by η²N tr(ΓQΓ) a step: learning needs η ≪ 1/N.

    Arguments:
        reduction: Q, in which everything learns.
        objective, batch: the loss, and the data of the epoch (None: deterministic).
        lr: η.
        neurons: N.

    Errors: ValueError where reduction and objective do not fit, for η < 0 or N < 1.

    Source: ours.

    >>> mean = rules.perturbation_moments(reduction, task, lr=1e-3, neurons=1000).mean
    >>> bool(jnp.trace(mean) > jnp.trace(net.overlaps.gram))  # noise makes vectors longer
    True
    """
    component(reduction, ReducedRNN, "reduction", "reduce(network)")
    component(objective, AbstractObjective, "objective", "ExponentialFilter(…)").check(reduction)
    eta, n = number(lr, "lr", 0).astype(reduction.dtype), whole(neurons, "neurons")
    q = reduction.overlaps.gram
    slope = jax.grad(lambda gram: objective.loss(reduction.with_gram(gram), batch))(q)
    gamma, one = slope + slope.T, jnp.eye(len(q), dtype=q.dtype)
    power, drift = gamma @ q @ gamma, gamma @ q + q @ gamma
    total = jnp.trace(power)
    pairs = jnp.einsum("ac,bd->abcd", q, one)
    pairs = pairs + jnp.swapaxes(pairs, 2, 3)
    pairs = pairs + jnp.swapaxes(pairs, 0, 1)
    covariance = eta**2 * (total * pairs + jnp.einsum("ab,cd->abcd", drift, drift))
    return PerturbationMoments(q - eta * drift + eta**2 * (n * total * one + 2 * power), covariance)
