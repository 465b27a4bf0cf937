"""Plants, laws of initial states and closed loops: laws, messages, simulation by hand."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.environments import LoopLoss, LoopTrials

ROUNDING = 1e-12  # a few steps of numbers of order 1


def network(seed=0, n=20, inputs=1, outputs=1, rank=1, dt=1.0):
    """Entries of order 1/√N, s = 1."""
    theta = np.random.default_rng(seed).normal(size=(n, inputs + outputs + 2 * rank)) / np.sqrt(n)
    z, v, m, u = np.split(theta, np.cumsum([outputs, rank, inputs]), axis=1)
    return lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=dt)


PLANTS = {
    "integrators": lrnn.KIntegrator(3, 2, 2, dt=0.1, noise=0.1, observation_noise=0.2),
    "matrices": lrnn.LinearPlant(
        np.array([[0.5, 1], [0, 1.1]]), np.array([[0.0], [1]]), np.array([[1.0, 0]]), dt=0.1
    ),
    "tracking": lrnn.TrackingPlant(dt=0.1, noise=0.1),
    "pendulum": lrnn.environments.Pendulum(dt=0.1, observation_noise=0.1),
    "ring": lrnn.environments.Ring(dt=0.1, noise=0.1, observation_noise=0.2),
}
PLANTS |= {
    "late integrators": lrnn.Delayed(PLANTS["integrators"], 2),
    "late tracking": lrnn.Delayed(lrnn.TrackingPlant(dt=0.1), 3),
    "pushed pendulum": lrnn.ForceField(PLANTS["pendulum"], lambda x: jnp.sin(x[..., 1:])),
    "pushed, then late": lrnn.Delayed(lrnn.ForceField(PLANTS["matrices"], np.ones((1, 2))), 1),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_the_loop_is_what_it_says(plant):
    """Simulated step by step in plain Python, for a network, its reduction and a dense network."""
    net = network(1, inputs=plant.observations, outputs=plant.controls, dt=0.1)
    loop = lrnn.ClosedLoop(plant, 5, batch=3, control_cost=0.7)
    batch = loop.sample(jr.key(0))
    trials = batch if loop.noisy else lrnn.environments.LoopTrials(batch, None, None)
    x, signals = plant.initial(trials.start), plant.signals(trials.start, 5)
    h, cost = jnp.zeros((3, 20)), 0.0
    for t in range(5):
        u = net.readout(h)
        assert t > 0 or not jnp.any(u)
        x = plant.step(x, u)
        if trials.process is not None:
            x = x + trials.process[:, t] @ plant.process_noise.T
        signal = jax.tree.map(lambda s: s[t], signals)  # noqa: B023
        o = plant.observe(x, signal)
        if trials.observation is not None:
            o = o + trials.observation[:, t] @ plant.observation_noise.T
        h = net.step(h, o)
        cost += jnp.mean(plant.cost(x, u, signal)) / 5 + 0.7 * jnp.mean(jnp.sum(u**2, -1))
    dense = lrnn.DenseRNN(net.u @ net.v.T, net.m, net.z.T, dt=0.1)
    for model in (net, lrnn.reduce(net), dense):
        assert abs(loop.loss(model, batch) / cost - 1) < ROUNDING


def test_noise_has_the_size_that_was_asked_for():
    """Standard deviations, one or several, or a factor F of its covariance F Fᵀ."""
    factor = np.array([[0.2, 0.0], [0.1, 0.3]])
    sizes = {"noise": np.array([0.5, 0.0]), "observation_noise": 0.2}
    matrices = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]]), np.eye(2)
    cases = [
        (lrnn.KIntegrator(2, dt=0.1, **sizes), np.diag(sizes["noise"]), np.array([[0.2]])),
        (lrnn.LinearPlant(*matrices, dt=0.1, observation_noise=factor), None, factor),
    ]
    for plant, process, observation in cases:
        loop = lrnn.ClosedLoop(plant, 4, 2000)
        trials = loop.sample(jr.key(0))
        net = network(1, inputs=plant.observations, outputs=plant.controls, dt=0.1)
        run = loop.simulate(net, trials)
        seen = run.observations - run.states[1:] @ plant.c.T
        assert np.allclose(seen, jnp.moveaxis(trials.observation, 1, 0) @ observation.T, atol=1e-12)
        free = run.states[:-1] @ plant.a.T + run.controls @ plant.b.T
        moved = 0.0 if process is None else jnp.moveaxis(trials.process, 1, 0) @ process.T
        assert np.allclose(run.states[1:] - free, moved, atol=1e-12)
        for draws in (trials.observation, trials.process):
            if draws is not None:  # of 8000 normal numbers or more: 5 standard errors
                assert abs(float(jnp.var(draws)) - 1) < 5 * (2 / draws.size) ** 0.5


def by_recursion(net, plant, horizon, beta):
    """⟨L⟩ by S_{t+1} = P S_t Pᵀ + G Gᵀ, with P and G from the equations of the loop, in NumPy."""
    s, dt = float(net.scale), float(net.dt)
    z, v, m, u = (np.asarray(x) for x in (net.z, net.v, net.m, net.u))
    a, b, c, q, r = (np.asarray(x) for x in (plant.a, plant.b, plant.c, plant.q, plant.r))
    n, size = len(a), len(z)
    step = (1 - dt) * np.eye(size) + dt * u @ v.T / s
    p = np.block([[a, b @ z.T / s], [dt * m @ c @ a, step + dt * m @ c @ b @ z.T / s]])
    w, seen = (np.asarray(x) for x in (plant.process_noise, plant.observation_noise))
    g = np.block([[w, np.zeros((n, len(seen)))], [dt * m @ c @ w, dt * m @ seen]])
    moment, loss = np.zeros_like(p), 0.0
    moment[:n, :n] = plant.start.moment(n)
    for _ in range(horizon):
        control = z.T @ moment[n:, n:] @ z / s**2
        moment = p @ moment @ p.T + g @ g.T
        loss += np.trace(q @ moment[:n, :n]) / horizon
        loss += np.trace(r @ control) / horizon + beta * np.trace(control)
    return loss


def test_expected_losses_are_the_exact_recursion():
    """Each noise has its own variance, and enters where it does."""
    chain = lrnn.KIntegrator(3, 2, 2, dt=0.5)
    shape = {"q": np.diag([1.0, 2.0, 0.5]), "r": np.diag([3.0, 5.0]), "dt": 0.5}
    shape |= {"start": np.array([1.0, 0.5, 0.0]), "process_noise": np.array([0.3, 0.1, 0.0])}
    noises = (np.array([0.2, 0.5]), np.array([0.4, 1.0]))
    plants = [
        lrnn.LinearPlant(chain.a, chain.b, chain.c, **shape, observation_noise=noise)
        for noise in noises
    ]
    net = network(3, 12, 2, 2, 2, dt=0.5)
    exact = [by_recursion(net, plant, 15, 0.1) for plant in plants]
    for model in (net, lrnn.reduce(net)):
        found = float(lrnn.ClosedLoop(plants[0], 15, control_cost=0.1).loss(model))
        assert found == pytest.approx(exact[0], rel=1e-11)
    assert exact[1] > 1.02 * exact[0]  # noise that the loss depends on


def test_a_loss_is_right_up_to_the_largest_number_and_its_gradient_bounded():
    """x_t = aᵗ x_0 without control, so that ⟨x_0²⟩ = 1/3 grows to (1/3T) Σ a^{2t}."""
    for dtype, horizon, cut in ((np.float32, 62, 48), (np.float64, 500, 480)):
        zero = np.zeros((2, 1), dtype)
        net = lrnn.reduce(lrnn.LowRankRNN(zero, zero, zero, zero, scale=dtype(1), dt=dtype(1)))
        plant = lrnn.LinearPlant(np.full((1, 1), 2.0), np.eye(1), np.eye(1))
        for steps in (8, horizon // 2, horizon):
            loop = lrnn.ClosedLoop(plant, steps)
            exact = sum(4.0**t for t in range(1, steps + 1)) / steps / 3
            assert float(loop.loss(net)) == pytest.approx(exact, rel=1e-5)
            slope = jax.grad(lambda q: loop.loss(net.with_gram(q)))(net.overlaps.gram)  # noqa: B023
            assert 0 < float(jnp.abs(slope).max()) < 2.0 ** (cut + 20)
        beyond = lrnn.ClosedLoop(plant, 4 * horizon).loss(net)
        assert jnp.isfinite(beyond)
        assert beyond > 0.01 * jnp.finfo(dtype).max


def test_biases_are_refused_where_moments_would_be_wrong():
    net = network()
    theta = (net.z, net.v, net.m, net.u)
    biased = lrnn.LowRankRNN(*theta, scale=1.0, b=np.ones(20), dt=1.0)
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(dt=1.0), 8)
    reached = (
        loop.loss,
        loop.log_loss,
        loop.second_moments,
        lambda model: lrnn.effective_gains(model, loop),
    )
    for what in reached:
        what(net)
        with pytest.raises(ValueError, match=r"without biases.*LowRankRNN is not linear"):
            what(biased)
    start = loop.plant.sample(jr.key(0), 50)
    run = loop.simulate(biased, start)
    x, u = (np.asarray(a).reshape(-1, a.shape[-1]) for a in (run.states[1:-1], run.controls[1:]))
    by_hand = np.linalg.lstsq(x, u, rcond=None)[0].T
    assert np.allclose(lrnn.effective_gains(biased, loop, start), by_hand, rtol=1e-9)


def test_plants_and_costs_of_any_size_are_checked_alike():
    """No tolerance is absolute: what is wrong in large units is wrong in small ones."""
    one = np.ones((1, 1))
    for unit in (1.0, 1e-20):
        with pytest.raises(ValueError, match="`q` must be symmetric"):
            lrnn.LinearPlant(np.eye(2), np.eye(2), np.eye(2), q=unit * np.triu(np.ones((2, 2))))
        with pytest.raises(ValueError, match="no negative eigenvalue"):
            lrnn.LinearPlant(0.5 * one, one, one, q=-unit * one)
        with pytest.raises(ValueError, match="is not odd"):
            lrnn.OddActivation(lambda h: unit * (jnp.tanh(h) + 0.1))  # noqa: B023
    theta = np.random.default_rng(0).normal(size=(7, 4))
    for unit in (1e10, 1.0, 1e-6):
        q = lrnn.Overlaps.from_gram(unit * theta.T @ theta)
        assert lrnn.overlaps.reachable_dimensions(q).growth == (3, 5, 5)


def test_integrators_are_chains():
    plant = lrnn.KIntegrator(3, 2, 1, dt=0.5)
    x = plant.step(jnp.array([1.0, 2.0, 3.0]), jnp.array([10.0, 20.0]))
    assert jnp.allclose(x, jnp.array([1 + 1.0, 2 + 1.5 + 5, 3 + 10.0]), atol=ROUNDING)
    assert plant.observe(x, None).tolist() == [2.0]
    assert float(plant.cost(x, jnp.zeros(2), None)) == pytest.approx(float(jnp.mean(x**2)))


def test_the_reference_is_a_ramped_sum_of_sinusoids():
    plant = lrnn.TrackingPlant(dt=0.1)
    phases = jnp.array([[0.3, 1.0, -0.5, 2.0]])
    r = plant.signals(jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], -1), 300)
    assert r.shape == (300, 1, 2)
    t = 0.1 * np.arange(1, 301)
    by_hand = 2.31 * (np.sin(2 * np.pi * 0.2 * t - 0.5) + np.sin(2 * np.pi * 0.4 * t + 2.0))
    assert np.allclose(r[:, 0, 1], np.minimum(t, 1) * by_hand, atol=ROUNDING)
    # after the ramp and over whole periods, each sinusoid has the mean square a²/2
    powers = plant.amplitudes(jnp.moveaxis(r, 0, 1), first=100)
    assert np.allclose(powers, 2.31**2 / 2, atol=1e-9)
    far = plant.step(jnp.array([9.99, 0.0, 5.0, 0.0]), jnp.zeros(2))
    assert float(far[0]) == 10.0


def test_a_heading_is_the_integral_of_what_is_seen():
    """What is reported with ω_t seen is compared with θ_{t+1} = θ_t + dt ω_t."""
    plant = lrnn.environments.Ring(dt=0.5, frequencies=(0.1, 0.3), amplitude=0.7)
    phases = np.array([[2.0, 0.3, -1.0], [-3.0, 1.0, 0.5]])
    start = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)
    velocity, cosine, sine = np.moveaxis(np.asarray(plant.signals(start, 40)), -1, 0)
    heading, seen = phases[:, 0], []
    for t in range(41):
        angles = 2 * np.pi * np.array([0.1, 0.3]) * 0.5 * t + phases[:, 1:]
        seen.append(0.7 * np.sin(angles).sum(axis=-1))
        if t:
            assert np.allclose(cosine[t - 1], np.cos(heading), atol=1e-12)
            assert np.allclose(sine[t - 1], np.sin(heading), atol=1e-12)
            assert np.allclose(velocity[t - 1], seen[t], atol=1e-12)
        heading = heading + 0.5 * seen[t]
    signal = plant.signals(start, 3)[1]
    right = plant.step(jnp.zeros((2, 2)), signal[:, 1:])
    assert np.allclose(plant.cost(right, right, signal), 0.0, atol=1e-30)
    assert np.allclose(plant.observe(right, signal)[:, 1:], 0.0, atol=1e-15)


LAWS = {
    "uniform": lrnn.environments.UniformStart(np.array([2.0, 0.5])),
    "gaussian": lrnn.environments.GaussianStart(np.array([[1.0, 0.0], [0.5, 2.0]])),
    "fixed": lrnn.environments.FixedStart(np.array([[1.0, -1.0], [0.0, 3.0]])),
}


LAWS["phases"] = lrnn.environments.RandomPhases()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_second_moments_are_those_of_the_samples(law):
    x = np.asarray(law.sample(jr.key(0), 40_000, 2))
    products = x[:, :, None] * x[:, None, :]
    error = products.std(0) / np.sqrt(len(x)) + 1e-12
    assert (np.abs(products.mean(0) - law.moment(2)) < 5 * error).all()
    assert np.abs(law.moment(2)).max() > 0.1


def test_every_network_learns_in_every_plant():
    pendulum = lrnn.ClosedLoop(lrnn.environments.Pendulum(dt=0.1), 20, batch=5)
    a, b = np.random.default_rng(0).normal(size=(2, 20, 20)) / 10
    dense = lrnn.DenseRNN(
        a, b[:, :1], b[:1], b[:, 1], dt=0.1, activation=lrnn.Tanh(), frozen=("w_in",)
    )
    method = lrnn.Training(optax.adam(1e-2))
    curve = lrnn.learn(dense, pendulum, method, epochs=60, key=jr.key(0))
    assert curve.loss[-1] < curve.loss[0]
    assert not jnp.array_equal(curve.model.b, dense.b)
    assert jnp.array_equal(curve.model.w_in, dense.w_in)
    tanh = lrnn.LowRankRNN.normalised(20, dt=0.1, key=jr.key(0), activation=lrnn.Tanh())
    for model in (tanh, lrnn.reduce(tanh)):
        curve = lrnn.learn(model, pendulum, lrnn.Descent(0.1, clip=1.0), epochs=60, key=jr.key(0))
        assert curve.loss[-1] < curve.loss[0]


@pytest.mark.parametrize("model", [network(dt=0.5), lrnn.reduce(network(dt=0.5))])
def test_another_time_step_is_refused_whatever_is_asked(model):
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), 8, 7)
    starts = loop.sample(jr.key(0))
    for ask in (
        lambda: loop.loss(model),
        lambda: loop.loss(model, starts),
        lambda: loop.log_loss(model),
        lambda: loop.simulate(model, starts),
        lambda: loop.second_moments(model),
    ):
        with pytest.raises(ValueError, match=r"sampled at dt = 1\.0, but the .* dt = 0\.5"):
            ask()


def test_biases_are_saved_factorised_and_refused_where_they_do_not_fit(tmp_path):
    w = np.eye(3)
    net = lrnn.DenseRNN(0.1 * w, w[:, :1], w[:1], np.arange(3.0), dt=0.5)
    assert jnp.allclose(net.step(jnp.zeros(3), jnp.ones(1)), 0.5 * jnp.array([1.0, 1, 2]))
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(dt=0.5), 3, batch=2)
    curve = lrnn.learn(net, loop, lrnn.Descent(0.1), epochs=2, key=jr.key(0))
    curve.save(tmp_path / "curve.npz")
    loaded = lrnn.LearningCurve.load(tmp_path / "curve.npz")
    assert jnp.array_equal(loaded.model.b, curve.model.b)
    with pytest.raises(ValueError, match=r"`b` holds one number for each of 3 neurons; got \(2,\)"):
        lrnn.DenseRNN(w, w[:, :1], w[:1], np.zeros(2), dt=0.5)
    held = lrnn.DenseRNN(net.w, net.w_in, net.w_out, net.b, dt=0.5, frozen=("w", "b"))
    low_rank = lrnn.factorise(held, rank=3).network
    x = jnp.ones((4, 1))
    assert jnp.abs(low_rank.rollout(x) - net.rollout(x)).max() < 1e-13  # rounding
    assert low_rank.frozen == ("v", "u", "b")
    np.savez(tmp_path / "net.npz", w=net.w, w_in=net.w_in, w_out=net.w_out, b=net.b, dt=0.5)
    read = lrnn.load_network(tmp_path / "net.npz")
    assert jnp.array_equal(read.rollout(x), net.rollout(x))


def test_a_student_imitates_what_the_teacher_met():
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(dt=1.0), 10, batch=20)
    teacher, student = network(0), network(1)
    task = lrnn.environments.Demonstrations(teacher, loop)
    trials = task.sample(jr.key(0))
    seen, target, _ = trials
    run = loop.simulate(teacher, loop.sample(jr.key(0)))
    assert jnp.allclose(jnp.moveaxis(seen, 1, 0), run.observations, atol=ROUNDING)
    # y after o_t is the control u_t of the next step
    assert jnp.allclose(target[:, :-1], jnp.moveaxis(run.controls[1:], 0, 1), atol=1e-9)
    assert task.loss(teacher, trials) < ROUNDING
    watch = lrnn.environments.LoopLoss(loop, loop.plant.sample(jr.key(1), 20))
    options = {"epochs": 30, "key": jr.key(2), "watch": watch}
    full = lrnn.learn(student, task, lrnn.Descent(0.01, clip=1.0), **options)
    reduced = lrnn.learn(lrnn.reduce(student), task, lrnn.Descent(0.01, clip=1.0), **options)
    assert full.loss[-1] < full.loss[0]
    assert reduced.distance(full).max < 1e-11
    assert jnp.max(jnp.abs(reduced.watched / full.watched - 1)) < 1e-9
    assert jnp.ptp(full.watched) > 1e-3


NOISY = lrnn.ClosedLoop(lrnn.KIntegrator(noise=0.1, observation_noise=0.1), 5, batch=3)
MESSAGES = {
    r"A plant of n states takes `a` \(n, n\).*A \(2, 2\), B \(3, 1\)": lambda: lrnn.LinearPlant(
        np.eye(2), np.ones((3, 1)), np.ones((1, 2))
    ),
    r"`q` weighs a cost.*one is -1": lambda: lrnn.LinearPlant(
        np.array([[0.5]]), np.array([[1.0]]), np.array([[1.0]]), q=np.array([[-1.0]])
    ),
    r"`r` weighs a cost.*one is -2": lambda: lrnn.LinearPlant(
        np.array([[0.5]]), np.array([[1.0]]), np.array([[1.0]]), r=-2.0
    ),
    r"`q` must be symmetric": lambda: lrnn.LinearPlant(
        np.eye(2), np.eye(2), np.eye(2), q=np.array([[1.0, 1], [0, 1]])
    ),
    r"`horizon` must be a whole number.*got 0": lambda: lrnn.ClosedLoop(lrnn.KIntegrator(), 0),
    r"`control_cost` must lie in \[0, inf\)": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(), 5, control_cost=-1.0
    ),
    r"`batch` must be a whole number": lambda: lrnn.ClosedLoop(lrnn.KIntegrator(), 5, 0),
    r"`dt` is the plant's time step.*got 0": lambda: lrnn.KIntegrator(dt=0),
    r"`dt` is the plant's time step.*got -0.1": lambda: lrnn.TrackingPlant(dt=-0.1),
    r"`dt` is the plant's time step.*got 0.0": lambda: lrnn.environments.Pendulum(dt=0.0),
    r"`observed` must be a whole number from 1 to 2; got 3": lambda: lrnn.KIntegrator(
        2, observed=3
    ),
    r"`start` has 3 component\(s\), but there are 2": lambda: lrnn.KIntegrator(start=np.ones(3)),
    r"`noise` must lie in \[0, inf\); got -1": lambda: lrnn.KIntegrator(noise=-1.0),
    r"`control_cost` is one number; got an array of shape \(3,\)": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(), 5, control_cost=np.full(3, 0.01)
    ),
    r"has no closed form": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(), 5, evaluation=lrnn.Evaluation.CLOSED_FORM
    ),
    r"ClosedLoop has 1 input.*2 output.*LowRankRNN with 1 input": lambda: lrnn.learn(
        network(), lrnn.ClosedLoop(lrnn.KIntegrator(2, 2), 5), lrnn.Descent(0.1), epochs=1
    ),
    r"sampled at dt = 0.5.*dt = 1": lambda: lrnn.ClosedLoop(lrnn.KIntegrator(dt=0.5), 5).check(
        network()
    ),
    r"ClosedLoop draws fresh data.*`key`": lambda: lrnn.learn(
        network(), lrnn.ClosedLoop(lrnn.KIntegrator(), 5, 3), lrnn.Descent(0.1), epochs=1
    ),
    r"expected loss.*Pendulum is not linear": lambda: lrnn.ClosedLoop(
        lrnn.environments.Pendulum(dt=1.0), 5
    ).loss(network()),
    r"This plant is noisy: `batch` holds": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(noise=1.0), 5
    ).loss(network(), jnp.ones((3, 2))),
    r"`batch.start`.*shape \(trial, 2\).*got an array of shape \(3, 1\)": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(), 5
    ).loss(network(), jnp.ones((3, 1))),
    r"`batch.process` of this ClosedLoop must be an array of shape \(trial, 5, 2\)": lambda: (
        NOISY.loss(network(), LoopTrials(jnp.ones((3, 2)), None, jnp.ones((3, 5, 1))))
    ),
    r"`batch.observation`.*\(trial, 5, 1\).*got None": lambda: NOISY.simulate(
        network(), LoopTrials(jnp.ones((3, 2)), jnp.ones((3, 5, 2)), None)
    ),
    r"`batch.process`.*as many trials.*got an array of shape \(4, 5, 2\)": lambda: NOISY.loss(
        network(), LoopTrials(jnp.ones((3, 2)), jnp.ones((4, 5, 2)), jnp.ones((3, 5, 1)))
    ),
    r"`batch.process` of this ClosedLoop must be None": lambda: lrnn.ClosedLoop(
        lrnn.KIntegrator(), 5
    ).loss(network(), LoopTrials(jnp.ones((3, 2)), jnp.ones((3, 5, 2)), None)),
    r"`trials.start` of this ClosedLoop": lambda: LoopLoss(
        lrnn.ClosedLoop(lrnn.KIntegrator(), 5), jnp.ones((3, 4))
    ),
    r"give the `loop` a `batch`": lambda: lrnn.environments.Demonstrations(
        network(), lrnn.ClosedLoop(lrnn.KIntegrator(), 5)
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_what_cannot_be_is_refused_with_advice(message):
    with pytest.raises(ValueError, match=message):
        MESSAGES[message]()


def test_hidden_modes_are_named():
    a = np.diag([0.5, 1.2])
    with pytest.warns(UserWarning, match=r"uncontrollable.*λ = 1.2; 1 of them do not decay"):
        lrnn.LinearPlant(a, np.array([[1.0], [0.0]]), np.eye(2))
    with pytest.warns(UserWarning, match=r"unobservable.*λ = 0.5; they decay by themselves"):
        lrnn.LinearPlant(a, np.eye(2), np.array([[0.0, 1.0]]))
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    with pytest.warns(UserWarning, match=r"uncontrollable.*λ = 1.2;"):
        lrnn.LinearPlant(turned @ a @ turned.T, turned @ np.array([[1.0], [0.0]]), np.eye(2))


def test_float32_works_and_is_close():
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(noise=0.1), 50)
    net = network()
    single = jax.tree.map(lambda x: x.astype(jnp.float32), net)
    loss = loop.loss(lrnn.reduce(single))
    assert loss.dtype == jnp.float32
    assert abs(loss.astype(float) / loop.loss(lrnn.reduce(net)) - 1) < 1e-4
