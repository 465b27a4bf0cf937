"""Sweeps: one function over thousands of networks, in chunks, resumable, on any devices."""

from lrnn_jax.sweeps._dataset import open_sweep as open_sweep
from lrnn_jax.sweeps._grid import Axis as Axis
from lrnn_jax.sweeps._grid import Design as Design
from lrnn_jax.sweeps._grid import grid as grid
from lrnn_jax.sweeps._grid import sampled as sampled
from lrnn_jax.sweeps._grid import zipped as zipped
from lrnn_jax.sweeps._outputs import OUTCOMES as OUTCOMES
from lrnn_jax.sweeps._outputs import Labelled as Labelled
from lrnn_jax.sweeps._outputs import summarise as summarise
from lrnn_jax.sweeps._run import Sweep as Sweep
from lrnn_jax.sweeps._run import sweep as sweep
from lrnn_jax.sweeps._shard import readable as readable
from lrnn_jax.sweeps._store import Store as Store
from lrnn_jax.sweeps._store import StoreError as StoreError
