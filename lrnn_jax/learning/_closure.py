"""How good the Gaussian closure is on a task: measured against a network, or from the closure."""

from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import component, one_key
from lrnn_jax.learning._curve import LearningCurve
from lrnn_jax.learning._learn import Options, learn
from lrnn_jax.learning._method import AbstractUpdate
from lrnn_jax.learning._problem import Progress
from lrnn_jax.networks import Gaussianity, LowRankRNN, gaussianity, share_outside_span
from lrnn_jax.reduced import ReducedRNN, reduce, variance_beyond
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
        meter: what the closure alone says about its error, shape (record,): the largest
            `share_beyond_closure` so far.

    Source: ours.

    >>> report = lrnn.diagnose_closure(bent, flips, descent, epochs=3, key=key)
    >>> report.verdict.split(":")[0]
    'closure good'
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
        """Largest relative difference of Q over epochs; see `relative_gap`."""
        return relative_gap(self.closure, self.truth)

    @property
    def verdict(self) -> str:
        """One line: good (error up to 1 %), strained (10 %) or broken, with the numbers."""
        error, gap = float(self.error), self.overlaps
        word = "good" if error <= GOOD else "strained" if error <= STRAINED else "broken"
        worst = self.closure.overlaps.names[int(jnp.argmax(jnp.max(gap, axis=0)))]
        return (
            f"closure {word}: overlaps off by up to {error:.2%} ({worst} by "
            f"{float(jnp.max(gap)):.3g}), loss by {float(jnp.max(self.loss)):.2g}; at the end "
            f"excess kurtosis {float(self.kurtosis[-1].min()):.2f} … "
            f"{float(self.kurtosis[-1].max()):.2f}, joint fourth cumulant "
            f"{float(self.joint[-1]):.2f} (chance {float(self.chance):.2f}), "
            f"{float(self.share[-1]):.2%} of the activity outside the span of the vectors"
        )


def relative_gap(curve: LearningCurve, truth: LearningCurve) -> Float[Array, ""]:
    """max over epochs of ‖Q − Q_truth‖/‖Q_truth‖, in the Frobenius norm.

    >>> truth = lrnn.learn(net, task, descent, epochs=20)
    >>> bool(learning.relative_gap(curve, truth) < 1e-12)
    True
    """
    gap, size = (jnp.linalg.norm(q, axis=(1, 2)) for q in (curve.gram - truth.gram, truth.gram))
    return jnp.max(gap / size)


def diagnose_closure(
    network: LowRankRNN,
    task: AbstractTask,
    method: AbstractUpdate,
    *,
    epochs: int,
    key: PRNGKeyArray,
    batches: Any = None,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> ClosureReport:
    """Train a network and its closure on the same data, and compare them over learning.

    Arguments:
        network: nonlinear, finite or a `population`. With a population the error is the closure's
            own; a finite network adds its fluctuations, of order 1/√N.
        task: what they learn, with trials (`batch` given).
        method: the update rule, the same for both.
        epochs, batches: as in `learn`.
        key: draws the data of every epoch, and the trials on which activity is looked at.
        progress: as in `learn`, for the network.
        options: of `learn`: record and throw; simulate and devices, for the network.

    Returns: a `ClosureReport`, with `verdict`.

    Errors: those of `reduce` and `learn`.

    Source: ours.

    >>> report = lrnn.diagnose_closure(bent, flips, descent, epochs=3, key=key)
    >>> bool(report.truth.distance(report.closure).max > 0)
    True
    """
    component(network, LowRankRNN, "network", "LowRankRNN(…), or population(…)")
    component(task, AbstractTask, "task", "FlipFlop(…), with trials")
    probe = task.trials(
        task.sample(jax.random.fold_in(one_key(key), 2**32 - 1)) if task.stochastic else None
    )
    shared: Any = {"epochs": epochs, "key": key, "batches": batches}
    kept: Any = {name: x for name, x in options.items() if name in ("record", "throw")}
    options["watch"] = eqx.Partial(_loadings, inputs=probe.inputs)
    truth = learn(network, task, method, progress=progress, **shared, **options)
    beyond = eqx.Partial(share_beyond_closure, trials=probe)
    closure = learn(reduce(network), task, method, watch=beyond, **shared, **kept)
    seen, share = truth.watched
    return ClosureReport(
        truth=truth,
        closure=closure,
        kurtosis=seen.kurtosis,
        joint=seen.joint,
        chance=seen.chance[0],
        share=share,
        meter=jax.lax.cummax(closure.watched),
    )


def _loadings(
    network: LowRankRNN, inputs: Float[Array, "trial time inputs"]
) -> tuple[Gaussianity, Float[Array, ""]]:
    """How Gaussian the loadings are, and the share of the activity outside their span."""
    return gaussianity(network), share_outside_span(network, network.states(inputs))


def share_beyond_closure(closure: ReducedRNN, trials: Trials) -> Float[Array, ""]:
    """Share of the scored activity that no closure follows, from the closure alone.

        Σ mask ρ / Σ mask Var φ(h),      ρ = Var φ(h) − g²Δ

    Learning moves Z by φ(h): the part of it outside the span of the loadings, of variance ρ, makes
    them non-Gaussian. How well the largest value so far foresees the closure's error is measured
    over many runs in the tests.

    Arguments:
        closure: a nonlinear reduction.
        trials: on which it is measured.

    Source: ours.

    >>> share = learning.share_beyond_closure(lrnn.reduce(bent), trials)
    >>> bool(0 < share < 1)
    True
    """
    mean, variance = closure.activity(closure.states(trials.inputs))
    mask = trials.mask.astype(closure.dtype)
    total, outside = (
        jnp.sum(mask * part) for part in variance_beyond(closure.activation, mean, variance)
    )
    return jnp.where(total > 0, outside / jnp.where(total > 0, total, 1.0), 0.0)


class ClosureGap(eqx.Module):
    """Watches, for `learn(watch=ClosureGap(inputs))`, what the closure misses in a network.

    Keeps "gap", the error of the closure's output at the network's own overlaps, ‖y − y_c‖/‖y‖ over
    all trials and steps, and the `Gaussianity` of the loadings: "kurtosis", "joint", "chance".
    Meaningful for every optimiser, also where no reduction can follow.

    Arguments:
        inputs: on which outputs are compared, shape (trial, time, inputs).

    Source: ours.

    >>> watch = learning.ClosureGap(trials.inputs)
    >>> learned = lrnn.learn(bent, flips, descent, epochs=3, key=key, watch=watch)
    >>> sorted(learned.watched)
    ['chance', 'gap', 'joint', 'kurtosis']
    """

    inputs: Float[Array, "trial time inputs"]

    def __call__(self, network: LowRankRNN) -> dict[str, Array]:
        y, seen = network.rollout(self.inputs), gaussianity(network)
        off = jnp.linalg.norm(jnp.ravel(y - reduce(network).rollout(self.inputs)))
        gap = off / jnp.linalg.norm(jnp.ravel(y))
        return {"gap": gap, "kurtosis": seen.kurtosis, "joint": seen.joint, "chance": seen.chance}
