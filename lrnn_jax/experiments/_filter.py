"""`filter`: a 500-neuron network and its 4×4 theory learn the exponential filter alike."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import AbstractOverlapResults, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractFilterConfig, within
from lrnn_jax.experiments._panels import gap_panel, loss_panel, overlap_panels, responses
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import Figure, panels, plot_order, plot_response
from lrnn_jax.learning import Descent, Flow, LearningCurve, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.reduced import reduce
from lrnn_jax.rules import VisibleOnly
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class FilterConfig(AbstractFilterConfig):
    """Learning an exponential filter: full network, exact theory, flow. [LR] fig. 1, 5.

    >>> experiments.FilterConfig(n=100, epochs=500).n
    100
    """

    rate: float = within(0.2, 0, 1e3)
    """c*, decay rate of the target [1 / membrane time constant]."""
    amplitude: float = 1.0
    """a*, amplitude of the target."""
    halvings: int = within(4, 1, 12)
    """How often η is halved to measure how flow and descent converge."""
    starts: int = within(1000, 1, 1e6)
    """Random networks over which true and direct descent are compared."""
    seed: int = 14


class FilterResults(AbstractOverlapResults):
    """Four ways to learn the filter, and how they differ."""

    config: FilterConfig
    full: LearningCurve
    reduced: LearningCurve
    flow: LearningCurve
    direct: LearningCurve
    final: dict[str, float]
    half_losses: Any
    time: Any = labelled("time", "time", units="membrane time constants")
    output: dict[str, Any] = labelled("impulse response", "time")
    flow_lr: Any = labelled("learning rate", "halving")
    flow_gap: Any = labelled("largest overlap difference of flow and descent", "halving")

    @claim("full network = reduced descent: largest |ΔQ| of all overlaps and epochs", high=1e-10)
    def max_abs_dq(self) -> Any:
        return self.reduced.distance(self.full).max

    @claim("and their losses: largest |ΔL|", high=1e-10)
    def max_abs_dloss(self) -> Any:
        return self.reduced.distance(self.full).loss

    @claim("flow is within O(η) of descent, drawn with η itself: largest |ΔQ|", high=0.2)
    def max_abs_dq_flow(self) -> Any:
        return self.flow_gap[0]

    @claim("flow is descent's limit: the difference halves with η, order", low=0.95, high=1.05)
    def flow_order(self) -> Any:
        return np.log2(self.flow_gap[-2] / self.flow_gap[-1])

    @claim("flow keeps its invariants: largest drift", high=1e-6)
    def invariant_drift(self) -> Any:
        return self.flow.invariant_drift().max()

    @claim(
        "direct descent, which ignores the invisible overlaps, learns differently: half-way its "
        "loss is many times the true one",
        low=10,
    )
    def direct_ratio(self) -> Any:
        half = self.config.epochs // 2
        return self.direct.loss[half] / self.reduced.loss[half]

    @claim(
        "from many starts its loss is > 0.5 half-way where the true one is < 1e-4: share of them",
        low=0.1,
    )
    def direct_share(self) -> Any:
        true, direct = np.asarray(self.half_losses).T
        return np.mean((direct > 0.5) & (true < 1e-4))

    @claim("the response after learning is the target's, as exactly: largest |Δy|", high=2e-3)
    def response_error(self) -> Any:
        return abs(self.output["after"] - self.output["target"]).max()

    @claim(
        "final zm, zu·vm, vu = a*, a*(1 − c*), 1 − c*, but for the Euler step",
        high=2e-3,
        shown=lambda r: ", ".join(f"{name} {value:.5f}" for name, value in r.final.items()),
    )
    def final_error(self) -> Any:
        amplitude, kept = self.config.amplitude, 1 - self.config.rate
        ideal = {"zm": amplitude, "zu*vm": amplitude * kept, "vu": kept}
        return max(abs(self.final[name] - ideal[name]) for name in ideal)

    def draw(self) -> Figure:
        figure, axes = panels(2, 3, height=4.1)
        plot_response(axes[0, 0], self.time, self.output)
        loss_panel(axes[0, 1], self.curves())
        others = {"full − exact theory": self.reduced, "full − flow": self.flow}
        gap_panel(axes[0, 2], self.full, others)
        overlap_panels(axes[1, :2], theory=self.reduced, simulation=self.full)
        plot_order(axes[1, 2], np.asarray(self.flow_lr), np.asarray(self.flow_gap))
        return figure


@experiment(
    source="[LR] fig. 1, 5",
    quick=FilterConfig(n=100, steps=200, epochs=1000, lr=1e-2, halvings=3, starts=200),
    seconds=(17, 15),
)
def filter(config: FilterConfig, recorder: Recorder) -> FilterResults:
    """A 500-neuron network and its 4×4 theory learn an exponential filter alike.

    The full network by autodiff through its simulation; its exact reduction; gradient flow; and
    "direct" descent, which ignores the invisible overlaps.
    """
    task = ExponentialFilter(config.rate, config.dt, config.steps, config.amplitude)
    net, method = config.network(), Descent(config.lr)
    reduction, direct = reduce(net), Descent(config.lr, rule=VisibleOnly())
    full = recorder.learn("full", net, task, method, label="full network", **config.pace)
    recorder.learn("reduced", reduction, task, method, **config.pace)
    recorder.learn("flow", reduction, task, Flow(config.lr), **config.pace)
    recorder.learn("direct", reduction, task, direct, **config.pace)
    rates, gaps = recorder.timed("flow order", lambda: flow_gaps(config, reduction, task))
    zm, zu, vm, vu = (float(full[name][-1]) for name in ("zm", "zu", "vm", "vu"))
    return FilterResults(
        config=config,
        **recorder.curves,
        final={"zm": zm, "zu*vm": zu * vm, "vu": vu},
        half_losses=recorder.timed("many starts", lambda: _half_losses(config, task)),
        time=config.dt * np.arange(config.steps),
        output=responses(task, before=net, after=full.model),
        flow_lr=rates,
        flow_gap=gaps,
    )


def flow_gaps(config: FilterConfig, reduction: Any, task: Any) -> tuple[Any, Any]:
    """max |Q_flow − Q_descent| at learning rates η, η/2, …, over the same η × epochs.

    Returns: learning rates and gaps, shape (halvings + 1,).
    """
    longest = config.epochs * 2**config.halvings
    gaps, rates = [], []
    for halving in range(config.halvings + 1):
        every, lr = 2**halving, config.lr / 2**halving
        # all of equal length, so that one compiled program serves for every learning rate
        descent = learn(reduction, task, Descent(lr), epochs=longest)
        flow = learn(reduction, task, Flow(lr), epochs=config.epochs * every, record=every)
        steps = np.asarray(descent.gram)[::every][: config.epochs + 1]
        gaps.append(np.abs(steps - np.asarray(flow.gram)).max())
        rates.append(lr)
    return np.array(rates), np.array(gaps)


def _half_losses(config: FilterConfig, task: Any) -> Any:
    """Half-way losses of (true, direct) descent from many random networks, shape (starts, 2)."""
    half = config.epochs // 2

    def both(key: Any) -> Any:
        reduction = reduce(LowRankRNN.normalised(config.n, dt=config.dt, key=key))
        methods = Descent(config.lr), Descent(config.lr, rule=VisibleOnly())
        runs = [learn(reduction, task, m, epochs=half, record=half, throw=False) for m in methods]
        return jnp.stack([run.loss[-1] for run in runs])

    return jax.jit(jax.vmap(both))(jr.split(jr.key(config.seed), config.starts))
