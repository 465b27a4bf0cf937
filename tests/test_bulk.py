"""Low rank over a random bulk: networks, their limit of words, cores for local rules."""

import itertools
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import scipy.sparse
from jax.experimental import sparse

import lrnn_jax as lrnn
from lrnn_jax import networks, reduced, rules

DT, STEPS, EPOCHS, ETA = 0.2, 12, 6, 0.05
TARGET = np.exp(-0.2 * DT * np.arange(STEPS))
TASK = lrnn.ImpulseResponse(target=TARGET, dt=DT)
RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 8))
Q0 = A @ A.T / np.sqrt(np.outer(*[np.diag(A @ A.T)] * 2))
OVERLAPS = lrnn.Overlaps.from_gram(Q0)
ROUNDING = 1e-13  # of a few epochs of sums over tens of neurons
DESCENT = lrnn.Descent(ETA)


def largest(x):
    return float(np.max(np.abs(np.asarray(x))))


# --- oracles ----------------------------------------------------------------------------------


def descended(j, theta, s, f=None, mu=0.0, clip=np.inf, decay=0.0, x=None, target=TARGET):
    """Textbook descent of Z, V, M, U (columns of θ) over a frozen matrix J: losses, and θ.

    With f: RFLO, whose errors reach neurons by f and go nowhere.
    """
    theta, velocity, losses = np.array(theta), 0.0, []
    steps = len(target)
    x = np.eye(steps)[0] / DT if x is None else x
    for _ in range(EPOCHS):
        z, v, m, u = theta.T
        h = [np.zeros(len(z))]
        for now in x:
            h.append(h[-1] + DT * (j @ h[-1] - h[-1] + u * (v @ h[-1]) / s + m * now))
        e = np.array([2 * DT * (z @ after / s - y) for after, y in zip(h[1:], target)])
        losses.append(np.sum(e**2) / (4 * DT))
        a, d = np.zeros(len(z)), np.zeros_like(theta)
        for t in reversed(range(steps)):
            carried = (1 - DT) * a
            if f is None:
                carried = carried + DT * (j.T @ a + v * (u @ a) / s)
            a = (z if f is None else f) * e[t] / s + carried
            change = [h[t + 1] * e[t] / s, DT * h[t] * (u @ a) / s, DT * a * x[t]]
            d += np.stack([*change, DT * a * (v @ h[t]) / s], axis=1)
        d = s * d
        norm = np.sqrt(np.sum(d**2) / s)
        velocity = mu * velocity + d * min(1.0, clip / norm) + decay * theta
        theta = theta - ETA * velocity
    return np.array(losses), theta


def fock(length, turns, symmetric):
    """c on words of letters 1 and 2, as a dense matrix; of a symmetric matrix on words of 1."""
    letters = (1,) if symmetric else (1, 2)
    words = [w for n in range(length + 1) for w in itertools.product(letters, repeat=n)]
    words = [w for w in words if sum(a != b for a, b in itertools.pairwise(w)) <= turns]
    at = {w: i for i, w in enumerate(words)}
    c = np.zeros((len(words), len(words)))
    for w, i in at.items():
        if (1, *w) in at:
            c[at[1, *w], i] += 1  # creates 1
        if w and w[0] == letters[-1]:
            c[at[w[1:]], i] += 1  # destroys the last letter
    return words, c


def over(n, g=0.5, key=0, **options):
    bulk = lrnn.RandomBulk(g, key=jr.key(key), **options)
    return lrnn.LowRankRNN.with_overlaps(OVERLAPS, n, dt=DT, key=jr.key(key + 1), bulk=bulk)


def alike(curve, losses, theta, s):
    """Whether a curve is that of the textbook."""
    assert largest(curve.loss[:-1] / losses - 1) < ROUNDING
    end = curve.gram[-1][:4, :4]  # without fixed vectors
    assert largest(end - theta.T @ theta / s) < ROUNDING
    assert largest(curve.gram[-1] - curve.gram[0]) > 1e-2


