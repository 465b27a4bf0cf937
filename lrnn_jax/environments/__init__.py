"""Environments: plants, and the closed loop of a plant and a network."""

from lrnn_jax.environments._base import AbstractAutonomousPlant as AbstractAutonomousPlant
from lrnn_jax.environments._base import AbstractPlant as AbstractPlant
from lrnn_jax.environments._closed_loop import ClosedLoop as ClosedLoop
from lrnn_jax.environments._closed_loop import LoopTrials as LoopTrials
from lrnn_jax.environments._closed_loop import Trajectories as Trajectories
from lrnn_jax.environments._demonstrations import Demonstrations as Demonstrations
from lrnn_jax.environments._demonstrations import LoopLoss as LoopLoss
from lrnn_jax.environments._linear import AbstractLinearPlant as AbstractLinearPlant
from lrnn_jax.environments._linear import KIntegrator as KIntegrator
from lrnn_jax.environments._linear import LinearPlant as LinearPlant
from lrnn_jax.environments._moments import LinearLoop as LinearLoop
from lrnn_jax.environments._moments import Scaled as Scaled
from lrnn_jax.environments._moments import cast as cast
from lrnn_jax.environments._moments import linear_loop as linear_loop
from lrnn_jax.environments._moments import moments as moments
from lrnn_jax.environments._pendulum import Pendulum as Pendulum
from lrnn_jax.environments._starts import AbstractStart as AbstractStart
from lrnn_jax.environments._starts import FixedStart as FixedStart
from lrnn_jax.environments._starts import GaussianStart as GaussianStart
from lrnn_jax.environments._starts import RandomPhases as RandomPhases
from lrnn_jax.environments._starts import UniformStart as UniformStart
from lrnn_jax.environments._tracking import TrackingPlant as TrackingPlant
