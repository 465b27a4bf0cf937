"""Closed-loop learning in overlap space is exact, and expected losses are expectations."""

import dataclasses
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.environments import linear_loop, moments

# Rounding over 60 epochs of 20 steps with gradients clipped to 1; all gaps seen are < 1e-13
ROUNDING = 1e-11
DOUBLE, TRIPLE = lrnn.KIntegrator(2, start=2.0), lrnn.KIntegrator(3, 2, 2, dt=0.5)
NOISE = {"noise": np.array([0.3, 0.0]), "observation_noise": 0.2}
NOISY = lrnn.KIntegrator(2, start=2.0, **NOISE)


def network(seed=0, n=30, rank=1, inputs=1, outputs=1, dt=1.0, size=1.0):
    """Entries of order 1/√N, s = 1, as in [CL]."""
    columns = np.cumsum([outputs, rank, inputs])
    theta = np.random.default_rng(seed).normal(size=(n, columns[-1] + rank)) * size / np.sqrt(n)
    z, v, m, u = np.split(theta, columns, axis=1)
    return lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=dt)


CASES = {
    "double integrator": (network(), DOUBLE, 0.0),
    "control cost": (network(1), DOUBLE, 2.0),
    "noise": (network(2), NOISY, 0.1),
    "rank 2, triple integrator, two outputs": (network(3, 30, 2, 2, 2, 0.5), TRIPLE, 0.1),
}


@pytest.mark.parametrize(("net", "plant", "beta"), CASES.values(), ids=CASES)
def test_network_and_reduction_learn_alike(net, plant, beta):
    method = lrnn.Descent(0.01, clip=1.0, rates={"m": 0.0})
    loop = lrnn.ClosedLoop(plant, 20, batch=10, control_cost=beta)
    options = {"epochs": 60, "key": jr.key(0)}
    by_trial = dataclasses.replace(loop, evaluation=lrnn.Evaluation.ROLLOUT)
    full = lrnn.learn(net, by_trial, method, **options)
    reduced = lrnn.learn(lrnn.reduce(net), loop, method, **options)
    assert jnp.max(jnp.abs(full.gram[-1] - full.gram[0])) > 1e-2
    assert full.loss[-1] < full.loss[0]
    assert reduced.distance(full).max < ROUNDING
    assert jnp.max(jnp.abs(reduced.loss / full.loss - 1)) < ROUNDING
    if not loop.noisy:  # simulated in place of second moments, from given batches
        start = jnp.stack([loop.sample(jr.fold_in(jr.key(0), e)) for e in range(61)])
        by_trial = dataclasses.replace(by_trial, batch=None)
        simulated = lrnn.learn(lrnn.reduce(net), by_trial, method, epochs=60, batches=start)
        assert simulated.distance(full).max < ROUNDING
        spanned = lrnn.learn(net, loop, method, **options)
        assert spanned.distance(full).max < ROUNDING


def tracker(seed=0, n=12, size=0.3):
    rng, bound = np.random.default_rng(seed), size / np.sqrt(n)
    w, w_in, w_out = (rng.normal(size=s) * bound for s in ((n, n), (n, 4), (2, n)))
    return lrnn.DenseRNN(w, w_in, w_out, dt=0.1)


@pytest.mark.parametrize("clamp", [None, 20.0, 10.0])
def test_trials_that_span_a_batch_have_its_loss(clamp):
    plant, net = lrnn.TrackingPlant(clamp=clamp), tracker(size=1.0)
    loop = lrnn.ClosedLoop(plant, 40, batch=30)
    every = dataclasses.replace(loop, evaluation=lrnn.Evaluation.ROLLOUT)
    trials = loop.sample(jr.key(0))
    largest = jnp.max(jnp.abs(every.simulate(net, trials).states))
    assert 10 <= largest < 20  # the tightest bound is met, the other one is not
    pairs = [jax.value_and_grad(lambda m: o.loss(m, trials))(net) for o in (loop, every)]  # noqa: B023
    for a, b in zip(*(jax.tree.leaves(pair) for pair in pairs)):
        assert jnp.allclose(a, b, rtol=ROUNDING, atol=ROUNDING)
    if clamp is None:
        return
    few = lrnn.TrackingPlant().sample(jr.key(1), 3)
    assert loop.loss(net, few) == every.loss(net, few)


