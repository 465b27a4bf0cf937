"""Learning: exact steps, flow and training, one function and one result type for all."""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from lrnn_jax._results import OUTCOMES, outcome, outcome_code
from lrnn_jax.learning._closure import (
    ClosureGap,
    ClosureReport,
    diagnose_closure,
    relative_gap,
    share_beyond_closure,
)
from lrnn_jax.learning._curve import Distance, LearningCurve
from lrnn_jax.learning._decoder import Decoding, decoding_accuracy
from lrnn_jax.learning._descent import Descent, Muon, NormalisedDescent
from lrnn_jax.learning._flow import Flow
from lrnn_jax.learning._law import Law, nodes, third_moment
from lrnn_jax.learning._learn import Options, learn
from lrnn_jax.learning._lift import lift
from lrnn_jax.learning._method import AbstractMethod, AbstractUpdate
from lrnn_jax.learning._noise import NoiseDrift, NoisyStep, noise_drift
from lrnn_jax.learning._problem import Data, Problem, Progress
from lrnn_jax.learning._progress import ProgressBar
from lrnn_jax.learning._sequence import (
    Excursion,
    Holonomy,
    Phase,
    excursion,
    holonomy,
    join_curves,
    learn_sequence,
)
from lrnn_jax.learning._simulate import AbstractSimulate, Checkpointed, Plain, ThroughReduction
from lrnn_jax.learning._slowed import Slowed
from lrnn_jax.learning._state import LearningState
from lrnn_jax.learning._training import Training

if _TYPE_CHECKING:
    from lrnn_jax.learning._isospectral import Isospectral


def __getattr__(name: str) -> _Any:
    if name == "Isospectral":  # a solver of diffrax, which takes long to import
        return _importlib.import_module("lrnn_jax.learning._isospectral").Isospectral
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "Isospectral"})
