"""Sweeps at full size: `pytest -m slow -n 0 -s tests/test_sweeps_full_size.py`."""

import os
import subprocess
import sys

import jax.random as jr
import numpy as np
import pytest
from test_sweeps import finished, kill_at_random, start

import lrnn_jax as lrnn
from lrnn_jax.sweeps import Store, open_sweep, summarise

pytestmark = pytest.mark.slow


def test_networks_and_their_reductions_agree_in_every_cell(tmp_path):
    def run(key, lr, rate, number):
        del number  # counts the repetitions
        net = lrnn.LowRankRNN.normalised(100, dt=0.05, key=key)
        task = lrnn.ExponentialFilter(rate, 0.05, 100)
        options = {"epochs": 100, "record": 20, "throw": False}
        full, reduced = (
            lrnn.learn(model, task, lrnn.Descent(lr), **options)
            for model in (net, lrnn.reduce(net))
        )
        return {**summarise(full), "gap": reduced.distance(full).max}

    cells = {"lr": np.geomspace(1e-3, 1e-2, 8), "rate": np.linspace(0.1, 0.8, 8)}
    cells["number"] = np.arange(16)
    data = lrnn.sweep(cells, run, key=jr.key(0), store=tmp_path, progress=False)
    worst, fine = float(data.gap.max()), int((data.result == 0).sum())
    print(f"\n{data.gap.size} networks of 100 neurons: max |ΔQ| = {worst:.2e}, {fine} successful")
    assert data.gap.size == 1024
    assert fine == 1024
    assert np.isfinite(data.gap).all()
    assert worst <= 1e-10


@pytest.mark.parametrize("kills", [20, 100])
def test_kills_lose_nothing(tmp_path, monkeypatch, kills):
    monkeypatch.setenv("SWEEP_REPEATS", "400")  # 4200 chunks: no run ends before it is killed
    finished(start(tmp_path / "whole"))
    incomplete = kill_at_random(tmp_path / "s", kills, np.random.default_rng(0), longest=6.0)
    store = Store(tmp_path / "s")
    done = len(store.done())
    print(f"\n{kills} kills on one store, {incomplete} left it incomplete; {done} of 4200 chunks")
    finished(start(tmp_path / "s"))
    assert open_sweep(tmp_path / "s").load().identical(open_sweep(tmp_path / "whole").load())
    assert store.damaged() == []
    assert incomplete == kills
    assert kills / 2 < done < 4200


AS_MANY_DEVICES_AS_CORES = """
import os
cores = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, cores)
import jax, jax.random as jr, numpy as np
import lrnn_jax as lrnn

lrnn.setup_jax(devices=len(cores), cache=False)

def drift(key):
    net = lrnn.reduce(lrnn.LowRankRNN.normalised(50, dt=0.05, key=key))
    task = lrnn.ExponentialFilter(0.2, 0.05, 400)
    return lrnn.learn(net, task, lrnn.Descent(5e-3), epochs=2, throw=False).invariant_drift()

def run(key, number):  # eigenvalues of many matrices at once, which LAPACK shares among threads
    return {"drift": jax.vmap(drift)(jr.split(key, 1024)).max()}

cells = {"number": np.arange(8)}
data = lrnn.sweep(cells, run, key=jr.key(0), chunk=1, devices=len(cores), progress=False)
print((data.drift < 1e-3).sum().item())
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a choice of cores")
def test_devices_that_wait_for_their_parts_leave_a_thread_for_them():
    own = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "PJRT_NPROC", "NPROC")}
    done = subprocess.run(
        [sys.executable, "-c", AS_MANY_DEVICES_AS_CORES],
        env=own,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.stdout.split() == ["8"], done.stderr[-2000:]
