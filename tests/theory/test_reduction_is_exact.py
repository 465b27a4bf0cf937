"""A network and its reduction learn alike, to rounding."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn

# Rounding over 60 epochs of sums over 60 neurons and 100 steps; all gaps seen are < 1e-12
ROUNDING = 1e-11

NONE, PLAIN, AHEAD = {}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}
DECAY, CLIP, RATES = {"weight_decay": 1e-2}, {"clip": 0.3}, {"rates": {"m": 0.0, "u": 0.5}}
PAIRS = [  # every two of them together, and each without the other
    NONE,
    NONE | DECAY | CLIP | RATES,
    PLAIN | CLIP,
    PLAIN | DECAY | RATES,
    AHEAD | RATES,
    AHEAD | DECAY | CLIP,
]


def gap(net, task, method, epochs=60, **options):
    full = lrnn.learn(net, task, method, epochs=epochs, **options)
    reduced = lrnn.learn(lrnn.reduce(net), task, method, epochs=epochs, **options)
    moved = jnp.max(jnp.abs(full.gram[-1] - full.gram[0]))
    assert moved > 1e-3  # something was learned, so agreement means something
    distance = reduced.distance(full)
    return max(float(distance.max), float(distance.loss)), reduced, full


@pytest.mark.parametrize("options", PAIRS, ids=str)
def test_descent_with_every_pair_of_options(net, options):
    noisy = lrnn.ExponentialFilter(rate=0.2, dt=0.05, steps=100, label_noise=0.1)
    error, _, _ = gap(net, noisy, lrnn.Descent(0.01, **options), key=jr.key(1))
    assert error < ROUNDING


METHODS = {
    "normalised": lrnn.NormalisedDescent(0.01, momentum=0.5, nesterov=True, rates={"m": 0.5}),
    "muon": lrnn.Muon(0.02, weight_decay=0.1),
    "muon-frozen": lrnn.Muon(0.02, rates={"z": 0.0}),
    "schedule": lrnn.Descent(optax.exponential_decay(0.02, 10, 0.5), momentum=0.5),
    "sgd": lrnn.Training(optax.sgd(0.01, momentum=0.9, nesterov=True)),
    "decay": lrnn.Training(optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.05))),
    "schedule-optax": lrnn.Training(optax.sgd(optax.cosine_decay_schedule(0.05, 60))),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("rank", [1, 2])
def test_other_exact_methods(method, rank):
    net = lrnn.LowRankRNN.normalised(n=60, rank=rank, dt=0.05, key=jr.key(0), frozen=("u1",))
    task = lrnn.OscillatingFilter(0.3, 2.0, dt=0.05, steps=100)
    error, _, _ = gap(net, task, method)
    assert error < ROUNDING


def test_many_channels_and_rank_three():
    net = lrnn.LowRankRNN.normalised(n=50, rank=3, inputs=2, outputs=3, dt=0.1, key=jr.key(0))
    target = jnp.exp(-0.1 * jnp.arange(40.0))[:, None, None] * jr.normal(jr.key(1), (1, 2, 3))
    task = lrnn.ImpulseResponse(target, dt=0.1, label_noise=0.1)
    error, _, _ = gap(net, task, lrnn.Descent(0.05, momentum=0.5), key=jr.key(2))
    assert error < ROUNDING


@pytest.mark.parametrize("batch", [None, 4])
def test_teacher_student_and_white_noise(batch):
    make = lrnn.LowRankRNN.normalised
    net = make(n=40, rank=2, inputs=2, dt=0.1, key=jr.key(0))
    teacher = make(n=30, rank=1, inputs=2, dt=0.1, key=jr.key(1))
    task = lrnn.TeacherStudent(teacher, 30, batch=batch)
    error, _, _ = gap(net, task, lrnn.Descent(0.1), key=jr.key(2))
    assert error < ROUNDING
    net = make(n=40, rank=1, dt=0.1, key=jr.key(0))
    task = lrnn.WhiteNoise(lrnn.ExponentialFilter(0.2, 0.1, 30), batch=batch)
    error, _, _ = gap(net, task, lrnn.Descent(0.1), key=jr.key(2))
    assert error < ROUNDING


def test_lift_gives_the_trained_vectors(net, task):
    _, reduced, full = gap(net, task, lrnn.Descent(0.01, momentum=0.9, weight_decay=1e-3))
    lifted = lrnn.lift(reduced, net)
    assert jnp.max(jnp.abs(lifted.vectors - full.model.vectors)) < ROUNDING
    start = lrnn.lift(reduced, net, epoch=0)
    assert jnp.array_equal(start.vectors, net.vectors)


def test_descent_on_a_dense_network_is_plain_sgd(task):
    key = jr.key(0)
    w = 0.1 * jr.normal(key, (20, 20))
    dense = lrnn.DenseRNN(
        w, jnp.ones((20, 1)) / 5, jnp.ones((1, 20)) / 5, dt=0.05, frozen=("w_in",)
    )
    a = lrnn.learn(dense, task, lrnn.Descent(0.02, momentum=0.5), epochs=20)
    b = lrnn.learn(dense, task, lrnn.Training(optax.sgd(0.02, momentum=0.5)), epochs=20)
    assert jnp.max(jnp.abs(a.loss - b.loss)) < ROUNDING
    assert a.loss[-1] < a.loss[0]
    assert jnp.array_equal(a.model.w_in, dense.w_in)
    assert not jnp.array_equal(a.model.w, dense.w)


def test_results_do_not_depend_on_recording_or_progress(net, task):
    method = lrnn.Descent(0.01, momentum=0.9)
    all_of_it = lrnn.learn(net, task, method, epochs=47)
    some = lrnn.learn(net, task, method, epochs=47, record=10)
    assert some.epochs.tolist() == [0, 10, 20, 30, 40, 47]
    assert jnp.allclose(some.gram, all_of_it.gram[some.epochs], rtol=0, atol=ROUNDING)
    seen = []
    shown = lrnn.learn(net, task, method, epochs=47, progress=lambda *x: seen.append(x))
    assert jnp.allclose(shown.gram, all_of_it.gram, rtol=0, atol=ROUNDING)
    assert seen[-1][0] == 47
    assert jax.tree.structure(shown) == jax.tree.structure(all_of_it)


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 2e-7), (np.float32, 5e-3)])
def test_nearly_dependent_vectors_keep_what_their_overlaps_cannot_show(dtype, size):
    """v − u is below the rounding of Q, so that the projector drops it; the network keeps it."""
    rng = np.random.default_rng(0)
    z, v, m, w = (rng.normal(size=40).astype(dtype) for _ in range(4))
    net = lrnn.LowRankRNN(z, v, m, v + dtype(size) * w, scale=dtype(40), dt=dtype(0.1))
    task = lrnn.ExponentialFilter(0.2, 0.1, 20, evaluation=lrnn.Evaluation.ROLLOUT)
    method = lrnn.Descent(dtype(0.05))
    options = {"epochs": 60, "record": 60}
    fast = lrnn.learn(net, task, method, simulate=lrnn.ThroughReduction(), **options)
    theory = lrnn.learn(lrnn.reduce(net), task, method, **options)
    full = lrnn.learn(net, task, method, **options)
    eps = float(np.finfo(dtype).eps)
    assert jnp.array_equal(lrnn.lift(theory, net, 0).vectors, net.vectors)
    for model in (fast.model, lrnn.lift(theory, net)):
        error = float(jnp.max(jnp.abs(model.vectors - full.model.vectors)))
        change = float(jnp.max(jnp.abs(full.model.vectors - net.vectors)))
        assert change > 0.1
        assert error < 0.3 * size * change + 1e3 * eps  # learning of the difference itself
        assert float(jnp.max(jnp.abs(model.u - model.v))) > 0.3 * size


def test_dependent_vectors_keep_the_transform_bounded():
    """What Q_0 cannot see of T means nothing: it must not grow until learning looks diverged."""
    base = lrnn.LowRankRNN.normalised(40, dt=0.05, key=jr.key(3))
    net = lrnn.LowRankRNN(base.m, base.v, base.m, base.v, dt=0.05)  # z = m, u = v
    task = lrnn.ExponentialFilter(0.2, dt=0.05, steps=100)
    method = lrnn.Descent(0.02)
    reduced = lrnn.learn(lrnn.reduce(net), task, method, epochs=3000, record=100)
    full = lrnn.learn(net, task, method, epochs=3000, record=100)
    assert reduced.distance(full).max < 1e-11  # rounding over 3000 epochs
    projector = np.kron(np.ones((2, 2)) / 2, np.eye(2))  # onto equal z and m, equal v and u
    outside = np.eye(4) - projector
    assert jnp.array_equal(reduced.transform[0], np.eye(4))
    assert jnp.max(jnp.abs(outside @ reduced.transform[-1] - outside)) < 1e-12  # stays as it was
    assert jnp.max(jnp.abs(reduced.transform)) < 10
    lifted = lrnn.lift(reduced, net).vectors
    assert jnp.max(jnp.abs(lifted - full.model.vectors)) < 1e-10
