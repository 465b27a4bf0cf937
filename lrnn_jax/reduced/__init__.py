"""Reductions: networks as a function of their overlaps."""

from lrnn_jax.reduced._bridge import degenerate_twin as degenerate_twin
from lrnn_jax.reduced._bridge import reduce as reduce
from lrnn_jax.reduced._mixture import MixtureRNN as MixtureRNN
from lrnn_jax.reduced._population import AbstractRule as AbstractRule
from lrnn_jax.reduced._population import GaussHermite as GaussHermite
from lrnn_jax.reduced._population import Sobol as Sobol
from lrnn_jax.reduced._population import gauss_hermite as gauss_hermite
from lrnn_jax.reduced._population import population as population
from lrnn_jax.reduced._reduced import AbstractReduction as AbstractReduction
from lrnn_jax.reduced._reduced import LinearSystem as LinearSystem
from lrnn_jax.reduced._reduced import ReducedRNN as ReducedRNN
