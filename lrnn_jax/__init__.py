"""Differentiable simulator of learning dynamics in low-rank and linear recurrent networks.

`lrnn_jax.experiments` and `lrnn_jax.figures` are imported when first used.
"""

import importlib as _importlib
from typing import Any as _Any

from lrnn_jax._results import RESULTS as RESULTS
from lrnn_jax._results import LearningError as LearningError
from lrnn_jax.learning import Descent as Descent
from lrnn_jax.learning import DirectDescent as DirectDescent
from lrnn_jax.learning import Flow as Flow
from lrnn_jax.learning import Isospectral as Isospectral
from lrnn_jax.learning import LearningCurve as LearningCurve
from lrnn_jax.learning import Muon as Muon
from lrnn_jax.learning import NormalisedDescent as NormalisedDescent
from lrnn_jax.learning import Training as Training
from lrnn_jax.learning import learn as learn
from lrnn_jax.learning import lift as lift
from lrnn_jax.networks import DenseRNN as DenseRNN
from lrnn_jax.networks import Erf as Erf
from lrnn_jax.networks import Identity as Identity
from lrnn_jax.networks import LowRankRNN as LowRankRNN
from lrnn_jax.networks import OddActivation as OddActivation
from lrnn_jax.networks import Tanh as Tanh
from lrnn_jax.networks import factorise as factorise
from lrnn_jax.networks import load_network as load_network
from lrnn_jax.overlaps import Overlaps as Overlaps
from lrnn_jax.overlaps import coupling as coupling
from lrnn_jax.overlaps import invariants as invariants
from lrnn_jax.overlaps import visible as visible
from lrnn_jax.reduced import GaussHermite as GaussHermite
from lrnn_jax.reduced import ReducedRNN as ReducedRNN
from lrnn_jax.reduced import Sobol as Sobol
from lrnn_jax.reduced import degenerate_twin as degenerate_twin
from lrnn_jax.reduced import population as population
from lrnn_jax.reduced import reduce as reduce
from lrnn_jax.sweeps import Sweep as Sweep
from lrnn_jax.sweeps import sweep as sweep
from lrnn_jax.tasks import DecisionMaking as DecisionMaking
from lrnn_jax.tasks import Evaluation as Evaluation
from lrnn_jax.tasks import ExponentialFilter as ExponentialFilter
from lrnn_jax.tasks import FlipFlop as FlipFlop
from lrnn_jax.tasks import ImpulseResponse as ImpulseResponse
from lrnn_jax.tasks import OscillatingFilter as OscillatingFilter
from lrnn_jax.tasks import TeacherStudent as TeacherStudent
from lrnn_jax.tasks import WhiteNoise as WhiteNoise

_LAZY = ("experiments", "figures")


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"
