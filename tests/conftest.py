"""The strict world tests run in: float64, no silent promotion, shapes and types checked."""

import atexit
import os
import shutil
import sys
import tempfile
from importlib.metadata import version

import pytest

if "slow" not in sys.argv:  # small tests take longer to compile than to run: compile them fast
    flags = "--xla_backend_optimization_level=0"
    if version("jaxlib") < "0.11":  # later ones may not know it, and end at flags they do not know
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)

import jax
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import install_import_hook

COMPILED = tempfile.mkdtemp(prefix="compiled-")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = COMPILED  # of command lines
if "slow" not in sys.argv:  # each file compiles afresh (below); files share hundreds of programs
    jax.config.update("jax_compilation_cache_dir", COMPILED)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

with install_import_hook("lrnn_jax", "beartype.beartype"):
    import lrnn_jax as lrnn

lrnn.setup_jax(cache=False)


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


@pytest.fixture(scope="module")
def own_cache():
    """JAX's cache of compiled programs as a user has it: none, until one is asked for."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
