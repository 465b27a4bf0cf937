"""Nonlinear networks on batches of trials: time per epoch, memory, error in both precisions.

The error is that of loss curves: of float64 to backpropagation by hand (exact.py), of float32 to
float64.
"""

import exact
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from measure import cast, flips, measure, relative, twins

import lrnn_jax as lrnn

CHECKED = 3  # epochs that backpropagation by hand repeats
LR = 5e-2
SIZES = [
    (1000, 800, 10),
    (250, 800, 10),
    (500, 800, 10),
    (2000, 800, 10),
    (1000, 200, 10),
    (1000, 400, 10),
    (1000, 1600, 10),
    (1000, 800, 2),
    (1000, 800, 40),
]


def erf_network(n, dtype="float64"):
    net = lrnn.LowRankRNN.normalised(n, dt=0.025, key=jr.key(0), activation=lrnn.Erf())
    return cast(net, dtype)


def timed(benchmark, model, task, epochs, work, dtype, **sizes):
    """Time learning, and compare its first losses with backpropagation by hand."""
    method, task = lrnn.Descent(LR), cast(task, dtype)
    key = jr.key(1)

    def run(model=model, task=task, epochs=epochs):
        return lrnn.learn(model, task, method, epochs=epochs, key=key)

    measure(benchmark, run, epochs=epochs, work=work, **sizes)
    return run


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "steps", "batch"), SIZES)
def test_full(benchmark, n, steps, batch, dtype):
    epochs = max(2, min(10, round(4e7 / (n * steps * batch))))
    net, task = erf_network(n, dtype), flips(steps, batch)
    sizes = {"n": n, "steps": steps, "rank": 1, "batch": batch}
    timed(benchmark, net, task, epochs, "erf network, flip-flop", dtype, **sizes)
    if n * steps * batch > 8e6:
        return
    draws = [task.sample(jr.fold_in(jr.key(1), e)) for e in range(CHECKED)]
    data = jax.tree.map(lambda *a: jnp.stack(a), *draws)
    found = lrnn.learn(
        net, cast(task, dtype), lrnn.Descent(LR), epochs=CHECKED, batches=cast(data, dtype)
    )
    expected = exact.erf_losses(erf_network(n), data, LR, CHECKED)
    error = relative(found.loss[:CHECKED], expected)
    benchmark.extra_info["error"] = error
    assert error < (1e-11 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("steps", "batch"), [(800, 10), (200, 10), (3200, 10), (800, 128)])
@pytest.mark.parametrize("what", ["closure", "192 nodes"])
def test_theory(benchmark, what, steps, batch, dtype):
    network, task = erf_network(1000), flips(steps, batch)
    nodes = lrnn.population(network, 192, key=jr.key(2))
    model = lrnn.reduce(network) if what == "closure" else nodes
    sizes = {"n": 1000 if what == "closure" else 192, "steps": steps, "rank": 1, "batch": batch}
    epochs, work = 20, f"flip-flop, {what}"
    run = timed(benchmark, cast(model, dtype), task, epochs, work, dtype, **sizes)
    data = jax.tree.map(lambda *a: jnp.stack(a), *[task.sample(k) for k in jr.split(jr.key(3), 3)])
    found, expected = (
        lrnn.learn(cast(model, d), cast(task, d), lrnn.Descent(LR), epochs=3, batches=cast(data, d))
        for d in (dtype, "float64")
    )
    if dtype == "float32":
        benchmark.extra_info["error"] = relative(found.loss, expected.loss)
        assert benchmark.extra_info["error"] < 1e-4
    assert bool(jnp.isfinite(run().loss).all())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", "ABC")
def test_twins(benchmark, name, dtype):
    """An epoch of `memory_twins`, for one network of a pair that learns at once."""
    model, task, lr, pair = twins(name)
    epochs, method = 50, lrnn.Descent(lr)
    model, task, grams = cast(model, dtype), cast(task, dtype), cast(pair, dtype)

    def one(gram):
        options = {"epochs": epochs, "record": epochs, "throw": False}
        return lrnn.learn(model.with_gram(gram), task, method, key=jr.key(4), **options).loss

    both = jax.jit(jax.vmap(one))
    sizes = {"n": "∞", "steps": round(20 / 0.05), "rank": 1, "batch": 128}
    work = f"twins, task {name}"
    losses = measure(benchmark, lambda: both(grams), epochs=epochs, cells=2, work=work, **sizes)
    assert np.isfinite(np.asarray(losses)).all()
