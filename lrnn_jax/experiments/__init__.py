"""The papers' experiments: a frozen config, a run, a report of what it must show."""

from lrnn_jax.experiments._analysis import AnalysisConfig as AnalysisConfig
from lrnn_jax.experiments._analysis import analyse as analyse
from lrnn_jax.experiments._base import Claim as Claim
from lrnn_jax.experiments._base import Report as Report
from lrnn_jax.experiments._base import Stopwatch as Stopwatch
from lrnn_jax.experiments._base import Timing as Timing
from lrnn_jax.experiments._coupling import CouplingConfig as CouplingConfig
from lrnn_jax.experiments._coupling import coupling as coupling
from lrnn_jax.experiments._degeneracy import DegeneracyConfig as DegeneracyConfig
from lrnn_jax.experiments._degeneracy import degeneracy as degeneracy
from lrnn_jax.experiments._filter import FilterConfig as FilterConfig
from lrnn_jax.experiments._filter import filter as filter
from lrnn_jax.experiments._memory_aba import MemoryAbaConfig as MemoryAbaConfig
from lrnn_jax.experiments._memory_aba import memory_aba as memory_aba
from lrnn_jax.experiments._memory_adam import MemoryAdamConfig as MemoryAdamConfig
from lrnn_jax.experiments._memory_adam import memory_adam as memory_adam
from lrnn_jax.experiments._memory_twins import MemoryTwinsConfig as MemoryTwinsConfig
from lrnn_jax.experiments._memory_twins import memory_twins as memory_twins
from lrnn_jax.experiments._oscillator import OscillatorConfig as OscillatorConfig
from lrnn_jax.experiments._oscillator import oscillator as oscillator
from lrnn_jax.experiments._registry import REGISTRY as REGISTRY
from lrnn_jax.experiments._registry import Experiment as Experiment
from lrnn_jax.experiments._registry import get as get
