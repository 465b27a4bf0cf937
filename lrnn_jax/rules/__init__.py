"""Learning rules: how a direction of learning is computed. What is made of it: the methods."""

from lrnn_jax.rules._base import AbstractRule, EpochLoss
from lrnn_jax.rules._gradient import Gradient
from lrnn_jax.rules._visible_only import VisibleOnly
