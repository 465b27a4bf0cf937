"""Dense linear networks from c·1 + low rank learn as a few neurons do."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.networks import Feedback
from lrnn_jax.reduced import CoreSpace

DT, STEPS, EPOCHS, N = 0.1, 20, 12, 30
RNG = np.random.default_rng(0)
ROUNDING = 1e-13  # of 12 epochs of sums over 30 neurons


def largest(x):
    return float(np.max(np.abs(np.asarray(x))))


def low(rank, n=N, rng=RNG):
    return 0.5 * rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n)) / n


def sides(inputs, outputs, n=N, rng=RNG):
    return rng.normal(size=(n, inputs)) / n**0.5, rng.normal(size=(outputs, n)) / n**0.5


# --- against textbook descent on N×N weights --------------------------------------------------


def passes(weights, x, target, back, f):
    """Loss and directions (W, M, Z, h_0) of trials x (trial, time, input); `back` and f as in
    rules: "gradient" (f = Z), "feedback" (a_t through Wᵀ from f) or "rflo" (through the leak)."""
    (w, m, z, h0), loss = weights, 0.0
    n = len(w)
    dw, dm, dz, dh = np.zeros_like(w), np.zeros_like(m), np.zeros_like(z), np.zeros(n)
    way = (1 - DT) * np.eye(n) + (0 if back == "rflo" else DT) * w.T
    f = z if back == "gradient" else f
    for trial, wanted in zip(x, target):
        h = [h0]
        for now in trial:
            h.append((1 - DT) * h[-1] + DT * (w @ h[-1] + m @ now))
        e = [2 * DT * (z.T @ state - y) for state, y in zip(h[1:], wanted)]
        loss += sum((error @ error) / (4 * DT) for error in e)
        a = np.zeros(n)
        for t in reversed(range(len(trial))):
            a = f @ e[t] + way @ a
            dw += DT * np.outer(a, h[t])
            dm += DT * np.outer(a, trial[t])
            dz += np.outer(h[t + 1], e[t])
        dh += way @ a
    return loss, [dw, dm, dz, dh]


def descended(weights, x, target, back="gradient", f=None, lr=0.1, mu=0.0, clip=np.inf, decay=0.0):
    """Losses, and weights at the end."""
    velocity, losses = [0.0] * 4, []
    for _ in range(EPOCHS):
        loss, g = passes(weights, x, target, back, f)
        norm = np.sqrt(sum(np.sum(a**2) for a in g))
        g = [a * min(1.0, clip / norm) + decay * v for a, v in zip(g, weights)]
        velocity = [mu * v + a for v, a in zip(velocity, g)]
        weights = [v - lr * c for v, c in zip(weights, velocity)]
        losses.append(loss)
    return np.array(losses), weights


OPTIONS = {"momentum": 0.9, "clip": 0.3, "weight_decay": 0.05}
SYMMETRIC = 0.5 * np.outer(*[RNG.normal(size=N)] * 2) / N
CASES = {  # W_0, inputs, outputs, options, neurons
    "from nothing": (np.zeros((N, N)), 1, 1, {}, 3),
    "two inputs, two outputs": (np.zeros((N, N)), 2, 2, {}, 5),
    "rank one": (low(1), 1, 1, OPTIONS, 5),
    "symmetric": (SYMMETRIC, 1, 1, {}, 4),
    "identity and rank one": (0.3 * np.eye(N) + low(1), 1, 1, OPTIONS, 6),
    "feedback": (low(2), 1, 1, {"back": "feedback"}, 8),
    "rflo": (0.3 * np.eye(N), 1, 1, {"back": "rflo", **OPTIONS}, 5),
}


SLOW = ("flow", "activity costs", "rank one", "two inputs, two outputs")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES]
)
def test_few_neurons_learn_as_the_dense_network_of_the_textbook(name):
    """With an initial state, which learns and is one direction more."""
    w, inputs, outputs, options, neurons = CASES[name]
    options = dict(options)
    m, z = sides(inputs, outputs)
    f, h0 = RNG.normal(size=(N, outputs)) / N**0.5, RNG.normal(size=N) / N**0.5
    back = options.pop("back", "gradient")
    rule = {"gradient": lrnn.Gradient(), "feedback": lrnn.FeedbackAlignment(f)}.get(
        back, lrnn.RFLO(f)
    )
    x, target = RNG.normal(size=(3, STEPS, inputs)), RNG.normal(size=(3, STEPS, outputs))
    net = lrnn.DenseRNN(w, m, z, h0=h0, dt=DT)
    # a mean over trials and steps, times these and dt: the sum of the textbook
    task = lrnn.TrialSet(x, target, dt=DT)
    size = 3 * STEPS * DT
    losses, ends = descended(
        [w, m, z.T, h0], x, target, back, f, lr=0.1 / size, mu=options.get("momentum", 0.0),
        clip=options.get("clip", np.inf) * size, decay=options.get("weight_decay", 0.0) * size,
    )  # fmt: skip
    method = lrnn.Descent(0.1, rule=rule, **options)
    curve = lrnn.learn(net, task, method, epochs=EPOCHS, simulate=lrnn.ThroughReduction())
    assert largest(curve.loss[:-1] * size / losses - 1) < ROUNDING
    after = curve.model
    for found, expected in zip((after.w, after.w_in, after.w_out.T, after.h0), ends):
        assert largest(found - expected) < ROUNDING
    assert largest(after.w - w) > 1e-3
    small = lrnn.compress(net, rule.feedback_of(net))
    assert small.network.state_size == neurons
    assert largest(small.lift(small.network).w - net.w) == 0


# --- ways to use it ---------------------------------------------------------------------------

FILTER = lrnn.ExponentialFilter(0.2, DT, STEPS)
NET = lrnn.DenseRNN(low(1), *sides(1, 1), np.ones(N) / 9, c=np.ones(1) / 5, dt=DT)
CURRENTS = lrnn.CurrentRNN(low(1), *sides(1, 1), dt=DT, frozen=("w_in",))
SIGNALS = RNG.normal(size=(4, STEPS, 1))
TRIALS = lrnn.TrialSet(SIGNALS, SIGNALS, dt=DT, batch=2)
METHODS = {
    "muon": (NET, FILTER, lrnn.Muon(0.01)),
    "optax": (CURRENTS, FILTER, lrnn.Training(optax.sgd(0.1, momentum=0.5))),
    "flow": (CURRENTS, FILTER, lrnn.Flow(0.1)),
    "activity costs": (NET, lrnn.RateCost(TRIALS, 0.1), lrnn.Descent(0.1)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in METHODS]
)
def test_learning_through_the_reduction_is_learning_by_simulation(name):
    net, task, method = METHODS[name]
    options = {"epochs": 8, "key": jr.key(0)} if task.stochastic else {"epochs": 8}
    fast = lrnn.learn(net, task, method, simulate=lrnn.ThroughReduction(), **options)
    slow = lrnn.learn(net, task, method, **options)
    # of the solver; of rounding, which the steps of Muon make larger
    tolerance = 1e-6 if name == "flow" else 1e-11
    assert largest(fast.loss - slow.loss) < tolerance
    assert type(fast.model) is type(net)
    for array in net.weights:
        assert largest(getattr(fast.model, array) - getattr(slow.model, array)) < tolerance
    assert largest(slow.model.w - net.w) > 1e-3


def test_a_dense_network_reduces_lifts_and_goes_on(tmp_path):
    small = lrnn.reduce(NET)
    assert type(small) is lrnn.DenseRNN
    assert small.state_size == 5
    method = lrnn.Descent(0.1, momentum=0.5)
    theory = lrnn.learn(small, FILTER, method, epochs=6)
    first = lrnn.learn(NET, FILTER, method, epochs=6, simulate=lrnn.ThroughReduction())
    lifted = lrnn.lift(theory, NET)
    assert largest(lifted.w - first.model.w) < ROUNDING
    assert largest(lifted.c - first.model.c) < ROUNDING
    first.save(tmp_path / "run.npz")
    options = {"epochs": 10, "simulate": lrnn.ThroughReduction()}
    resumed = lrnn.LearningCurve.load(tmp_path / "run.npz")
    more = lrnn.learn(resumed.model, FILTER, method, resume=resumed, **options)
    whole = lrnn.learn(NET, FILTER, method, **options)
    assert largest(more.model.w - whole.model.w) < ROUNDING
    with pytest.raises(ValueError, match="`epoch` of a dense network is the last one, 6"):
        lrnn.lift(theory, NET, 3)


def test_gradients_go_through_learning_by_few_neurons():
    small = lrnn.reduce(NET)

    def last(lr, size):
        net = lrnn.DenseRNN(
            size * small.w, small.w_in, small.w_out, small.b, c=small.c, dt=small.dt
        )
        return lrnn.learn(net, FILTER, lrnn.Descent(lr), epochs=5).loss[-1]

    def through(lr):
        method = lrnn.Descent(lr)
        return lrnn.learn(NET, FILTER, method, epochs=5, simulate=lrnn.ThroughReduction()).loss[-1]

    found = jax.jit(jax.grad(last, (0, 1)))(0.1, 1.0)
    step, ends = 1e-6, jax.jit(jax.vmap(last))
    lr, size = jnp.array([0.1, 0.1, 0.1, 0.1]), jnp.ones(4)
    moves = step * jnp.array([1.0, -1.0, 0.0, 0.0]), step * jnp.array([0.0, 0.0, 1.0, -1.0])
    values = ends(lr + moves[0], size + moves[1])
    # central differences: their error is rounding over the step
    assert float(found[0]) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-6)
    assert float(found[1]) == pytest.approx(float(values[2] - values[3]) / 2e-6, rel=1e-6)
    assert float(jax.grad(through)(0.1)) == pytest.approx(float(found[0]), rel=1e-10)


def test_what_few_neurons_cannot_stand_for_is_refused_with_the_reason():
    through = {"epochs": 1, "simulate": lrnn.ThroughReduction()}
    full = lrnn.DenseRNN(RNG.normal(size=(N, N)) / 9, *sides(1, 1), dt=DT)
    with pytest.raises(ValueError, match=r"rank\(W_0 − c\) > 14, so p = 2 \+ 2·rank ≥ N = 30"):
        lrnn.reduce(full)
    half = lrnn.DenseRNN(low(14), *sides(1, 1), dt=DT)
    with pytest.raises(ValueError, match=r"rank\(W_0 − c\) = 14 with c = 0, so p = 30 ≥ N = 30"):
        lrnn.learn(half, FILTER, lrnn.Descent(0.1), **through)
    bent = lrnn.DenseRNN(low(1), *sides(1, 1), dt=DT, activation=lrnn.Tanh())
    masked = lrnn.DenseRNN(low(1), *sides(1, 1), dt=DT, masks={"w_in": np.ones((N, 1))})
    for net in (bent, masked):
        with pytest.raises(ValueError, match="must have linear φ, and neither masks nor signs"):
            lrnn.compress(net)
    with pytest.raises(ValueError, match="must be known for its rank to be"):
        jax.jit(lrnn.reduce)(NET)
    with pytest.raises(ValueError, match=r"compress\(network, feedback, …\)"):
        lrnn.reduce(NET, feedback=np.ones((N, 1)))
    with pytest.raises(ValueError, match="must be the compressed one, with weights of shapes"):
        lrnn.compress(NET).lift(NET)
    perturbed = lrnn.Descent(0.1, rule=lrnn.WeightPerturbation(0.1, key=jr.key(0)))
    with pytest.raises(ValueError, match="takes rules that send errors back"):
        lrnn.learn(NET, FILTER, perturbed, **through)
    noisy = lrnn.PrivateNoise(TRIALS, 0.1)
    with pytest.raises(ValueError, match="each has noise of its own, as in PrivateNoise"):
        lrnn.learn(NET, noisy, lrnn.Descent(0.1), key=jr.key(0), **through)


ROWS = optax.stateless(
    lambda g, _: jax.tree.map(lambda a: -0.1 * jnp.sum(a, axis=-1, keepdims=True) + 0 * a, g)
)


@pytest.mark.parametrize("optimiser", [optax.adam(0.1), ROWS], ids=["adam", "sums of rows"])
def test_optimisers_that_see_single_neurons_are_refused_through_the_reduction(optimiser):
    """Sums of a neuron's loadings are linear row by row; those of a row of W are over neurons."""
    method = lrnn.Training(optimiser)
    with pytest.raises(ValueError, match="cannot run on a reduction: its updates are not linear"):
        method.fits(CoreSpace(lrnn.compress(NET)))
    if optimiser is ROWS:
        method.fits(lrnn.networks.weight_space(LOW_RANK))


