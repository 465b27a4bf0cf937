"""The same work here and in PyTorch or SciPy, in one process, in float64, with equal results.

PyTorch runs with the number of threads, 1 or 2, that is the faster one for it.
"""

import functools

import numpy as np
import pytest
from measure import (
    COMPILED,
    DT,
    LR,
    TORCH,
    compare_results,
    descend,
    exponential,
    network,
    oscillator,
)
from peers import scipy_flow

import lrnn_jax as lrnn

THEORY = "10-overlap theory"
FLOW = "10-overlap gradient flow"
RANKS = pytest.mark.parametrize("rank", [1, 2])


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def sizes(rank=1):
    return {"n": 500, "steps": 400, "rank": rank}


def full(rank):
    return f"full network, rank {rank}"


def task_of(rank):
    return exponential() if rank == 1 else oscillator()


@functools.cache
def losses(epochs, rank=1):
    """L before each update, by the exact theory."""
    curve = descend(lrnn.reduce(network(rank=rank)), task_of(rank), epochs)
    return np.asarray(curve.loss)[:epochs]


def compare(benchmark, run, *, epochs, work, by, expected, rank=1):
    compare_results(
        benchmark, run, epochs=epochs, work=work, by=by, expected=expected, **sizes(rank)
    )


@RANKS
def test_full_here(benchmark, rank):
    epochs, net = 100, network(rank=rank)
    compare(
        benchmark,
        lambda: descend(net, task_of(rank), epochs).loss[:epochs],
        epochs=epochs,
        work=full(rank),
        by="lrnn_jax, simulated",
        expected=losses(epochs, rank),
        rank=rank,
    )


@RANKS
def test_full_here_through_the_reduction(benchmark, rank):
    """The trained weights of the network, and its losses, without simulating it."""
    epochs, net = 2000, network(rank=rank)

    def run():
        curve = descend(net, task_of(rank), epochs, simulate=lrnn.ThroughReduction())
        curve.model.vectors.block_until_ready()
        return curve.loss[:epochs]

    compare(
        benchmark,
        run,
        epochs=epochs,
        work=full(rank),
        by="lrnn_jax, through the reduction",
        expected=losses(epochs, rank),
        rank=rank,
    )


@RANKS
@COMPILED
def test_full_torch(benchmark, torch, rank, compiled):
    from peers import torch_full

    torch.set_num_threads(1)
    net, target = network(rank=rank), np.asarray(task_of(rank).samples)[:, 0, 0]
    vectors = [np.asarray(x) for x in (net.z, net.v, net.m, net.u)]
    epochs = 20

    def run():
        options = {"dt": DT, "lr": LR, "epochs": epochs, "compiled": compiled}
        return torch_full.train(vectors, target, **options)

    compare(
        benchmark,
        run,
        epochs=epochs,
        work=full(rank),
        by=TORCH[compiled],
        expected=losses(epochs, rank),
        rank=rank,
    )


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
def test_theory_torch(benchmark, torch, formula):
    from peers import torch_theory

    torch.set_num_threads(2)
    gram, target = problem()
    epochs = 200 if formula else 20

    def run():
        return torch_theory.train(gram, target, dt=DT, lr=LR, epochs=epochs, formula=formula)[0]

    by = "PyTorch, formula over time" if formula else "PyTorch, simulated (TorchScript)"
    compare(benchmark, run, epochs=epochs, work=THEORY, by=by, expected=losses(epochs))


def problem():
    """Q and the filter's response as arrays."""
    return np.asarray(network().overlaps.gram), np.asarray(exponential().samples)[:, 0, 0]


def flow_of(epochs, rtol, atol):
    flow = lrnn.Flow(LR, rtol=rtol, atol=atol)
    return lrnn.learn(lrnn.reduce(network()), exponential(), flow, epochs=epochs).gram


@pytest.mark.parametrize("here", [True, False], ids=["here", "scipy"])
def test_flow(benchmark, here):
    """Both by the Dormand–Prince method of order 8, at the same tolerances, all epochs saved."""
    gram, target = problem()
    epochs, tolerance = 2000, {"rtol": 1e-11, "atol": 1e-13}

    def run():
        if here:
            return flow_of(epochs, **tolerance)
        return scipy_flow.flow(gram, target, dt=DT, lr=LR, epochs=epochs, **tolerance)

    by = "lrnn_jax, diffrax" if here else "SciPy, solve_ivp"
    expected = np.asarray(flow_of(epochs, 1e-12, 1e-14))
    compare(benchmark, run, epochs=epochs, work=FLOW, by=by, expected=expected)