# --- networks of N neurons --------------------------------------------------------------------

N = 14
THETA = RNG.normal(size=(N, 4))
J = RNG.normal(size=(N, N)) / N**0.5
THIN = np.where(RNG.uniform(size=(N, N)) < 0.3, J, 0)
WAYS = {
    "array": J,
    "sparse of scipy": scipy.sparse.csr_matrix(THIN),
    "sparse of JAX": sparse.BCOO.fromdense(jnp.asarray(THIN)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_over_a_bulk_learns_as_in_the_textbook(way):
    j = J if way == "array" else THIN
    net = lrnn.LowRankRNN(*THETA.T, dt=DT, bulk=lrnn.RandomBulk(0.7, WAYS[way]))
    curve = lrnn.learn(net, TASK, DESCENT, epochs=EPOCHS)
    alike(curve, *descended(0.7 * j, THETA, N), N)
    with_none = lrnn.LowRankRNN(*THETA.T, dt=DT)
    assert (
        largest(with_none.rollout(jnp.ones((STEPS, 1))) - net.rollout(jnp.ones((STEPS, 1)))) > 0.01
    )


def test_the_bulk_is_drawn_when_the_network_is_made_in_its_dtype():
    vectors = [x.astype(np.float32) for x in RNG.normal(size=(4, 200))]
    bulk = lrnn.RandomBulk(0.5, key=jr.key(3))
    net = lrnn.LowRankRNN(*vectors, dt=DT, bulk=bulk)
    assert bulk.j is None
    assert net.bulk.key is None
    assert (net.bulk.j.dtype, net.bulk.j.shape) == (jnp.float32, (200, 200))
    assert abs(float(jnp.var(net.bulk.j)) * 200 - 1) < 0.05  # 4e4 entries: a spread of 0.007
    same = lrnn.LowRankRNN(*vectors, dt=DT, bulk=lrnn.RandomBulk(0.9, key=jr.key(3)))
    assert (same.bulk.j == net.bulk.j).all()
    assert net.rollout(jnp.ones((3, 1), jnp.float32)).dtype == jnp.float32
    even: Any = lrnn.RandomBulk(0.5, key=jr.key(3), symmetric=True).made(200, jnp.float64)
    assert (even.j == even.j.T).all()
    off = np.asarray(even.j)[np.triu_indices(200, 1)]
    assert abs(np.var(off) * 200 - 1) < 0.05
    assert largest(even.matrix(200) - 0.5 * np.asarray(even.j)) < 1e-15


def test_a_nonlinear_network_sums_rates_through_its_bulk():
    options = {"dt": DT, "activation": lrnn.Tanh()}
    net = lrnn.LowRankRNN(*THETA.T, bulk=lrnn.RandomBulk(0.7, J), **options)
    h = RNG.normal(size=(3, N))
    z, v, m, u = THETA.T
    rates = np.tanh(h)
    expected = h + DT * (0.7 * rates @ J.T - h + np.outer(rates @ v / N, u) + m)
    assert largest(net.step(jnp.asarray(h), jnp.ones((3, 1))) - expected) < 1e-14
    states = net.states(jnp.ones((5, 1)))
    outputs = np.tanh(np.asarray(states)) @ z[:, None] / N
    assert largest(net.rollout(jnp.ones((5, 1))) - outputs) < 1e-14
    found = lrnn.fixed_points(net, key=jr.key(0), x=jnp.array([0.3]))
    resting = np.asarray(found.states)[0]
    assert largest(net.step(jnp.asarray(resting), jnp.array([0.3])) - resting) < 1e-8


def test_files_hold_bulks(tmp_path):
    for j in (J, scipy.sparse.csr_matrix(THIN)):
        net = lrnn.LowRankRNN(*THETA.T, dt=DT, bulk=lrnn.RandomBulk(0.7, j))
        lrnn.save_network(net, tmp_path / "net.npz")
        again = lrnn.load_network(tmp_path / "net.npz")
        assert (again.rollout(jnp.ones((4, 1))) == net.rollout(jnp.ones((4, 1)))).all()
    words = reduced.word_limit(OVERLAPS, 0.3, 3, dt=DT).network
    lrnn.save_network(words, tmp_path / "net.npz")
    again = lrnn.load_network(tmp_path / "net.npz")
    assert (again.rollout(jnp.ones((4, 1))) == words.rollout(jnp.ones((4, 1)))).all()
    assert again.bulk.error == words.bulk.error
    assert "bulk=WordBulk(g=0.3, words=Words(length=3), copies=4" in repr(again)


# --- infinitely many neurons ------------------------------------------------------------------

SETS = {  # words, J = Jᵀ, turns
    "two letters": (reduced.Words(4), False, 99),
    "few turns": (reduced.Words(5, turns=1), False, 1),
    "no turns": (reduced.Words(3, turns=0), False, 0),
    "one letter": (reduced.Words(4), True, 99),
}


@pytest.mark.parametrize("name", SETS)
def test_words_are_gathered_as_operators_of_fock_space_say(name):
    words, symmetric, turns = SETS[name]
    listed, c = fock(words.length, turns, symmetric)
    bulk = reduced.WordBulk(0.3, words, 2, symmetric)
    size = len(listed)
    assert reduced.count_words(words.length, bulk.alphabet) == size
    # the order of words of one length is the library's own: found by what makes them
    found = np.asarray(bulk.product(jnp.eye(2 * size))).T / 0.3
    one = found[::2, ::2]
    assert largest(found - np.kron(one, np.eye(2))) < 1e-15
    back = jax.vmap(jax.vjp(bulk.product, jnp.zeros(2 * size))[1])(jnp.eye(2 * size))[0] / 0.3
    assert largest(np.asarray(back).T - found.T) < 1e-15
    omega, moments = np.eye(size)[0], []
    for a in (one, c):
        words_of = itertools.product((a, a.T), repeat=4)
        moments.append([omega @ w @ x @ y @ z @ omega for w, x, y, z in words_of])
        moments[-1] += [np.trace(a @ a.T), np.trace(a @ a), *np.linalg.svd(a)[1].round(12)]
    assert largest(np.subtract(*moments)) < 1e-12
    forward = jax.jvp(bulk.product, (jnp.ones(2 * size),), (jnp.ones(2 * size),))[1]
    assert largest(forward - bulk.product(jnp.ones(2 * size))) == 0


def test_powers_of_a_random_matrix_are_a_shift():
    bulk = reduced.WordBulk(0.5, reduced.Powers(3), 1)
    assert largest(bulk.product(jnp.eye(4)).T - 0.5 * np.eye(4, k=-1)) == 0
    with pytest.raises(ValueError, match="forward in time alone"):
        jax.grad(lambda x: bulk.product(x).sum())(jnp.ones(4))


def test_words_are_the_moments_of_random_matrices():
    """⟨Ω, w(c, c*) Ω⟩ = lim aᵀ w(J, Jᵀ) a/N, for all words of four letters."""
    n, draws = 300, 12
    _, c = fock(4, 99, False)
    omega = np.eye(len(c))[0]
    mean = dict.fromkeys(itertools.product((0, 1), repeat=4), 0.0)
    for _ in range(draws):
        j = RNG.normal(size=(n, n)) / n**0.5
        start = RNG.normal(size=n)
        for word in mean:
            x = start
            for letter in word[::-1]:
                x = (j, j.T)[letter] @ x
            mean[word] += start @ x / (start @ start) / draws
    for word, found in mean.items():
        x = omega
        for letter in word[::-1]:
            x = (c, c.T)[letter] @ x
        assert abs(found - omega @ x) < 0.12, word  # 1/√N = 0.06, times a few, over √draws


LEARNING = {
    "plain": {},
    "momentum, clip, decay": {"mu": 0.8, "clip": 0.4, "decay": 0.1},
}


@pytest.mark.parametrize("options", LEARNING)
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_word_network_learns_as_in_the_textbook(options, symmetric):
    """On the matrix that the oracle writes down: words in another order are a rotation."""
    words, c = fock(3, 99, symmetric)
    root = np.linalg.cholesky(Q0).T
    theta = np.concatenate([root, np.zeros((4 * (len(words) - 1), 4))])
    j = 0.4 * np.kron(c, np.eye(4))
    o = LEARNING[options]
    method = lrnn.Descent(ETA)
    if o:
        method = lrnn.Descent(ETA, momentum=o["mu"], clip=o["clip"], weight_decay=o["decay"])
    limit = reduced.word_limit(OVERLAPS, 0.4, reduced.Words(3, tolerance=1), dt=DT,
                               symmetric=symmetric)  # fmt: skip
    curve = lrnn.learn(limit.network, TASK, method, epochs=EPOCHS)
    alike(curve, *descended(j, theta, 1, **o), 1)


def test_the_length_of_words_is_chosen_and_its_error_stated():
    net = over(100, 0.5)
    theory = lrnn.reduce(net)
    g = float(net.bulk.g * np.linalg.norm(net.bulk.j) / 10)
    d = theory.bulk.length
    assert abs(float(theory.bulk.error) - g ** (2 * d) * (1 + g**-2)) < 1e-12
    assert theory.bulk.error <= 1e-2 < g ** (2 * d - 2) * (1 + g**-2)
    assert theory.state_size == 4 * (2 ** (d + 1) - 1)
    closer = lrnn.reduce(net, words=reduced.Words(steps=STEPS))
    assert closer.bulk.length < d  # a short trial does not reach as far
    with pytest.warns(UserWarning, match="few for a bulk of g = 0.5"):
        lrnn.reduce(net, words=2)
    for symmetric, edge in ((False, 1), (True, 0.5)):
        beyond = over(100, 1.3 * edge, symmetric=symmetric)
        with pytest.raises(ValueError, match="beyond which a bulk amplifies without end"):
            lrnn.reduce(beyond)
    many = lrnn.reduce(over(100, 1.3), words=reduced.Powers(steps=STEPS))
    assert many.bulk.length > 1
    with pytest.raises(ValueError, match=r"words` up to length 40 are 2\.2e\+12, .* GB .* free"):
        lrnn.reduce(net, words=40)
    with pytest.raises(ValueError, match="GB"):
        lrnn.compress(lrnn.DenseRNN(net.bulk.j, net.m, net.z.T, dt=DT), words=20)


def test_the_error_bounds_what_longer_words_add():
    """For g = 0.5; after learning, what the last two lengths contribute is measured as well."""
    curves = {}
    for d in (2, 4, 6):
        limit = reduced.word_limit(OVERLAPS, 0.5, reduced.Words(d, tolerance=1), dt=DT)
        curves[d] = lrnn.learn(limit.network, TASK, DESCENT, epochs=EPOCHS)
    for d in (2, 4):
        off = largest(curves[d].gram[-1] - curves[6].gram[-1])
        measured = reduced.truncation(curves[d + 2].model, STEPS)
        assert 0 < off < float(curves[d].model.bulk.error)
        assert 0.2 * off < float(measured.gram) < 5 * off
    assert reduced.truncation(reduced.word_limit(OVERLAPS, 0.3, 4, dt=DT).network, STEPS).gram == 0


def final(g, n, epochs, task, lr, draws, first=0):
    """Q at the end of networks of n neurons over draws of J, learned side by side."""

    @partial(jax.jit, static_argnums=1)
    def one(key, n):
        keys = jr.split(key)
        bulk = lrnn.RandomBulk(g, key=keys[0])
        net = lrnn.LowRankRNN.with_overlaps(OVERLAPS, n, dt=DT, key=keys[1], bulk=bulk)
        return lrnn.learn(net, task, lrnn.Descent(lr), epochs=epochs, throw=False).gram[-1]

    return np.stack([np.asarray(one(jr.key(first + i), n)) for i in range(draws)])


def test_networks_are_around_the_theory_and_not_around_the_one_without_bulk():
    steps, epochs = 25, 30
    task = lrnn.ImpulseResponse(target=np.exp(-0.2 * DT * np.arange(steps)), dt=DT)
    limit = reduced.word_limit(OVERLAPS, 0.6, reduced.Words(5, steps=25), dt=DT).network
    descent = lrnn.Descent(0.05)
    theory = lrnn.learn(limit, task, descent, epochs=epochs).gram[-1]
    bare = lrnn.learn(lrnn.ReducedRNN(OVERLAPS, dt=DT), task, descent, epochs=epochs).gram[-1]
    assert largest(theory - bare) > 0.2
    off = {}
    for n in (100, 400):
        ends = final(0.6, n, epochs, task, 0.05, 6)
        off[n] = np.sqrt(np.mean(np.abs(ends - np.asarray(theory)[None]).max(axis=(1, 2)) ** 2))
        assert off[n] < 1.2 / n**0.5
    assert off[400] < 0.75 * off[100]


# --- rules that send nothing back along the bulk ----------------------------------------------


def test_rflo_over_a_bulk_closes_on_what_the_bulk_reaches():
    """At finite N, to rounding; as the textbook does."""
    n = 80
    theta, f = RNG.normal(size=(n, 4)), RNG.normal(size=n)
    net = lrnn.LowRankRNN(*theta.T, dt=DT, bulk=lrnn.RandomBulk(0.7, key=jr.key(2)))
    core = lrnn.compress(net, f, steps=STEPS)
    assert core.network.state_size == 3 * STEPS + 2  # M, U and F through powers; Z and V beyond
    method = lrnn.Descent(ETA, rule=lrnn.RFLO(core.feedback))
    curve = lrnn.learn(core.network, TASK, method, epochs=EPOCHS)
    losses, expected = descended(0.7 * np.asarray(net.bulk.j), theta, n, f)
    alike(curve, losses, expected, n)
    assert largest(core.lift(curve.model).vectors - expected) < 1e-12
    few = lrnn.compress(net, f, steps=STEPS, tolerance=1e-3)
    assert few.network.state_size < core.network.state_size
    method = lrnn.Descent(ETA, rule=lrnn.RFLO(few.feedback))
    near = lrnn.learn(few.network, TASK, method, epochs=EPOCHS)
    assert largest(near.loss - curve.loss) < 1e-3
    with pytest.raises(ValueError, match="forward in time alone"):
        lrnn.learn(core.network, TASK, DESCENT, epochs=1)
    rule = lrnn.RFLO(key=jr.key(0))
    with pytest.raises(ValueError, match="draws `feedback` of many neurons"):
        lrnn.learn(core.network, TASK, lrnn.Descent(ETA, rule=rule), epochs=1)


def test_dense_networks_of_full_rank_close_under_rules_of_fixed_feedback():
    n = 60
    w = 0.8 * RNG.normal(size=(n, n)) / n**0.5 + np.outer(*RNG.normal(size=(2, n))) / n
    m, z, f, c, g = RNG.normal(size=(5, n, 1)) / n**0.5
    net = lrnn.DenseRNN(w, m, z.T, dt=DT)
    cases: list[Any] = [(f, lrnn.RFLO, {}, 2)]
    cases += [(networks.Feedback(f, c, g), lrnn.FeedbackAlignment, {"time": True}, 3)]
    for fixed, rule, options, columns in cases:
        full = lrnn.learn(net, TASK, lrnn.Descent(ETA, rule=rule(fixed, **options)), epochs=EPOCHS)
        core = lrnn.compress(net, fixed, steps=STEPS)
        assert core.network.state_size == columns * STEPS
        method = lrnn.Descent(ETA, rule=rule(core.feedback, **options))
        curve = lrnn.learn(core.network, TASK, method, epochs=EPOCHS)
        assert largest(curve.loss - full.loss) < ROUNDING
        assert largest(core.lift(curve.model).w - full.model.w) < ROUNDING
        assert full.loss[-1] < 0.9 * full.loss[0]


def test_powers_alone_are_enough_for_rflo():
    q = np.eye(5)
    q[:4, :4] = Q0
    q[0, 4] = q[4, 0] = 0.3
    roles = lrnn.overlaps.Roles(1, 1, 1, feedback=1)
    seen = lrnn.Overlaps(q, roles)
    losses = {}
    for words in (
        reduced.Powers(20),
        reduced.Powers(STEPS, tolerance=1),
        reduced.Words(6, tolerance=1),
    ):
        limit = reduced.word_limit(seen, 0.8, words, dt=DT)
        method = lrnn.Descent(ETA, rule=lrnn.RFLO(limit.feedback))
        losses[words.length] = lrnn.learn(limit.network, TASK, method, epochs=EPOCHS).loss
    assert largest(losses[20] - losses[STEPS]) < 1e-14  # T steps reach no further
    assert largest(losses[20] - losses[6]) < 1e-6
    assert losses[20][-1] < 0.9 * losses[20][0]


# --- dense networks from gJ -------------------------------------------------------------------


def test_dense_networks_from_a_random_matrix_have_a_limit():
    n = 300
    w = lrnn.RandomBulk(0.5, key=jr.key(4)).matrix(n)
    basis = np.linalg.qr(RNG.normal(size=(n, 2)))[0]
    net = lrnn.DenseRNN(w, basis[:, :1], (basis @ [0.3, 0.95])[None], dt=DT)
    small = lrnn.reduce(net, words=reduced.Words(4, tolerance=1))
    _, c = fock(4, 99, False)
    assert small.w.shape == (62, 62)
    found = np.asarray(small.w)[::2, ::2] * n**0.5 / np.linalg.norm(w)
    assert largest(np.sort(np.linalg.svd(found)[1]) - np.sort(np.linalg.svd(c)[1])) < 1e-12
    assert largest(small.w_out @ small.w_in - net.w_out @ net.w_in) < 1e-14
    theory, truth = (lrnn.learn(x, TASK, lrnn.Descent(0.1), epochs=20) for x in (small, net))
    assert largest(theory.loss - truth.loss) < 0.1
    assert theory.loss[-1] < 0.5 * theory.loss[0]
    bare = lrnn.DenseRNN(np.zeros((n, n)), net.w_in, net.w_out, dt=DT)
    without = lrnn.learn(lrnn.reduce(bare), TASK, lrnn.Descent(0.1), epochs=20)
    assert largest(without.loss - truth.loss) > 2 * largest(theory.loss - truth.loss)
    with pytest.raises(ValueError, match="independent"):
        lrnn.reduce(lrnn.DenseRNN(np.ones((n, n)) / n, net.w_in, net.w_out, dt=DT), words=3)


# --- what is conserved ------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
def test_balance_and_traces_are_conserved_over_a_bulk(symmetric):
    """Drift at equal time halves with the step; that of the spectrum of JQ does not."""
    net = over(40, 0.4, symmetric=symmetric)
    signs = np.array([1, 1, -1, -1])
    drift = []
    for lr, epochs in ((0.02, 40), (0.01, 80)):
        curve = lrnn.learn(net, TASK, lrnn.Descent(lr), epochs=epochs)
        ends = [networks.overlaps_through(x, 3) for x in (net, curve.model)]
        traces = np.subtract(*[np.einsum("pkk,k->p", e, signs) for e in ends])
        kept = {c.name: c.of(curve.overlaps) for c in rules.conserved(lrnn.Gradient(), net)}
        assert set(kept) == {"UᵀU − VᵀV", "trace of JQ"}
        assert abs(float(kept["trace of JQ"][-1] - kept["trace of JQ"][0]) + traces[0]) < 1e-12
        balance = float(kept["UᵀU − VᵀV"][-1, 0, 0] - kept["UᵀU − VᵀV"][0, 0, 0])
        first, last = np.asarray(curve.gram)[[0, -1]]
        spectra = [np.linalg.eigvals(signs[:, None] * q).real for q in (first, last)]
        spectrum = largest(np.subtract(*[np.sort(s) for s in spectra]))
        drift.append([balance, *traces, spectrum])
    ratio = np.abs(np.divide(*drift))
    assert np.all(np.abs(ratio[[0, 1]] - 2) < 0.1)
    others = ratio[2:5]
    assert (np.abs(others - 2) < 0.1).all() if symmetric else (np.abs(others - 2) > 0.5).any()
    assert abs(ratio[5] - 2) > 0.5
    found = lrnn.invariants(net)
    assert (found.balance_conserved, found.spectrum_conserved) == (True, False)
    assert "bulk" in found.why[0]


@pytest.mark.parametrize(("rule", "feedback"), [(lrnn.Gradient, 0), (lrnn.RFLO, 1)])
def test_what_steers_over_a_bulk_is_what_steers_without(rule, feedback):
    """Derivatives of the course of the outputs by each overlap at the start, words being many."""
    a = np.random.default_rng(0).normal(size=(4 + feedback, 9))
    roles = lrnn.overlaps.Roles(1, 1, 1, feedback=feedback)

    @jax.jit
    @jax.jacfwd
    def slopes(vector):
        start = lrnn.Overlaps(lrnn.overlaps.from_vector(vector, roles), roles)
        limit = reduced.word_limit(start, 0.4, 4, dt=DT)
        method = lrnn.Descent(ETA, rule=rule(limit.feedback) if feedback else rule())
        options = {"epochs": 4, "watch": TASK.output, "throw": False}
        return lrnn.learn(limit.network, TASK, method, **options).watched

    found = slopes(lrnn.Overlaps(jnp.asarray(a @ a.T / 9), roles).vector())
    moved = np.abs(np.asarray(found)).reshape(-1, found.shape[-1]).max(0) > 1e-10
    structure = rules.steering(rule(key=KEY) if feedback else rule(), lrnn.overlaps.Roles(1, 1, 1))
    assert {name for name, m in zip(roles.names, moved) if not m} == set(structure.silent)
    assert len(structure.silent) == 3 * feedback


# --- what else such networks do, and what they refuse -----------------------------------------


def test_muon_training_and_loops_take_bulks():
    limit = reduced.word_limit(OVERLAPS, 0.3, 4, dt=DT).network
    curve = lrnn.learn(limit, TASK, lrnn.Muon(0.02), epochs=3)
    assert curve.loss[-1] < curve.loss[0]
    with pytest.raises(ValueError, match="elementwise"):
        lrnn.learn(limit, TASK, lrnn.Training(optax.adam(0.02)), epochs=3)
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=DT), horizon=8, batch=2)
    learned = lrnn.learn(limit, loop, lrnn.Descent(1e-3), epochs=2, key=KEY)
    assert learned.loss.shape == (3,)


