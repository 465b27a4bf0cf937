"""Differentiable simulator of learning dynamics in low-rank and linear recurrent networks.

`lrnn_jax.experiments` and `lrnn_jax.figures` are imported when first used.
"""

import importlib as _importlib
from typing import Any as _Any

from lrnn_jax._results import RESULTS as RESULTS
from lrnn_jax._results import Interrupted as Interrupted
from lrnn_jax._results import LearningError as LearningError
from lrnn_jax.environments import ClosedLoop as ClosedLoop
from lrnn_jax.environments import Demonstrations as Demonstrations
from lrnn_jax.environments import FixedStart as FixedStart
from lrnn_jax.environments import GaussianStart as GaussianStart
from lrnn_jax.environments import KIntegrator as KIntegrator
from lrnn_jax.environments import LinearPlant as LinearPlant
from lrnn_jax.environments import LoopLoss as LoopLoss
from lrnn_jax.environments import LoopTrials as LoopTrials
from lrnn_jax.environments import Pendulum as Pendulum
from lrnn_jax.environments import RandomPhases as RandomPhases
from lrnn_jax.environments import TrackingPlant as TrackingPlant
from lrnn_jax.environments import UniformStart as UniformStart
from lrnn_jax.learning import Descent as Descent
from lrnn_jax.learning import DirectDescent as DirectDescent
from lrnn_jax.learning import Flow as Flow
from lrnn_jax.learning import Isospectral as Isospectral
from lrnn_jax.learning import LearningCurve as LearningCurve
from lrnn_jax.learning import Muon as Muon
from lrnn_jax.learning import NormalisedDescent as NormalisedDescent
from lrnn_jax.learning import Slowed as Slowed
from lrnn_jax.learning import Training as Training
from lrnn_jax.learning import decode as decode
from lrnn_jax.learning import diagnose_closure as diagnose_closure
from lrnn_jax.learning import excursion as excursion
from lrnn_jax.learning import holonomy as holonomy
from lrnn_jax.learning import learn as learn
from lrnn_jax.learning import learn_sequence as learn_sequence
from lrnn_jax.learning import lift as lift
from lrnn_jax.learning import noise_drift as noise_drift
from lrnn_jax.networks import Checkpointed as Checkpointed
from lrnn_jax.networks import DenseRNN as DenseRNN
from lrnn_jax.networks import Erf as Erf
from lrnn_jax.networks import Identity as Identity
from lrnn_jax.networks import LowRankRNN as LowRankRNN
from lrnn_jax.networks import OddActivation as OddActivation
from lrnn_jax.networks import ReLU as ReLU
from lrnn_jax.networks import SmoothActivation as SmoothActivation
from lrnn_jax.networks import Softplus as Softplus
from lrnn_jax.networks import Tanh as Tanh
from lrnn_jax.networks import factorise as factorise
from lrnn_jax.networks import gaussianity as gaussianity
from lrnn_jax.networks import load_network as load_network
from lrnn_jax.overlaps import Overlaps as Overlaps
from lrnn_jax.overlaps import conserved_weights as conserved_weights
from lrnn_jax.overlaps import coupling as coupling
from lrnn_jax.overlaps import invariants as invariants
from lrnn_jax.overlaps import leaf as leaf
from lrnn_jax.overlaps import random_overlaps as random_overlaps
from lrnn_jax.overlaps import visible as visible
from lrnn_jax.reduced import GaussHermite as GaussHermite
from lrnn_jax.reduced import MixtureRNN as MixtureRNN
from lrnn_jax.reduced import ReducedRNN as ReducedRNN
from lrnn_jax.reduced import Sobol as Sobol
from lrnn_jax.reduced import degenerate_twin as degenerate_twin
from lrnn_jax.reduced import population as population
from lrnn_jax.reduced import reduce as reduce
from lrnn_jax.stability import CoupledMatrix as CoupledMatrix
from lrnn_jax.stability import effective_gains as effective_gains
from lrnn_jax.stability import gain_landscape as gain_landscape
from lrnn_jax.stability import lqr_gain as lqr_gain
from lrnn_jax.stability import spectrum as spectrum
from lrnn_jax.stability import stability_epoch as stability_epoch
from lrnn_jax.stability import stages as stages
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
