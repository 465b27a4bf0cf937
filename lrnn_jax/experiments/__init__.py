"""The papers' experiments: a frozen config, a run, a report of what it must show."""

from lrnn_jax.experiments._analysis import AnalysisConfig as AnalysisConfig
from lrnn_jax.experiments._analysis import analyse as analyse
from lrnn_jax.experiments._base import Claim as Claim
from lrnn_jax.experiments._base import Report as Report
from lrnn_jax.experiments._base import Stopwatch as Stopwatch
from lrnn_jax.experiments._base import Timing as Timing
from lrnn_jax.experiments._control_cost import ControlCostConfig as ControlCostConfig
from lrnn_jax.experiments._control_cost import control_cost as control_cost
from lrnn_jax.experiments._coupling import CouplingConfig as CouplingConfig
from lrnn_jax.experiments._coupling import coupling as coupling
from lrnn_jax.experiments._filter import FilterConfig as FilterConfig
from lrnn_jax.experiments._filter import filter as filter
from lrnn_jax.experiments._open_vs_closed import OpenVsClosedConfig as OpenVsClosedConfig
from lrnn_jax.experiments._open_vs_closed import open_vs_closed as open_vs_closed
from lrnn_jax.experiments._oscillator import OscillatorConfig as OscillatorConfig
from lrnn_jax.experiments._oscillator import oscillator as oscillator
from lrnn_jax.experiments._registry import REGISTRY as REGISTRY
from lrnn_jax.experiments._registry import Experiment as Experiment
from lrnn_jax.experiments._registry import get as get
from lrnn_jax.experiments._three_stages import ThreeStagesConfig as ThreeStagesConfig
from lrnn_jax.experiments._three_stages import three_stages as three_stages
from lrnn_jax.experiments._tracking import TrackingConfig as TrackingConfig
from lrnn_jax.experiments._tracking import tracking as tracking
from lrnn_jax.experiments._tradeoff import TradeoffConfig as TradeoffConfig
from lrnn_jax.experiments._tradeoff import tradeoff as tradeoff
