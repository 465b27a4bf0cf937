"""Learning rules: how a direction of learning is computed. What is made of it: the methods."""

from lrnn_jax.rules._base import AbstractRule, Backward, EpochLoss
from lrnn_jax.rules._conserved import Conserved, conserved
from lrnn_jax.rules._delayed import DelayedRule
from lrnn_jax.rules._feedback import RFLO, EProp, FeedbackAlignment
from lrnn_jax.rules._gradient import Gradient
from lrnn_jax.rules._offline import AbstractOffline
from lrnn_jax.rules._online import Online
from lrnn_jax.rules._perturbation import (
    NodePerturbation,
    PerturbationMoments,
    WeightPerturbation,
    perturbation_moments,
)
from lrnn_jax.rules._steering import Steering, measured_steering, steering
from lrnn_jax.rules._truncated import Truncated
from lrnn_jax.rules._visible_only import VisibleOnly
