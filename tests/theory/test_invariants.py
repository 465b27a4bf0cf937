"""Gradient flow of a linear network conserves the spectrum of J D⁻¹ Q and UᵀU/d_u − VᵀV/d_v."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

TASK = lrnn.ExponentialFilter(0.2, dt=0.1, steps=20, evaluation=lrnn.Evaluation.ROLLOUT)
EPOCHS = 40
UNEQUAL = {"z": 0.5, "v": 2.0, "m": 0.7, "u": 1.5}
FLOW_DRIFT = 1e-6  # at default tolerances (1e-9 a step); 3e-8 seen


def network(scale=None, **options):
    """Twelve neurons whose families have different norms, so that no invariant is trivial."""
    theta = jr.normal(jr.key(0), (12, 4)) * jnp.array([[1.2, 0.8, 0.9, 0.7]])
    parts = {f: theta[:, i] for i, f in enumerate("zvmu")}
    return lrnn.LowRankRNN(**parts, dt=0.1, scale=scale, **options)


def spectrum(gram, rates=(1.0, 1.0, 1.0, 1.0)):
    """Eigenvalues of J D⁻¹ Q (real, since Q is positive semidefinite), by a general solver."""
    left = np.array([1.0, 1.0, -1.0, -1.0]) / rates
    return np.sort(np.linalg.eigvals(left[:, None] * np.asarray(gram)).real, axis=-1)


def moved(curve):
    return float(jnp.max(jnp.abs(curve.gram[-1] - curve.gram[0])))


@pytest.mark.parametrize("rates", [dict.fromkeys("zvmu", 1.0), UNEQUAL], ids=str)
def test_flow_conserves_spectrum_and_balance(rates):
    red = lrnn.reduce(network())
    curve = lrnn.learn(red, TASK, lrnn.Flow(0.1, rates=rates), epochs=EPOCHS)
    assert moved(curve) > 0.2
    d = np.array([rates.get(f, 1.0) for f in "zvmu"])
    values = spectrum(curve.gram, d)
    assert np.ptp(values, axis=0).max() < FLOW_DRIFT
    balance = curve["uu"] / d[3] - curve["vv"] / d[1]
    assert np.ptp(balance) < FLOW_DRIFT
    assert np.ptp(curve["uu"]) > 0.1
    # tr(J D⁻¹ Q) and the balance together conserve mm/d_m − zz/d_z
    assert np.ptp(curve["mm"] / d[2] - curve["zz"] / d[0]) < FLOW_DRIFT
    reported = lrnn.invariants(red, rates=rates)
    assert reported.spectrum_conserved
    assert reported.balance_conserved
    assert np.allclose(reported.spectrum, values[0], rtol=0, atol=1e-14)
    assert np.allclose(reported.balance, balance[0], rtol=0, atol=1e-14)
    drift = curve.invariant_drift(rates)
    assert drift.shape == (EPOCHS + 1,)
    expected = np.maximum(np.abs(values - values[0]).max(-1), np.abs(balance - balance[0]))
    assert np.allclose(drift, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_balance_is_a_matrix_which_unequal_columns_of_a_family_lose(rate):
    net = lrnn.LowRankRNN.normalised(n=20, rank=2, inputs=2, outputs=3, dt=0.1, key=jr.key(1))
    task = lrnn.ImpulseResponse(np.random.default_rng(0).normal(size=(10, 2, 3)), dt=0.1)
    rates = {"u1": rate}
    curve = lrnn.learn(lrnn.reduce(net), task, lrnn.Flow(0.1, rates=rates), epochs=EPOCHS)
    q = curve.overlaps
    balance = q.block("u", "u") - q.block("v", "v")
    assert balance.shape == (EPOCHS + 1, 2, 2)
    found = lrnn.invariants(net, rates=rates)
    assert found.spectrum.shape == (9,)
    assert found.spectrum_conserved
    assert found.balance_conserved == (rate == 1)
    assert (np.ptp(balance, axis=0).max() < FLOW_DRIFT) == (rate == 1)
    assert float(curve.invariant_drift(rates).max()) < FLOW_DRIFT
    assert moved(curve) > 0.2


@pytest.mark.parametrize("scale", [12.0, 1.0])
def test_flow_of_a_network_conserves_every_entry_of_k(scale):
    """K = [Z V][Z V]ᵀ − [M U][M U]ᵀ (N×N), whose eigenvalues over s are those of JQ."""
    net = network(scale=12.0)
    net = net.with_vectors(net.vectors * jnp.sqrt(scale / 12.0))
    net = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, scale=scale, dt=0.1)
    curve = lrnn.learn(net, TASK, lrnn.Flow(0.1), epochs=EPOCHS)

    def k_over_s(theta):
        return (theta[:, :2] @ theta[:, :2].T - theta[:, 2:] @ theta[:, 2:].T) / scale

    before, after = k_over_s(net.vectors), k_over_s(curve.model.vectors)
    assert jnp.max(jnp.abs(after - before)) < FLOW_DRIFT
    assert moved(curve) > 0.2
    eigenvalues = np.linalg.eigvalsh(before)
    nonzero = np.sort(eigenvalues[np.abs(eigenvalues) > 1e-10])
    assert np.allclose(nonzero, lrnn.invariants(net).spectrum, rtol=0, atol=1e-13)


def test_descent_breaks_the_spectrum_in_proportion_to_the_learning_rate():
    """η² a step, so η over a fixed time; the balance likewise."""
    red = lrnn.reduce(network())
    drifts, balances = [], []
    for halving in range(3):
        lr, epochs = 0.02 / 2**halving, 40 * 2**halving
        curve = lrnn.learn(red, TASK, lrnn.Descent(lr), epochs=epochs, record=epochs)
        drifts.append(np.abs(spectrum(curve.gram[-1]) - spectrum(curve.gram[0])).max())
        balances.append(abs(np.ptp(curve["uu"] - curve["vv"])))
        assert np.isclose(drifts[-1], curve.invariant_drift()[-1], rtol=1e-8) or (
            balances[-1] > drifts[-1]
        )
    for errors in (drifts, balances):
        orders = np.log2(np.divide(errors[:-1], errors[1:]))
        assert errors[0] > 1e-5
        assert np.all(np.abs(orders - 1) < 0.05)


def test_one_step_breaks_the_spectrum_by_the_exact_second_order_term():
    """(1 − ηΓ) J (1 − ηΓ) = J + η² ΓJΓ, since JΓ = −ΓJ."""
    red, lr = lrnn.reduce(network()), 0.1
    q = red.overlaps.gram
    slope = jax.jit(jax.grad(lambda q: TASK.loss(red.with_gram(q))))(q)
    gamma, j = slope + slope.T, jnp.diag(jnp.array([1.0, 1.0, -1.0, -1.0]))
    assert jnp.max(jnp.abs(j @ gamma + gamma @ j)) == 0
    after = lrnn.learn(red, TASK, lrnn.Descent(lr), epochs=1).gram[-1]
    expected = spectrum((j @ (j + lr**2 * gamma @ j @ gamma)) @ q)  # J'Q is similar to JQ_1
    assert np.allclose(spectrum(after), expected, rtol=0, atol=1e-13)
    assert np.abs(spectrum(after) - spectrum(q)).max() > 1e-4


def test_frozen_columns_lose_the_spectrum_and_it_is_said_why():
    net = network(frozen=("m",))
    found = lrnn.invariants(net)
    assert not found.spectrum_conserved
    assert found.balance_conserved
    assert jnp.isnan(found.spectrum).all()
    assert "frozen columns (m)" in found.why[0]
    assert "conserved" in found.why[1]
    curve = lrnn.learn(lrnn.reduce(net), TASK, lrnn.Flow(0.1), epochs=EPOCHS)
    assert np.ptp(spectrum(curve.gram), axis=0).max() > 1e-2
    assert np.ptp(curve["uu"] - curve["vv"]) < FLOW_DRIFT
    assert np.ptp(curve["mm"]) == 0
    assert float(curve.invariant_drift().max()) < FLOW_DRIFT  # of the balance, which is left


@pytest.mark.parametrize("frozen", ["u", "v"])
def test_frozen_u_or_v_lose_the_balance_too(frozen):
    found = lrnn.invariants(network(), rates={frozen: 0.0})
    assert not found.spectrum_conserved
    assert not found.balance_conserved
    assert found.why[1].startswith("UᵀU/d_u − VᵀV/d_v: lost")
    same = lrnn.invariants(network(frozen=(frozen,)))
    assert same.why == found.why
    assert jnp.max(found.drift(same)) == 0


def test_a_frozen_column_wins_over_a_rate_for_it():
    net, rates = network(frozen=("u",)), {"u1": 0.5}
    assert not lrnn.invariants(net, rates=rates).balance_conserved
    curve = lrnn.learn(lrnn.reduce(net), TASK, lrnn.Descent(0.1, rates=rates), epochs=1)
    assert np.ptp(curve["uu"]) == 0
    assert np.ptp(curve["vv"]) > 1e-4
    assert float(curve.invariant_drift(rates).max()) == 0  # nothing is conserved


def test_invariants_of_a_batch_and_of_bare_overlaps():
    nets = [lrnn.reduce(network()), lrnn.reduce(network(scale=6.0))]
    stacked = jnp.stack([net.overlaps.gram for net in nets])
    batch = lrnn.invariants(lrnn.Overlaps.from_gram(stacked))
    assert batch.spectrum.shape == (2, 4)
    assert batch.balance.shape == (2, 1, 1)
    for i, net in enumerate(nets):
        one = lrnn.invariants(net.overlaps)
        assert jnp.allclose(batch.spectrum[i], one.spectrum, rtol=0, atol=1e-14)
        assert jnp.allclose(one.balance[0, 0], net.overlaps["uu"] - net.overlaps["vv"])
        assert jnp.max(jnp.abs(batch.spectrum[i] - spectrum(net.overlaps.gram))) < 1e-13


def test_momentum_and_decay_break_the_invariants():
    """What the docstring says of them, so that nobody relies on the opposite."""

    def drift(momentum, weight_decay):
        method = lrnn.Descent(1e-3, momentum=momentum, weight_decay=weight_decay)
        curve = lrnn.learn(lrnn.reduce(network()), TASK, method, epochs=200, record=200)
        return curve.invariant_drift()[-1]

    assert drift(0.9, 0.0) > 10 * drift(0.0, 0.0)
    assert drift(0.0, 0.1) > 10 * drift(0.0, 0.0)


NILPOTENT = np.kron(np.ones((2, 2)), np.eye(2))  # z = m, v = u: (JQ)² = 0


def test_eigenvalues_of_a_defective_matrix_raise_no_false_alarm():
    """They move by the square root of rounding; what they belong to moves by rounding alone."""
    gram = lrnn.Overlaps.from_gram(NILPOTENT.astype(np.float32))
    red = lrnn.ReducedRNN(gram, dt=np.float32(0.1))
    flow = lrnn.Flow(np.float32(0.05), rtol=1e-5, atol=1e-6, solver=diffrax.Tsit5())
    curve = lrnn.learn(red, TASK, flow, epochs=50)
    history, start = curve.conserved()
    eps = float(np.finfo(np.float32).eps)
    assert moved(curve) > 0.1
    assert float(history.drift(start).max()) > eps**0.5
    assert float(history.missed(start).max()) < 10 * eps


def test_what_is_missed_is_the_least_change_that_would_conserve_the_spectrum():
    """For a symmetric J D⁻¹ Q (Q diagonal) the distance of each eigenvalue, else less of it."""
    q, other = (lrnn.Overlaps.from_gram(np.diag(d)) for d in ([1.0, 2, 3, 4], [1.0, 2, 3, 4.5]))
    a, b = lrnn.invariants(q), lrnn.invariants(other)
    assert np.isclose(a.missed(b), 0.5, rtol=0, atol=1e-14)
    assert np.isclose(a.missed(b), a.drift(b), rtol=0, atol=1e-14)
    red = lrnn.reduce(network())
    change = 1e-3 * np.ones((4, 4))
    moved = lrnn.invariants(lrnn.Overlaps(red.overlaps.gram + change, red.roles))
    start = lrnn.invariants(red)
    assert 0 < float(moved.missed(start)) <= float(moved.drift(start))
    assert float(moved.missed(start)) <= np.linalg.norm(change, 2)


def test_the_alarm_counts_in_units_of_the_overlaps():
    """A loose flow of loadings a hundred times smaller is as wrong as one of large ones."""
    task = lrnn.ExponentialFilter(0.2, 0.1, 20, 1e-4, evaluation=lrnn.Evaluation.ROLLOUT)
    small = network().with_vectors(1e-2 * network().vectors)
    rates = dict.fromkeys("zvmu", 1.0)  # the program of the first test
    loose = lrnn.Flow(1e4, rates=rates, rtol=0.3, atol=0.3)
    curve = lrnn.learn(lrnn.reduce(small), task, loose, epochs=EPOCHS, throw=False)
    drift = float(jnp.nanmax(curve.invariant_drift()))
    size = float(jnp.abs(curve.gram[0]).max())
    assert drift < 1e-4  # not in units of 1
    assert drift > 1e-4 * size
    assert curve.result == lrnn.RESULTS.invariants_lost


def test_the_eigenvalues_of_k_are_those_of_jq():
    net = lrnn.LowRankRNN.normalised(30, dt=0.1, key=jr.key(3))
    k = lrnn.overlaps.conserved_weights(net.vectors, net.roles.left, net.scale)
    eigenvalues = jnp.linalg.eigvalsh(k)
    found = eigenvalues[jnp.argsort(-jnp.abs(eigenvalues))[:4]]
    expected = lrnn.invariants(net).spectrum
    assert float(jnp.max(jnp.abs(jnp.sort(found) - expected))) < 1e-13  # rounding
