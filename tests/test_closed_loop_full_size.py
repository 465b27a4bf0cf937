"""Closed-loop claims at the papers' size: `pytest -m slow -n 0 -s`."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import experiments

pytestmark = pytest.mark.slow

LOOPS = {
    f"β = {beta:g}": (lrnn.KIntegrator(2, start=2.0), 1, beta) for beta in (0.0, 0.5, 2.0, 5.0)
}
LOOPS |= {
    "rank 2": (lrnn.KIntegrator(2, start=2.0), 2, 0.0),
    "triple integrator, two outputs": (lrnn.KIntegrator(3, 2, 2, start=2.0), 2, 0.0),
}


@pytest.mark.parametrize(("plant", "rank", "beta"), LOOPS.values(), ids=LOOPS)
def test_network_and_reduction_learn_alike(plant, rank, beta):
    rng, n = np.random.default_rng(0), 100
    bound = 1 / np.sqrt(n)
    z, m = (rng.uniform(-bound, bound, (n, c)) for c in (plant.controls, plant.observations))
    v, u = rng.normal(size=(2, n, rank)) * bound
    net = lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=1.0)
    batches = plant.sample(jr.key(0), 1001 * 100).reshape(1001, 100, -1)
    loop = lrnn.ClosedLoop(plant, 50, control_cost=beta)
    method = lrnn.Descent(0.01, clip=1.0, rates={"m": 0.0})
    by_trial = lrnn.ClosedLoop(plant, 50, control_cost=beta, evaluation=lrnn.Evaluation.ROLLOUT)
    full = lrnn.learn(net, by_trial, method, epochs=1000, batches=batches)
    reduced = lrnn.learn(lrnn.reduce(net), loop, method, epochs=1000, batches=batches)
    gap = float(reduced.distance(full).max)
    loss = float(jnp.max(jnp.abs(reduced.loss / full.loss - 1)))
    print(f"\nmax |ΔQ| {gap:.2e}, relative loss {loss:.2e}, final loss {full.loss[-1]:.4g}")
    assert gap <= 1e-11
    assert loss <= 1e-12


@pytest.mark.parametrize(
    "name", ["three_stages", "tradeoff", "control_cost", "open_vs_closed", "tracking"]
)
def test_experiment(name):
    report = experiments.get(name)()
    for claim in report.claims:
        print(f"\n{claim.text}: {claim.measured}")
    assert all(claim.holds for claim in report.claims)
