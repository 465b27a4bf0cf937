"""Environments: plants, and the closed loop of a plant and a network."""

from lrnn_jax.environments._base import AbstractAutonomousPlant, AbstractPlant, Matrices
from lrnn_jax.environments._closed_loop import ClosedLoop, LoopTrials, Trajectories
from lrnn_jax.environments._demonstrations import Demonstrations, LoopLoss
from lrnn_jax.environments._linear import AbstractLinearPlant, KIntegrator, LinearPlant
from lrnn_jax.environments._moments import LinearLoop, Scaled, linear_loop, moments
from lrnn_jax.environments._pendulum import Pendulum
from lrnn_jax.environments._ring import Ring
from lrnn_jax.environments._starts import (
    AbstractStart,
    FixedStart,
    GaussianStart,
    RandomPhases,
    UniformStart,
)
from lrnn_jax.environments._tracking import TrackingPlant
from lrnn_jax.environments._wrappers import Delayed, ForceField
