"""Reductions: networks as a function of their overlaps."""

from lrnn_jax.reduced._bridge import degenerate_twin as degenerate_twin
from lrnn_jax.reduced._bridge import reduce as reduce
from lrnn_jax.reduced._reduced import LinearSystem as LinearSystem
from lrnn_jax.reduced._reduced import ReducedRNN as ReducedRNN
