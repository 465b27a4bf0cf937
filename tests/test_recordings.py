"""Overlaps from recorded activity, and the learning that they let one expect."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.inference import Loss, Observations, Outputs
from lrnn_jax.overlaps import regauged

TASK = lrnn.ExponentialFilter(0.2, 0.2, 30)
METHOD = lrnn.Descent(2e-2)
DT, SIGMA = 0.2, 0.1


def gram(rng, rank=1):
    """Overlaps well inside the cone, in the balanced gauge, with vM ≥ 0."""
    k = 2 + 2 * rank
    x = rng.normal(size=(k, k)) * 0.4 + np.eye(k)
    u, v = x[:, k - rank :], x[:, 1 : 1 + rank]
    a, values, b = np.linalg.svd(u @ v.T * 0.8)
    a, b, root = a[:, :rank], b[:rank].T, np.sqrt(values[:rank])
    sign = np.where((b.T @ x[:, 1 + rank]) < 0, -1.0, 1.0)
    x = np.concatenate([x[:, :1], b * root * sign, x[:, [1 + rank]], a * root * sign], axis=1)
    return lrnn.Overlaps.from_gram(x.T @ x, rank=rank)


def recorded(q, n, trials, steps, seed, u=1.0, v=1.0):
    """A network, its states, inputs and outputs; simulated step by step with NumPy."""
    rng = np.random.default_rng(seed)
    net = lrnn.LowRankRNN.with_overlaps(q, n, dt=DT, key=jr.key(seed))
    net = lrnn.LowRankRNN(net.z, net.v * v, net.m, net.u * u, dt=DT)
    z, v, m, u = (np.asarray(x) for x in (net.z, net.v, net.m, net.u))
    x, h = rng.normal(size=(trials, steps, 1)), np.zeros((trials, steps + 1, n))
    for t in range(steps):
        drift = -h[:, t] + h[:, t] @ v @ u.T / n + x[:, t] @ m.T
        h[:, t + 1] = h[:, t] + DT * drift + SIGMA * rng.normal(size=(trials, n))
    return net, h, x, h[:, 1:] @ z / n


def by_numpy(h, x, y, rank, n):
    """Vectors by least squares of samples, and the truncated SVD of W times the root of S."""
    before, after = (part.reshape(-1, n) for part in (h[:, :-1], h[:, 1:]))
    d, x = (after - (1 - DT) * before) / DT, x.reshape(-1, 1)
    w = np.linalg.lstsq(np.concatenate([before, x], axis=1), d, rcond=None)[0][:n].T
    apart = before - x @ np.linalg.lstsq(x, before, rcond=None)[0]
    root = np.linalg.cholesky(apart.T @ apart)
    left, values, right = np.linalg.svd(w @ root)
    w = (left[:, :rank] * values[:rank]) @ np.linalg.solve(root.T, right[:rank].T).T
    m = np.linalg.lstsq(x, d - before @ w.T, rcond=None)[0].T
    z = n * np.linalg.lstsq(after, y.reshape(-1, 1), rcond=None)[0]
    left, values, right = np.linalg.svd(w * n)
    u, v = (part[:, :rank] * np.sqrt(values[:rank]) for part in (left, right.T))
    sign = np.where((v.T @ m)[:, 0] < 0, -1.0, 1.0)
    return z, v * sign, m, u * sign


def products(first, other):
    """Q of others, V and U turned towards the first."""
    both = [np.concatenate([vectors[1], vectors[3]]) for vectors in (other, first)]
    turn, _ = scipy.linalg.orthogonal_procrustes(*both)
    z, v, m, u = other
    theta = np.concatenate([z, v @ turn, m, u @ turn], axis=1)
    return theta.T @ theta / len(theta)


@pytest.mark.parametrize(("rank", "known"), [(1, False), (1, True), (2, False)])
def test_the_estimate_is_a_jackknifed_regression(rank, known):
    """Of single samples by NumPy, again for each group of trials that is left out."""
    q = gram(np.random.default_rng(1), rank)
    net, h, x, y = recorded(q, 12, 60, 20, seed=2)
    given = {"z": net.z} if known else {"outputs": y}
    found = inference.from_recordings(h, x, **given, rank=rank, dt=DT, groups=5)
    first = by_numpy(h, x, y, rank, 12)
    groups = np.array_split(np.arange(60), 5)
    kept = [np.setdiff1d(np.arange(60), group) for group in groups]
    again = [products(first, by_numpy(h[i], x[i], y[i], rank, 12)) for i in kept]
    centre = 5 * products(first, first) - 4 * np.mean(again, axis=0)
    np.testing.assert_allclose(found.overlaps.gram, centre, atol=1e-9)
    left_out = centre + again - np.mean(again, axis=0)
    np.testing.assert_allclose(found.left_out, left_out, atol=1e-9)
    std = np.sqrt(4 / 5 * np.sum((left_out - left_out.mean(0)) ** 2, axis=0))
    low, high = found.intervals()["zm"]
    assert high - low == pytest.approx(2 * 2.776445 * std[0, 1 + rank], rel=1e-5)
    assert float(found.noise) == pytest.approx(SIGMA, rel=0.02)
    assert found.rank_seen == rank


def test_intervals_hold_the_truth_and_noise_is_taken_off_norms():
    """16 networks of 20 neurons, 9 overlaps each; without the correction uu would be too large."""
    hits, errors, raw, expected = [], [], [], []
    for seed in range(16):
        q = gram(np.random.default_rng(seed))
        net, h, x, _ = recorded(q, 20, 60, 20, seed)
        found = inference.from_recordings(h, x, z=net.z, dt=DT, groups=10)
        ends = np.array(list(found.intervals().values()))[:9]
        truth = np.asarray(q.vector())[:9]
        hits.append((ends[:, 0] < truth) & (truth < ends[:, 1]))
        errors.append(float(found.overlaps["uu"] - q["uu"]))
        _, _, _, u = by_numpy(h, x, h[:, 1:] @ np.asarray(net.z), 1, 20)
        raw.append(np.sum(u**2) / 20 - float(q["uu"]))
        expected.append(20 * (1 - DT / 2) / (float(q["uu"]) * 60 * 20 * DT))
    assert np.all(np.sum(hits, axis=0) >= 12)  # of 16: 15.2 ± 0.9
    assert np.mean(hits) > 0.88
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 4  # of 16
    taken = np.subtract(
        raw, errors
    )  # from uu: half of 2N/(uu · trials · T dt), and what noise in u adds
    assert np.mean(taken) == pytest.approx(np.mean(expected), rel=0.5)


def test_recordings_do_not_see_the_gauge():
    """u → 2u, v → v/2: the same states and the same estimate; u → 2u alone is seen."""
    q = gram(np.random.default_rng(3))
    found = []
    for u, v in ((1.0, 1.0), (2.0, 0.5), (1.3**2, 1.0)):
        net, h, x, _ = recorded(q, 10, 60, 20, seed=3, u=u, v=v)
        found.append(inference.from_recordings(h, x, z=net.z, dt=DT))
    np.testing.assert_allclose(found[0].overlaps.gram, found[1].overlaps.gram, atol=1e-9)
    ratio = float(found[2].overlaps["uu"] / found[0].overlaps["uu"])  # √(1.69²)
    assert ratio == pytest.approx(1.69, rel=0.1)


def test_the_rank_is_seen_above_the_noise(tmp_path):
    q = gram(np.random.default_rng(1), 2)
    net, h, x, _ = recorded(q, 12, 60, 20, seed=2)
    found = inference.from_recordings(h, x, z=net.z, dt=DT, groups=5)
    assert found.rank_seen == 2  # and one was assumed
    assert "rank 1 (2 above the noise)" in str(found)
    rng = np.random.default_rng(0)
    loose = np.zeros((60, 21, 12))
    for t in range(20):
        loose[:, t + 1] = 0.8 * loose[:, t] + 0.1 * rng.normal(size=(60, 12))
    assert inference.from_recordings(loose, x, z=net.z, dt=DT).rank_seen == 0
    found.save(tmp_path / "recorded.npz")
    again = inference.Recorded.load(tmp_path / "recorded.npz")
    assert again.intervals() == found.intervals()
    single = inference.from_recordings(np.float32(h), np.float32(x), z=net.z, dt=DT, groups=5)
    np.testing.assert_allclose(single.overlaps.gram, found.overlaps.gram, atol=1e-4)


def known(q, spread=0.0, groups=6):
    """An estimate of these overlaps, as if it had been recorded."""
    noise = spread * np.random.default_rng(0).normal(size=(groups, *q.gram.shape))
    left_out = np.asarray(q.gram) + noise + np.swapaxes(noise, 1, 2)
    return inference.Recorded(q, jnp.asarray(left_out), jnp.ones(5), jnp.array(0.1), jnp.array(DT))


def test_a_forecast_is_the_curve_of_the_network():
    """50 neurons by autodiff, balanced and not; the band is the spread of curves by NumPy."""
    q = gram(np.random.default_rng(5))
    estimate = known(q, 0.002)
    for c in (None, 1.6):
        found = inference.predict(estimate, TASK, METHOD, epochs=30, gauge=c)
        there = regauged(q, 1.0 if c is None else c)
        net = lrnn.LowRankRNN.with_overlaps(there, 50, dt=DT, key=jr.key(1))
        np.testing.assert_allclose(
            found.loss, lrnn.learn(net, TASK, METHOD, epochs=30).loss, rtol=1e-9
        )
    logs = []
    for one in estimate.left_out:
        start = lrnn.ReducedRNN(regauged(lrnn.Overlaps(one, q.roles), 1.6), dt=DT)
        logs.append(np.log(lrnn.learn(start, TASK, METHOD, epochs=30).loss))
    std = np.sqrt(5 / 6 * np.sum((logs - np.mean(logs, axis=0)) ** 2, axis=0))
    np.testing.assert_allclose(found.std, std, rtol=1e-7)
    low, high = found.band(0.9)
    np.testing.assert_allclose(np.log(high / low), 2 * 2.015048 * std, rtol=1e-5)


@pytest.mark.parametrize("c", [0.6, 1.7])
def test_the_first_epochs_fix_the_gauge(c):
    """Of a network that is not balanced; the deviation by central differences in NumPy."""
    q = gram(np.random.default_rng(5))
    net = lrnn.LowRankRNN.with_overlaps(regauged(q, c), 40, dt=DT, key=jr.key(1))
    curve = lrnn.learn(net, TASK, METHOD, epochs=40)
    epochs, sigma = range(0, 11, 2), 1e-4
    data = Observations(Loss(), curve.loss[:11:2], epochs=epochs, noise=sigma)
    found = inference.predict(known(q), TASK, METHOD, epochs=40, seen=data)
    assert float(found.gauge[0, 0]) == pytest.approx(c, rel=1e-5)  # the pull to 1 is as weak
    np.testing.assert_allclose(found.loss, curve.loss, rtol=1e-4)

    def first(log):
        start = lrnn.ReducedRNN(regauged(q, np.exp(log)), dt=DT)
        return np.asarray(lrnn.learn(start, TASK, METHOD, epochs=40).loss)

    slope = (first(np.log(c) + 1e-5) - first(np.log(c) - 1e-5)) / 2e-5
    expected = 1 / np.sqrt(1 + np.sum((slope[:11:2] / sigma) ** 2))
    assert float(found.gauge_std[0]) == pytest.approx(expected, rel=1e-4)
    balanced = inference.predict(known(q), TASK, METHOD, epochs=40)
    assert np.max(np.abs(np.log(balanced.loss / curve.loss))) > 0.02
    np.testing.assert_allclose(found.std, expected * np.abs(slope) / found.loss, 1e-3, 1e-9)


def test_a_gauge_of_rank_two_is_fixed_too():
    """Its outputs in the first epochs: C up to a rotation, and so the curve."""
    q = gram(np.random.default_rng(1), 2)
    c = np.array([[1.3, 0.2], [0.2, 0.8]])
    start = lrnn.ReducedRNN(regauged(q, c), dt=DT)
    curve = lrnn.learn(start, TASK, METHOD, epochs=40, watch=lambda m: Outputs(5).look(TASK, m))
    data = Observations(Outputs(5), curve.watched[:11], epochs=range(11), noise=1e-4)
    found = inference.predict(known(q, groups=2), TASK, METHOD, epochs=40, seen=data)
    np.testing.assert_allclose(found.gauge, c, atol=1e-3)
    np.testing.assert_allclose(found.loss, curve.loss, rtol=1e-4)


H = np.random.default_rng(0).normal(size=(8, 6, 3))
X = np.random.default_rng(1).normal(size=(5, 2))
GIVEN = {"states": H, "inputs": X, "z": np.ones(3), "dt": DT, "groups": 4}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"states": H[0]}, r"`states` have shape \(trial, time \+ 1, neuron\)"),
        ({"states": H[:, :1]}, r"`states` have shape"),
        ({"states": np.where(H > 2, np.nan, H)}, "`states` must be finite"),
        ({"states": H * 1j}, "`states` must hold real numbers"),
        ({"states": H * [1, 1, 0] + H[..., :1] * [0, 0, 1]}, "`states` fill fewer dimensions"),
        ({"inputs": X[:4]}, r"`inputs` have one row for each step .*\(8, 5, channel\)"),
        ({"inputs": X[:, 0]}, "`inputs` have one row"),
        ({"inputs": X * 0}, "`inputs` must vary independently"),
        ({"inputs": X[:, [0, 0]]}, "`inputs` must vary independently"),
        ({"outputs": np.ones((8, 5, 1))}, "`outputs`, or `z` .*: give one of the two"),
        ({"z": None}, "`outputs`, or `z` .*: give one of the two"),
        ({"z": None, "outputs": np.ones((8, 6, 1))}, "`outputs` have one row for each step"),
        ({"z": np.ones(4)}, "`z` has one row a neuron, 3"),
        ({"groups": 9}, "`groups` are at most as many as trials, 8; got 9"),
        ({"groups": 1}, "`groups` must be a whole number of at least 2"),
        ({"states": H[:2, :3], "inputs": X[:2], "groups": 2}, "`states` hold 2 samples .* 5 unk"),
        ({"rank": 4}, "`rank` must be a whole number from 1 to 3"),
        ({"scale": 0.0}, "`scale`"),
        ({"dt": 2.0}, "`dt` is the Euler step"),
    ],
)
def test_recordings_that_do_not_tell_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        inference.from_recordings(**{**GIVEN, **wrong})


def test_forecasts_without_a_meaning_are_refused():
    estimate = known(gram(np.random.default_rng(5)))
    data = Observations(Loss(), np.ones(2), epochs=(0, 1), noise=0.1)
    with pytest.raises(ValueError, match="give one of the two"):
        inference.predict(estimate, TASK, METHOD, epochs=2, gauge=1.0, seen=data)
    with pytest.raises(ValueError, match=r"`gauge` must have shape \(1, 1\)"):
        inference.predict(estimate, TASK, METHOD, epochs=2, gauge=np.ones((2, 3)))
    with pytest.raises(ValueError, match="must be invertible"):
        inference.predict(estimate, TASK, METHOD, epochs=2, gauge=0.0)
    with pytest.raises(ValueError, match="`level`"):
        estimate.intervals(1.0)
