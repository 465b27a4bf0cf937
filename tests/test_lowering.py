"""Programs for a GPU, lowered without one: no call that only a CPU has, and none of the host."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax import learning, overlaps, stability

unchecked = importlib.import_module("lrnn_jax.learning._unchecked").unchecked

NET = lrnn.LowRankRNN.normalised(8, dt=0.1, key=jr.key(0))
TWO = lrnn.LowRankRNN.normalised(8, 2, dt=0.1, key=jr.key(1))
BENT = lrnn.LowRankRNN.normalised(8, dt=0.1, key=jr.key(0), activation=lrnn.Erf())
DENSE = lrnn.CurrentRNN(
    np.eye(4) / 2, np.ones((4, 1)), np.ones((1, 4)), dt=0.1, activation=lrnn.Tanh()
)
TRACKER = lrnn.DenseRNN(np.eye(4) / 2, np.ones((4, 4)), np.ones((2, 4)), dt=0.1)
WIDE = lrnn.LowRankRNN.normalised(80, dt=0.1, key=jr.key(3))
LINEAR = lrnn.LowRankRNN.normalised(8, dt=1.0, key=jr.key(2))
TASK = lrnn.ExponentialFilter(0.2, 0.1, 20)
WAVE = lrnn.OscillatingFilter(0.2, 1.0, 0.1, 20)
FLIPS = lrnn.FlipFlop(0.1, 60, 2)
PLANT = lrnn.KIntegrator(2)
DESCENT = lrnn.Descent(0.1)
FULL = lrnn.Descent(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3, clip=1.0, rates={"m": 0.5})
LOOP = lrnn.ClosedLoop(PLANT, 5, control_cost=0.1)
SPECTRAL = lrnn.Flow(0.1, solver=learning.Isospectral())
MIXED = lrnn.MixtureRNN([NET.overlaps] * 2, np.array([0.5, 0.5]), dt=0.1, activation=lrnn.Tanh())
BY = {
    way: lrnn.ExponentialFilter(0.2, 0.1, 20, evaluation=lrnn.Evaluation[way])
    for way in ("ROLLOUT", "DOUBLING", "CLOSED_FORM")
}


def learns(model, task, method=DESCENT, **options):
    """What learning leaves, as a function of the model's arrays."""

    def run(model):
        key = jr.key(1) if task.stochastic else None
        curve = lrnn.learn(model, task, method, epochs=3, key=key, throw=False, **options)
        return curve.loss, curve.gram, jax.tree.leaves(curve.model)

    return run, model


def swept(model, lr):
    """As a sweep runs its cells: over learning rates, shared out over a mesh of devices."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("cell",))

    def cell(lr):
        return learns(model, TASK, lrnn.Descent(lr))[0](model)[0]

    shared = jax.sharding.PartitionSpec("cell")
    return (
        jax.shard_map(
            jax.vmap(cell), mesh=mesh, in_specs=shared, out_specs=shared, check_vma=False
        ),
        lr,
    )


def last_loss(lr):
    model = lrnn.reduce(NET)
    return learns(model, TASK, lrnn.Descent(lr))[0](model)[0][-1]


def drift(model):
    noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    return jax.tree.leaves(lrnn.noise_drift(model, noisy, DESCENT, epochs=2))


def with_overlaps(q):
    return lrnn.LowRankRNN.with_overlaps(q, n=8, dt=0.1, key=jr.key(0)).vectors


CASES = {
    "rollout": lambda: learns(lrnn.reduce(NET), BY["ROLLOUT"]),
    "doubling": lambda: learns(lrnn.reduce(NET), BY["DOUBLING"], FULL),
    "closed form": lambda: learns(lrnn.reduce(TWO), WAVE, FULL),
    "normalised": lambda: learns(lrnn.reduce(NET), BY["CLOSED_FORM"], lrnn.NormalisedDescent(0.1)),
    "muon": lambda: learns(lrnn.reduce(TWO), WAVE, lrnn.Muon(0.1, momentum=0.9)),
    "rule": lambda: learns(
        lrnn.reduce(NET), TASK, lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly())
    ),
    "network": lambda: learns(NET, TASK, lrnn.Training(optax.adam(0.1))),
    "checkpointed": lambda: learns(NET, TASK, simulate=lrnn.Checkpointed()),
    "through the reduction": lambda: learns(TWO, WAVE, simulate=lrnn.ThroughReduction()),
    "closure": lambda: learns(lrnn.reduce(BENT), FLIPS),
    "erf network": lambda: learns(BENT, FLIPS, FULL),
    "population": lambda: learns(lrnn.population(BENT, 8, key=jr.key(2)), FLIPS),
    "mixture": lambda: learns(MIXED, FLIPS),
    "dense": lambda: learns(DENSE, FLIPS, lrnn.Training(optax.sgd(0.1))),
    "white noise": lambda: learns(lrnn.reduce(NET), lrnn.WhiteNoise(TASK, batch=2)),
    "private noise": lambda: learns(lrnn.reduce(NET), lrnn.PrivateNoise(FLIPS, 0.1, neurons=50)),
    "rate cost": lambda: learns(lrnn.reduce(NET), lrnn.RateCost(TASK, 0.1)),
    "decision": lambda: learns(BENT, lrnn.DecisionMaking(0.1, 2)),
    "expected loop": lambda: learns(lrnn.reduce(LINEAR), LOOP),
    "delayed loop": lambda: learns(LINEAR, lrnn.ClosedLoop(lrnn.Delayed(PLANT, 2), 5, batch=3)),
    "tracking": lambda: learns(TRACKER, lrnn.ClosedLoop(lrnn.TrackingPlant(), 5, batch=3)),
    "watched": lambda: learns(lrnn.reduce(LINEAR), LOOP, watch=stability.LoopMatrix(PLANT)),
    "sweep": lambda: swept(lrnn.reduce(NET), jnp.ones(3)),
    "gradient through learning": lambda: (jax.grad(last_loss), jnp.asarray(0.1)),
    "drift": lambda: (drift, lrnn.reduce(NET)),
    "twin": lambda: (lambda q: lrnn.degenerate_twin(q, uu=9.0).gram, NET.overlaps),
    "vectors": lambda: (with_overlaps, NET.overlaps),
    "realisable": lambda: (lambda q: overlaps.is_realisable(q.gram), NET.overlaps),
    "flow": lambda: learns(lrnn.reduce(NET), TASK, lrnn.Flow(0.1)),
    "isospectral": lambda: learns(lrnn.reduce(NET), TASK, SPECTRAL),
}


OF_A_GPU = ("cusolver_", "cublas_", "cu_")
"""What may be called: linear algebra and random numbers of the device's own."""
FAST = (
    *("closed form", "muon", "network", "through the reduction", "closure", "erf network"),
    *("expected loop", "watched", "sweep", "flow", "twin", "vectors", "realisable"),
)
"""Cases that call, each, for something of their own."""


