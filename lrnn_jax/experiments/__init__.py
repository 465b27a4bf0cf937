"""The papers' experiments: a config, a run, claims about its results, a picture of them."""

import difflib
from typing import Any

from lrnn_jax.experiments._analysis import analyse
from lrnn_jax.experiments._analysis_base import AnalysisConfig
from lrnn_jax.experiments._audit import SETTINGS, PairConfig, pair
from lrnn_jax.experiments._base import (
    AbstractResults,
    Claim,
    Experiment,
    Report,
    Verdict,
    claim,
    experiment,
    labelled,
)
from lrnn_jax.experiments._bulk import BulkConfig, bulk
from lrnn_jax.experiments._control_cost import ControlCostConfig, control_cost
from lrnn_jax.experiments._controllers import (
    GatedController,
    double_integrator,
    low_rank_controller,
)
from lrnn_jax.experiments._coupling import CouplingConfig, coupling
from lrnn_jax.experiments._degeneracy import DegeneracyConfig, degeneracy
from lrnn_jax.experiments._filter import FilterConfig, filter
from lrnn_jax.experiments._flip_flop import FlipFlopConfig, flip_flop
from lrnn_jax.experiments._horizons import HorizonsConfig, horizons
from lrnn_jax.experiments._many_pairs import ManyPairsConfig, many_pairs
from lrnn_jax.experiments._memory_aba import MemoryAbaConfig, memory_aba
from lrnn_jax.experiments._memory_adam import MemoryAdamConfig, memory_adam
from lrnn_jax.experiments._memory_twins import MemoryTwinsConfig, memory_twins, twin_tasks
from lrnn_jax.experiments._open_vs_closed import OpenVsClosedConfig, open_vs_closed
from lrnn_jax.experiments._optimisers import OptimisersConfig, optimisers
from lrnn_jax.experiments._oscillator import OscillatorConfig, oscillator
from lrnn_jax.experiments._over_seeds import Interval, SeedsReport, over_seeds
from lrnn_jax.experiments._probe import ProbeConfig, probe
from lrnn_jax.experiments._recorder import Progress, Recorder, Timing
from lrnn_jax.experiments._rules import RulesConfig, rules
from lrnn_jax.experiments._three_stages import ThreeStagesConfig, three_stages
from lrnn_jax.experiments._tracking import TrackingConfig, tracking
from lrnn_jax.experiments._tradeoff import TradeoffConfig, tradeoff

_LOW_RANK = filter, oscillator, degeneracy, memory_aba, memory_adam, flip_flop, optimisers
_MORE = memory_twins, coupling, rules, bulk, probe
_LOOPS = open_vs_closed, three_stages, tradeoff, control_cost, tracking, horizons, many_pairs
REGISTRY: dict[str, Experiment] = {e.name: e for e in (*_LOW_RANK, *_MORE, *_LOOPS)}
"""All experiments, those of [LR] first."""
AUDITS: dict[str, tuple[Experiment, dict[str, Any]]] = {
    "closed_loop": (pair, SETTINGS),
    "tradeoff": (horizons, {x: HorizonsConfig(controller=x) for x in ("tanh", "rank 5", "gru")}),
}
"""By name: an experiment, and the settings that it is run in."""


def get(name: str) -> Experiment:
    """The experiment of this name.

    Errors: ValueError with suggestions.

    >>> experiments.get("filter").source
    '[LR] fig. 1, 5'
    >>> experiments.get("filters")
    Traceback (most recent call last):
        ...
    ValueError: There is no experiment 'filters'. Did you mean 'filter' or ...
    """
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"There is no experiment {name!r}.{hint} Known: {', '.join(REGISTRY)}.")
