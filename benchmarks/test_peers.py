"""The same work by PyTorch and SciPy and by us, in one run, in float64, with equal results."""

import jax
import numpy as np
import pytest
from measure import DT, LR, descend, exponential, measure, network

import lrnn_jax as lrnn

STEPS = 400
SIZES = {"n": 500, "steps": STEPS, "rank": 1}


def inputs():
    """Vectors, Gram matrix and target as NumPy arrays."""
    net, task = network(), exponential(STEPS)
    vectors = [np.asarray(x)[:, 0] for x in (net.z, net.v, net.m, net.u)]
    return vectors, np.asarray(net.overlaps.gram), np.asarray(task.samples)[:, 0, 0]


def gap(found, wanted):
    """Largest difference, relative to the largest value."""
    wanted = np.asarray(wanted)
    return float(np.max(np.abs(np.asarray(found) - wanted)) / np.max(np.abs(wanted)))


@pytest.mark.parametrize("who", ["ours", "torch, eager", "torch, compiled"])
def test_full_network(benchmark, who):
    vectors, _, target = inputs()
    epochs = 100 if who == "ours" else 20
    ours = descend(network(), exponential(STEPS), 100)
    if who == "ours":

        def run():
            return descend(network(), exponential(STEPS), epochs).loss
    else:
        torch_full = pytest.importorskip("peers.torch_full", reason="needs PyTorch")

        def run():
            options = {"dt": DT, "lr": LR, "epochs": epochs}
            return torch_full.train(vectors, target, compiled="compiled" in who, **options)

    losses = measure(benchmark, run, epochs=epochs, work="full network, peers", who=who, **SIZES)
    benchmark.extra_info["error"] = gap(losses[:epochs], ours.loss[:epochs])
    assert benchmark.extra_info["error"] < 1e-8


@pytest.mark.parametrize("who", ["ours", "torch, rollout", "torch, formula"])
def test_theory(benchmark, who):
    _, gram, target = inputs()
    epochs = {"ours": 2000, "torch, rollout": 20, "torch, formula": 200}[who]
    reduction, task = lrnn.reduce(network()), exponential(STEPS)
    ours = descend(reduction, task, epochs)
    if who == "ours":

        def run():
            return descend(reduction, task, epochs).loss
    else:
        torch_theory = pytest.importorskip("peers.torch_theory", reason="needs PyTorch")

        def run():
            options = {"dt": DT, "lr": LR, "epochs": epochs, "formula": "formula" in who}
            return torch_theory.train(gram, target, **options)[0]

    losses = measure(
        benchmark, run, epochs=epochs, work="10-overlap theory, peers", who=who, **SIZES
    )
    benchmark.extra_info["error"] = gap(losses[:epochs], ours.loss[:epochs])
    assert benchmark.extra_info["error"] < 1e-8


@pytest.mark.parametrize("who", ["ours", "scipy solve_ivp"])
def test_flow(benchmark, who):
    from peers.scipy_flow import flow

    _, gram, target = inputs()
    epochs, reduction, task = 2000, lrnn.reduce(network()), exponential(STEPS)

    def ours():
        return lrnn.learn(reduction, task, lrnn.Flow(LR), epochs=epochs).gram

    def theirs():
        return flow(gram, target, dt=DT, lr=LR, epochs=epochs)

    run = ours if who == "ours" else theirs
    found = measure(benchmark, run, epochs=epochs, work="flow, peers", who=who, **SIZES)
    benchmark.extra_info["error"] = gap(found, jax.block_until_ready(ours()))
    assert benchmark.extra_info["error"] < 1e-6  # both at rtol 1e-9