def calls(function, *arguments):
    """The names of all calls in a program for CUDA that are not made of its own instructions."""
    program = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    return re.findall(r"custom_call @([\w$.]+)", program.as_text())


def paced(name):
    return pytest.param(name, marks=() if name in FAST else pytest.mark.slow)


@pytest.mark.parametrize("name", [paced(name) for name in CASES])
def test_every_program_can_be_made_for_a_gpu(name):
    found = set(calls(*CASES[name]()))
    assert {call for call in found if not call.startswith(OF_A_GPU)} == set()


def test_what_a_gpu_lacks_would_be_noticed():
    def asks(x):
        return jax.pure_callback(np.sin, x, x, vmap_method="expand_dims")

    with pytest.raises(ValueError, match="cpu is different from the lowering platform cuda"):
        calls(asks, jnp.ones(3))
    assert calls(jnp.linalg.eigh, jnp.eye(3)) == ["cusolver_syevd_ffi"]
    (call,) = calls(jnp.linalg.eigvals, jnp.eye(3))  # computed by the host: ours, by NumPy there
    assert not call.startswith(OF_A_GPU)


def test_where_a_single_reduction_belongs_is_said_once(monkeypatch):
    module = importlib.import_module("lrnn_jax.learning._learn")
    monkeypatch.setattr(module, "HOME", "tpu")  # so that this CPU is what a GPU would be
    module._advise.cache_clear()
    quiet = {
        "trials": lambda: lrnn.learn(BENT, FLIPS, DESCENT, epochs=0, key=jr.key(0)),
        "wide": lambda: lrnn.learn(WIDE, TASK, DESCENT, epochs=0),
        "traced": lambda: jax.eval_shape(last_loss, 0.1),
    }
    for call in quiet.values():
        call()  # warnings are errors here
    with pytest.warns(UserWarning, match=r"a cpu is slow: build it under .*jax.devices\('tpu'\)"):
        lrnn.learn(lrnn.reduce(NET), TASK, DESCENT, epochs=0)
    lrnn.learn(lrnn.reduce(NET), TASK, DESCENT, epochs=0)
    module._advise.cache_clear()


def test_networks_of_every_kind_are_tried():
    assert set(FAST) < set(CASES)
    tried = {type(case()[1]).__name__ for name, case in CASES.items() if name != "population"}
    assert tried >= {"LowRankRNN", "ReducedRNN", "MixtureRNN", "CurrentRNN", "DenseRNN"}


def test_checks_are_left_out_and_nothing_else():
    def root(x):
        return jnp.sqrt(jax.jit(lambda x: eqx.error_if(x, x < 1, "too small"))(x))

    x = jnp.array([0.25, 4.0])
    assert unchecked(root, x).tolist() == [0.5, 2.0]
    slopes = jax.jit(jax.vmap(jax.grad(lambda x: unchecked(root, x))))(x)
    assert slopes.tolist() == [1.0, 0.25]
    with pytest.raises(RuntimeError, match="too small"):
        eqx.filter_jit(root)(x)
    # in a loop they stay
    loop = eqx.filter_jit(lambda x: unchecked(lambda x: jax.lax.map(root, x), x))
    with pytest.raises(RuntimeError, match="too small"):
        jax.block_until_ready(loop(x))


def benchmark(out, only):
    """The benchmark for GPUs, tiny, on the CPU that is here."""
    script = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
    command = [sys.executable, str(script), "--tiny", "--out", str(out), "--only", only]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "gpu.json").read_text())
    table = (out / "gpu.md").read_text()
    assert found["left_out"] == []
    assert found["places"] == {"cpu": "cpu"}
    assert table.count("\n|") == 2 + len(found["rows"])
    return found["rows"]


def test_the_benchmark_for_gpus_writes_what_it_found(tmp_path):
    (row,) = benchmark(tmp_path, "closed form, float64")
    assert row["error"] == 0
    assert row["ms_per_epoch"] > 0


@pytest.mark.slow
def test_the_benchmark_for_gpus_runs_without_one(tmp_path):
    rows = benchmark(tmp_path, "")
    assert {row["kind"] for row in rows} == {"learn", "sweep", "memory"}
    errors = {row["precision"]: row["error"] for row in rows if row["kind"] == "learn"}
    assert errors["float64"] == 0
    assert all(row["error"] < 1e-4 for row in rows if row["kind"] == "learn")
    rates = [row["million_network_epochs_per_s"] for row in rows if row["kind"] == "sweep"]
    assert len(rates) == 4
    assert min(rates) > 0