def test_the_expectation_over_phases_is_that_of_many_trials():
    net, plant = tracker(), lrnn.TrackingPlant(clamp=None)
    exact = lrnn.ClosedLoop(plant, 40)
    starts = plant.sample(jr.key(0), 400)[:, None]
    each = np.asarray(jax.jit(jax.vmap(lambda start: exact.loss(net, start)))(starts))
    error = each.std() / np.sqrt(len(each))
    assert abs(float(exact.loss(net)) - each.mean()) < 5 * error
    assert error < 0.05 * each.mean()
    curve = lrnn.learn(net, exact, lrnn.Descent(0.1, clip=1.0), epochs=30)
    assert curve.loss[-1] < curve.loss[0]
    with pytest.raises(ValueError, match="TrackingPlant is not linear"):
        lrnn.ClosedLoop(lrnn.TrackingPlant(), 40).loss(net)


def test_expected_losses_lead_network_and_reduction_alike():
    loop, method = lrnn.ClosedLoop(NOISY, 16, control_cost=0.1), lrnn.Descent(0.01, clip=1.0)
    full = lrnn.learn(network(), loop, method, epochs=60)
    reduced = lrnn.learn(lrnn.reduce(network()), loop, method, epochs=60)
    assert reduced.distance(full).max < ROUNDING
    assert full.loss[-1] < full.loss[0] / 2


EXPECTED = {
    "noise and cost": (NOISY, network(2), 0.1),
    "triple": (TRIPLE, network(3, 30, 2, 2, 2, 0.5), 0.5),
    "own matrices": (
        lrnn.LinearPlant(
            np.array([[0.9, 0.4], [-0.3, 1.05]]),
            np.array([[0.2], [1.0]]),
            np.array([[1.0, 0.5]]),
            q=np.array([[2.0, 0.3], [0.3, 0.5]]),
            r=0.3,
            start=lrnn.environments.GaussianStart(np.array([[1.0, 0.0], [0.5, 0.7]])),
            process_noise=np.array([[0.3, 0.0], [0.1, 0.2]]),
        ),
        network(4, dt=0.3),
        0.01,
    ),
}


@pytest.mark.parametrize(("plant", "net", "beta"), EXPECTED.values(), ids=EXPECTED)
def test_expectation_is_the_mean_of_samples_and_has_their_gradient(plant, net, beta):
    exact = lrnn.ClosedLoop(plant, 8, control_cost=beta)
    sampled = lrnn.ClosedLoop(plant, 8, batch=50, control_cost=beta)
    reduction = lrnn.reduce(net)

    @jax.jit
    def losses(keys):
        return jax.vmap(lambda key: sampled.loss(reduction, sampled.sample(key)))(keys)

    found = np.asarray(losses(jr.split(jr.key(0), 2000)))
    error = found.std() / np.sqrt(len(found))
    expected = float(exact.loss(reduction))
    assert abs(found.mean() - expected) < 5 * error
    assert error < 0.02 * expected  # so that the agreement means something
    assert abs(exact.loss(net) / expected - 1) < 1e-12
    assert abs(exact.log_loss(net) - math.log(expected)) < 1e-12

    def at(gram):
        return exact.loss(reduction.with_gram(gram))

    gram = reduction.overlaps.gram
    slope = jax.jit(jax.grad(at))(gram)
    direction = jr.normal(jr.key(1), gram.shape)
    h = 1e-5
    ends = [jax.jit(at)(gram + side * h * direction) for side in (1.0, -1.0)]
    difference = (ends[0] - ends[1]) / (2 * h)
    assert abs(jnp.sum(slope * direction) / difference - 1) < 1e-6


def exact_moment(matrix, start, steps):
    """Σ_{t<T} P^t S (P^t)ᵀ in rational arithmetic."""
    p = [[Fraction(float(x)) for x in row] for row in matrix]
    s = [[Fraction(float(x)) for x in row] for row in start]
    d = len(p)

    def product(a, b):
        return [[sum(a[i][k] * b[k][j] for k in range(d)) for j in range(d)] for i in range(d)]

    transposed, total, now = [list(row) for row in zip(*p)], s, s
    for _ in range(steps - 1):
        now = product(product(p, now), transposed)
        total = [[x + y for x, y in zip(*rows)] for rows in zip(total, now)]
    return total


