"""The closure's error is seen, and foreseen."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import relative_gap, share_beyond_closure
from lrnn_jax.networks import share_outside_span

DT = 0.1
OVERLAPS = lrnn.Overlaps.from_gram(
    jnp.array(
        [[1.0, 0.2, 0.3, 0.3], [0.2, 1.0, 0.3, 0.5], [0.3, 0.3, 1.0, 0.2], [0.3, 0.5, 0.2, 1.0]]
    )
)
TASK = lrnn.FlipFlop(dt=DT, steps=80, batch=5, wait=(1.0, 2.0), input_amp=2.0, target_amp=0.7)
ERF = {"dt": DT, "activation": lrnn.Erf()}


def test_a_gaussian_sample_is_gaussian_to_chance():
    rng = np.random.default_rng(0)
    mixing = jnp.asarray(rng.normal(size=(4, 4)))
    ratios = []
    for _ in range(20):
        theta = jnp.asarray(rng.normal(size=(2000, 4))) @ mixing + 0.7
        net = lrnn.LowRankRNN(*jnp.split(theta, 4, axis=1), **ERF)
        found = lrnn.gaussianity(net)
        ratios.append(float(found.joint / found.chance))
        # the standard error of an excess kurtosis is √(24/N) = 0.11; five of them
        assert jnp.max(jnp.abs(found.kurtosis)) < 0.55
    # 35 independent components, 20 samples: the mean square of the ratios scatters by 5 %
    assert 0.8 < np.mean(np.square(ratios)) < 1.2


def test_dependence_that_no_single_vector_shows_is_seen():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000))
    # a large |a| goes with a large |b|, signs at random: each is normal, together they are not
    order, hidden = np.argsort(np.abs(a)), np.zeros(4000)
    hidden[order] = np.sort(np.abs(b)) * np.sign(rng.normal(size=4000))
    z, v = rng.normal(size=(2, 4000))
    net = lrnn.LowRankRNN(*(jnp.asarray(x) for x in (z, v, a, hidden)), **ERF)
    found = lrnn.gaussianity(net)
    assert jnp.max(jnp.abs(found.kurtosis)) < 0.5  # each is normal
    assert found.joint > 4 * found.chance


def test_share_of_activity_outside_the_span():
    net = lrnn.LowRankRNN.with_overlaps(OVERLAPS, 4000, key=jr.key(0), **ERF)
    states = net.vectors @ jnp.array([[0.0, 0.0, 0.7, 0.9]]).T
    variance = jnp.var(states)
    phi = net.activation
    gain = phi.gain(jnp.zeros(()), variance)
    expected = 1 - gain**2 * variance / phi.power(jnp.zeros(()), variance)
    share = share_outside_span(net, states.T)
    assert abs(share - expected) < 0.1 * expected  # N = 4000: a few in a hundred
    linear = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, dt=DT)
    assert abs(share_outside_span(linear, states.T)) < 1e-13


def test_the_share_beyond_the_closure_is_that_of_a_wide_network():
    net = lrnn.LowRankRNN.with_overlaps(OVERLAPS, 4000, key=jr.key(0), **ERF)
    trials = TASK.sample(jr.key(0))
    everywhere = trials._replace(mask=jnp.ones_like(trials.mask))
    closure = lrnn.reduce(net)
    share = share_beyond_closure(closure, everywhere)
    # at the start the closure is exact; N = 4000: a few in a hundred
    assert abs(share_outside_span(net, net.states(trials.inputs)) - share) < 0.1 * share
    # φ(h) − g h is of third order in h, so the share falls with the fourth power of the input
    sizes = [
        share_beyond_closure(closure, trials._replace(inputs=trials.inputs * x))
        for x in (0.02, 0.01)
    ]
    assert abs(sizes[0] / sizes[1] - 16) < 0.5
    silent = trials._replace(inputs=jnp.zeros_like(trials.inputs))
    assert share_beyond_closure(closure, silent) == 0


def test_the_report_measures_what_it_says():
    nodes = lrnn.population(OVERLAPS, 96, key=jr.key(0), **ERF)
    report = lrnn.diagnose_closure(
        nodes, TASK, lrnn.Descent(0.2), epochs=150, key=jr.key(7), record=50
    )
    truth = lrnn.learn(nodes, TASK, lrnn.Descent(0.2), epochs=150, key=jr.key(7), record=50)
    closure = lrnn.learn(
        lrnn.reduce(nodes), TASK, lrnn.Descent(0.2), epochs=150, key=jr.key(7), record=50
    )
    expected = jnp.max(jnp.abs(truth.gram - closure.gram))
    assert abs(jnp.max(report.overlaps) - expected) < 1e-12
    gap = jnp.linalg.norm(truth.gram - closure.gram, axis=(1, 2))
    assert abs(report.error - jnp.max(gap / jnp.linalg.norm(truth.gram, axis=(1, 2)))) < 1e-13
    assert jnp.all(jnp.diff(report.meter) >= 0)
    assert report.meter[-1] > 0.01
    assert report.joint[-1] > report.joint[0]
    assert report.verdict.startswith(("closure strained", "closure broken"))
    early = lrnn.diagnose_closure(
        nodes, TASK, lrnn.Descent(0.002), epochs=20, key=jr.key(7), record=20
    )
    assert early.verdict.startswith("closure good")


@pytest.mark.slow
def test_the_meter_foresees_the_error_over_many_runs():
    """Random overlaps, inputs and learning rates: rank correlation of meter and true error."""
    from scipy.stats import spearmanr

    rng, meters, errors = np.random.default_rng(0), [], []
    run = jax.jit(
        lambda nodes, task, lr: lrnn.diagnose_closure(
            nodes, task, lrnn.Descent(lr), epochs=400, key=jr.key(7), record=20
        )
    )
    for key in jr.split(jr.key(0), 40):
        nodes = lrnn.population(lrnn.overlaps.random_overlaps(key=key), 512, key=jr.key(0), **ERF)
        task = lrnn.FlipFlop(
            DT, 100, 10, (1.0, 2.0), input_amp=rng.uniform(0.5, 2.5), target_amp=0.7
        )
        report = run(nodes, task, jnp.asarray(10 ** rng.uniform(-2, -0.7)))
        meters.append(float(report.meter[-1]))
        errors.append(float(relative_gap(report.closure, report.truth)))
    rank = spearmanr(meters, errors)
    print(f"\nSpearman correlation {rank.statistic:.3f} (p = {rank.pvalue:.1e}) over {len(meters)}")
    print("errors", np.round(np.sort(errors), 4), "meters", np.round(np.sort(meters), 3))
    assert rank.statistic > 0.5  # chance: below one in a thousand for 40 runs
