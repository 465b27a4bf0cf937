"""`tradeoff`: short-term cost against long-term stability in the second stage."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._base import AbstractResults, Columns, claim, experiment, labelled
from lrnn_jax.experiments._configs import AbstractConfig, within
from lrnn_jax.experiments._controllers import double_integrator, low_rank_controller
from lrnn_jax.experiments._recorder import Recorder
from lrnn_jax.figures import DASHES, TEXT, Figure, make_room, panels, shades
from lrnn_jax.learning import Descent
from lrnn_jax.reduced import reduce
from lrnn_jax.stability import Tradeoff, leading, spectrum, stages


@dataclass(frozen=True)
class TradeoffConfig(AbstractConfig):
    """From one start in stage 2, objectives of different far-sightedness. [CL] fig. 4.

    >>> experiments.TradeoffConfig().alphas
    (0.0, 0.48, 0.52, 0.55, 1.0)
    """

    n: int = within(100, 2, 1e6)
    """N, neurons."""
    alphas: tuple[float, ...] = within((0.0, 0.48, 0.52, 0.55, 1.0), 0, 1)
    """α, weights of L_∞ against L_0."""
    power: int = within(10, 1, 1e4)
    """T of L_∞."""
    episodes: tuple[int, ...] = within((20, 35, 50, 100), 1, 1e5)
    """Lengths of trials in full training."""
    lr: float = within(1e-3, 0, 1e3)
    """η, learning rate of both."""
    epochs: int = within(30, 2, 1e7)
    """Parameter updates from the start in stage 2; later α = 1 makes the pair real, where the
    published L_∞ = (λ₁λ₂)^T no longer says how it grows."""
    when: float = within(0.2, 0, 1)
    """Where the start lies in stage 2, from 0 (complex pair) to 1 (stability)."""
    seed: int = 0
    """Random seed of the network."""


class TradeoffResults(AbstractResults):
    """Where the leading eigenvalue goes under each objective."""

    config: TradeoffConfig
    change: dict[str, float]
    """Of |λ|, by objective."""
    path: dict[str, Any] = labelled("leading eigenvalue", "objective", "epoch")

    @claim("the most short-sighted objective moves |λ| up: by", low=1e-4)
    def short_sighted(self) -> float:
        return self._changes("α", self.config.alphas)[0]

    @claim("the most far-sighted one moves it down: by", high=-1e-4)
    def far_sighted(self) -> float:
        return self._changes("α", self.config.alphas)[-1]

    @claim("those in between in the order of α: change from one to the next, the largest", high=0)
    def order(self) -> Any:
        return max(np.diff(self._changes("α", self.config.alphas)), default=None)

    @claim("the same order in training with short and long episodes: shortest − longest", low=1e-4)
    def episodes(self) -> float:
        changes = self._changes("T", self.config.episodes)
        return changes[0] - changes[-1]

    @claim(
        "also of those in between, but for neighbours (the phase of the oscillation at the end "
        "matters too): rank correlation of length and change",
        high=-0.7,
    )
    def episode_order(self) -> Any:
        ranks = np.argsort(np.argsort(self._changes("T", self.config.episodes)))
        return np.corrcoef(np.arange(len(ranks)), ranks)[0, 1] if len(ranks) > 1 else None

    def _changes(self, symbol: str, values: tuple[float, ...]) -> list[float]:
        return [self.change[f"{symbol} = {value:g}"] for value in sorted(values)]

    def sizes(self) -> dict[str, np.ndarray]:
        """|λ| over epochs, by objective."""
        return dict(zip(self.change, np.hypot(self.path["real"], self.path["imag"])))

    def table(self) -> Columns:
        sizes = zip(("before", "after"), np.array(list(self.sizes().values())).T[[0, -1]])
        given = {"objective": (list(self.change), "")}
        given |= {f"|λ| {when}": (size, ".4f") for when, size in sizes}
        ends = {"Re λ": self.path["real"], "Im λ": self.path["imag"]}
        return given | {name: (path[:, -1], ".4f") for name, path in ends.items()}

    def draw(self) -> Figure:
        figure, axes = panels(1, 2, height=2.5, width=TEXT * 0.75, sharey=True)
        for ax, symbol, title in zip(axes, "αT", ("long-term weight", "steps of an episode")):
            sizes = {name: size for name, size in self.sizes().items() if name.startswith(symbol)}
            looks = zip(shades(len(sizes)), itertools.cycle(DASHES))
            for (name, size), (colour, dash) in zip(sizes.items(), looks):
                ax.plot(size, color=colour, linestyle=dash, linewidth=1.6, label=name)
            ax.axhline(1, color="0.6", linewidth=0.8, zorder=0)
            ax.set(xlabel="epoch from the start in stage 2", ylabel=r"$|\lambda_{1,2}|$")
            ax.set_xlim(0, self.config.epochs)
            ax.legend(title=title, title_fontsize=7, loc="lower left", labelspacing=0.15)
        make_room(axes[0], below=0.5)  # of both: they share it
        return figure


@experiment(
    source="[CL] fig. 4",
    quick=TradeoffConfig(n=20, alphas=(0.0, 0.5, 1.0), episodes=(8, 64)),
    seconds=(20, 12),
)
def tradeoff(config: TradeoffConfig, recorder: Recorder) -> TradeoffResults:
    """Short-term cost against long-term stability of the closed loop.

    Both kinds of objective are descended with the network's true learning dynamics on its
    overlaps ([CL] descends on the four visible overlaps).
    """
    loop, method = double_integrator(50, 2.0), Descent(config.lr, clip=1.0)
    begin = reduce(low_rank_controller(config.n, key=jr.key(config.seed)))
    before = recorder.learn("before", begin, loop, Descent(0.01, clip=1.0), epochs=600)
    found = stages(before, loop)
    if found.oscillatory < 0:
        raise ValueError("This network does not reach stage 2 in 600 epochs: take another `seed`.")
    end = found.stable if found.stable > 0 else int(before.epochs[-1])
    epoch = found.oscillatory + round(config.when * (end - found.oscillatory))
    start = begin.with_gram(before.gram[epoch])
    objectives: dict[str, Any] = {f"α = {a:g}": Tradeoff(a, config.power) for a in config.alphas}
    objectives |= {f"T = {t:g}": double_integrator(t, 2.0) for t in config.episodes}
    curves = [
        recorder.learn(name, start, objective, method, epochs=config.epochs, throw=False)
        for name, objective in objectives.items()
    ]
    paths = np.stack([leading(spectrum(curve, loop)) for curve in curves])
    change = np.abs(paths[:, -1]) - np.abs(paths[:, 0])
    return TradeoffResults(
        config=config,
        change=dict(zip(objectives, change.tolist())),
        path={"real": np.real(paths), "imag": np.imag(paths)},
    )
