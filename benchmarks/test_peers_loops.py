"""Controllers in their loops here and in PyTorch: the same trials, equal losses."""

import functools
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from measure import COMPILED, TORCH, compare_results
from test_loops import DOUBLE, SIZES, controller, dense, student_of

import lrnn_jax as lrnn

CLIPPED = {"horizon": 50, "lr": 0.01, "clip": 1.0}
METHOD = lrnn.Descent(0.01, clip=1.0)
ADAM = lrnn.Training(optax.adam(1e-3))
PLANT = lrnn.TrackingPlant()
KEY = jr.key(3)


@pytest.fixture
def torch():
    module = pytest.importorskip("torch")
    module.set_num_threads(2)
    return module


@functools.cache
def starts(epochs):
    return np.asarray(DOUBLE.sample(jr.key(0), epochs * 100)).reshape(epochs, 100, 2)


@functools.cache
def imitation():
    return lrnn.TeacherStudent(dense(), 50, batch=100)


@functools.cache
def observations(epochs):
    """What our epochs draw; PyTorch gets it for nothing, but runs the teacher too."""
    draws: list[Any] = [imitation().sample(jr.fold_in(KEY, e)) for e in range(epochs)]
    return np.stack([np.asarray(inputs) for inputs, _ in draws])


@functools.cache
def phases(epochs):
    return np.asarray(PLANT.sample(jr.key(0), epochs * 100)).reshape(epochs, 100, -1)


def arrays(net):
    """What PyTorch starts from."""
    if isinstance(net, lrnn.DenseRNN):
        return [np.asarray(x) for x in (net.w, net.w_in, net.w_out)]
    return [np.asarray(x) for x in (net.z, net.v, net.m, net.u)]


def low_rank(epochs, reduced=False, way=lrnn.Evaluation.AUTO):
    loop = lrnn.ClosedLoop(DOUBLE, 50, evaluation=way)
    model = lrnn.reduce(controller()) if reduced else controller()
    return lrnn.learn(model, loop, METHOD, epochs=epochs, batches=starts(epochs)).loss[:epochs]


def through_reduction(epochs):
    loop = lrnn.ClosedLoop(DOUBLE, 50)
    options = {"epochs": epochs, "batches": starts(epochs), "simulate": lrnn.ThroughReduction()}
    curve = lrnn.learn(controller(), loop, METHOD, **options)
    curve.model.vectors.block_until_ready()
    return curve.loss[:epochs]


def dense_loop(epochs, **options):
    loop = lrnn.ClosedLoop(DOUBLE, 50, control_cost=0.005)
    options |= {"epochs": epochs, "batches": starts(epochs)}
    return lrnn.learn(dense(), loop, METHOD, **options).loss[:epochs]


def imitate(epochs, **options):
    options |= {"epochs": epochs, "key": KEY}
    curve = lrnn.learn(student_of(dense()), imitation(), METHOD, **options)
    return curve.loss[:epochs] / 50  # ours is a sum over time


def track(epochs):
    loop = lrnn.ClosedLoop(PLANT, 300)
    net = dense(100, 4, 2, 0.1, lrnn.Identity())
    return lrnn.learn(net, loop, ADAM, epochs=epochs, batches=phases(epochs)).loss[:epochs]


ROLLOUT = lrnn.Evaluation.ROLLOUT
HERE = {
    "closed loop, low-rank network": {
        "lrnn_jax": (low_rank, 1000),
        "lrnn_jax, trial by trial": (lambda e: low_rank(e, way=ROLLOUT), 100),
        "lrnn_jax, through the reduction": (through_reduction, 1000),
    },
    "closed loop, overlaps": {
        "lrnn_jax, second moments": (lambda e: low_rank(e, True), 1000),
        "lrnn_jax, trial by trial": (lambda e: low_rank(e, True, ROLLOUT), 100),
    },
    "closed loop, dense tanh network": {
        "lrnn_jax, two devices": (lambda e: dense_loop(e, devices=2), 20),
        "lrnn_jax, one device": (dense_loop, 20),
    },
    "open-loop student, dense tanh network": {
        "lrnn_jax, two devices": (lambda e: imitate(e, devices=2), 20),
        "lrnn_jax, one device": (imitate, 20),
    },
    "tracking, dense linear network": {"lrnn_jax": (track, 5)},
}


def theirs(work, epochs, compiled):
    """The same in PyTorch."""
    from peers import torch_loops

    options = {"compiled": compiled}
    if work == "closed loop, low-rank network":
        return torch_loops.train_low_rank(
            arrays(controller()), starts(epochs), **CLIPPED, **options
        )
    if work == "closed loop, overlaps":
        gram = np.asarray(controller().overlaps.gram)
        return torch_loops.train_overlaps(gram, starts(epochs), **CLIPPED, **options)
    if work == "closed loop, dense tanh network":
        return torch_loops.train_dense(
            arrays(dense()), starts(epochs), control_cost=0.005, **CLIPPED, **options
        )
    if work == "open-loop student, dense tanh network":
        student, teacher = arrays(student_of(dense())), arrays(dense())
        return torch_loops.train_student(
            student, teacher, observations(epochs), lr=0.01 * 50, clip=1.0 / 50, **options
        )
    net = dense(100, 4, 2, 0.1, lrnn.Identity())
    signals = np.stack([np.asarray(PLANT.signals(jnp.asarray(x), 300)) for x in phases(epochs)])
    return torch_loops.train_tracking(
        arrays(net), signals, dt=0.1, clamp=PLANT.clamp, lr=1e-3, **options
    )


@functools.cache
def expected(work, epochs):
    """The losses by simulating every trial here."""
    if work == "closed loop, overlaps" or "low-rank" in work:
        return np.asarray(low_rank(epochs, way=ROLLOUT))
    *_, (run, _) = HERE[work].values()
    return np.asarray(run(epochs))


def sizes(work):
    return SIZES | {"batch": 100, "steps": 300 if "tracking" in work else 50}


@pytest.mark.parametrize(("work", "by"), [(work, by) for work, ways in HERE.items() for by in ways])
def test_here(benchmark, work, by):
    run, epochs = HERE[work][by]
    compare_results(
        benchmark,
        lambda: run(epochs),
        epochs=epochs,
        work=work,
        by=by,
        expected=expected(work, epochs),
        **sizes(work),
    )


@COMPILED
@pytest.mark.parametrize("work", HERE)
def test_torch(benchmark, torch, work, compiled):
    if compiled and "tracking" in work:
        pytest.skip("300 steps take the compiler longer than the experiment")
    epochs = 5 if "tracking" in work else 20
    compare_results(
        benchmark,
        lambda: theirs(work, epochs, compiled),
        epochs=epochs,
        work=work,
        by=TORCH[compiled],
        expected=expected(work, epochs),
        **sizes(work),
    )
