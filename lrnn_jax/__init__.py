"""Differentiable simulator of learning dynamics in low-rank and linear recurrent networks.

Everything else is in the subpackages, one a layer: overlaps, networks, reduced, tasks,
environments, rules, learning, stability, sweeps; `experiments` and `figures` are imported when first used.
"""

import importlib as _importlib
from typing import Any as _Any

# ruff: noqa: I001  (grouped by question)

# networks, in neurons and in overlaps
from lrnn_jax.networks import LowRankRNN as LowRankRNN
from lrnn_jax.networks import DenseRNN as DenseRNN
from lrnn_jax.reduced import ReducedRNN as ReducedRNN
from lrnn_jax.reduced import MixtureRNN as MixtureRNN
from lrnn_jax.overlaps import Overlaps as Overlaps
from lrnn_jax.networks import Identity as Identity
from lrnn_jax.networks import Erf as Erf
from lrnn_jax.networks import Tanh as Tanh
from lrnn_jax.networks import ReLU as ReLU
from lrnn_jax.networks import OddActivation as OddActivation
from lrnn_jax.networks import SmoothActivation as SmoothActivation
from lrnn_jax.reduced import reduce as reduce
from lrnn_jax.learning import lift as lift
from lrnn_jax.reduced import population as population
from lrnn_jax.overlaps import degenerate_twin as degenerate_twin
from lrnn_jax.networks import factorise as factorise
from lrnn_jax.networks import load_network as load_network
from lrnn_jax.networks import save_network as save_network

# tasks
from lrnn_jax.tasks import ImpulseResponse as ImpulseResponse
from lrnn_jax.tasks import ExponentialFilter as ExponentialFilter
from lrnn_jax.tasks import OscillatingFilter as OscillatingFilter
from lrnn_jax.tasks import WhiteNoise as WhiteNoise
from lrnn_jax.tasks import TeacherStudent as TeacherStudent
from lrnn_jax.tasks import FlipFlop as FlipFlop
from lrnn_jax.tasks import DecisionMaking as DecisionMaking

# loops
from lrnn_jax.environments import KIntegrator as KIntegrator
from lrnn_jax.environments import LinearPlant as LinearPlant
from lrnn_jax.environments import TrackingPlant as TrackingPlant
from lrnn_jax.environments import ClosedLoop as ClosedLoop

# how to learn
from lrnn_jax.learning import learn as learn
from lrnn_jax.learning import learn_sequence as learn_sequence
from lrnn_jax.learning import Descent as Descent
from lrnn_jax.learning import NormalisedDescent as NormalisedDescent
from lrnn_jax.learning import Muon as Muon
from lrnn_jax.learning import Training as Training
from lrnn_jax.learning import Flow as Flow
from lrnn_jax.rules import Gradient as Gradient
from lrnn_jax.rules import VisibleOnly as VisibleOnly
from lrnn_jax.learning import Plain as Plain
from lrnn_jax.learning import Checkpointed as Checkpointed
from lrnn_jax.learning import ThroughReduction as ThroughReduction
from lrnn_jax.learning import LearningCurve as LearningCurve

# what learning does
from lrnn_jax.overlaps import visible as visible
from lrnn_jax.tasks import measured_visible as measured_visible
from lrnn_jax.overlaps import invariants as invariants
from lrnn_jax.overlaps import coupling as coupling
from lrnn_jax.overlaps import reachable_dimensions as reachable_dimensions
from lrnn_jax.learning import noise_drift as noise_drift
from lrnn_jax.learning import diagnose_closure as diagnose_closure
from lrnn_jax.sweeps import Sweep as Sweep
from lrnn_jax.sweeps import sweep as sweep

# what was learned
from lrnn_jax.networks import gaussianity as gaussianity
from lrnn_jax.stability import spectrum as spectrum
from lrnn_jax.stability import stability_epoch as stability_epoch
from lrnn_jax.stability import stages as stages
from lrnn_jax.stability import effective_gains as effective_gains
from lrnn_jax.stability import lqr_gain as lqr_gain

# how it ended
from lrnn_jax._results import RESULTS as RESULTS
from lrnn_jax._results import LearningError as LearningError
from lrnn_jax._results import Interrupted as Interrupted

# contracts to subclass
from lrnn_jax.networks import AbstractRNN as AbstractRNN
from lrnn_jax.networks import AbstractOverlapRNN as AbstractOverlapRNN
from lrnn_jax.networks import AbstractActivation as AbstractActivation
from lrnn_jax.networks import AbstractSpace as AbstractSpace
from lrnn_jax.tasks import AbstractObjective as AbstractObjective
from lrnn_jax.tasks import AbstractTask as AbstractTask
from lrnn_jax.tasks import AbstractTrialTask as AbstractTrialTask
from lrnn_jax.environments import AbstractPlant as AbstractPlant
from lrnn_jax.environments import AbstractAutonomousPlant as AbstractAutonomousPlant
from lrnn_jax.rules import AbstractRule as AbstractRule
from lrnn_jax.learning import AbstractMethod as AbstractMethod
from lrnn_jax.learning import AbstractUpdate as AbstractUpdate

_LAZY = ("experiments", "figures")


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__version__ = "0.1.0"
