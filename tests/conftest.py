"""The strict world tests run in: float64, no silent promotion, shapes and types checked."""

import os
import sys
from importlib.metadata import version

import pytest

if "slow" not in sys.argv:  # small tests take longer to compile than to run: compile them fast
    flags = "--xla_backend_optimization_level=0"
    if version("jaxlib") < "0.11":  # later ones may not know it, and end at flags they do not know
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

with install_import_hook("lrnn_jax", "beartype.beartype"):
    import lrnn_jax as lrnn


@pytest.fixture
def task() -> "lrnn.ExponentialFilter":
    """A short exponential filter."""
    return lrnn.ExponentialFilter(rate=0.2, dt=0.05, steps=100)


@pytest.fixture
def net() -> "lrnn.LowRankRNN":
    """A rank-1 network of 60 neurons."""
    return lrnn.LowRankRNN.normalised(n=60, rank=1, dt=0.05, key=jax.random.key(0))


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Free compiled programs after each file: thousands of them exhaust a process's memory maps."""
    yield
    jax.clear_caches()