LOW_RANK = lrnn.reduce(lrnn.LowRankRNN.normalised(9, dt=DT, key=jr.key(0)))


@pytest.mark.slow
def test_ten_thousand_neurons_from_nothing_learn_as_two():
    n = 10_000
    rng = np.random.default_rng(0)
    net = lrnn.DenseRNN(np.zeros((n, n)), *sides(1, 1, n, rng), dt=DT)
    began = time.perf_counter()
    curve = lrnn.learn(
        net, FILTER, lrnn.Descent(0.05), epochs=400, simulate=lrnn.ThroughReduction()
    )
    jax.block_until_ready(curve)
    seconds = time.perf_counter() - began
    print(f"N = 10 000, 400 epochs: {seconds:.1f} s")
    assert curve.loss[-1] < 1e-2 * curve.loss[0]
    # the loss of the lifted network is that of the curve
    assert float(FILTER.loss(curve.model)) == pytest.approx(float(curve.loss[-1]), rel=1e-10)
    assert seconds < 60


FULL = {  # W_0 beside c, c, channels, rule, options, neurons
    "from nothing": (0, 0.0, 1, lrnn.Gradient(), {}, 2),
    "two inputs, two outputs": (0, 0.0, 2, lrnn.Gradient(), {}, 4),
    "rank one": (1, 0.0, 1, lrnn.Gradient(), {}, 4),
    "identity and rank one": (1, 0.3, 1, lrnn.Gradient(), {"momentum": 0.9, "clip": 0.5}, 5),
    "feedback": (2, 0.0, 1, lrnn.FeedbackAlignment(key=jr.key(0)), {}, 7),
    "rflo": (0, 0.0, 1, lrnn.RFLO(key=jr.key(0)), {}, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_dense_networks_in_full_size(name):
    """N = 200, T = 60, 400 epochs, by simulation and by few neurons: W and loss."""
    rank, c, channels, rule, options, neurons = FULL[name]
    rng, n = np.random.default_rng(1), 200
    w = c * np.eye(n) + low(rank, n, rng)
    net = lrnn.DenseRNN(w, *sides(channels, channels, n, rng), dt=DT)
    target = np.exp(-0.2 * DT * np.arange(60))[:, None, None] * rng.normal(size=(channels,) * 2)
    # far below the edge of stability, beyond which learning is chaotic and rounding grows
    task, method = lrnn.ImpulseResponse(target, dt=DT), lrnn.Descent(0.005, rule=rule, **options)
    slow = lrnn.learn(net, task, method, epochs=400)
    fast = lrnn.learn(net, task, method, epochs=400, simulate=lrnn.ThroughReduction())
    errors = largest(fast.model.w - slow.model.w), largest(fast.loss - slow.loss)
    few = lrnn.compress(net, rule.feedback_of(net)).network.state_size
    print(f"{name}: {few} neurons, W off by {errors[0]:.1e}, loss by {errors[1]:.1e}")
    assert few == neurons
    assert largest(slow.model.w - net.w) > 1e-3
    assert errors[0] < 1e-14
    assert errors[1] < 1e-13 * max(1.0, float(slow.loss[0]))


def test_c_is_found_beside_low_rank_weights_of_any_size():
    rng = np.random.default_rng(5)
    for c in (0.9, -2.0, 1e-3):
        for rank in (0, 1, 6):
            net = lrnn.DenseRNN(c * np.eye(N) + low(rank, rng=rng), *sides(1, 1, rng=rng), dt=DT)
            small = lrnn.compress(net, Feedback(rng.normal(size=(N, 1))))
            assert small.network.state_size == 3 + 2 * rank + 1
            assert abs(float(small.network.w[-1, -1]) - c) < 1e-14 * max(1, abs(c))
            frame = np.asarray(small.frame)
            core = np.asarray(small.network.w) - c * np.eye(len(frame.T))
            assert largest(c * np.eye(N) + frame @ core @ frame.T - net.w) < 1e-14


def test_single_precision_reduces_too():
    f32 = [np.asarray(a, np.float32) for a in (0.3 * np.eye(N) + low(2), *sides(1, 1))]
    net = lrnn.DenseRNN(*f32, dt=DT)
    assert lrnn.reduce(net).state_size == 7
    assert lrnn.reduce(net).dtype == np.float32


# --- the conserved matrix ---------------------------------------------------------------------


def test_gradient_flow_conserves_a_whole_matrix_of_a_dense_network():
    """At any rank, with rates, biases and an initial state; steps break it by their size."""
    rng = np.random.default_rng(2)
    b, h0 = rng.normal(size=(2, 12)) / 4
    m, z = sides(1, 1, 12, rng)
    net = lrnn.DenseRNN(rng.normal(size=(12, 12)) / 9, m, z, b, h0=h0, dt=DT)
    rates = {"w": 0.5, "w_out": 2.0, "b": 3.0}
    start = lrnn.invariants(net, rates=rates)
    k = (net.w @ net.w.T - net.w.T @ net.w) / 0.5 + m @ m.T - z.T @ z / 2
    k = k + np.outer(b, b) / 3 + np.outer(h0, h0)
    assert largest(start.matrix - k) < 1e-15
    flow: Any = lrnn.learn(net, FILTER, lrnn.Flow(0.1, rates=rates), epochs=20).model
    assert largest(flow.w - net.w) > 1e-2
    assert float(lrnn.invariants(flow, rates=rates).drift(start)) < 1e-8  # of the solver
    drifts = []
    for halves in (1, 2):
        method = lrnn.Descent(0.01 / halves, rates=rates)
        after: Any = lrnn.learn(net, FILTER, method, epochs=20 * halves).model
        drifts.append(float(lrnn.invariants(after, rates=rates).drift(start)))
    assert drifts[0] / drifts[1] == pytest.approx(2, abs=0.1)


def test_what_breaks_the_conserved_matrix_is_said():
    lost = {
        "frozen arrays (w_in)": CURRENTS,
        "φ is not linear": lrnn.DenseRNN(low(1), *sides(1, 1), dt=DT, activation=lrnn.Tanh()),
    }
    for why, net in lost.items():
        found = lrnn.invariants(net)
        assert not found.conserved
        assert why in found.why
        assert float(found.drift(lrnn.invariants(NET))) == 0
    assert lrnn.invariants(NET).conserved
    with pytest.raises(ValueError, match="`rates` takes names among w, w_in, w_out, b, c"):
        lrnn.invariants(NET, rates={"m": 0.5})