def test_learning_is_differentiable_in_the_strength():
    start = reduced.word_limit(OVERLAPS, 0.3, 4, dt=DT)

    def end(g):
        bulk = reduced.WordBulk(g, reduced.Words(4), 4)
        net = eqx.tree_at(lambda net: net.bulk, start.network, bulk)
        return lrnn.learn(net, TASK, lrnn.Descent(0.02), epochs=3, throw=False).loss[-1]

    slopes = jax.jit(jax.vmap(jax.value_and_grad(end)))(jnp.array([0.3 - 1e-5, 0.3, 0.3 + 1e-5]))
    (below, _, above), (_, slope, _) = slopes
    assert abs(slope - (above - below) / 2e-5) < 1e-7  # the step's error is 1e-10 of a third slope


NET = over(20, 0.4)
LIMIT = reduced.word_limit(OVERLAPS, 0.3, 3, dt=DT).network
BENT = lrnn.LowRankRNN(*THETA.T, dt=DT, activation=lrnn.Tanh(), bulk=lrnn.RandomBulk(0.7, J))
KEY = jr.key(0)
VECTORS = list(THETA.T)
TRIALS = lrnn.TrialSet(np.ones((2, 5, 1)), np.ones((2, 5, 1)), dt=DT)
NOISY = lrnn.PrivateNoise(TRIALS, 0.1)
REFUSED = {
    "g below 0": (lambda: lrnn.RandomBulk(-0.1, key=KEY), r"`g` must lie in \[0"),
    "no J": (lambda: lrnn.RandomBulk(0.1), "got neither"),
    "two J": (lambda: lrnn.RandomBulk(0.1, J, key=KEY), "got both"),
    "not square": (lambda: lrnn.RandomBulk(0.1, J[1:]), r"shape \(N, N\); got shape \(13, 14\)"),
    "not finite": (lambda: lrnn.RandomBulk(0.1, np.full((3, 3), np.nan)), "must be finite"),
    "not symmetric": (lambda: lrnn.RandomBulk(0.1, J, symmetric=True), "must be symmetric where"),
    "another N": (
        lambda: lrnn.LowRankRNN(*VECTORS, dt=DT, bulk=lrnn.RandomBulk(0.1, J[1:, 1:])),
        "J of 13 neurons, and the loading vectors have 14",
    ),
    "signs": (
        lambda: lrnn.LowRankRNN(
            *abs(THETA).T, dt=DT, signs=np.ones(N, int), bulk=lrnn.RandomBulk(0.1, J)
        ),
        "leave no `bulk`",
    ),
    "nonlinear, reduced": (lambda: lrnn.reduce(BENT), "self-consistent Gaussian process"),
    "nonlinear, words": (lambda: lrnn.reduce(BENT, words=4), "self-consistent Gaussian process"),
    "nonlinear, population": (lambda: lrnn.population(BENT, key=KEY), "no independent draws"),
    "population": (lambda: lrnn.population(NET, key=KEY), "no independent draws"),
    "twins": (lambda: lrnn.degenerate_twin(NET, zz=2.0), "no function of the overlaps"),
    "compressed": (lambda: lrnn.compress(NET), "do not close over a `bulk`"),
    "words without bulk": (
        lambda: lrnn.reduce(lrnn.LowRankRNN(*VECTORS, dt=DT), words=4),
        "`words` are for networks over a random bulk",
    ),
    "words twice": (lambda: lrnn.reduce(LIMIT), "one of words already"),
    "steps and words": (
        lambda: lrnn.compress(NET, **{"words": 3, "steps": 3}),
        "give one of the two",
    ),
    "steps without feedback": (lambda: lrnn.compress(NET, steps=3), "give `feedback`"),
    "steps beyond N": (lambda: lrnn.compress(NET, np.ones(20), steps=30), "would not be fewer"),
    "through the reduction": (
        lambda: lrnn.learn(NET, TASK, DESCENT, epochs=1, simulate=lrnn.ThroughReduction()),
        "and a bulk",
    ),
    "noise of few neurons": (
        lambda: lrnn.learn(
            LIMIT, TASK, lrnn.Descent(0.1, rule=lrnn.NodePerturbation(0.1, key=KEY)), epochs=1
        ),
        "stand for more of them",
    ),
    "private noise": (
        lambda: lrnn.learn(LIMIT, NOISY, DESCENT, epochs=1, key=KEY),
        "have no private noise",
    ),
    "feedback of words": (lambda: lrnn.reduce(NET, feedback=np.ones(20)), "which returns both"),
    "not random": (
        lambda: lrnn.reduce(
            lrnn.LowRankRNN(*VECTORS, dt=DT, bulk=lrnn.RandomBulk(0.1, np.eye(N))), words=3
        ),
        "independent",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()
