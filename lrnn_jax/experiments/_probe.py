"""`probe`: from the learning curve of a network to what is known of its invisible overlaps."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax import figures, inference
from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import INVISIBLE, OTHERS, THEORY, VISIBLE, Axes, Figure
from lrnn_jax.inference import Discriminability, Estimate, Identifiability, Savings
from lrnn_jax.learning import Descent
from lrnn_jax.networks import Erf, LowRankRNN
from lrnn_jax.overlaps import Overlaps, random_overlaps
from lrnn_jax.reduced import ReducedRNN, population, reduce
from lrnn_jax.tasks import ExponentialFilter, MixedFilter

RATES = np.array([0.2, 0.1, 0.5, 1.0, 2.0, 0.2, 0.2, 0.2])
TURNS = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5])
"""Terms of filters that are designed: decay rates and angular velocities."""
SLACK = 0.5
"""Added to the squared norms of random overlaps, so that some of them can be changed."""


@dataclass(frozen=True)
class ProbeConfig(AbstractConfig):
    """An experimenter's story: outputs of one network while it learns, with noise, and no weights.

    >>> experiments.ProbeConfig(noise=0.02).noise
    0.02
    """

    n: int = within(500, 4, 1e6)
    """N, neurons of the linear network."""
    wide: int = within(4000, 4, 1e6)
    """N, neurons of the nonlinear (erf) network."""
    steps: int = within(400, 20, 1e5)
    """T, steps of the impulse response."""
    lr: float = within(5e-3, 0, 1e3)
    """η, learning rate."""
    epochs: int = within(300, 20, 1e6)
    """Parameter updates."""
    every: int = within(10, 1, lambda config: config.epochs)
    """Outputs are observed at every n-th epoch."""
    noise: float = within(0.01, 1e-6, 1)
    """σ of the observations, over the r.m.s. of the outputs (of the first loss, for losses)."""
    apart: float = within(0.25, 0, SLACK)
    """δ: twins have mm ± δ and zz ∓ δ."""
    starts: int = within(20, 2, 1000)
    """Random starts of a fit."""
    designs: int = within(6, 1, 1000)
    """Starts of the design of a probe."""
    gain: float = within(3.0, 1, 1e6)
    """By how much the probe must tell the twins better than the filter."""
    nodes: int = within(256, 16, 1e5)
    """Nodes of the population that is fitted to the nonlinear network."""
    seed: int = 0
    """Random seed of the network, the noise and the starts."""

    def overlaps(self, slack: float) -> Overlaps:
        """Those of a network, with this much added to squared norms."""
        q = random_overlaps(key=jr.key(self.seed + 1))
        return Overlaps(q.gram + slack * jnp.eye(4), q.roles)

    def parts(self) -> tuple[Overlaps, ExponentialFilter, Descent]:
        """Overlaps of the linear network, what it learns and how."""
        q = self.overlaps(SLACK)
        return q, ExponentialFilter(0.2, 0.05, self.steps), Descent(self.lr)

    @property
    def seen(self) -> range:
        """Observed epochs."""
        return range(0, self.epochs + 1, self.every)


class ProbeResults(AbstractResults):
    """Estimates of a linear network's overlaps and of a nonlinear one's, and a designed probe."""

    config: ProbeConfig
    plan: Identifiability
    fitted: Estimate
    truth: np.ndarray
    along: float
    probe: inference.Probe
    pair: dict[str, Discriminability]
    saved: Savings
    bent: dict[str, Estimate]
    bent_truth: np.ndarray
    names: tuple[str, ...]
    dprime: dict[str, Any] = labelled("d′ of the twins", "observed")

    @claim("before learning few directions of ten are known to 0.1", high=4)
    def known_before(self) -> Any:
        return self.plan.known(0.1)[0]

    @claim("learning shows more of them", low=6)
    def known_after(self) -> Any:
        return self.plan.known(0.1)[-1]

    @claim("the fit is found again and again: starts that agree", low=2)
    def starts_agreeing(self) -> int:
        return self.fitted.starts_agreeing

    @claim("95 % intervals hold the truth: share of those that are not weak", low=0.75)
    def covered(self) -> Any:
        strong = np.array([name not in self.fitted.weak for name in self.fitted.names])
        ends = np.array(list(self.fitted.intervals().values()))
        return np.mean(((ends[:, 0] <= self.truth) & (self.truth <= ends[:, 1]))[strong])

    @claim("the cone's range holds it along the flat direction: place of the truth", low=0, high=1)
    def flat(self) -> Any:
        low, high = map(float, self.fitted.flat_range)
        return (self.along - low) / (high - low)

    @claim(
        "twins that differ in mm and zz are told by a designed filter of equal energy: d′ over "
        "the leaky integrator's, networks trained by autodiff",
        low=lambda r: r.config.gain,
    )
    def probe_gain(self) -> Any:
        return self.dprime["probe"][-1] / self.dprime["filter"][-1]

    @claim("also at half the step: the same", low=lambda r: r.config.gain)
    def probe_halved(self) -> Any:
        return self.probe.halved / self.probe.reference

    @claim("not by instability: epochs at which a loss rises", high=0)
    def rises(self) -> int:
        return self.probe.rises

    @claim("a closure explains an erf network to within the noise: r.m.s. misfit over σ", high=1)
    def closure_fits(self) -> Any:
        return np.sqrt(max(self.bent["closure"].chi2 / self.bent["closure"].size - 1, 0))

    @claim("and is wrong all the same: largest error in standard deviations", low=4)
    def closure_error(self) -> Any:
        return np.abs(self.errors("closure")).max()

    @claim("infinitely many neurons are less so: largest error over that of the closure", high=0.5)
    def population_error(self) -> Any:
        return np.abs(self.errors("population")).max() / np.abs(self.errors("closure")).max()

    @claim(
        "savings on relearning beyond what the other task alone brings fade with its epochs: "
        "last share over first",
        high=0.5,
    )
    def memory(self) -> Any:
        return self.saved.memory[-1] / self.saved.memory[1]

    def errors(self, name: str) -> np.ndarray:
        """Of an estimate of the nonlinear network, in its standard deviations."""
        found = self.bent[name]
        return np.asarray((found.theta - self.bent_truth) / np.sqrt(np.diag(found.covariance)))

    def table(self) -> Columns:
        ends = np.array(list(self.fitted.intervals().values()))
        return {
            "overlaps": (self.fitted.names, ""),
            "truth": (self.truth, ".3f"),
            "estimate": (np.asarray(self.fitted.values), ".3f"),
            "low": (ends[:, 0], ".3f"),
            "high": (ends[:, 1], ".3f"),
            "weak": (["weak" if n in self.fitted.weak else "" for n in self.fitted.names], ""),
            "before learning": (np.asarray(self.plan.std[0]), ".2g"),
            "after": (np.asarray(self.plan.std[-1]), ".2g"),
        }

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.8)
        symbols = [f"${name.replace('−', '-')}$" for name in self.fitted.names]
        epochs = np.asarray(self.plan.epochs)
        figures.plot_precision(axes[0, 0], epochs, np.asarray(self.plan.std), symbols)
        ends = np.array(list(self.fitted.intervals().values()))
        weak = [name in self.fitted.weak for name in self.fitted.names]
        figures.plot_intervals(axes[0, 1], symbols, ends, self.truth, weak=weak)
        axes[0, 1].set(ylabel="")
        self._probe(axes[0, 2])
        self._twins(axes[1, 0])
        self._savings(axes[1, 1])
        self._errors(axes[1, 2])
        return figure

    def _probe(self, ax: Axes) -> None:
        t = np.asarray(self.probe.objective.samples)[:, 0, 0]
        time = 0.05 * np.arange(len(t))
        leaky = np.exp(-0.2 * time)
        lines = [
            ("leaky integrator", leaky, {"color": OTHERS[0], "linestyle": "-"}),
            ("designed", t, {"color": INVISIBLE[1]}),
        ]
        figures.plot_lines(ax, time, lines).set(xlabel=r"time ($\tau$)", ylabel="target $F$")

    def _twins(self, ax: Axes) -> None:
        lines = [
            ("leaky integrator", self.dprime["filter"], {"color": OTHERS[0]}),
            ("designed", self.dprime["probe"], {"color": INVISIBLE[1]}),
        ]
        at = np.asarray(self.pair["probe"].epochs)
        figures.plot_lines(ax, at, lines, above=1e-3)
        ax.axhline(3, **THEORY)
        ax.set(xlabel="observed up to epoch", ylabel=r"$d^\prime$ of twins")

    def _savings(self, ax: Axes) -> None:
        saved = self.saved
        history = np.asarray(saved.history)
        lines = [
            ("savings", saved.savings, {"color": VISIBLE[1], "marker": "o", "markersize": 3}),
            ("memory of the task", saved.memory, {"color": INVISIBLE[1], "linestyle": "--"}),
        ]
        figures.plot_lines(ax, history, lines)
        ax.set_xscale("symlog", linthresh=10)
        ax.set(xlabel="epochs of the other task", ylabel="share of epochs saved")
        figures.make_room(ax, below=0.25).legend(loc="lower left")

    def _errors(self, ax: Axes) -> None:
        rows = np.arange(len(self.names))
        looks: dict[str, dict[str, Any]] = {
            "closure": {"color": OTHERS[1], "marker": "x"},
            "population": {"color": VISIBLE[1], "marker": "o", "markerfacecolor": "white"},
        }
        for name, look in looks.items():
            ax.plot(self.errors(name), rows, linestyle="none", markersize=5, label=name, **look)
        ax.axvspan(-2, 2, color="0.92", zorder=0)
        ax.set(xlabel="error (standard deviations)", ylim=(len(rows) - 0.4, -0.6))
        ax.set_yticks(rows, [f"${name}$" for name in self.names])
        options: dict[str, Any] = {"borderpad": 0.2, "columnspacing": 0.6, "handletextpad": 0.1}
        ax.legend(loc="lower right", bbox_to_anchor=(1.05, 1), ncols=2, **options)


@experiment(
    source="[LR], its claim as a tool: ours",
    quick=ProbeConfig(n=60, steps=60, lr=2e-2, epochs=60, every=5, starts=8, designs=2, nodes=256),
    seconds=(125, 45),
)
def probe(config: ProbeConfig, recorder: Recorder) -> ProbeResults:
    """What a learning curve says of invisible overlaps, what it cannot, and what to measure.

    How much better a designed target tells twins apart depends on the twins: 460, 171, 35, 5 and 48
    times over five seeds.
    """
    q, task, method = config.parts()
    keys = jr.split(jr.key(config.seed), 6)
    net = LowRankRNN.with_overlaps(q, config.n, dt=task.dt, key=keys[0])
    model, look = reduce(net), inference.Outputs(every=max(config.steps // 20, 1))
    data = _observed(config, recorder, "network", (net, task, method, look), config.seen)
    seen = {"epochs": config.seen, "observe": look, "noise": float(data.noise[0, 0])}
    plan = recorder.timed(
        "what data will tell", lambda: inference.identifiable(task, method, model, **seen)
    )
    how: dict[str, Any] = {"model": model, "starts": config.starts, "key": keys[2]}
    fitted = recorder.timed("estimate", lambda: inference.infer(data, task, method, **how))
    vector = _nearest_image(fitted, inference.images(net, method).overlaps)
    off = np.asarray(vector - fitted.theta)
    flat = np.array([{"mm": 1, "uu": 1, "vv": -1, "zz": -1}.get(n, 0) for n in q.names])
    found = _designed(config, recorder, q, keys[3])
    other = ExponentialFilter(1.0, 0.05, config.steps)
    longest = 10 * config.epochs
    history = (0, *np.unique(np.geomspace(1, longest, 12).astype(int)).tolist())
    long: dict[str, Any] = {"history": history, "epochs": longest}
    saved = recorder.timed("savings", lambda: inference.savings(model, task, other, method, **long))
    bent, truth = _bent(config, recorder, config.overlaps(0.0), keys[4:])
    return ProbeResults(
        config=config,
        plan=plan,
        fitted=fitted,
        truth=np.asarray(fitted.combined.weights @ vector),
        along=float(flat @ off / (flat @ flat)),
        saved=saved,
        bent=bent,
        bent_truth=truth,
        names=q.names,
        **found,
    )


def _observed(
    config: ProbeConfig, recorder: Recorder, name: str, run: tuple[Any, ...], epochs: range
) -> inference.Observations:
    """Noisy outputs of a network while it learns by autodiff; a run is network, task, method and
    channel."""
    net, task, method, look = run
    options: dict[str, Any] = {"epochs": epochs[-1], "record": config.every}
    options["watch"] = lambda net: look.look(task, net)
    curve = recorder.learn(name, net, task, method, **options)
    y = np.asarray(curve.watched)
    sigma = config.noise * np.sqrt(np.mean(y**2))
    noisy = y + sigma * np.random.default_rng(config.seed).normal(size=y.shape)
    return inference.Observations(look, noisy, epochs=epochs, noise=sigma)


def _nearest_image(found: Estimate, images: Overlaps) -> np.ndarray:
    """That of all networks with the same curve which an estimate is nearest to."""
    vectors, w = np.asarray(images.vector()), np.asarray(found.combined.weights)
    far = np.abs((vectors @ w.T - np.asarray(found.values)) / np.asarray(found.std)).max(axis=1)
    return vectors[int(far.argmin())]


def _designed(config: ProbeConfig, recorder: Recorder, q: Overlaps, key: Any) -> dict[str, Any]:
    """A filter that tells twins apart, and by how much networks of neurons do under it."""
    plain = MixedFilter(RATES, np.eye(len(RATES))[0], TURNS, dt=0.05, steps=config.steps)
    twins = [q.replace(mm=q["mm"] + d, zz=q["zz"] - d) for d in (config.apart, -config.apart)]
    method = Descent(config.lr)
    first, second = (ReducedRNN(twin, dt=0.05) for twin in twins)
    seen: dict[str, Any] = {"epochs": config.seen, "observe": inference.Loss()}
    seen["noise"] = config.noise * float(plain.loss(first))
    how: dict[str, Any] = {"starts": config.designs, "key": key, **seen}
    found = recorder.timed(
        "design", lambda: inference.separate(first, second, plain, method, **how)
    )
    nets = [LowRankRNN.with_overlaps(t, config.n, dt=0.05, key=key) for t in twins]
    pairs: dict[str, Any] = {n: (net, method) for n, net in zip(("first", "second"), nets)}
    pair = {
        name: recorder.timed(
            f"twins, {name}",
            lambda task=task: inference.discriminability(task, pairs, **seen),
        )
        for name, task in (("filter", plain), ("probe", found.objective))
    }
    dprime = {name: np.asarray(x.between("first", "second")) for name, x in pair.items()}
    return {"probe": found, "pair": pair, "dprime": dprime}


def _bent(
    config: ProbeConfig, recorder: Recorder, q: Overlaps, keys: Any
) -> tuple[dict[str, Estimate], np.ndarray]:
    """What a closure, and what infinitely many neurons, make of an erf network's outputs."""
    task, method = ExponentialFilter(0.2, 0.25, 24), Descent(config.lr)
    options: dict[str, Any] = {"dt": task.dt, "activation": Erf()}
    net = LowRankRNN.with_overlaps(q, config.wide, key=keys[0], **options)
    look, seen = inference.Outputs(), config.seen[: len(config.seen) // 2 + 1]
    exact = _observed(config, recorder, "erf network", (net, task, method, look), seen)
    closure, few = reduce(net), max(config.starts // 2, 4)
    own = inference.finite_size(
        closure, task, method, neurons=config.wide, epochs=seen, observe=look, draws=4, key=keys[1]
    )
    sigma = jnp.hypot(exact.noise, jnp.sqrt(jnp.mean(own**2)))  # the network's own, about
    data = inference.Observations(look, exact.values, epochs=seen, noise=sigma)

    def estimate(model: Any, starts: int, begin: Any = None) -> Estimate:
        how: dict[str, Any] = {"model": model, "starts": starts, "begin": begin, "key": keys[1]}
        return inference.infer(data, task, method, **how)

    fitted = recorder.timed("closure", lambda: estimate(closure, few))
    nodes = population(closure, config.nodes, key=keys[1])
    wide = recorder.timed("infinite width", lambda: estimate(nodes, 1, fitted))
    return {"closure": fitted, "population": wide}, np.asarray(q.vector())
