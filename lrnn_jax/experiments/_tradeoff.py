"""`tradeoff`: short-term cost against long-term stability in the second stage."""

from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.experiments._controllers import double_integrator, low_rank_controller
from lrnn_jax.experiments._old import Claim, Progress, Report, check_config, timed
from lrnn_jax.learning import Descent, LearningCurve, learn
from lrnn_jax.reduced import reduce
from lrnn_jax.stability import Tradeoff, leading, spectrum, stages


@dataclass(frozen=True)
class TradeoffConfig:
    """From one start in stage 2, objectives of different far-sightedness. [CL] fig. 4."""

    n: int = 100
    """N, neurons."""
    alphas: tuple[float, ...] = (0.0, 0.48, 0.52, 0.55, 1.0)
    """α, weights of L_∞ against L_0."""
    power: int = 10
    """T of L_∞."""
    episodes: tuple[int, ...] = (20, 35, 50, 100)
    """Lengths of trials in full training."""
    lr: float = 1e-3
    """η, learning rate of both."""
    epochs: int = 30
    """Parameter updates from the start in stage 2; later α = 1 makes the pair real, where the
    published L_∞ = (λ₁λ₂)^T no longer says how it grows."""
    when: float = 0.2
    """Where the start lies in stage 2, from 0 (complex pair) to 1 (stability)."""
    seed: int = 0
    """Random seed of the network."""

    def __post_init__(self) -> None:
        check_config(self, n=(2, 1e6), power=(1, 1e4), lr=(0, 1e3), epochs=(2, 1e7), when=(0, 1))
        if min(self.episodes, default=0) < 1 or not self.alphas:
            raise ValueError(f"`episodes` are lengths of at least one step; got {self.episodes}.")


QUICK = TradeoffConfig(n=20, alphas=(0.0, 0.5, 1.0), episodes=(8, 64))


def tradeoff(config: TradeoffConfig = TradeoffConfig(), progress: Progress | None = None) -> Report:
    """Follow the leading eigenvalue from a start in stage 2 under different objectives.

    Both kinds of objective are descended with the network's true learning dynamics on its overlaps
    ([CL] descends on the four visible overlaps).

    Arguments:
        config: objectives and learning rate.
        progress: not used (it takes no time).

    Returns: a `Report` with paths of the leading eigenvalue.

    Source: [CL] fig. 4.
    """
    del progress
    loop, method = double_integrator(50, 2.0), Descent(config.lr, clip=1.0)
    begin = reduce(low_rank_controller(config.n, key=jr.key(config.seed)))
    before = learn(begin, loop, Descent(0.01, clip=1.0), epochs=600)
    found = stages(before, loop)
    if found.oscillatory < 0:
        raise ValueError("This network does not reach stage 2 in 600 epochs: take another `seed`.")
    end = found.stable if found.stable > 0 else int(before.epochs[-1])
    epoch = found.oscillatory + round(config.when * (end - found.oscillatory))
    start = begin.with_gram(before.gram[epoch])
    curves: dict[str, LearningCurve] = {}
    seconds: dict[str, Any] = {}
    objectives: dict[str, Any] = {
        f"α = {a:g}": Tradeoff(a, config.power) for a in config.alphas
    } | {f"T = {t}": double_integrator(t, 2.0) for t in config.episodes}
    for name, objective in objectives.items():

        def work(objective: Any = objective) -> LearningCurve:
            return learn(start, objective, method, epochs=config.epochs, throw=False)

        curves[name], seconds[name] = timed(work)
    report = _report(config, {name: leading(spectrum(c, loop)) for name, c in curves.items()})
    report.seconds = seconds
    return report


def _report(config: TradeoffConfig, paths: dict[str, np.ndarray]) -> Report:
    change = {name: float(np.abs(p[-1]) - np.abs(p[0])) for name, p in paths.items()}
    alphas = [change[f"α = {a:g}"] for a in sorted(config.alphas)]
    episodes = [change[f"T = {t}"] for t in sorted(config.episodes)]
    text = ", ".join(f"{name}: {x:+.4f}" for name, x in change.items())
    claims = [
        Claim(
            "the most short-sighted objective moves |λ| up, the most far-sighted one down",
            text,
            alphas[0] > 0 > alphas[-1],
        ),
        Claim(
            "in between in the order of α",
            ", ".join(f"{x:+.4f}" for x in alphas),
            alphas == sorted(alphas, reverse=True),
        ),
        Claim(
            "the same order in training with the shortest and the longest episodes",
            ", ".join(f"{x:+.4f}" for x in episodes),
            episodes[0] > episodes[-1],
        ),
    ]
    rows = [
        [name, f"{abs(p[0]):.4f}", f"{abs(p[-1]):.4f}", f"{p[-1].real:.4f}", f"{p[-1].imag:.4f}"]
        for name, p in paths.items()
    ]
    header = ["objective", "|λ| before", "|λ| after", "Re λ", "Im λ"]
    report = Report("tradeoff", config, claims, {"change": change}, (header, rows), {}, {})
    stacked = np.stack(list(paths.values()))
    report.arrays = {
        f"path_{part}": (
            ("objective", "epoch"),
            getattr(stacked, part),
            {"long_name": f"leading eigenvalue, {part} part", "units": "1"},
        )
        for part in ("real", "imag")
    }
    report.values["objectives"] = list(paths)
    return report
