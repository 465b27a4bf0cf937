"""All experiments by name."""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from lrnn_jax.experiments import (
    _control_cost,
    _coupling,
    _degeneracy,
    _filter,
    _flip_flop,
    _memory_aba,
    _memory_adam,
    _memory_twins,
    _open_vs_closed,
    _optimisers,
    _oscillator,
    _three_stages,
    _tracking,
    _tradeoff,
)
from lrnn_jax.experiments._base import Report


class Experiment(NamedTuple):
    """A named experiment: where it comes from, its configs and its function.

    Fields: name; source (paper and figure); summary, one line; full and quick config; run, which
    takes a config and a progress callback and returns a `Report`; seconds that the command takes at
    full and at quick size, start and compiling included, on 2 CPU cores (full size: with
    `--devices 2` where there is this option).
    """

    name: str
    source: str
    summary: str
    full: Any
    quick: Any
    run: Callable[..., Report]
    seconds: tuple[int, int]


REGISTRY: dict[str, Experiment] = {
    e.name: e
    for e in (
        Experiment(
            "filter",
            "[LR] fig. 1, 5",
            "a 500-neuron network and its 4×4 theory learn an exponential filter alike",
            _filter.FilterConfig(),
            _filter.QUICK,
            _filter.filter,
            (17, 15),
        ),
        Experiment(
            "oscillator",
            "[LR] fig. 12",
            "a rank-2 network and its 21 overlaps learn a damped oscillation alike",
            _oscillator.OscillatorConfig(),
            _oscillator.QUICK,
            _oscillator.oscillator,
            (21, 12),
        ),
        Experiment(
            "degeneracy",
            "[LR] fig. 2",
            "two networks that compute the same and learn differently",
            _degeneracy.DegeneracyConfig(),
            _degeneracy.QUICK,
            _degeneracy.degeneracy,
            (16, 12),
        ),
        Experiment(
            "memory_aba",
            "[LR] fig. 3, 6",
            "tasks come and go: overlaps return, but for holonomy and the drift of label noise",
            _memory_aba.MemoryAbaConfig(),
            _memory_aba.QUICK,
            _memory_aba.memory_aba,
            (102, 38),
        ),
        Experiment(
            "memory_adam",
            "[LR] fig. 7",
            "Adam keeps none of what gradient flow conserves",
            _memory_adam.MemoryAdamConfig(),
            _memory_adam.QUICK,
            _memory_adam.memory_adam,
            (18, 10),
        ),
        Experiment(
            "flip_flop",
            "[LR] fig. 4a-c",
            "a nonlinear network, its Gaussian closure and its infinite width learn a flip-flop",
            _flip_flop.FlipFlopConfig(),
            _flip_flop.QUICK,
            _flip_flop.flip_flop,
            (162, 19),
        ),
        Experiment(
            "optimisers",
            "[LR] fig. 8",
            "larger steps and Adam make loadings less Gaussian, and the closure worse",
            _optimisers.OptimisersConfig(),
            _optimisers.QUICK,
            _optimisers.optimisers,
            (151, 15),
        ),
        Experiment(
            "memory_twins",
            "[LR] fig. 4d-f, 9, 10",
            "what twins learned first is written in overlaps that no loss can see",
            _memory_twins.MemoryTwinsConfig(),
            _memory_twins.QUICK,
            _memory_twins.memory_twins,
            (601, 26),
        ),
        Experiment(
            "coupling",
            "[LR] fig. 11",
            "which overlap enters which learning equation, for any rank",
            _coupling.CouplingConfig(),
            _coupling.QUICK,
            _coupling.coupling,
            (4, 5),
        ),
        Experiment(
            "open_vs_closed",
            "[CL] fig. 1, 2",
            "a dense controller learns by acting, its twin by imitating it on noise",
            _open_vs_closed.OpenVsClosedConfig(),
            _open_vs_closed.QUICK,
            _open_vs_closed.open_vs_closed,
            (32, 11),
        ),
        Experiment(
            "three_stages",
            "[CL] fig. 3-5",
            "a low-rank controller learns in three stages, exactly as its overlaps say",
            _three_stages.ThreeStagesConfig(),
            _three_stages.QUICK,
            _three_stages.three_stages,
            (23, 22),
        ),
        Experiment(
            "tradeoff",
            "[CL] fig. 4",
            "short-term cost against long-term stability of the closed loop",
            _tradeoff.TradeoffConfig(),
            _tradeoff.QUICK,
            _tradeoff.tradeoff,
            (20, 12),
        ),
        Experiment(
            "control_cost",
            "[CL] fig. 5",
            "a stable policy is refined under several prices of control",
            _control_cost.ControlCostConfig(),
            _control_cost.QUICK,
            _control_cost.control_cost,
            (18, 12),
        ),
        Experiment(
            "tracking",
            "[CL] fig. 6",
            "a controller learns to track a reference, one frequency after another",
            _tracking.TrackingConfig(),
            _tracking.QUICK,
            _tracking.tracking,
            (220, 8),
        ),
    )
}


def get(name: str) -> Experiment:
    """The experiment of this name.

    Errors: ValueError with suggestions.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"There is no experiment {name!r}.{hint} Known: {', '.join(REGISTRY)}.")
