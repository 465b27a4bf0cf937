"""Reductions: networks as a function of their overlaps."""

from lrnn_jax.reduced._base import AbstractReduction, GramSpace, LinearSystem
from lrnn_jax.reduced._bridge import linear_system, reduce, simplest
from lrnn_jax.reduced._closure import variance_beyond
from lrnn_jax.reduced._compressed import (
    Compressed,
    CompressedSpace,
    Crowd,
    as_crowd,
    as_neurons,
    compress,
)
from lrnn_jax.reduced._dense import CompressedDense, CoreSpace
from lrnn_jax.reduced._mixture import MixtureRNN
from lrnn_jax.reduced._population import population
from lrnn_jax.reduced._reduced import ReducedRNN