def test_moments_of_unstable_loops_are_exact_beyond_floating_point():
    """|λ| = 1.5 over 1000 steps: 1.5^2000 ≈ 1e352. Eighths make the rational sums cheap."""
    matrix = np.array([[1.5, 0.25], [0.0, -0.75]])
    plant = lrnn.LinearPlant(matrix, np.array([[0.0], [1.0]]), np.eye(2), start=1.0)
    silent = lrnn.LowRankRNN(
        np.zeros((3, 1)), np.ones((3, 1)), np.ones((3, 2)), np.zeros((3, 1)), scale=1.0, dt=1.0
    )
    system = linear_loop(lrnn.reduce(silent), plant)
    total, _ = moments(system, jnp.eye(2), 1000)
    start = np.zeros_like(system.matrix)
    start[:2, :2] = np.eye(2)
    exact = exact_moment(np.asarray(system.matrix), start, 1000)
    assert int(total.exponent) > 1100
    largest = max(abs(x) for row in exact for x in row)
    for i in range(3):
        for j in range(3):
            size = Fraction(float(total.value[i, j])) * Fraction(2) ** int(total.exponent)
            # 10 squarings, each of which doubles relative rounding errors: about 1000 eps
            assert abs(size - exact[i][j]) < largest / 10**12


def unstable():
    """A loop with |λ| = 1.5: λ = 1 ± √zm with zm = 1/4."""
    values = {"zm": 0.25, "zz": 1.0, "mm": 1.0, "uu": 1.0, "vv": 1.0}
    names = ("zu", "vm", "vu", "mu", "zv")
    overlaps = lrnn.Overlaps.from_values(**values, **dict.fromkeys(names, 0.0))
    return lrnn.LowRankRNN.with_overlaps(overlaps, 10, 1.0, dt=1.0, key=jr.key(0))


@pytest.mark.parametrize("plant", [DOUBLE, NOISY], ids=["quiet", "noisy"])
def test_long_unstable_loops_overflow_nothing(plant):
    net = unstable()
    assert np.abs(lrnn.spectrum(net, plant)).max() == pytest.approx(1.5)
    loop = lrnn.ClosedLoop(plant, 1000)
    reduction = lrnn.reduce(net)
    log = float(loop.log_loss(reduction))
    assert abs(log / (2000 * math.log(1.5)) - 1) < 0.01
    assert jnp.isfinite(loop.loss(reduction))

    def slope(loss):
        grad = jax.grad(lambda q: loss(reduction.with_gram(q)))(reduction.overlaps.gram)
        return grad / jnp.max(jnp.abs(grad))

    capped, exact = slope(loop.loss), slope(loop.log_loss)
    assert jnp.max(jnp.abs(capped - exact)) < 1e-12


def test_long_unstable_loops_learn():
    loop, method = lrnn.ClosedLoop(DOUBLE, 1000), lrnn.Descent(0.01, clip=1.0)
    reduction = lrnn.reduce(unstable())
    run = lrnn.learn(reduction, loop, method, epochs=100)
    assert jnp.all(jnp.isfinite(run.loss))
    assert loop.log_loss(run.model) < loop.log_loss(reduction) - 500
    sampled = lrnn.ClosedLoop(DOUBLE, 1000, batch=2, evaluation=lrnn.Evaluation.ROLLOUT)
    run = lrnn.learn(reduction, sampled, method, epochs=1, key=jr.key(0), throw=False)
    assert run.result == lrnn.RESULTS.diverged


def test_small_loops_are_unaffected_by_scaling():
    """A stable loop with |λ| < 0.1 over 1000 steps, whose powers vanish."""
    plant = lrnn.LinearPlant(0.1 * np.eye(2), np.eye(2), np.eye(2), start=1.0)
    silent = network(0, 10, 1, 2, 2, size=1e-3)
    loss = lrnn.ClosedLoop(plant, 1000).loss(lrnn.reduce(silent))
    assert float(loss) == pytest.approx(0.01 / 0.99 / 3 / 1000, rel=1e-4)
