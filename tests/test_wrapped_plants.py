"""Plants that are seen late, or pushed by a force that their own state makes."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

DT, STEPS, N = 0.2, 14, 10
ROUNDING = 1e-12  # some steps of numbers of order 1
CURL = 1.5 * np.array([[0.0, 0, 0, 1], [0, 0, -1, 0]])
BETA, START = 0.3, np.array([1.0, 0.5, 0.2, 0.1])


def point(process=(0.1, 0.2, 0.3, 0.4), seen=0.2):
    """A point in the plane: positions are seen, velocities pushed."""
    a = np.eye(4) + DT * np.eye(4, k=2)
    b, c = DT * np.eye(4)[:, 2:], np.eye(4)[:2]
    noise = {"process_noise": np.array(process), "observation_noise": seen} if process else {}
    return lrnn.LinearPlant(a, b, c, dt=DT, start=START, **noise)


def network(seed=1, rank=2, activation=lrnn.Identity()):
    z, v, m, u = np.random.default_rng(seed).normal(size=(4, N, 2)) / np.sqrt(N)
    return lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=DT, activation=activation)


def by_hand(net, delay, force, start, process, seen):
    """Loss of trials, in plain NumPy with a list of what was; plant and network written out."""
    z, v, m, u = (np.asarray(x) for x in (net.z, net.v, net.m, net.u))
    phi = np.array if net.linear else np.tanh
    x, h, past, loss = start, np.zeros((len(start), N)), [start], 0.0
    for t in range(STEPS):
        control = phi(h) @ z
        velocity = x[:, 2:] + DT * (control + x @ force.T)
        x = np.concatenate([x[:, :2] + DT * x[:, 2:], velocity], 1) + process[:, t]
        past.append(x)
        o = past[max(t + 1 - delay, 0)][:, :2] + seen[:, t]
        h = (1 - DT) * h + DT * (phi(h) @ v @ u.T + o @ m.T)
        loss = loss + np.mean(np.sum(x**2, -1)) / 4 / STEPS
        loss = loss + BETA * np.mean(np.sum(control**2, -1))
    return loss


@pytest.mark.parametrize("activation", [lrnn.Identity(), lrnn.Tanh()], ids=["linear", "tanh"])
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delays_and_force_fields_by_hand(delay, activation):
    plant = lrnn.Delayed(lrnn.ForceField(point(), CURL), delay)
    loop = lrnn.ClosedLoop(plant, STEPS, 5, BETA)
    trials = loop.sample(jr.key(0))
    assert trials.process.shape == (5, STEPS, 4)  # that of the plant itself, at any delay
    process = np.asarray(trials.process) * np.array([0.1, 0.2, 0.3, 0.4])
    seen = 0.2 * np.asarray(trials.observation)
    net = network(activation=activation)
    exact = by_hand(net, delay, CURL, np.asarray(trials.start), process, seen)
    assert abs(loop.loss(net, trials) / exact - 1) < ROUNDING
    other = by_hand(net, delay + 1, CURL, np.asarray(trials.start), process, seen)
    assert abs(other / exact - 1) > 1e-3
    other = by_hand(net, delay, 0 * CURL, np.asarray(trials.start), process, seen)
    assert abs(other / exact - 1) > 1e-3


def sources():
    """All that moves a linear loop, one at a time: its variance, and the trial that it makes."""
    none = np.zeros((1, 4)), np.zeros((1, STEPS, 4)), np.zeros((1, STEPS, 2))
    for i in range(4):
        yield START[i] ** 2 / 3, np.eye(4)[i : i + 1], *none[1:]
    for t in range(STEPS):
        for part, sizes in ((1, (0.1, 0.2, 0.3, 0.4)), (2, (0.2, 0.2))):
            for i, size in enumerate(sizes):
                trial = [a.copy() for a in none]
                trial[part][0, t, i] = 1
                yield size**2, *trial


def test_expected_losses_are_the_sum_over_all_that_moves_the_loop():
    plant = lrnn.Delayed(lrnn.ForceField(point(), CURL), 2)
    loop, net = lrnn.ClosedLoop(plant, STEPS, control_cost=BETA), network()
    exact = sum(size * by_hand(net, 2, CURL, *trial) for size, *trial in sources())
    for model in (net, lrnn.reduce(net)):
        assert abs(loop.loss(model) / exact - 1) < 1e-11  # rounding in powers of the matrix
    few = lrnn.ClosedLoop(lrnn.Delayed(lrnn.ForceField(point(None), CURL), 2), STEPS, 9, BETA)
    start = few.sample(jr.key(0))
    quiet = np.zeros((9, STEPS, 4)), np.zeros((9, STEPS, 2))
    exact = by_hand(net, 2, CURL, np.asarray(start), *quiet)
    ways = (lrnn.Evaluation.AUTO, lrnn.Evaluation.ROLLOUT, lrnn.Evaluation.DOUBLING)
    for way in ways:
        few = lrnn.ClosedLoop(few.plant, STEPS, 9, BETA, evaluation=way)
        for model in (net, lrnn.reduce(net)):
            assert abs(few.loss(model, start) / exact - 1) < 1e-11


def test_matrices_are_those_of_the_steps():
    plants = point(), lrnn.ForceField(point(), CURL)
    for plant in (*plants, *(lrnn.Delayed(p, 2) for p in plants)):
        assert plant.matrices is not None
        a, b, c, q, r = plant.matrices
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, plant.state_size)))
        u = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)))
        assert np.allclose(plant.step(x, u), x @ a.T + u @ b.T, atol=ROUNDING)
        assert np.allclose(plant.observe(x, None), x @ c.T, atol=ROUNDING)
        cost = np.sum(x * (x @ q.T), -1) + np.sum(u * (u @ r.T), -1)
        assert np.allclose(plant.cost(x, u, None), cost, atol=ROUNDING)
    nonlinear = lrnn.ForceField(point(), lambda x: -(x[..., 2:] ** 3))
    assert nonlinear.matrices is None
    assert lrnn.Delayed(nonlinear, 1).linear_within is None


def test_the_signals_that_are_seen_are_late_and_those_that_count_are_not():
    plant = lrnn.TrackingPlant(dt=DT)
    late, start = lrnn.Delayed(plant, 3), plant.sample(jr.key(0), 2)
    r = plant.signals(start, STEPS)
    net = lrnn.LowRankRNN.normalised(6, 1, 4, 2, dt=DT, key=jr.key(1))
    run = lrnn.ClosedLoop(late, STEPS, 2).simulate(net, start)
    for t in range(STEPS):
        assert np.array_equal(run.observations[t, :, 2:], r[max(t - 3, 0)])
        where = max(t + 1 - 3, 0)
        assert np.array_equal(run.observations[t, :, :2], run.states[where, :, :2])
    signal = jax.tree.map(lambda s: s[5], run.signals)
    cost = np.sum((run.states[6, :, :2] - r[5]) ** 2, -1)
    assert np.allclose(late.cost(run.states[6], run.controls[5], signal), cost, atol=ROUNDING)


@pytest.mark.parametrize("batch", [None, 6])
def test_a_network_learns_in_wrapped_plants_what_its_reduction_learns(batch):
    plant = lrnn.Delayed(lrnn.ForceField(lrnn.KIntegrator(2, dt=DT), np.array([[0.0, -0.5]])), 2)
    loop = lrnn.ClosedLoop(plant, STEPS, batch, 0.1)
    net = lrnn.LowRankRNN.normalised(20, 2, dt=DT, key=jr.key(0))
    method = lrnn.Descent(0.05, momentum=0.5, clip=1.0)
    full, reduced = (
        lrnn.learn(model, loop, method, epochs=100, key=jr.key(1))
        for model in (net, lrnn.reduce(net))
    )
    assert np.abs(full.gram - reduced.gram).max() < 1e-11
    assert np.abs(full.gram[-1] - full.gram[0]).max() > 0.05


def test_what_is_known_of_linear_plants_is_known_of_wrapped_ones():
    """Full information makes delays harmless: the regulator does not look at what was."""
    loop = lrnn.ClosedLoop(point(None), STEPS, control_cost=BETA)
    late = lrnn.ClosedLoop(lrnn.Delayed(point(None), 1), STEPS, control_cost=BETA)
    gain, with_memory = lrnn.lqr_gain(loop), lrnn.lqr_gain(late)
    assert np.allclose(with_memory[:, :4], gain, atol=1e-9)
    assert np.allclose(with_memory[:, 4:], 0, atol=1e-9)
    losses = [
        lrnn.stability.gain_landscape(each, jnp.asarray(k)[None]).log_loss
        for each, k in ((loop, gain), (late, with_memory))
    ]
    assert np.allclose(losses[0], losses[1], atol=1e-9)
    net = network()
    outside = lrnn.spectrum(net, lrnn.Delayed(point(None), 1))
    assert outside.shape[-1] > lrnn.spectrum(net, point(None)).shape[-1]


def test_wrong_wrappers_are_refused():
    plant = lrnn.KIntegrator(2, dt=DT)
    with pytest.raises(ValueError, match=r"`steps` must be a whole number of at least 0; got -1"):
        lrnn.Delayed(plant, -1)
    with pytest.raises(ValueError, match=r"`force` must have shape.*\(1, 2\).*got \(2,\)"):
        lrnn.ForceField(plant, np.ones(2))
    for function in (lambda x: x, lambda x: x @ jnp.ones((3, 1))):
        with pytest.raises(ValueError, match=r"`force` must be a function \(…, 2\) → \(…, 1\)"):
            lrnn.ForceField(plant, function)
    loop = lrnn.ClosedLoop(lrnn.ForceField(plant, lambda x: -(x[..., 1:] ** 3)), STEPS)
    net = lrnn.LowRankRNN.normalised(20, dt=DT, key=jr.key(0))
    with pytest.raises(ValueError, match=r"ForceField is not linear: give `batch`"):
        loop.loss(net)
