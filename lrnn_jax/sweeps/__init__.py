"""Sweeps: one function over thousands of networks, in chunks, resumable, on any devices."""

from lrnn_jax.sweeps._file import Runnable as Runnable
from lrnn_jax.sweeps._file import read_sweep as read_sweep
from lrnn_jax.sweeps._folder import Store as Store
from lrnn_jax.sweeps._grid import Axis as Axis
from lrnn_jax.sweeps._grid import Design as Design
from lrnn_jax.sweeps._grid import grid as grid
from lrnn_jax.sweeps._grid import sampled as sampled
from lrnn_jax.sweeps._grid import zipped as zipped
from lrnn_jax.sweeps._outputs import OUTCOMES as OUTCOMES
from lrnn_jax.sweeps._outputs import Labelled as Labelled
from lrnn_jax.sweeps._outputs import summarise as summarise
from lrnn_jax.sweeps._pipeline import AbstractWorker as AbstractWorker
from lrnn_jax.sweeps._plan import readable as readable
from lrnn_jax.sweeps._read import open_sweep as open_sweep
from lrnn_jax.sweeps._store import AbstractStore as AbstractStore
from lrnn_jax.sweeps._store import StoreError as StoreError
from lrnn_jax.sweeps._sweep import Sweep as Sweep
from lrnn_jax.sweeps._sweep import sweep as sweep
