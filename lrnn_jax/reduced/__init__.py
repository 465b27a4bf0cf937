"""Reductions: networks as a function of their overlaps."""

from lrnn_jax.reduced._base import AbstractReduction as AbstractReduction
from lrnn_jax.reduced._base import GramSpace as GramSpace
from lrnn_jax.reduced._base import LinearSystem as LinearSystem
from lrnn_jax.reduced._bridge import linear_system as linear_system
from lrnn_jax.reduced._bridge import reduce as reduce
from lrnn_jax.reduced._bridge import simplest as simplest
from lrnn_jax.reduced._closure import variance_beyond as variance_beyond
from lrnn_jax.reduced._mixture import MixtureRNN as MixtureRNN
from lrnn_jax.reduced._population import population as population
from lrnn_jax.reduced._reduced import ReducedRNN as ReducedRNN
