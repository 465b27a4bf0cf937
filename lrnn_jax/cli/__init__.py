"""The command line: parse, build, call, save, print."""

from lrnn_jax.cli._analyse import Reading
from lrnn_jax.cli._main import Options, main
