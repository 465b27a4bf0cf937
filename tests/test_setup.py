"""`setup_jax` in sessions of their own: first, again, and too late."""

import os
import subprocess
import sys

import jax
import pytest

import lrnn_jax as lrnn

FIRST = """
import os, warnings
warnings.simplefilter("error")
import jax, jax.numpy as jnp
import lrnn_jax as lrnn

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    threads = "3"
else:
    threads = "3" if os.cpu_count() <= 2 else None
lrnn.setup_jax(devices=2)
assert os.environ.get("PJRT_NPROC") == threads  # one is left when each device waits for its parts
lrnn.setup_jax(devices=2)  # a cell of a notebook that is run twice
assert jnp.ones(3).dtype == "float64"
assert jax.device_count() == 2
lrnn.setup_jax()
flags = os.environ["XLA_FLAGS"].split()
assert len(flags) == 3, flags
assert flags[0] == "--xla_cpu_enable_fast_math=false"
task = lrnn.ExponentialFilter(0.2, 0.1, 20)
net = lrnn.reduce(lrnn.LowRankRNN.normalised(9, dt=0.1, key=jax.random.key(0)))
lrnn.learn(net, task, lrnn.Descent(0.01), epochs=3)
try:
    lrnn.setup_jax(devices=3)
except ValueError as error:
    print(error)
"""
LATE = """
import os, warnings
import jax, jax.numpy as jnp
import lrnn_jax as lrnn

assert jnp.ones(3).dtype == "float32"
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    lrnn.setup_jax(cache="kept")
assert jnp.ones(3).dtype == "float64"
assert "small_while_loop" not in os.environ.get("XLA_FLAGS", "")
(warning,) = told
print(warning.filename, warning.message)
"""


def session(code, folder, **environment):
    """What a fresh process prints."""
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    own |= {"XDG_CACHE_HOME": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_first_it_sets_all_and_again_it_changes_nothing(tmp_path):
    said = session(FIRST, tmp_path, XLA_FLAGS="--xla_cpu_enable_fast_math=false")
    assert "start afresh, with setup_jax(devices=3) first" in said
    assert list((tmp_path / "lrnn_jax").rglob("jit_*-cache"))


def test_late_it_says_that_loops_stay_slow(tmp_path):
    said = session(LATE, tmp_path)
    assert said.startswith("<string> JAX has computed in this process already")
    assert (tmp_path / "kept").is_dir()


def test_flags_of_ones_own_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=a=b")
    lrnn.setup_jax(cache=False)
    assert os.environ["XLA_FLAGS"] == "--xla_backend_extra_options=a=b"


def test_loops_may_stay_as_they_are(monkeypatch):
    jax.devices()  # JAX has started
    monkeypatch.setenv("XLA_FLAGS", "")
    lrnn.setup_jax(cache=False, fuse_loops=False)  # too late for others, and no warning
    with pytest.warns(UserWarning, match="start afresh"):
        lrnn.setup_jax(cache=False)
    assert os.environ["XLA_FLAGS"] == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dtype": "float16"}, '`dtype` must be "float64" or "float32"; got'),
        ({"dtype": "float32", "cache": __file__}, "`cache` = .*test_setup.py cannot be made"),
        ({"dtype": "float32", "devices": 0}, "`devices` must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(wrong, said):
    before = os.environ["XLA_FLAGS"], jax.config.jax_enable_x64
    with pytest.raises(ValueError, match=said):
        lrnn.setup_jax(**wrong)
    assert (os.environ["XLA_FLAGS"], jax.config.jax_enable_x64) == before
