"""How good the Gaussian closure is on a task: measured against a network, or from the closure."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._descent import AbstractUpdate, rate_at
from lrnn_jax.learning._learn import Progress, learn
from lrnn_jax.networks import AbstractRNN, LowRankRNN, gaussianity, share_outside_span
from lrnn_jax.reduced import ReducedRNN, reduce
from lrnn_jax.tasks import AbstractTask, Trials

GOOD, STRAINED = 0.01, 0.1
"""Relative errors of the overlaps up to which a closure counts as good, as strained."""


class ClosureReport(eqx.Module):
    """A network (or population) and its closure, trained on the same data, and how they part.

    Arguments:
        truth, closure: their learning curves.
        kurtosis: excess kurtosis of each vector over epochs, shape (record, vector).
        joint: norm of the joint fourth cumulant over epochs, shape (record,); see `Gaussianity`.
        chance: its value for a Gaussian sample of this many neurons.
        share: of the activity outside the span of the vectors, shape (record,).
        meter: what the closure alone says about its error, shape (record,); see `closure_strain`.

    Source: ours.
    """

    truth: LearningCurve
    closure: LearningCurve
    kurtosis: Float[Array, "record vector"]
    joint: Float[Array, " record"]
    chance: Float[Array, ""]
    share: Float[Array, " record"]
    meter: Float[Array, " record"]

    @property
    def overlaps(self) -> Float[Array, "record overlap"]:
        """|ΔQ| of each overlap over epochs, ordered as `closure.overlaps.names`."""
        return jnp.abs(self.truth.overlaps.vector() - self.closure.overlaps.vector())

    @property
    def loss(self) -> Float[Array, " record"]:
        """|ΔL| over epochs."""
        return jnp.abs(self.truth.loss - self.closure.loss)

    @property
    def error(self) -> Float[Array, ""]:
        """Largest |ΔQ| over epochs and overlaps, relative to the largest overlap."""
        return jnp.max(self.overlaps) / jnp.max(jnp.abs(self.truth.gram))

    @property
    def verdict(self) -> str:
        """One line: good (error up to 1 %), strained (10 %) or broken, with the numbers."""
        error, gap = float(self.error), self.overlaps
        word = "good" if error <= GOOD else "strained" if error <= STRAINED else "broken"
        worst = self.closure.overlaps.names[int(jnp.argmax(jnp.max(gap, axis=0)))]
        return (
            f"closure {word}: overlaps off by up to {error:.2%} of the largest ({worst} by "
            f"{float(jnp.max(gap)):.3g}), loss by {float(jnp.max(self.loss)):.2g}; at the end "
            f"excess kurtosis {float(self.kurtosis[-1].min()):.2f} … "
            f"{float(self.kurtosis[-1].max()):.2f}, joint fourth cumulant "
            f"{float(self.joint[-1]):.2f} (chance {float(self.chance):.2f}), "
            f"{float(self.share[-1]):.2%} of the activity outside the span of the vectors"
        )


def diagnose_closure(
    network: LowRankRNN,
    task: AbstractTask,
    method: AbstractUpdate,
    *,
    epochs: int,
    key: PRNGKeyArray,
    batches: Any = None,
    record: int = 1,
    progress: Progress | None = None,
) -> ClosureReport:
    """Train a network and its closure on the same data, and compare them over learning.

    Arguments:
        network: nonlinear, finite or a `population`. With a population the error is the closure's
            own; a finite network adds its fluctuations, of order 1/√N.
        task: what they learn, with trials (`batch` given).
        method: the update rule, the same for both; with a learning rate `lr`, which the meter takes
            for the size of its steps (no momentum).
        epochs, batches, record: as in `learn`.
        key: draws the data of every epoch, and the trials on which activity is looked at.
        progress: as in `learn`, for the network.

    Returns: a `ClosureReport`, with `verdict`.

    Errors: those of `reduce` and `learn`; ValueError for a method without `lr`.

    Source: ours.
    """
    lr = getattr(method, "lr", None)
    if lr is None:
        raise ValueError(
            f"The meter takes a method with a learning rate `lr`, e.g. Descent; got {method}."
        )
    probe = task.trials(
        task.sample(jax.random.fold_in(key, 2**32 - 1)) if task.stochastic else None
    )
    options: Any = {"epochs": epochs, "key": key, "batches": batches, "record": record}
    truth = learn(
        network, task, method, watch=_Loadings(probe.inputs), progress=progress, **options
    )
    closure = learn(reduce(network), task, method, watch=_Strain(probe), **options)
    seen, strain = truth.watched, closure.watched
    rates = jax.vmap(lambda epoch: rate_at(lr, epoch))(closure.epochs)
    span = jnp.diff(closure.epochs).astype(strain.dtype)
    pace = rates.astype(strain.dtype) * strain
    meter = jnp.cumsum(span * (pace[1:] + pace[:-1]) / 2)
    return ClosureReport(
        truth=truth,
        closure=closure,
        kurtosis=seen["kurtosis"],
        joint=seen["joint"],
        chance=seen["chance"][0],
        share=seen["share"],
        meter=jnp.concatenate([jnp.zeros_like(meter[:1]), meter]),
    )


def closure_strain(closure: ReducedRNN, trials: Trials) -> Float[Array, ""]:
    """How fast learning pulls the read-out out of the closure's reach, from the closure alone.

        Σ_{trials, t} |∂L/∂y_t| √ρ_t,      ρ = Var φ(h) − g²Δ

    Each update moves Z by −η Σ_t (∂L/∂y_t) φ(h_t). The part of φ(h) outside the span of the
    loadings has variance ρ, so this bounds the length (in units of √s) of Z's step out of the span
    per η; summed over epochs it is the meter of `ClosureReport`.

    Arguments:
        closure: a nonlinear reduction.
        trials: on which it is measured; L = Σ mask ‖y − y*‖² / Σ mask.

    Source: ours.
    """
    states = closure.states(trials.inputs)
    mean, variance = closure.activity(states)
    phi = closure.activation
    gain, average = phi.gain(mean, variance), phi.average(mean, variance)
    outside = phi.power(mean, variance) - average**2 - gain**2 * variance
    error = closure.readout(states) - trials.target.astype(closure.dtype)
    mask = trials.mask.astype(closure.dtype)
    slope = 2 * mask * jnp.sqrt(jnp.sum(error**2, axis=-1)) / jnp.sum(mask)
    return jnp.sum(slope * jnp.sqrt(jnp.maximum(outside, 0)))


class ClosureGap(eqx.Module):
    """Watches, for `learn(watch=ClosureGap(inputs))`, what the closure misses in a network.

    Keeps "gap", the error of the closure's output at the network's own overlaps, ‖y − y_c‖/‖y‖ over
    all trials and steps, and the `Gaussianity` of the loadings: "kurtosis", "joint", "chance".
    Meaningful for every optimiser, also where no reduction can follow.

    Arguments:
        inputs: on which outputs are compared, shape (trial, time, inputs).

    Source: ours.
    """

    inputs: Float[Array, "trial time inputs"]

    def __call__(self, network: AbstractRNN) -> dict[str, Array]:
        assert isinstance(network, LowRankRNN)
        y = network.rollout(self.inputs)
        off = jnp.linalg.norm(jnp.ravel(y - reduce(network).rollout(self.inputs)))
        return _cumulants(network) | {"gap": off / jnp.linalg.norm(jnp.ravel(y))}


class _Loadings(eqx.Module):
    """Watches the loadings and the activity of a network."""

    inputs: Float[Array, "trial time inputs"]

    def __call__(self, network: AbstractRNN) -> dict[str, Array]:
        assert isinstance(network, LowRankRNN)
        share = share_outside_span(network, network.states(self.inputs))
        return _cumulants(network) | {"share": share}


def _cumulants(network: LowRankRNN) -> dict[str, Array]:
    found = gaussianity(network)
    return {"kurtosis": found.kurtosis, "joint": found.joint, "chance": found.chance}


class _Strain(eqx.Module):
    """Watches the strain of a closure."""

    trials: Trials

    def __call__(self, closure: AbstractRNN) -> Array:
        assert isinstance(closure, ReducedRNN)
        return closure_strain(closure, self.trials)
