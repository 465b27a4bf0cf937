"""Differentiable simulator of learning dynamics in low-rank and linear recurrent networks.

Everything else is in the subpackages, one a layer: overlaps, networks, reduced, tasks,
environments, rules, learning, stability, inference, sweeps; `experiments` and `figures` are
imported when first used.
"""

import importlib as _importlib
from typing import Any as _Any

# ruff: noqa: I001  (grouped by question)

# JAX for this process
from lrnn_jax._setup import setup_jax

# networks, in neurons and in overlaps
from lrnn_jax.networks import LowRankRNN, DenseRNN, CurrentRNN
from lrnn_jax.reduced import ReducedRNN, MixtureRNN
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.networks import Identity, Erf, Tanh, ReLU, OddActivation, SmoothActivation
from lrnn_jax.reduced import reduce, compress
from lrnn_jax.learning import lift
from lrnn_jax.reduced import population
from lrnn_jax.overlaps import degenerate_twin
from lrnn_jax.networks import RandomBulk, factorise, load_network, save_network

# tasks
from lrnn_jax.tasks import (
    ImpulseResponse,
    ExponentialFilter,
    OscillatingFilter,
    WhiteNoise,
    TeacherStudent,
    FlipFlop,
    DecisionMaking,
    TrialSet,
    RateCost,
    PrivateNoise,
    Evaluation,
)

# loops
from lrnn_jax.environments import KIntegrator, LinearPlant, TrackingPlant, ClosedLoop
from lrnn_jax.environments import Delayed, ForceField

# how to learn
from lrnn_jax.learning import (
    learn,
    learn_sequence,
    Descent,
    NormalisedDescent,
    Muon,
    Training,
    Flow,
)
from lrnn_jax.rules import Gradient, Truncated, FeedbackAlignment, RFLO, EProp
from lrnn_jax.rules import DelayedRule, Online, WeightPerturbation, NodePerturbation
from lrnn_jax.learning import Plain, Checkpointed, ThroughReduction, LearningCurve

# what learning does
from lrnn_jax.overlaps import visible
from lrnn_jax.tasks import measured_visible
from lrnn_jax.overlaps import invariants, coupling
from lrnn_jax.learning import noise_drift, diagnose_closure
from lrnn_jax.sweeps import Sweep, sweep

# what was learned
from lrnn_jax.networks import gaussianity
from lrnn_jax.stability import (
    spectrum,
    stability_epoch,
    stages,
    effective_gains,
    lqr_gain,
    fixed_points,
)

# what learning curves say
from lrnn_jax.inference import Observations, infer

# how it ended
from lrnn_jax._results import RESULTS, LearningError, Interrupted

# contracts to subclass
from lrnn_jax.networks import AbstractRNN, AbstractOverlapRNN, AbstractActivation, AbstractSpace
from lrnn_jax.tasks import AbstractObjective, AbstractTask, AbstractTrialTask
from lrnn_jax.environments import AbstractPlant, AbstractAutonomousPlant
from lrnn_jax.rules import AbstractRule
from lrnn_jax.learning import AbstractMethod, AbstractUpdate

_LAZY = ("experiments", "figures")


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__version__ = "0.1.0"
