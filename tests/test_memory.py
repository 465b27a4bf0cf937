"""Sequences of tasks, what they leave behind, noise theory, leaves, decoders."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import Law, NoisyStep, Slowed, join_curves, lift, nodes, third_moment
from lrnn_jax.networks import gauss_hermite
from lrnn_jax.overlaps import is_realisable, markov_parameters, random_overlaps

A = lrnn.ExponentialFilter(0.2, 0.05, 100)
B = lrnn.ExponentialFilter(0.4, 0.05, 100)
START = lrnn.degenerate_twin(
    lrnn.LowRankRNN.normalised(30, dt=0.05, key=jr.key(0)), uu=2.048, mu=0.8
)
DESCENT = lrnn.Descent(5e-3)


def largest(x):
    return float(jnp.max(jnp.abs(x)))


# --- sequences --------------------------------------------------------------------------------


def test_a_sequence_is_its_phases_one_after_the_other():
    reduced = lrnn.reduce(START)
    phases = [(A, DESCENT, 40), (B, DESCENT, 25)]
    curve = lrnn.learn_sequence(reduced, phases, record=10)
    assert curve.epochs.tolist() == [0, 10, 20, 30, 40, 50, 60, 65]
    first = lrnn.learn(reduced, A, DESCENT, epochs=40, record=10)
    second = lrnn.learn(first.model, B, DESCENT, epochs=25, record=10)
    assert largest(curve.gram[:5] - first.gram) == 0
    assert largest(curve.gram[4:] - second.gram) == 0
    assert largest(curve.loss[4] - second.loss[0]) == 0
    assert abs(float(first.loss[-1] - second.loss[0])) > 1e-3  # the new task's loss


def test_a_sequence_lifts_and_a_network_goes_the_same_way():
    phases = [(A, DESCENT, 40), (B, DESCENT, 25)]
    theory = lrnn.learn_sequence(lrnn.reduce(START), phases, record=10)
    truth = lrnn.learn_sequence(START, phases, record=10)
    # rounding of 65 epochs
    assert float(theory.distance(truth).max) < 1e-12
    assert largest(lift(theory, START).vectors - truth.model.vectors) < 1e-11


def test_a_sequence_that_fails_says_where_and_keeps_what_there_is():
    phases = [(A, DESCENT, 20), (B, lrnn.Descent(1e3), 20)]
    with pytest.raises(lrnn.LearningError, match="Phase 2 of 2") as caught:
        lrnn.learn_sequence(lrnn.reduce(START), phases)
    curve = caught.value.curve
    assert curve.epochs[-1] == 40
    assert 20 <= int(curve.stopped) < 40
    assert bool(jnp.isfinite(curve.gram[:21]).all())


def test_empty_sequences_and_joins_are_refused():
    with pytest.raises(ValueError, match="empty"):
        lrnn.learn_sequence(START, [])
    with pytest.raises(ValueError, match="at least one"):
        join_curves()


def test_adam_goes_through_a_sequence():
    adam = lrnn.Training(optax.adam(1e-3))
    curve = lrnn.learn_sequence(START, [(A, adam, 20), (B, adam, 20)], record=20)
    assert curve.transform is None
    assert largest(curve.gram[-1] - curve.gram[0]) > 0.01


def test_excursions_are_read_off_the_curve():
    curve = lrnn.learn_sequence(lrnn.reduce(START), [(A, DESCENT, 40), (B, DESCENT, 25)], record=5)
    found = lrnn.learning.excursion(curve, 40, 65)
    part = curve.overlaps.vector()[8:]
    assert largest(found.leftover - (part[-1] - part[0])) == 0
    assert largest(found.size - jnp.abs(part - part[:1]).max(0)) == 0
    several = lrnn.Overlaps(jnp.stack([curve.gram, 2 * curve.gram]), curve.roles)
    epochs = jnp.stack([curve.epochs] * 2)
    batch = eqx.tree_at(lambda c: (c.gram, c.epochs), curve, (several.gram, epochs))
    both = lrnn.learning.excursion(batch, 40, 65)
    assert largest(both.size - jnp.stack([found.size, 2 * found.size])) == 0
    assert largest(both.leftover - jnp.stack([found.leftover, 2 * found.leftover])) == 0
    for wrong in ((40, 63), (65, 40)):
        with pytest.raises(ValueError, match="recorded epochs"):
            lrnn.learning.excursion(curve, *wrong)


# --- what cycles leave ------------------------------------------------------------------------


def test_cycles_of_tasks_leave_a_little_that_adds_up():
    task_a, task_b = (lrnn.ExponentialFilter(c, 0.05, 400) for c in (0.2, 0.4))
    gone = lrnn.learning.holonomy(
        lrnn.reduce(START), (task_a, task_b), lrnn.Flow(5e-3), epochs=3000, cycles=2
    )
    assert largest(gone.losses) < 1e-8  # back at the solution
    first, second = gone.leftover
    assert 1e-4 < largest(first) < 3e-3
    # the second cycle starts from almost the same place
    assert largest(second - first) < 0.3 * largest(first)
    zm, vu = (gone.names.index(n) for n in ("zm", "vu"))
    assert abs(float(first[zm])) + abs(float(first[vu])) < 1e-6  # what the loss fixes


def test_a_cycle_needs_two_tasks():
    with pytest.raises(ValueError, match="two tasks"):
        lrnn.learning.holonomy(lrnn.reduce(START), (A,), DESCENT, epochs=10)


@pytest.mark.parametrize(
    ("rank", "inputs", "dimension", "function"), [(1, 1, 5, 3), (2, 1, 12, 5), (1, 2, 9, 5)]
)
def test_the_leaf_is_what_the_invariants_leave(rank, inputs, dimension, function):
    k = 1 + inputs + 2 * rank
    theta = jr.normal(jr.key(3), (9, k))
    q = lrnn.Overlaps.from_gram(theta.T @ theta / 9, rank, inputs, 1)
    found = lrnn.overlaps.reachable_dimensions(q)
    assert (found.dimension, found.visible) == (dimension, function)
    assert found.total == k * (k + 1) // 2
    # k eigenvalues of JQ and the r(r+1)/2 entries of UᵀU − VᵀV are conserved
    assert found.dimension == found.total - k - rank * (rank + 1) // 2
    assert found.memory == dimension - function


def test_the_leaf_is_found_in_single_precision_too():
    q = lrnn.reduce(START).overlaps
    single = lrnn.Overlaps(q.gram.astype(jnp.float32), q.roles)
    assert (
        lrnn.overlaps.reachable_dimensions(single).growth
        == lrnn.overlaps.reachable_dimensions(q).growth
    )


def test_one_function_alone_has_a_one_dimensional_leaf():
    q = lrnn.reduce(START).overlaps
    assert (
        lrnn.overlaps.reachable_dimensions(q, lambda overlaps: overlaps["vu"][None]).dimension == 1
    )
    assert markov_parameters(q).shape == (3,)


# --- label noise ------------------------------------------------------------------------------


def solved(task, method):
    return lrnn.learn(lrnn.reduce(START), task, method, epochs=3000, record=3000).model


def noisy_pairs(start, method, steps, epochs, runs):
    """Overlaps at the end of runs with noise and with its negative; shape (run, 2, overlap)."""

    def run(key, sign):
        task = lrnn.ExponentialFilter(0.2, 0.05, steps, label_noise=sign * 0.1)
        options = {"epochs": epochs, "record": epochs, "key": key, "throw": False}
        return lrnn.learn(start, task, method, **options).overlaps.vector()[-1]

    both = jax.vmap(jax.vmap(run, in_axes=(None, 0)), in_axes=(0, None))
    return jax.jit(both)(jr.split(jr.key(1), runs), jnp.array([1.0, -1.0]))


def drift_of(pairs, start):
    """Mean drift and its standard error: what is linear in the noise cancels in a pair."""
    drift = pairs.mean(axis=1) - start.overlaps.vector()[None]
    return drift.mean(axis=0), drift.std(axis=0, ddof=1) / np.sqrt(len(pairs))


@pytest.mark.parametrize("directions", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_the_noise_theory_predicts_the_drift_of_noisy_runs(directions):
    start, epochs, runs = solved(A, DESCENT), 150, 300
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 100, label_noise=0.1)
    theory = lrnn.noise_drift(start, noisy, DESCENT, epochs=epochs, directions=directions)
    pairs = noisy_pairs(start, DESCENT, 100, epochs, runs)
    mean, error = drift_of(pairs, start)
    predicted = theory.mean[-1] - theory.mean[0]
    assert float(jnp.max(jnp.abs(predicted) / error)) > 10  # there is something to predict
    assert float(jnp.max(jnp.abs(predicted - mean) / error)) < 4  # ten normal variables
    spread = pairs[:, 0].std(axis=0, ddof=1)
    # the standard deviation of 300 runs is known to 1/√600 = 4 %
    assert largest(theory.std[-1] / spread - 1) < 0.2


@pytest.mark.slow
def test_near_the_edge_of_stability_the_noise_theory_needs_the_skewness():
    method, epochs = lrnn.Descent(1e-2), 200
    start = solved(lrnn.ExponentialFilter(0.2, 0.05, 400), DESCENT)
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 400, label_noise=0.1)
    pairs = noisy_pairs(start, method, 400, epochs, 600)
    mean, error = drift_of(pairs, start)
    runs = np.asarray(pairs).reshape(-1, pairs.shape[-1])
    skewness = ((runs - runs.mean(axis=0)) ** 3).mean(axis=0) / runs.std(axis=0) ** 3

    def off(theory):
        return jnp.abs(theory.mean[-1] - theory.mean[0] - mean) / error

    leading = lrnn.noise_drift(start, noisy, method, epochs=epochs, record=epochs, directions=0)
    skewed = lrnn.noise_drift(start, noisy, method, epochs=epochs, record=epochs)
    assert leading.stiffest < -0.7
    assert float(off(leading).max()) > 6  # 7 % of the drift of uu
    assert float(off(skewed).max()) < 4
    # the skewness of 1200 runs is known to √(6/1200) = 0.07
    assert float(skewness.min()) < -0.5
    assert largest(skewed.skewness[-1] - skewness) < 0.2


@pytest.mark.slow
def test_the_noise_theory_has_derivatives():
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 100, label_noise=0.1)

    def last(lr):
        drift = lrnn.noise_drift(
            lrnn.reduce(START), noisy, lrnn.Descent(lr), epochs=9, record=9, directions=2
        )
        return drift["uu"][-1] + drift.std[-1].sum()

    # central differences over 2e-6: their error is rounding, 1e-15/1e-6
    slope = (last(5e-3 + 1e-6) - last(5e-3 - 1e-6)) / 2e-6
    assert float(jax.jacfwd(last)(5e-3)) == pytest.approx(float(slope), rel=1e-6)


def test_given_the_overlaps_a_noisy_step_has_the_law_of_a_quadratic_form():
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 100, label_noise=2.0)
    step = NoisyStep(lrnn.reduce(START), noisy, lrnn.Descent(0.05, weight_decay=0.1), 0)
    q = step.reduction.overlaps.vector()
    slope, covariance = step.gradient(q)
    # four nodes a direction are exact for polynomials of degree 7: third powers of quadratics
    x, w = gauss_hermite((4,) * slope.size)
    values, vectors = np.linalg.eigh(covariance)
    noise = x @ (vectors * np.sqrt(np.maximum(values, 0))).T
    ends = np.asarray(jax.vmap(lambda g: step.update(q, g, 0))(slope[None] + noise))
    mean = w @ ends
    law = step.given(q, 0)
    d = ends - mean
    assert largest(law.mean - mean) < 1e-13  # rounding
    assert largest(law.covariance - d.T @ (w[:, None] * d)) < 1e-13
    third = third_moment(jnp.asarray(d), jnp.asarray(w))
    assert largest(law.third - third) < 1e-13
    assert largest(third) > 1e-5


def test_the_noise_theory_is_the_exact_recursion_to_leading_order():
    """Two epochs of two steps, over all label noise by quadrature, in NumPy.

    y = (zm, (1 − dt) zm + dt zu vm), and Q' = (1 − ηΓ) Q (1 − ηΓ) with Γ of ∂L/∂(zm, zu, vm).
    """
    dt, lr, target = 0.3, 0.4, np.exp(-0.2 * 0.3 * np.arange(2))
    theta = np.random.default_rng(3).normal(size=(6, 4))
    red = lrnn.reduce(lrnn.LowRankRNN(*theta.T, dt=dt))

    def step(q, noise):  # for all nodes at once
        zm, zu, vm = q[:, 0, 2], q[:, 0, 3], q[:, 1, 2]
        e = np.stack([zm, (1 - dt) * zm + dt * zu * vm], 1) - target - noise
        gamma = np.zeros_like(q)
        gamma[:, 0, 2] = 2 * dt * (e[:, 0] + (1 - dt) * e[:, 1])
        gamma[:, 0, 3], gamma[:, 1, 2] = 2 * dt**2 * vm * e[:, 1], 2 * dt**2 * zu * e[:, 1]
        turn = np.eye(4) - lr * (gamma + np.swapaxes(gamma, 1, 2))
        return turn @ q @ turn

    def law(q, w):
        rows, columns = np.array(red.roles.pairs).T
        vector = q[:, rows, columns]
        mean = w @ vector
        return mean, (vector - mean).T @ (w[:, None] * (vector - mean))

    x, w = gauss_hermite((12, 12))  # exact for all powers that two quadratic steps have
    errors = []
    for sigma in (0.08, 0.04):
        first = step(np.repeat(np.asarray(red.overlaps.gram)[None], len(x), 0), sigma * x)
        second = step(np.repeat(first, len(x), 0), np.tile(sigma * x, (len(x), 1)))
        exact = law(first, w), law(second, np.kron(w, w))
        task = lrnn.ExponentialFilter(0.2, dt, 2, label_noise=sigma)
        drift = lrnn.noise_drift(red, task, lrnn.Descent(lr), epochs=2, directions=0)
        for found, expected in zip((drift.mean, drift.covariance), exact[0]):
            assert largest(found[1] - expected) < 1e-13  # of one step exactly
        found = drift.mean[2], drift.covariance[2]
        errors.append([largest(a - b) for a, b in zip(found, exact[1])])
        assert largest(exact[1][1]) > 1e3 * errors[-1][1]  # there is something to be right about
    orders = np.log2(np.divide(*errors))
    assert np.all(np.abs(orders - 4) < 0.1)  # the next order in σ


def test_nodes_have_the_cumulants_of_the_law_they_stand_for():
    z = np.random.default_rng(0).standard_normal((400_000, 3))
    bent = z + 0.1 * (z[:, :1] ** 2 - 1) * np.array([1.0, -0.5, 0.5])
    q = 2.0 + bent @ np.array([[1.0, 0.2, 0.3, 0.1], [0.0, 0.5, 0.2, 0.3], [0.0, 0.0, 0.2, 0.1]])
    d = q - q.mean(axis=0)
    third = np.einsum("ni,nj,nl->ijl", d, d, d, optimize=True) / len(q)
    law = Law(*map(jnp.asarray, (q.mean(axis=0), d.T @ d / len(q), third)))
    found = nodes(law, 3)
    assert found.q.shape == (24, 4)
    assert float(found.weights.min()) > 0
    x = found.q - law.mean[None]
    # rounding; the third cumulant by six rounds of a fit, but for the third axis' own skewness
    assert largest(found.weights @ x) < 1e-13
    assert largest(x.T @ (found.weights[:, None] * x) + found.rest - law.covariance) < 1e-13
    assert largest(found.rest) < 1e-13  # three directions are all there are
    assert largest(third_moment(x, found.weights) - law.third) < 1e-4 * largest(law.third)


def test_without_directions_one_node_stands_at_the_mean():
    law = Law(jnp.arange(3.0), jnp.eye(3), jnp.zeros((3, 3, 3)))
    found = nodes(law, 0)
    assert found.q.tolist() == [[0.0, 1.0, 2.0]]
    assert found.weights.tolist() == [1.0]
    assert largest(found.rest - law.covariance) == 0


def test_the_noise_theory_refuses_what_it_is_not_for():
    reduced = lrnn.reduce(START)
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 100, label_noise=0.1)
    with pytest.raises(ValueError, match="label noise"):
        lrnn.noise_drift(reduced, A, DESCENT, epochs=2)
    with pytest.raises(ValueError, match="`method` must be Descent without clipping"):
        lrnn.noise_drift(reduced, noisy, lrnn.Descent(1e-3, clip=0.9), epochs=2)
    with pytest.raises(ValueError, match="no `batch`"):
        lrnn.noise_drift(reduced, lrnn.WhiteNoise(A), DESCENT, epochs=2)
    with pytest.raises(ValueError, match="`task` must be one whose noise of gradients is known"):
        lrnn.noise_drift(reduced, lrnn.FlipFlop(0.05, 120, 2), DESCENT, epochs=2)
    with pytest.raises(ValueError, match="from 0 to 6"):
        lrnn.noise_drift(reduced, noisy, DESCENT, epochs=2, directions=7)
    with pytest.raises(lrnn.LearningError, match="diverges after epoch 0") as caught:
        lrnn.noise_drift(reduced, noisy, lrnn.Descent(0.1), epochs=40, record=20)
    assert caught.value.curve.epochs.tolist() == [0, 20, 40]
    quiet = lrnn.noise_drift(reduced, noisy, lrnn.Descent(0.1), epochs=40, record=20, throw=False)
    assert not bool(jnp.isfinite(quiet.mean[-1]).any())
    assert np.isnan(quiet.stiffest)


# --- random overlaps, decoder, slower steps ---------------------------------------------------


def test_random_overlaps_are_realisable_and_of_the_given_size():
    grams = jax.jit(jax.vmap(lambda k: random_overlaps(key=k).gram))(jr.split(jr.key(0), 500))
    assert bool(is_realisable(grams).all())
    assert float(grams.min()) >= 0
    norms = jnp.diagonal(grams, axis1=-2, axis2=-1)
    assert 0.5 <= float(norms.min()) < 0.55
    assert 1.9 < float(norms.max()) <= 2.0
    with pytest.raises(ValueError, match="norms"):
        random_overlaps(norms=(0.0, 1.0), key=jr.key(0))
    with pytest.raises(ValueError, match="`std`"):
        random_overlaps(std=-1.0, key=jr.key(0))
    with pytest.raises(RuntimeError, match="None of 10000 random Gram matrices"):
        eqx.filter_jit(random_overlaps)(std=100.0, key=jr.key(0))


def test_the_decoder_reads_what_is_there_and_nothing_else():
    x = jr.normal(jr.key(1), (12, 2, 4))
    told = x.at[:, 1, 2].add(8.0)
    features = jnp.stack([x, told, jnp.stack([x[:, 0]] * 2, axis=1)])
    quiet = lrnn.learning.decoding_accuracy(features, key=jr.key(2))
    assert quiet.test.shape == (3, 50)
    none, clear, same = quiet.test.mean(-1)
    assert 0.3 < float(none) < 0.7
    assert float(clear) > 0.95  # 18 training members only
    assert float(same) == 0.5
    loud = lrnn.learning.decoding_accuracy(features, noise=100.0, key=jr.key(2))
    assert float(loud.test[1].mean()) < 0.7
    with pytest.raises(ValueError, match="held_out"):
        lrnn.learning.decoding_accuracy(x, held_out=12, key=jr.key(0))
    with pytest.raises(ValueError, match=r"`features` must be finite.*leave out groups"):
        lrnn.learning.decoding_accuracy(x.at[0, 0].set(jnp.nan), key=jr.key(0))


def test_steps_are_slowed_from_the_first_small_loss_on():
    reduced = lrnn.reduce(START)
    plain = lrnn.learn(reduced, A, DESCENT, epochs=60)
    below = float(plain.loss[30]) + 1e-9
    first = int(np.flatnonzero(np.asarray(plain.loss) < below)[0])
    slowed = lrnn.learn(reduced, A, Slowed(DESCENT, below, 5.0), epochs=60)
    assert largest(slowed.gram[: first + 1] - plain.gram[: first + 1]) == 0
    rest = lrnn.learn(
        reduced.with_gram(plain.gram[first]), A, lrnn.Descent(1e-3), epochs=60 - first
    )
    assert largest(slowed.gram[first:] - rest.gram) < 1e-13  # rounding: Q_0 there, Q_first here


def test_hidden_noise_is_added_to_every_state():
    x = jr.normal(jr.key(0), (7, 1))
    kicks = jr.normal(jr.key(1), (7, 30))
    h, outputs = jnp.zeros(30), []
    for now, kick in zip(x, kicks):
        h = START.step(h, now) + kick
        outputs.append(START.readout(h))
    assert largest(START.rollout(x, noise=kicks) - jnp.stack(outputs)) < 1e-13  # rounding


def test_the_closure_over_trials_is_its_step_repeated():
    rnn = lrnn.ReducedRNN(random_overlaps(2, 2, 1, std=0.1, key=jr.key(0)), dt=0.1,
                          activation=lrnn.Tanh())  # fmt: skip
    x, kicks = jr.normal(jr.key(1), (3, 6, 2)), jr.normal(jr.key(2), (3, 6, 4))
    start = jr.normal(jr.key(3), (3, 4))
    h, states = start, []
    for t in range(6):
        h = rnn.step(h, x[:, t]) + kicks[:, t]
        states.append(h)
    # the same sums in another order: rounding over six steps
    assert largest(rnn.states(x, start, kicks) - jnp.stack(states, axis=1)) < 1e-14
    assert largest(rnn.rollout(x, start, kicks) - rnn.readout(jnp.stack(states, axis=1))) < 1e-14


def test_what_losses_depend_on_may_be_a_module_with_arrays():
    class Weighed(eqx.Module):
        weights: jax.Array

        def __call__(self, overlaps):
            return self.weights * lrnn.overlaps.markov_parameters(overlaps)

    q = lrnn.overlaps.random_overlaps(key=jr.key(1))
    found = [
        lrnn.overlaps.reachable_dimensions(q, Weighed(jnp.array(weights)))
        for weights in ([1.0, 2.0, 3.0], [1.0, 0.0, 0.0])
    ]
    assert found[0] == lrnn.overlaps.reachable_dimensions(q)
    assert found[1].dimension < found[0].dimension
