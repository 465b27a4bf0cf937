"""Sweeps: one function over thousands of networks, in chunks, resumable, on any devices."""

from lrnn_jax.sweeps._file import Runnable, read_sweep
from lrnn_jax.sweeps._folder import Store
from lrnn_jax.sweeps._grid import Axis, Design, grid, sampled, zipped
from lrnn_jax.sweeps._groups import in_groups
from lrnn_jax.sweeps._outputs import OUTCOMES, Labelled, summarise
from lrnn_jax.sweeps._pipeline import AbstractWorker, Stopped, message_of
from lrnn_jax.sweeps._plan import readable
from lrnn_jax.sweeps._store import AbstractStore, StoreError
from lrnn_jax.sweeps._sweep import Sweep, open_sweep, sweep
