"""Reductions: networks as a function of their overlaps."""

from lrnn_jax.reduced._base import AbstractReduction, GramSpace, LinearSystem
from lrnn_jax.reduced._bridge import linear_system, reduce, simplest
from lrnn_jax.reduced._closure import variance_beyond
from lrnn_jax.reduced._compress import Compressed, compress
from lrnn_jax.reduced._compressed import CompressedSpace, Crowd, as_crowd, as_neurons
from lrnn_jax.reduced._dense import CompressedDense, CoreSpace
from lrnn_jax.reduced._krylov import CoreBulk, krylov_frame
from lrnn_jax.reduced._limits import Truncation, WordLimit, truncation, word_limit
from lrnn_jax.reduced._mixture import MixtureRNN
from lrnn_jax.reduced._population import population
from lrnn_jax.reduced._reduced import ReducedRNN
from lrnn_jax.reduced._words import AbstractWords, Alphabet, Powers, WordBulk, Words, count_words
