"""A bias of the read-out, y = … + c: it learns beside the loading vectors, exactly on overlaps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn

DT, N, STEPS = 0.2, 30, 12
RNG = np.random.default_rng(5)
VECTORS = {f: RNG.normal(size=(N, 2)) for f in "zvmu"}
C = np.array([0.3, -0.2])
TASK = lrnn.TrialSet(RNG.normal(size=(6, STEPS, 2)), RNG.normal(size=(6, STEPS, 2)), dt=DT)
NET = lrnn.LowRankRNN(**VECTORS, c=C, dt=DT)


def biased(**options):
    return lrnn.LowRankRNN(**VECTORS, c=C, dt=DT, **options)


def test_outputs_are_those_without_it_plus_c():
    x = jnp.asarray(RNG.normal(size=(3, STEPS, 2)))
    for phi in (lrnn.Identity(), lrnn.Tanh()):
        net = biased(activation=phi)
        bare = lrnn.LowRankRNN(**VECTORS, dt=DT, activation=phi)
        pairs = [(net, bare), (lrnn.reduce(net), lrnn.reduce(bare))]
        pairs += [tuple(lrnn.population(n, 64, key=jr.key(0)) for n in (net, bare))]
        pairs += [tuple(lrnn.networks.CheckpointedRNN(n) for n in (net, bare))]
        for one, other in pairs:
            assert jnp.allclose(
                one.rollout(x), other.rollout(x) + C[None, None], rtol=0, atol=1e-14
            )


class TestLearning:
    @pytest.mark.parametrize(
        ("method", "epochs"),
        [
            (lrnn.Descent(0.02, momentum=0.9, clip=0.5, weight_decay=0.01, rates={"c": 0.5}), 500),
            (lrnn.Muon(0.01), 50),  # at the minimum its steps stay long: rounding grows
            (lrnn.Training(optax.sgd(0.02, momentum=0.9)), 500),
        ],
        ids=["descent", "muon", "optax"],
    )
    def test_network_is_reduction(self, method, epochs):
        truth = lrnn.learn(NET, TASK, method, epochs=epochs, record=50)
        theory = lrnn.learn(lrnn.reduce(NET), TASK, method, epochs=epochs, record=50)
        assert float(theory.distance(truth).max) < 1e-11
        assert float(jnp.abs(theory["c"] - truth["c"]).max()) < 1e-11
        assert float(jnp.abs(truth["c"][-1] - C).min()) > 1e-2  # it learned
        lifted = lrnn.lift(theory, NET)
        assert float(jnp.abs(lifted.c - truth.model.c).max()) < 1e-11
        assert float(jnp.abs(lifted.vectors - truth.model.vectors).max()) < 1e-10

    def test_a_step_is_what_a_few_lines_say(self):
        """Rate η for c and sη for vectors; ‖∂L/∂c‖² counts in the norm that is clipped."""
        slope = eqx.filter_grad(lambda net: TASK.loss(net, TASK.sample(jr.key(0))))(NET)
        x, y = TASK.data.inputs, np.asarray(TASK.data.target)
        by_c = 2 * (np.asarray(NET.rollout(x)) - y).mean(axis=(0, 1))
        assert np.abs(by_c - np.asarray(slope.c)).max() < 1e-13
        by_vectors = np.concatenate([slope.z, slope.v, slope.m, slope.u], axis=1)
        norm = np.sqrt(N * np.sum(by_vectors**2) + np.sum(by_c**2))
        after = lrnn.learn(NET, TASK, lrnn.Descent(0.1, clip=0.2), epochs=1).model
        shrink = min(1, 0.2 / norm)
        assert shrink < 1
        assert np.abs(after.c - (C - 0.1 * shrink * by_c)).max() < 1e-14
        expected = np.asarray(NET.vectors) - 0.1 * shrink * N * by_vectors
        assert np.abs(after.vectors - expected).max() < 1e-13

    def test_flow_and_learning_through_the_reduction(self):
        theory = lrnn.learn(lrnn.reduce(NET), TASK, lrnn.Flow(0.02), epochs=50)
        truth = lrnn.learn(NET, TASK, lrnn.Flow(0.02), epochs=50)
        assert float(jnp.abs(theory["c"] - truth["c"]).max()) < 1e-6  # tolerance of the solver
        assert float(theory.invariant_drift({"c": 2.0})[-1]) < 1e-7
        descent = lrnn.Descent(0.02, momentum=0.9)
        through = lrnn.learn(NET, TASK, descent, epochs=20, simulate=lrnn.ThroughReduction())
        plain = lrnn.learn(NET, TASK, descent, epochs=20)
        assert float(jnp.abs(through.model.c - plain.model.c).max()) < 1e-13

    def test_a_frozen_one_stays(self):
        net = biased(frozen=("c", "m"))
        for model in (net, lrnn.reduce(net)):
            curve = lrnn.learn(model, TASK, lrnn.Descent(0.05), epochs=5)
            assert jnp.array_equal(curve.model.c, C)
            assert float(curve.invariant_drift()[-1]) < 1  # a frozen c is no column
            assert jnp.array_equal(curve["mm"][-1], curve["mm"][0])
        with pytest.raises(ValueError, match="`frozen`: unknown loading vector 'c'"):
            lrnn.LowRankRNN(**VECTORS, dt=DT, frozen=("c",))

    def test_curves_keep_it(self, tmp_path):
        curve = lrnn.learn(lrnn.reduce(NET), TASK, lrnn.Descent(0.05), epochs=5, record=2)
        assert curve["c"].shape == (4, 2)
        curve.save(tmp_path / "curve.npz")
        assert jnp.array_equal(lrnn.LearningCurve.load(tmp_path / "curve.npz").c, curve.c)
        assert curve.to_xarray().c.dims == ("epoch", "output")


def test_theories_that_do_not_follow_it_say_so():
    """A wrong number would be easy: of an expectation, of a noise theory."""
    net = lrnn.LowRankRNN.normalised(N, dt=DT, key=jr.key(0), c=np.array([0.5]))
    theory, task = lrnn.reduce(net), lrnn.ExponentialFilter(0.2, DT, STEPS)
    for model in (net, theory):
        with pytest.raises(ValueError, match="known for linear networks without biases"):
            lrnn.WhiteNoise(task).loss(model)
    noisy = lrnn.ExponentialFilter(0.2, DT, STEPS, label_noise=0.1)
    with pytest.raises(ValueError, match="`reduction` has a bias c of the read-out"):
        lrnn.noise_drift(theory, noisy, lrnn.Descent(0.01), epochs=2)
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(k=2, dt=DT), STEPS)
    with pytest.raises(ValueError, match="without biases and linear plants"):
        loop.loss(net)


def test_visible_only_and_sequences_go_on_with_it():
    theory = lrnn.reduce(lrnn.LowRankRNN.normalised(N, dt=DT, key=jr.key(0), c=np.array([0.5])))
    task = lrnn.ExponentialFilter(0.2, DT, STEPS)
    step = lrnn.Descent(0.01, rule=lrnn.rules.VisibleOnly())
    after = lrnn.learn(theory, task, step, epochs=1)["c"]
    slope = jax.grad(lambda c: task.loss(lrnn.ReducedRNN(theory.overlaps, dt=DT, c=c)))(after[0])
    assert np.abs(after[1] - (after[0] - 0.01 * slope)).max() < 1e-15
    one = lrnn.learn(theory, task, lrnn.Descent(0.01), epochs=5)
    two = lrnn.learn_sequence(theory, [(task, lrnn.Descent(0.01), n) for n in (2, 3)])
    assert np.abs(two["c"] - one["c"]).max() < 1e-14


def test_a_mixture_has_one_too():
    laws = [lrnn.Overlaps.from_gram(g * np.eye(8), rank=2, inputs=2, outputs=2) for g in (1, 2)]
    mixture = lrnn.MixtureRNN(laws, np.array([0.5, 0.5]), dt=DT, c=C)
    net = mixture.network(2 * N, key=jr.key(0))
    curves = [
        lrnn.learn(model, TASK, lrnn.Descent(0.02, momentum=0.9), epochs=50)
        for model in (mixture, net, lrnn.reduce(mixture))
    ]
    for curve in curves[1:]:
        assert float(jnp.abs(curve["c"] - curves[0]["c"]).max()) < 1e-12
        assert float(curve.distance(curves[0]).max) < 1e-12


def test_a_dense_network_keeps_it_when_factorised():
    w, w_in, w_out = (RNG.normal(size=s) / 4 for s in ((N, N), (N, 2), (2, N)))
    dense = lrnn.CurrentRNN(w, w_in, w_out, c=C, dt=DT, activation=lrnn.Tanh(), frozen=("c",))
    low_rank = lrnn.factorise(dense, rank=N).network
    x = jnp.asarray(RNG.normal(size=(STEPS, 2)))
    assert float(jnp.abs(low_rank.rollout(x) - dense.rollout(x)).max()) < 1e-12
    assert low_rank.frozen == ("c",)
    curve = lrnn.learn(
        lrnn.CurrentRNN(w, w_in, w_out, c=C, dt=DT), TASK, lrnn.Descent(0.01), epochs=3
    )
    assert curve["c"].shape == (4, 2)


def test_files_name_it_as_they_like(tmp_path):
    x = jnp.asarray(RNG.normal(size=(STEPS, 2)))
    for name in ("c", "b_out", "readout_bias"):
        np.savez(tmp_path / "net.npz", **VECTORS, **{name: C}, dt=DT)
        loaded = lrnn.load_network(tmp_path / "net.npz")
        assert jnp.array_equal(loaded.rollout(x), NET.rollout(x))
    lrnn.save_network(loaded, tmp_path / "ours.npz")
    assert jnp.array_equal(lrnn.load_network(tmp_path / "ours.npz").c, C)


def test_where_responses_are_linear_functions_of_inputs_it_is_simulated():
    """A constant in the outputs is no impulse response: no closed form is used, no wrong number."""
    net = lrnn.LowRankRNN.normalised(N, dt=DT, key=jr.key(0), c=np.array([0.5]))
    task = lrnn.ImpulseResponse(np.ones(8), dt=DT)
    x = np.zeros((8, 1))
    x[0] = 1 / DT
    expected = DT * np.sum((np.asarray(net.rollout(jnp.asarray(x))) - 1.0) ** 2)
    for model in (net, lrnn.reduce(net)):
        assert abs(float(task.loss(model)) - expected) < 1e-12


def test_wrong_ones_are_refused():
    with pytest.raises(ValueError, match=r"`c` must have shape \(2,\); got .*\(3,\)"):
        lrnn.LowRankRNN(**VECTORS, c=np.ones(3), dt=DT)
    with pytest.raises(ValueError, match=r"`c` must have shape \(2,\)"):
        lrnn.ReducedRNN(NET.overlaps, c=np.ones((2, 1)), dt=DT)
    with pytest.raises(ValueError, match="`rates`: unknown loading vector 'c'"):
        lrnn.learn(
            lrnn.LowRankRNN(**VECTORS, dt=DT), TASK, lrnn.Descent(0.1, rates={"c": 1.0}), epochs=1
        )
