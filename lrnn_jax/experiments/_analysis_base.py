"""What all analyses of a user's own network share: their config, and what is said of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from lrnn_jax._results import RESULTS
from lrnn_jax.experiments._base import AbstractResults, claim
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.learning import LearningCurve, outcome
from lrnn_jax.networks import AbstractRNN, Factorisation, LowRankRNN
from lrnn_jax.overlaps import gram_rank
from lrnn_jax.tasks import AbstractFilter, ExponentialFilter, OscillatingFilter

SHARE = 0.05
"""Of the norm of W: what may be discarded before an analysis stops and asks."""


@dataclass(frozen=True)
class AnalysisConfig(AbstractConfig):
    """The task and learning whose course is predicted for a network.

    >>> experiments.AnalysisConfig(task="oscillating").frequency
    2.0
    """

    task: Literal["exponential", "oscillating"] = "exponential"
    """Target filter on every pair of channels: a* exp(−c* τ), or a* exp(−c* τ) cos(ω* τ). Nonlinear
    networks imitate it on white noise."""
    rate: float = within(0.2, 0, 1e3)
    """c*, decay rate of the target [1 / membrane time constant]."""
    frequency: float = 2.0
    """ω*, angular frequency of the oscillating target [radians / membrane time constant]."""
    amplitude: float = 1.0
    """a*, amplitude of the target."""
    steps: int = within(400, 2, 1e6)
    """T, steps of the impulse response, or of a trial."""
    lr: float = within(0, 0, 1e3)
    """η, learning rate (the network's own is s η); 0: 5e-3, and 2e-4 on white noise, whose loss is
    a sum over the trial."""
    epochs: int = within(0, 0, 1e8)
    """Parameter updates; 0: 2000 of a linear network, 100 of a nonlinear one."""
    batch: int = within(10, 1, 1e6)
    """Trials per epoch, of a nonlinear network."""
    nodes: int = within(256, 8, 1e6)
    """Nodes of the population that stands for infinitely many neurons, of a nonlinear network."""
    seed: int = 0
    """Random seed of trials and nodes."""

    def filter(self, network: AbstractRNN) -> AbstractFilter:
        """The target, with the network's channels and steps."""
        dt, steps = network.dt, self.steps
        amplitude = jnp.full((network.inputs, network.outputs), self.amplitude)
        if self.task == "exponential":
            return ExponentialFilter(self.rate, dt, steps, amplitude)
        return OscillatingFilter(self.rate, self.frequency, dt, steps, amplitude)


class AbstractAnalysis(AbstractResults):
    """What an analysis found, of a network that may have been made from a dense one."""

    config: AnalysisConfig
    factorisation: Factorisation | None
    neurons: int
    inputs: int
    outputs: int

    @claim(
        "the recurrent weights are low-rank: discarded part of the Frobenius norm",
        high=SHARE,
        shown=lambda r: str(r.factorisation),
    )
    def discarded(self) -> float | None:
        return None if self.factorisation is None else self.factorisation.discarded


class AbstractOverlapAnalysis(AbstractAnalysis):
    """What an analysis found in terms of overlaps."""

    rank: int
    gram_rank: int
    overlaps: dict[str, float]
    visible: tuple[str, ...]
    invisible: tuple[str, ...]
    epochs: int


def facts(network: LowRankRNN) -> dict[str, Any]:
    """What `AbstractOverlapAnalysis` says of a network without any trials."""
    overlaps, roles = network.overlaps, network.roles
    return {
        "neurons": network.state_size,
        "rank": roles.rank,
        "inputs": roles.inputs,
        "outputs": roles.outputs,
        "gram_rank": gram_rank(overlaps.gram),
        "overlaps": {n: float(x) for n, x in zip(overlaps.names, overlaps.vector())},
    }


def last_loss(curve: LearningCurve) -> float:
    """The last that was finite, infinite where none was."""
    finite = curve.loss[jnp.isfinite(curve.loss)]
    return float(finite[-1]) if finite.size else np.inf


def ending(curve: LearningCurve) -> str:
    """How a run ended, and what to do about it."""
    if curve.result == RESULTS.successful:
        return "successful"
    if not jnp.isfinite(curve.loss[0]):
        return "the loss is infinite before any step: the activity grows (see the eigenvalues)"
    return f"{outcome(curve.result)} at epoch {int(curve.stopped)} (try a smaller --lr)"


def some(words: Sequence[str], most: int = 15) -> str:
    """Words, the first of them where there are many."""
    more = f", … ({len(words)} in all)" if len(words) > most else ""
    return ", ".join(words[:most]) + more
