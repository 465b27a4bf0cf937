"""`degeneracy`: two networks that compute the same and learn differently."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lrnn_jax import figures
from lrnn_jax.experiments._base import AbstractOverlapResults, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractTwinConfig, within
from lrnn_jax.experiments._panels import responses
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import FIRST, INVISIBLE, SECOND, THEORY, VISIBLE, Axes, Figure
from lrnn_jax.learning import Descent, LearningCurve
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.reduced import reduce
from lrnn_jax.tasks import ExponentialFilter


@dataclass(frozen=True)
class DegeneracyConfig(AbstractTwinConfig):
    """Same visible overlaps, other invisible ones: same output, other learning. [LR] fig. 2.

    Whether one of the two has a plateau depends on the network: with 15 of the seeds 0 … 19 one
    has; with all of them the curves part.

    >>> experiments.DegeneracyConfig(uu=3.0).uu
    3.0
    >>> experiments.DegeneracyConfig().rate
    0.2
    """

    rate: float = within(0.2, 0, 1e3)
    """c*, decay rate of the target [1 / membrane time constant]."""
    noise: float = within(0.5, 0, 1e3)
    """Standard deviation of the hidden noise, per unit and step."""
    early: int = within(300, 1, lambda config: config.epochs)
    """Epoch at which the two networks are compared again."""
    trials: int = within(40, 2, 1e6)
    """Trials with hidden noise."""


class DegeneracyResults(AbstractOverlapResults):
    """The "first" network and its twin, the "second" one."""

    config: DegeneracyConfig
    full: LearningCurve
    reduced: LearningCurve
    full_twin: LearningCurve
    reduced_twin: LearningCurve
    sizes: tuple[int, ...]
    noise_rms: tuple[tuple[float, ...], ...]
    plateau: tuple[int, ...]
    time: Any = labelled("time", "time", units="membrane time constants")
    before: dict[str, Any] = labelled("impulse response before learning", "time")
    early: dict[str, Any] = labelled("impulse response in early learning", "time")
    noisy: dict[str, Any] = labelled("response with hidden noise", "trial", "time")

    @claim("before learning, same output: largest |Δy|", high=1e-10)
    def output_gap_before(self) -> Any:
        return _apart(self.before)

    @claim("and same loss: |ΔL|", high=1e-10)
    def loss_gap_before(self) -> Any:
        return abs(self.full.loss[0] - self.full_twin.loss[0])

    @claim(
        "hidden noise moves the outputs little, ∝ N^(−1/2): the slope that is further from it",
        low=-0.6,
        high=-0.4,
        shown=lambda r: (
            f"slopes {r.noise_slopes()[0]:.2f}, {r.noise_slopes()[1]:.2f}; r.m.s. "
            f"{r.noise_rms[1][0]:.3f} and {r.noise_rms[1][1]:.3f} at N = {r.sizes[1]} "
            f"({max(r.noise_rms[1]) / np.abs(r.before['first']).max():.1%} of the peak)"
        ),
    )
    def noise_slope(self) -> float:
        return max(self.noise_slopes(), key=lambda slope: abs(slope + 0.5))

    @claim(
        "and those of both networks alike, since they share zz, zv and vv: larger r.m.s. over "
        "smaller (off by 5 % of chance)",
        high=1.25,
    )
    def noise_alike(self) -> Any:
        return max(max(pair) / min(pair) for pair in self.noise_rms)

    @claim(
        lambda r: f"after {r.config.early} epochs the outputs differ clearly: largest |Δy|", low=0.1
    )
    def output_gap_early(self) -> Any:
        return _apart(self.early)

    @claim("and the learning curves have: largest ratio of losses at one epoch", low=10)
    def loss_ratio(self) -> Any:
        return np.exp(np.abs(np.log(self.full.loss / self.full_twin.loss)).max())

    @claim(
        "one has a plateau: epochs before the steepest fall of log L in which it falls at less "
        "than 1/5 of its first rate",
        low=lambda r: 0.2 * r.config.early,
    )
    def longer_plateau(self) -> int:
        return max(self.plateau)

    @claim("the other has none: epochs", high=0)
    def shorter_plateau(self) -> int:
        return min(self.plateau)

    @claim("the reduced theory predicts both: largest |ΔQ|", high=1e-10)
    def max_abs_dq(self) -> Any:
        pairs = ((self.reduced, self.full), (self.reduced_twin, self.full_twin))
        return max(reduced.distance(full).max for reduced, full in pairs)

    def noise_slopes(self) -> np.ndarray:
        """Of log r.m.s. over log N, for both networks."""
        return np.polyfit(np.log(self.sizes), np.log(self.noise_rms), 1)[0]

    def draw(self) -> Figure:
        figure, axes = figures.panels(2, 3, height=4.3)
        looks, epochs = {"first": FIRST, "second": SECOND}, np.asarray(self.full.epochs)
        thin = {**looks, "second": {**SECOND, "linewidth": 1.4}}
        for ax, y, look, epoch in (
            (axes[0, 0], self.before, thin, 0),
            (axes[0, 2], self.early, looks, self.config.early),
        ):
            lines = [(f"network {i}", y[n], look[n]) for i, n in enumerate(look, 1)]
            figures.plot_lines(ax, self.time, [*lines, ("target", y["target"], THEORY)])
            ax.set(xlabel=r"time ($\tau$)", ylabel=f"response, epoch {epoch}")
        for name, look in looks.items():
            band = np.percentile(self.noisy[name], [5, 95], axis=0)
            axes[0, 1].fill_between(self.time, *band, color=look["color"], alpha=0.35, lw=0)
            axes[0, 1].plot(self.time, self.noisy[name][0], color=look["color"], linewidth=0.9)
        figures.plot_lines(axes[0, 1], self.time, [("no noise", self.before["first"], THEORY)])
        axes[0, 1].set(xlabel=r"time ($\tau$)", ylabel="with hidden noise")
        figures.make_room(axes[0, 1], above=0.25)
        lines = [
            ("network 1", self.full.loss, FIRST),
            ("theory", self.reduced.loss, THEORY),
            ("network 2", self.full_twin.loss, SECOND),
            (None, self.reduced_twin.loss, THEORY),
        ]
        figures.plot_lines(axes[1, 0], epochs, lines, above=1e-14)
        axes[1, 0].set(xlabel="epoch", ylabel=r"loss $L$")
        seen = np.isin(self.full.overlaps.names, self.full.visibility.visible)
        _both_networks(axes[1, 1], self, seen, VISIBLE)
        _both_networks(axes[1, 2], self, ~seen, INVISIBLE)
        return figure


def _apart(outputs: dict[str, Any]) -> Any:
    return np.abs(outputs["first"] - outputs["second"]).max()


@experiment(
    source="[LR] fig. 2",
    quick=DegeneracyConfig(n=100, steps=200, epochs=1000, lr=1e-2, early=150),
    seconds=(16, 12),
)
def degeneracy(config: DegeneracyConfig, recorder: Recorder) -> DegeneracyResults:
    """Two networks that compute the same and learn differently.

    Both networks by autodiff, and their exact reductions. One has a plateau with 15 of the seeds
    0 … 19: where learning starts close to the saddle at zu = vm = 0, which it leaves along their
    sum. With the five others |zu + vm| is 0.07 to 0.13 at first, with these 0.06 at most, but once
    0.10 (rank correlation with the length of the plateau −0.83).
    """
    task = ExponentialFilter(config.rate, config.dt, config.steps)
    net, twin, method = config.network(), config.twin(), Descent(config.lr)
    for kind, model in (("", net), ("_twin", twin)):
        label = f"full network{kind.replace('_', ', ')}"
        recorder.learn(f"full{kind}", model, task, method, label=label, **config.pace)
        recorder.learn(f"reduced{kind}", reduce(model), task, method, **config.pace)
    curves, sizes = recorder.curves, (config.n // 4, config.n, 4 * config.n)
    theories: dict[str, Any] = {"first": curves["reduced"], "second": curves["reduced_twin"]}
    then = {n: c.model.with_gram(c.gram[config.early]) for n, c in theories.items()}
    noisy = recorder.timed("hidden noise", lambda: _noisy_outputs(config, net, twin))
    return DegeneracyResults(
        config=config,
        **curves,
        sizes=sizes,
        noise_rms=tuple(_noise_rms(config, n) for n in sizes),
        plateau=tuple(plateau(np.asarray(c.loss)) for c in theories.values()),
        time=config.dt * np.arange(config.steps),
        before=responses(task, first=net, second=twin),
        early=responses(task, **then),
        noisy=dict(zip(("first", "second"), noisy)),
    )


def _impulse(config: DegeneracyConfig) -> jax.Array:
    return jnp.zeros((config.steps, 1)).at[0].set(1 / config.dt)


def _noisy_outputs(config: DegeneracyConfig, *nets: LowRankRNN) -> list[jax.Array]:
    """Impulse responses of each network with hidden noise of its own, shape (trial, time)."""

    def one(net: LowRankRNN, key: Any) -> jax.Array:
        kicks = config.noise * jr.normal(key, (config.steps, net.state_size))
        return net.rollout(_impulse(config), noise=kicks)[:, 0]

    @eqx.filter_jit
    def many(net: LowRankRNN, keys: Any) -> jax.Array:
        return jax.lax.map(partial(one, net), keys)

    keys = jr.split(jr.key(config.seed + 1), len(nets))
    return [many(net, jr.split(key, config.trials)) for net, key in zip(nets, keys)]


def _noise_rms(config: DegeneracyConfig, n: int) -> tuple[float, ...]:
    """Root-mean-square deviation of both networks' noisy outputs from the noiseless one."""
    net, twin = config.network(n=n), config.twin(n)
    clean = net.rollout(_impulse(config))[:, 0]
    noisy = _noisy_outputs(config, net, twin)
    return tuple(float(jnp.sqrt(jnp.mean((y - clean[None]) ** 2))) for y in noisy)


