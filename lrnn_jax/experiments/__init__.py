"""The papers' experiments: a config, a run, claims about its results, a picture of them."""

from lrnn_jax.experiments._analysis import AnalysisConfig, analyse, analysis
from lrnn_jax.experiments._base import (
    AbstractResults,
    Claim,
    Experiment,
    Report,
    Verdict,
    claim,
    labelled,
)
from lrnn_jax.experiments._control_cost import ControlCostConfig, control_cost
from lrnn_jax.experiments._controllers import double_integrator, low_rank_controller
from lrnn_jax.experiments._coupling import CouplingConfig, coupling
from lrnn_jax.experiments._degeneracy import DegeneracyConfig, degeneracy
from lrnn_jax.experiments._filter import FilterConfig, filter
from lrnn_jax.experiments._flip_flop import FlipFlopConfig, flip_flop
from lrnn_jax.experiments._memory_aba import MemoryAbaConfig, memory_aba
from lrnn_jax.experiments._memory_adam import MemoryAdamConfig, memory_adam
from lrnn_jax.experiments._memory_twins import MemoryTwinsConfig, memory_twins, twin_tasks
from lrnn_jax.experiments._open_vs_closed import OpenVsClosedConfig, open_vs_closed
from lrnn_jax.experiments._optimisers import OptimisersConfig, optimisers
from lrnn_jax.experiments._oscillator import OscillatorConfig, oscillator
from lrnn_jax.experiments._recorder import Progress, Recorder, Timing
from lrnn_jax.experiments._registry import REGISTRY, get
from lrnn_jax.experiments._three_stages import ThreeStagesConfig, three_stages
from lrnn_jax.experiments._tracking import TrackingConfig, tracking
from lrnn_jax.experiments._tradeoff import TradeoffConfig, tradeoff
