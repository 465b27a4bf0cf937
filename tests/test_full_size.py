"""The main claims at full size: `pytest -m slow -n 0 -s tests/test_full_size.py`."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

pytestmark = pytest.mark.slow

# The claim that is to be shown; what is left is rounding, up to 5e-14 over 10 000 epochs
EXACT = 1e-10
FILTER = lrnn.ExponentialFilter(0.2, dt=0.05, steps=400)
NET = lrnn.LowRankRNN.normalised(500, 1, dt=0.05, key=jr.key(0))
DESCENT = lrnn.Descent(5e-3)


def largest(x):
    return float(jnp.max(jnp.abs(x)))


def compare(net, task, method, epochs, **options):
    """Curves of network and reduction; prints and checks the largest gaps."""
    full = lrnn.learn(net, task, method, epochs=epochs, **options)
    reduced = lrnn.learn(lrnn.reduce(net), task, method, epochs=epochs, **options)
    distance = reduced.distance(full)
    lifted = lrnn.lift(reduced, net).vectors
    relative = largest(lifted - full.model.vectors) / largest(full.model.vectors)
    worst = distance.names[int(jnp.argmax(distance.overlaps))]
    print(
        f"\nN = {net.state_size}, rank {net.roles.rank}, {epochs} epochs: max |ΔQ| = "
        f"{float(distance.max):.2e} ({worst}), max |ΔL| = {float(distance.loss):.2e}, lifted "
        f"vectors {relative:.2e} relative; loss {full.loss[0]:.3g} → {full.loss[-1]:.3g}, "
        f"largest change of an overlap {largest(full.gram[-1] - full.gram[0]):.3g}"
    )
    assert largest(full.gram[-1] - full.gram[0]) > 0.1
    assert distance.max < EXACT
    assert relative < 1e-9
    return full, reduced


def test_rank_one_filter():
    full, _ = compare(NET, FILTER, DESCENT, 2000)
    assert full.loss[-1] < 1e-3 * full.loss[0]
    # the solution in discrete time: q = 1 − dt + dt·vu = e^{−c* dt}
    vu = (np.exp(-0.2 * 0.05) - 0.95) / 0.05
    final = {"zm": full["zm"][-1], "zu*vm": (full["zu"] * full["vm"])[-1], "vu": full["vu"][-1]}
    print({name: float(value) for name, value in final.items()}, "expected 1, vu, vu =", vu)
    for value, expected in zip(final.values(), (1.0, vu, vu)):
        assert abs(value - expected) < 1e-5


def test_rank_two_oscillator():
    net = lrnn.LowRankRNN.normalised(500, 2, dt=0.05, key=jr.key(0))
    task = lrnn.OscillatingFilter(0.3, 2.0, dt=0.05, steps=400)
    full, _ = compare(net, task, DESCENT, 10_000, record=10)
    assert full.loss[-1] < 1e-2 * full.loss[0]
    poles = np.linalg.eigvals(full.overlaps.block("v", "u")[-1])
    # in discrete time 1 − dt + dt λ = e^{(−c* ± iω*) dt}; 0.7 ± 2i for dt → 0
    expected = (np.exp((-0.3 + 2j) * 0.05) - 0.95) / 0.05
    print("eigenvalues of VᵀU/s:", poles, "expected", expected, "and its conjugate")
    assert np.allclose(np.sort_complex(poles), [expected.conj(), expected], rtol=0, atol=1e-5)


def test_all_options_with_a_frozen_column_and_label_noise():
    net = lrnn.LowRankRNN.normalised(200, 1, dt=0.05, key=jr.key(1), frozen=("m",))
    task = lrnn.ExponentialFilter(0.2, dt=0.05, steps=400, label_noise=0.1)
    method = lrnn.Descent(5e-4, momentum=0.9, weight_decay=1e-3, clip=1.0)
    full, _ = compare(net, task, method, 2000, key=jr.key(2))
    assert largest(full.model.m - net.m) == 0
    assert largest(full["mm"] - full["mm"][0]) < 1e-14  # the last is another program's
    noise = 0.05 * 400 * 0.1**2  # dt T σ²: what no network can fit
    assert full.loss[-1] < 0.1 * full.loss[0] + 2 * noise


def test_many_channels_at_rank_three():
    net = lrnn.LowRankRNN.normalised(200, 3, 2, 3, dt=0.05, key=jr.key(1))
    t = 0.05 * np.arange(400)[:, None, None]
    rates = np.array([[0.2, 0.5, 1.0], [0.3, 0.6, 0.9]])
    target = np.exp(-rates * t) * np.array([[[1.0, -0.5, 0.8]]])
    task = lrnn.ImpulseResponse(target, dt=0.05, label_noise=0.02)
    method = lrnn.Descent(5e-4, momentum=0.9, weight_decay=1e-3, clip=1.0, rates={"z2": 0.0})
    full, _ = compare(net, task, method, 2000, key=jr.key(2))
    assert full.loss[-1] < 0.1 * full.loss[0]


def test_flow_is_the_limit_and_keeps_its_invariants():
    reduced = lrnn.reduce(NET)
    flow = lrnn.learn(reduced, FILTER, lrnn.Flow(5e-3), epochs=2000)
    drift = float(flow.invariant_drift().max())
    errors = []
    for halving in range(4):
        method, factor = lrnn.Descent(5e-3 / 2**halving), 2**halving
        curve = lrnn.learn(reduced, FILTER, method, epochs=2000 * factor, record=factor)
        errors.append(largest(curve.gram - flow.gram))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    print(f"\nmax |ΔQ| of descent and flow: {errors}, orders {orders}; drift {drift:.2e}")
    assert np.all(np.abs(orders - 1) < 0.05)
    assert drift < 1e-6


def test_flow_of_the_vectors_is_flow_of_the_overlaps():
    on_vectors = lrnn.learn(NET, FILTER, lrnn.Flow(5e-3), epochs=2000, record=100)
    on_overlaps = lrnn.learn(lrnn.reduce(NET), FILTER, lrnn.Flow(5e-3), epochs=2000, record=100)
    gap = float(on_vectors.distance(on_overlaps).max)
    print(f"\nmax |ΔQ| of the flows of vectors and of overlaps: {gap:.2e}")
    assert gap < 1e-6


def test_noise_theory_near_the_edge_of_stability():
    """`memory_aba` at 2η with 2000 runs in place of 24, in standard errors of 24."""
    net = lrnn.degenerate_twin(
        lrnn.LowRankRNN.normalised(500, 1, dt=0.05, key=jr.key(7)), uu=2.048, mu=0.8
    )
    other = lrnn.ExponentialFilter(0.4, dt=0.05, steps=400)
    phases = [(FILTER, 3000), (other, 1000), (FILTER, 1000), (other, 1000)]
    plan = [(task, DESCENT, epochs) for task, epochs in phases]
    start = lrnn.learn_sequence(lrnn.reduce(net), plan, record=1000).model
    noisy = lrnn.ExponentialFilter(0.2, dt=0.05, steps=400, label_noise=0.1)
    method, options = lrnn.Descent(1e-2), {"epochs": 4000, "record": 4000}

    def run(key):
        curve = lrnn.learn(start, noisy, method, key=key, throw=False, **options)
        return curve.overlaps.vector()[-1]

    many = jax.jit(jax.vmap(run))
    runs = np.concatenate([many(keys) for keys in jr.split(jr.key(100), (4, 500))])
    error = runs.std(axis=0, ddof=1) / np.sqrt(24)
    off = {}
    for directions in (0, 4):
        theory = lrnn.noise_drift(start, noisy, method, directions=directions, **options)
        bias = (np.asarray(theory.mean[-1]) - runs.mean(axis=0)) / error
        off[directions] = float(np.abs(bias).max())
        ratio = np.asarray(theory.std[-1]) / runs.std(axis=0)
        print(f"\n{directions} directions:", *(f"{n} {x:+.2f}" for n, x in zip(theory.names, bias)))
        print("standard deviations, theory / runs:", *(f"{x:.2f}" for x in ratio))
    # 2000 runs know their own mean to √(24/2000) = 0.11 of these
    assert off[4] < 0.5
    assert off[0] > 3