def plateau(loss: np.ndarray) -> int:
    """Epochs before the steepest fall of log L in which it falls at under 1/5 of its first rate."""
    slope = -np.gradient(np.log(np.maximum(loss, 1e-12)))
    steepest = int(np.argmax(np.where(loss > 1e-2 * loss[0], slope, -np.inf)))
    return int((slope[:steepest] < 0.2 * slope[0]).sum())


def _both_networks(
    ax: Axes, r: DegeneracyResults, chosen: np.ndarray, colours: tuple[str, ...]
) -> None:
    """Overlaps of both networks: the first solid, the second dotted."""
    epochs, lines, values = np.asarray(r.full.epochs), [], np.zeros(0)
    for curve, look in ((r.full, "-"), (r.full_twin, ":")):
        ax.set_prop_cycle(color=colours)
        values = np.asarray(curve.overlaps.vector())[:, chosen]
        lines = ax.plot(epochs, values, look)
    ax.set_xlim(epochs[0], epochs[-1])
    symbols = np.array(r.full.overlaps.roles.latex)[chosen].tolist()
    figures.label_ends(ax, values[-1], symbols, [str(line.get_color()) for line in lines])
    kind = "visible" if colours is VISIBLE else "invisible"
    ax.set(xlabel="epoch", ylabel=f"loss-{kind} overlaps (1: –, 2: ···)")
