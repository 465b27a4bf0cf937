"""Closed loops: time per epoch and error against the exact result."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from measure import measure

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


WAYS = ["full network, trial by trial", "full network", "theory by rollout", "theory"]


@pytest.mark.parametrize("what", [*WAYS, "expected loss, theory"])
def test_low_rank(benchmark, what):
    slow, full = what in WAYS[:3], "full" in what
    epochs = 100 if slow else 1000
    batches = DOUBLE.sample(jr.key(0), (epochs + 1) * 100).reshape(epochs + 1, 100, 2)
    by_steps = lrnn.Evaluation.ROLLOUT if slow and what != WAYS[1] else lrnn.Evaluation.AUTO
    loop = lrnn.ClosedLoop(DOUBLE, 50, evaluation=by_steps)
    data = None if "expected" in what else batches
    model = controller() if full else lrnn.reduce(controller())
    method = lrnn.Descent(0.01, clip=1.0)

    def run(model=model):
        return lrnn.learn(model, loop, method, epochs=epochs, batches=data)

    curve = measure(benchmark, run, epochs=epochs, work=f"closed loop, {what}", **SIZES)
    other = lrnn.reduce(controller()) if full else controller()
    short = {"epochs": 20, "batches": data}
    a, b = (lrnn.learn(m, loop, method, **short) for m in (model, other))
    benchmark.extra_info["error"] = float(a.distance(b).max)
    assert benchmark.extra_info["error"] < 1e-11
    assert curve.loss[-1] < curve.loss[0]


def test_dense_closed_loop(benchmark):
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), 50, batch=100, control_cost=0.005)
    method, key = lrnn.Descent(0.01, clip=1.0), jr.key(0)
    curve = measure(
        benchmark,
        lambda: lrnn.learn(dense(), loop, method, epochs=20, key=key),
        epochs=20,
        work="closed loop, dense tanh",
        **SIZES,
    )
    assert curve.loss[-1] < curve.loss[0]


def test_open_loop_student(benchmark):
    task = lrnn.TeacherStudent(dense(), 50, batch=100)
    student = dense(activation=lrnn.Tanh())
    student = lrnn.DenseRNN(
        student.w.T, -student.w_in, student.w_out, dt=1.0, activation=lrnn.Tanh()
    )
    method, key = lrnn.Descent(0.01, clip=1.0), jr.key(0)
    curve = measure(
        benchmark,
        lambda: lrnn.learn(student, task, method, epochs=20, key=key),
        epochs=20,
        work="open-loop student, dense tanh",
        **SIZES,
    )
    assert jnp.isfinite(curve.loss[-1])


def test_tracking(benchmark):
    loop = lrnn.ClosedLoop(lrnn.TrackingPlant(), 300, batch=100)
    net = dense(100, 4, 2, 0.1, lrnn.Identity())
    method, key = lrnn.Training(optax.adam(1e-3)), jr.key(0)
    curve = measure(
        benchmark,
        lambda: lrnn.learn(net, loop, method, epochs=5, key=key),
        epochs=5,
        work="tracking, dense linear",
        **{"n": 100, "steps": 300},
    )
    assert curve.loss[-1] < curve.loss[0]
