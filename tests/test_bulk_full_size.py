"""Random bulks in full size: tables of truncation, networks up to N = 2000, RFLO cores."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import reduced
from lrnn_jax.overlaps import Roles

pytestmark = pytest.mark.slow

DT, STEPS, EPOCHS = 0.2, 40, 150
TASK = lrnn.ImpulseResponse(target=np.exp(-0.2 * DT * np.arange(STEPS)), dt=DT)
A = np.random.default_rng(0).standard_normal((4, 8))
Q0 = A @ A.T / np.sqrt(np.outer(*[np.diag(A @ A.T)] * 2))
OVERLAPS = lrnn.Overlaps.from_gram(Q0)


def largest(x):
    return float(np.max(np.abs(np.asarray(x))))


def learned(g, length, lr=0.02, turns=None, symmetric=False, epochs=EPOCHS):
    words = reduced.Words(length, turns=turns, tolerance=10.0)
    limit = reduced.word_limit(OVERLAPS, g, words, dt=DT, symmetric=symmetric)
    return lrnn.learn(limit.network, TASK, lrnn.Descent(lr), epochs=epochs)


def gaps(curves, deepest, what):
    seen = {"loss": lambda c: np.asarray(c.loss), "Q": lambda c: np.asarray(c.gram)[-1]}[what]
    return [largest(seen(c) - seen(deepest)) for c in curves]


def near(found, table):
    """Within a factor of 1.5, of numbers that are given by two digits."""
    assert np.all(np.abs(np.log(np.divide(found, table))) < np.log(1.5)), found


def test_errors_of_truncated_words():
    """Four vectors, T = 40, 150 epochs, against longer words."""
    deep = learned(0.6, 10)
    near(
        gaps([learned(0.6, d) for d in (2, 4, 6, 8)], deep, "loss"), [7.2e-2, 5.2e-3, 3e-4, 1.4e-5]
    )
    near(gaps([learned(0.6, 8, turns=2)], deep, "loss"), [1.5e-5])
    bare = lrnn.learn(lrnn.ReducedRNN(OVERLAPS, dt=DT), TASK, lrnn.Descent(0.02), epochs=EPOCHS)
    near([*gaps([bare], deep, "loss"), *gaps([bare], deep, "Q")], [0.92, 0.29])
    deep = learned(0.9, 16, 0.01, turns=2)
    found = [learned(0.9, d, 0.01, turns=2) for d in (4, 8, 12)]
    near(gaps(found, deep, "Q"), [2.2e-2, 1.0e-3, 3.1e-5])
    near(gaps([learned(0.3, d, 0.01) for d in (4, 6)], learned(0.3, 8, 0.01), "Q"), [3e-6, 1.4e-8])
    even = [learned(0.4, d, symmetric=True) for d in (2, 4, 8, 12)]
    deep = learned(0.4, 24, symmetric=True)
    near(gaps(even, deep, "loss"), [4.5e-2, 1.4e-3, 7.4e-7, 1.9e-10])


def test_networks_approach_the_theory():
    """Final Q, rms over 8 draws of J and vectors: ≤ 1.2/√N, as 1/√N; a mean that is closer."""
    theory = np.asarray(learned(0.6, 8).gram[-1])
    sizes, off = np.array([250, 500, 1000, 2000]), []

    @partial(jax.jit, static_argnums=1)
    def one(key, n):
        first, second = jr.split(key)
        bulk = lrnn.RandomBulk(0.6, key=first)
        net = lrnn.LowRankRNN.with_overlaps(OVERLAPS, n, dt=DT, key=second, bulk=bulk)
        return lrnn.learn(net, TASK, lrnn.Descent(0.02), epochs=EPOCHS, throw=False).gram[-1]

    for n in sizes.tolist():
        ends = np.stack([np.asarray(one(jr.key(i), n)) for i in range(8)])
        off.append(np.sqrt(np.mean(np.abs(ends - theory).max(axis=(1, 2)) ** 2)))
        print(n, off[-1], off[-1] * n**0.5, largest(ends.mean(axis=0) - theory))
        assert largest(ends.mean(axis=0) - theory) < off[-1]
    assert (np.array(off) < 1.2 / sizes**0.5).all()
    slope = np.polyfit(np.log(sizes), np.log(off), 1)[0]
    print(slope)
    assert abs(slope + 0.5) < 0.1  # as many draws leave it to 0.1


def test_dense_networks_from_a_random_matrix():
    """Loss off the limit by at most 0.1, N = 1000, rms over 8 draws; and words that are enough."""
    root, n = np.linalg.cholesky([[1, 0.3], [0.3, 1]]).T, 1000
    method, curves = lrnn.Descent(0.05), {}
    for d in (3, 4, 5, 6, 7):
        size = reduced.count_words(d, reduced.Words(d).alphabet(symmetric=False))
        c = reduced.WordBulk(0.6, reduced.Words(d), 2)
        w = c.product(jnp.eye(2 * size)).T
        sides = np.zeros((2 * size, 2))
        sides[:2] = root
        net = lrnn.DenseRNN(w, sides[:, 1:], sides[:, :1].T, dt=DT)
        curves[d] = lrnn.learn(net, TASK, method, epochs=EPOCHS)
    found = [largest(curves[d].loss - curves[7].loss) for d in (3, 4, 5, 6)]
    near(found, [6.5e-2, 1.1e-2, 1.9e-3, 6.3e-4])
    off = []
    for i in range(8):
        first, second = jr.split(jr.key(i))
        basis = np.linalg.qr(np.asarray(jr.normal(second, (n, 2))))[0] @ root
        w = lrnn.RandomBulk(0.6, key=first).matrix(n)
        net = lrnn.DenseRNN(w, basis[:, 1:], basis[:, :1].T, dt=DT)
        curve = lrnn.learn(net, TASK, method, epochs=60)
        off.append(np.sqrt(np.mean((curve.loss - curves[6].loss[:61]) ** 2)))
    print(off)
    assert np.sqrt(np.mean(np.square(off))) < 0.1


def test_rflo_over_any_matrix():
    """N = 300, T = 60, 400 epochs, W_0 = 0.8 J + rank 1: p = 120; then infinitely many."""
    n, steps, dt, rng = 300, 60, 0.1, np.random.default_rng(0)
    task = lrnn.ImpulseResponse(target=np.exp(-0.2 * dt * np.arange(steps)), dt=dt)
    q = np.array([[1, 0.3, 0.4], [0.3, 1, 0], [0.4, 0, 1]])
    z, m, f = (np.linalg.qr(rng.standard_normal((n, 3)))[0] @ np.linalg.cholesky(q).T).T
    w = 0.8 * rng.standard_normal((n, n)) / n**0.5
    w = w + np.outer(m, rng.standard_normal(n)) / n**0.5
    net = lrnn.DenseRNN(w, m[:, None], z[None], dt=dt)

    def course(network, feedback, epochs):
        method = lrnn.Descent(0.05, rule=lrnn.RFLO(feedback))
        return lrnn.learn(network, task, method, epochs=epochs)

    full = course(net, f[:, None], 400)
    assert full.loss[-1] < 1e-2
    few: Any = None
    for tolerance, bound in ((0.0, 1e-13), (1e-8, 1e-8), (1e-3, 1e-2)):
        core = lrnn.compress(net, f, steps=steps, tolerance=tolerance)
        curve = course(core.network, core.feedback, 400)
        off = largest(curve.loss - full.loss)
        print(core.network.state_size, off)
        assert off < bound
        assert few is None or core.network.state_size < few
        few = core.network.state_size
        if tolerance == 0.0:
            assert few == 120
            assert largest(core.lift(curve.model).w - full.model.w) < 1e-12
    gram = np.eye(5)
    gram[:4, :4], gram[0, 4], gram[4, 0] = Q0, 0.3, 0.3
    seen = lrnn.Overlaps(gram, Roles(1, 1, 1, feedback=1))
    losses = {}
    for d in (4, 8, 16, 60):
        limit = reduced.word_limit(seen, 0.8, reduced.Powers(d, tolerance=10.0), dt=dt)
        losses[d] = course(limit.network, limit.feedback, 150).loss
    off = [largest(losses[d] - losses[60]) for d in (4, 8, 16)]
    print(off)
    assert off[2] < 1e-12
    assert off[1] < 1e-3 < off[0]
