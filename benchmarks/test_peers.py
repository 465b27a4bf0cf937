"""The same work here and in PyTorch or SciPy, in one process, in float64, with equal results.

PyTorch runs with the number of threads, 1 or 2, that is the faster one for it.
"""

import numpy as np
import pytest
from measure import DT, LR, descend, exponential, measure, network
from peers import scipy_flow

import lrnn_jax as lrnn

SIZES = {"n": 500, "steps": 400, "rank": 1}
FULL = "full network, rank 1"
THEORY = "10-overlap theory"
FLOW = "10-overlap gradient flow"
SAME = 1e-8  # largest difference of two loss curves; rounding is 1e-13


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def problem():
    """Arrays of the network and the task."""
    net, task = network(), exponential()
    vectors = [np.asarray(x)[:, 0] for x in (net.z, net.v, net.m, net.u)]
    return vectors, np.asarray(net.overlaps.gram), np.asarray(task.samples)[:, 0, 0]


def losses(epochs):
    """L before each update, by the exact theory."""
    return np.asarray(descend(lrnn.reduce(network()), exponential(), epochs).loss)[:epochs]


def compare(benchmark, run, *, epochs, work, by, expected):
    found = np.asarray(measure(benchmark, run, epochs=epochs, work=work, by=by, **SIZES))
    difference = float(np.abs(found - expected).max())
    benchmark.extra_info["error"] = difference
    assert difference < SAME


def test_full_here(benchmark):
    epochs, net = 200, network()
    compare(
        benchmark,
        lambda: descend(net, exponential(), epochs).loss[:epochs],
        epochs=epochs,
        work=FULL,
        by="lrnn_jax, simulated",
        expected=losses(epochs),
    )


def test_full_here_through_the_reduction(benchmark):
    """The trained weights of the network, and its losses, without simulating it."""
    epochs, net = 2000, network()

    def run():
        curve = descend(lrnn.reduce(net), exponential(), epochs)
        lrnn.lift(curve, net).vectors.block_until_ready()
        return curve.loss[:epochs]

    compare(
        benchmark,
        run,
        epochs=epochs,
        work=FULL,
        by="lrnn_jax, through the reduction",
        expected=losses(epochs),
    )


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_full_torch(benchmark, torch, problem, compiled):
    from peers import torch_full

    torch.set_num_threads(1)
    vectors, _, target = problem
    epochs = 20

    def run():
        options = {"dt": DT, "lr": LR, "epochs": epochs, "compiled": compiled}
        return torch_full.train(vectors, target, **options)

    by = "PyTorch, torch.compile" if compiled else "PyTorch, eager"
    compare(benchmark, run, epochs=epochs, work=FULL, by=by, expected=losses(epochs))


def test_theory_here(benchmark):
    epochs, model, task = 2000, lrnn.reduce(network()), exponential()
    compare(
        benchmark,
        lambda: descend(model, task, epochs).loss[:epochs],
        epochs=epochs,
        work=THEORY,
        by="lrnn_jax, closed form",
        expected=losses(epochs),
    )


@pytest.mark.parametrize("formula", [False, True], ids=["simulated", "formula"])
def test_theory_torch(benchmark, torch, problem, formula):
    from peers import torch_theory

    torch.set_num_threads(2)
    _, gram, target = problem
    epochs = 200 if formula else 20

    def run():
        return torch_theory.train(gram, target, dt=DT, lr=LR, epochs=epochs, formula=formula)[0]

    by = "PyTorch, formula over time" if formula else "PyTorch, simulated (TorchScript)"
    compare(benchmark, run, epochs=epochs, work=THEORY, by=by, expected=losses(epochs))


def flow_of(epochs, rtol, atol):
    flow = lrnn.Flow(LR, rtol=rtol, atol=atol)
    return lrnn.learn(lrnn.reduce(network()), exponential(), flow, epochs=epochs).gram


@pytest.mark.parametrize("here", [True, False], ids=["here", "scipy"])
def test_flow(benchmark, problem, here):
    """Both by the Dormand–Prince method of order 8, at the same tolerances, all epochs saved."""
    _, gram, target = problem
    epochs, tolerance = 2000, {"rtol": 1e-11, "atol": 1e-13}

    def run():
        if here:
            return flow_of(epochs, **tolerance)
        return scipy_flow.flow(gram, target, dt=DT, lr=LR, epochs=epochs, **tolerance)

    by = "lrnn_jax, diffrax" if here else "SciPy, solve_ivp"
    expected = np.asarray(flow_of(epochs, 1e-12, 1e-14))
    compare(benchmark, run, epochs=epochs, work=FLOW, by=by, expected=expected)
