"""Closed loops: time per epoch and error against the exact result."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from measure import cast, measure, relative

import lrnn_jax as lrnn

SIZES = {"n": 100, "steps": 50, "rank": 1}
DOUBLE = lrnn.KIntegrator(2, start=2.0)


def controller(n=100):
    rng, bound = np.random.default_rng(0), 1 / np.sqrt(n)
    z, m = rng.uniform(-bound, bound, (2, n, 1))
    v, u = rng.normal(size=(2, n, 1)) * bound
    return lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=1.0, frozen=("m",))


def dense(n=100, inputs=1, outputs=1, dt=1.0, activation: Any = lrnn.Tanh()):
    rng = np.random.default_rng(0)
    w = 0.1 * rng.normal(size=(n, n)) / np.sqrt(n)
    w_in, w_out = rng.normal(size=(n, inputs)) / n, rng.normal(size=(outputs, n)) / n
    return lrnn.DenseRNN(w, w_in, w_out, dt=dt, activation=activation)


def student_of(net):
    """Another network of the same size, with the teacher's read-out."""
    return lrnn.DenseRNN(net.w.T, -net.w_in, net.w_out, dt=net.dt, activation=net.activation)


WAYS = ["full network, trial by trial", "full network", "theory by rollout", "theory"]
METHOD = lrnn.Descent(0.01, clip=1.0)


@pytest.mark.parametrize("what", [*WAYS, "expected loss, theory"])
def test_low_rank(benchmark, what):
    low_rank(benchmark, what)


@pytest.mark.parametrize("what", WAYS[:2])
@pytest.mark.parametrize(
    ("n", "steps", "batch"), [(400, 50, 100), (1600, 50, 100), (100, 200, 100), (100, 50, 400)]
)
def test_low_rank_sizes(benchmark, what, n, steps, batch):
    low_rank(benchmark, what, n, steps, batch)


def low_rank(benchmark, what, n=100, steps=50, batch=100):
    slow, full = what in WAYS[:3], "full" in what
    epochs = 100 if slow else 1000
    epochs = max(10, round(epochs * 5e5 / (n * steps * batch))) if slow else epochs
    batches = DOUBLE.sample(jr.key(0), (epochs + 1) * batch).reshape(epochs + 1, batch, 2)
    by_steps = lrnn.Evaluation.ROLLOUT if slow and what != WAYS[1] else lrnn.Evaluation.AUTO
    loop = lrnn.ClosedLoop(DOUBLE, steps, evaluation=by_steps)
    data = None if "expected" in what else batches
    model = controller(n) if full else lrnn.reduce(controller(n))

    def run(model=model):
        return lrnn.learn(model, loop, METHOD, epochs=epochs, batches=data)

    sizes = {"n": n, "steps": steps, "rank": 1, "batch": batch}
    measure(benchmark, run, epochs=epochs, work=f"closed loop, {what}", **sizes)
    other = lrnn.reduce(controller(n)) if full else controller(n)
    short = {"epochs": 10, "batches": data}
    a, b = (lrnn.learn(m, loop, METHOD, **short) for m in (model, other))
    benchmark.extra_info["error"] = float(a.distance(b).max)
    assert benchmark.extra_info["error"] < 1e-11


def compared(benchmark, learned, dtype, epochs, work, **sizes):
    """Time learned(dtype) and note the error of float32."""
    curve = measure(benchmark, lambda: learned(dtype), epochs=epochs, work=work, **sizes)
    if dtype == "float32":
        error = relative(curve.loss, learned("float64").loss)
        benchmark.extra_info["error"] = error
        assert error < 1e-3
    assert np.isfinite(np.asarray(curve.loss)).all()


DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])
DENSE_SIZES = [(100, 50, 100), (200, 50, 100), (400, 50, 100), (100, 200, 100), (100, 50, 400)]


@DTYPES
@pytest.mark.parametrize(("n", "steps", "batch"), DENSE_SIZES)
def test_dense_closed_loop(benchmark, n, steps, batch, dtype):
    epochs = max(3, round(20 * 5e7 / (n * n * steps * batch)))
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), steps, control_cost=0.005)
    start = loop.plant.sample(jr.key(0), epochs * batch).reshape(epochs, batch, 2)

    def learned(dtype):
        net, task, data = cast((dense(n), loop, start), dtype)
        return lrnn.learn(net, task, METHOD, epochs=epochs, batches=data)

    sizes = {"n": n, "steps": steps, "batch": batch}
    compared(benchmark, learned, dtype, epochs, "closed loop, dense tanh", **sizes)


@DTYPES
def test_open_loop_student(benchmark, dtype):
    task = lrnn.TeacherStudent(dense(), 50, batch=100)
    epochs, keys = 20, jr.split(jr.key(0), 20)

    def drawn(dtype):
        net, own = cast((student_of(dense()), task), dtype)
        return lrnn.learn(net, own, METHOD, epochs=epochs, key=jr.key(0))

    sizes = {"n": 100, "steps": 50, "batch": 100}
    work = "open-loop student, dense tanh"
    measure(benchmark, lambda: drawn(dtype), epochs=epochs, work=work, **sizes)
    data = jax.tree.map(lambda *a: jnp.stack(a), *[task.sample(k) for k in keys])
    losses = [
        lrnn.learn(net, own, METHOD, epochs=20, batches=cast(data, d))
        for d in (dtype, "float64")
        for net, own in [cast((student_of(dense()), task), d)]
    ]
    if dtype == "float32":
        benchmark.extra_info["error"] = relative(losses[0].loss, losses[1].loss)
        assert benchmark.extra_info["error"] < 1e-3


@DTYPES
def test_tracking(benchmark, dtype):
    loop, epochs = lrnn.ClosedLoop(lrnn.TrackingPlant(), 300), 5
    start = loop.plant.sample(jr.key(0), epochs * 100).reshape(epochs, 100, -1)
    method = lrnn.Training(optax.adam(1e-3))

    def learned(dtype):
        net, task, data = cast((dense(100, 4, 2, 0.1, lrnn.Identity()), loop, start), dtype)
        return lrnn.learn(net, task, method, epochs=epochs, batches=data)

    sizes = {"n": 100, "steps": 300, "batch": 100}
    compared(benchmark, learned, dtype, epochs, "tracking, dense linear", **sizes)
