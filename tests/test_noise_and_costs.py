"""What the field trains with beside the task: costs of activity, and noise of each neuron's own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy.special import erf

import lrnn_jax as lrnn
from lrnn_jax import tasks

DT, STEPS, N = 0.2, 12, 8
ROUNDING = 1e-12  # sums over some steps and neurons of numbers of order 1
RNG = np.random.default_rng(0)
ROLES = lrnn.overlaps.Roles(1, 2, 2)
THETA = RNG.normal(size=(N, ROLES.size)) * 0.7
NET = lrnn.LowRankRNN.from_stack(jnp.asarray(THETA), ROLES, N, dt=DT)
MASK = (RNG.random((3, STEPS)) < 0.6).astype(float)
TRIALS = lrnn.TrialSet(
    RNG.normal(size=(3, STEPS, 2)), RNG.normal(size=(3, STEPS)), dt=DT, mask=MASK
)
FILTER = lrnn.ImpulseResponse(RNG.normal(size=(STEPS, 2, 1)), dt=DT)
FLIPS = lrnn.FlipFlop(DT, 40, 3, (1.0, 2.0))
METHOD = lrnn.Descent(0.03, momentum=0.8, clip=0.5)
SIGMA, COST = 0.4, 0.3


def simulated(theta, x, scale=N):
    """h_1 … h_T and outputs of a linear network, in NumPy; shape (trial, time, N)."""
    z, v, m, u = np.split(theta, np.cumsum([1, 2, 2]), axis=1)
    h, states = np.zeros((len(x), len(theta)), theta.dtype), []
    for t in range(x.shape[1]):
        h = (1 - DT) * h + DT * (h @ v @ u.T / scale + x[:, t] @ m.T)
        states.append(h)
    states = np.stack(states, 1)
    return states, states @ z / scale


def costly_loss(theta, sigma=0.0, strength=COST, scale=N):
    """⟨L⟩ of `TRIALS` with a cost of activity and private noise: covariances of all N neurons."""
    x, target, mask = (np.asarray(a) for a in TRIALS.data)
    states, y = simulated(theta, x, scale)
    loss = np.sum(mask * np.sum((y - target) ** 2, -1)) / mask.sum()
    loss = loss + strength * np.mean(np.sum(states**2, -1)) / scale
    z, v, _, u = np.split(theta, np.cumsum([1, 2, 2]), axis=1)
    a = (1 - DT) * np.eye(len(theta)) + DT * u @ v.T / scale
    c = np.zeros_like(a)
    for t in range(STEPS):
        c = a @ c @ a.T + sigma**2 * np.eye(len(theta))
        loss = loss + mask[:, t].sum() / mask.sum() * (z.T @ c @ z)[0, 0] / scale**2
        loss = loss + strength * np.trace(c) / scale / STEPS
    return loss


def by_complex_steps(theta, **options):
    """s ∂⟨L⟩/∂Θ, exact to rounding: the loss is a polynomial."""
    slope = np.zeros_like(theta)
    for place in np.ndindex(theta.shape):
        moved = theta.astype(complex)
        moved[place] += 1e-30j
        slope[place] = costly_loss(moved, **options).imag / 1e-30
    return len(theta) * slope


def descended(epochs, **options):
    """Losses of descent with momentum and clipping on all N×k weights, in NumPy."""
    theta, memory, losses = THETA.copy(), np.zeros_like(THETA), []
    for _ in range(epochs):
        losses.append(costly_loss(theta, **options))
        slope = by_complex_steps(theta, **options)
        norm = np.sqrt(np.sum(slope**2) / N)
        memory = 0.8 * memory + slope * min(1.0, 0.5 / norm)
        theta = theta - 0.03 * memory
    return np.array(losses), theta


def central(function, q, direction, step=1e-5):
    return (function(q + step * direction) - function(q - step * direction)) / (2 * step)


COSTLY = {
    "trials": lrnn.RateCost(TRIALS, COST),
    "impulse response": lrnn.RateCost(FILTER, COST),
    "minibatches": lrnn.RateCost(
        lrnn.TrialSet(RNG.normal(size=(6, STEPS, 2)), RNG.normal(size=(6, STEPS)), dt=DT, batch=2),
        COST,
    ),
}


@pytest.mark.parametrize("task", COSTLY.values(), ids=COSTLY)
def test_activity_costs_a_network_what_it_costs_its_reduction(task):
    full = lrnn.learn(NET, task, METHOD, epochs=500, key=jr.key(0))
    reduced = lrnn.learn(lrnn.reduce(NET), task, METHOD, epochs=500, key=jr.key(0))
    # rounding of 500 epochs: 6e-12 with JAX 0.10.2, 6e-11 with 0.10.0
    assert np.abs(full.gram - reduced.gram).max() < 1e-10
    assert np.abs(full.loss - reduced.loss).max() < 1e-11
    assert np.abs(full.gram[-1] - full.gram[0]).max() > 0.1


def test_a_cost_of_activity_by_hand():
    curve = lrnn.learn(lrnn.reduce(NET), COSTLY["trials"], METHOD, epochs=8)
    losses, theta = descended(8)
    assert np.allclose(curve.loss[:-1], losses, rtol=0, atol=1e-12)
    assert np.allclose(curve.gram[-1], theta.T @ theta / N, rtol=0, atol=1e-12)
    states, y = simulated(THETA, np.asarray(FILTER.inputs()))
    error = DT * np.sum((y - np.swapaxes(np.asarray(FILTER.target), 0, 1)) ** 2)
    cost = COST * np.mean(np.sum(states**2, -1)) / N
    assert abs(COSTLY["impulse response"].loss(NET) - error - cost) < ROUNDING


def test_rates_of_every_network():
    """(1/s) Σ φ(h)²: over neurons, over nodes, in the closure and in its populations."""
    x = jnp.asarray(RNG.normal(size=(2, STEPS, 1)))
    vectors = [jnp.asarray(RNG.normal(size=(N, c))) for c in (1, 1, 1, 1)]
    for scale in (1.0, np.arange(1.0, N + 1)):
        net = lrnn.LowRankRNN(*vectors, scale=scale, dt=DT, activation=lrnn.Tanh())
        h = net.states(x)
        by_hand = np.sum(np.tanh(np.asarray(h)) ** 2 / scale, -1)
        assert np.allclose(net.power(h), by_hand, rtol=ROUNDING)
    assert np.allclose(lrnn.networks.CheckpointedRNN(net).power(h), by_hand, rtol=ROUNDING)
    dense = lrnn.CurrentRNN(
        RNG.normal(size=(4, 4)), np.ones((4, 1)), np.ones((1, 4)), dt=DT, activation=lrnn.Tanh()
    )
    again = lrnn.factorise(dense, rank=4).network
    ours, theirs = (model.power(model.states(x)) for model in (dense, again))
    assert np.allclose(ours, theirs, rtol=1e-10)
    rates = lrnn.DenseRNN(dense.w, dense.w_in, dense.w_out, dt=DT, activation=lrnn.Tanh())
    h = rates.states(x)
    assert np.allclose(rates.power(h), np.sum(np.asarray(h) ** 2, -1), rtol=ROUNDING)


def test_the_closure_and_populations_have_the_activity_of_wide_networks():
    """Before learning: to the accuracy of the nodes, and 1/√N of a network's neurons."""
    wide = lrnn.LowRankRNN.normalised(2000, dt=DT, key=jr.key(3), activation=lrnn.Tanh())
    closure = lrnn.reduce(wide)
    nodes = lrnn.population(closure, 512, key=jr.key(0))
    mixed = lrnn.MixtureRNN(
        [closure.overlaps] * 2, np.array([0.3, 0.7]), dt=DT, activation=lrnn.Tanh()
    )
    x = 2 * jnp.ones((STEPS, 1))
    power = [float(m.power(m.states(x))[-1]) for m in (wide, closure, nodes, mixed)]
    assert 0.1 < power[1] < 0.9  # of φ² ≤ 1: not linear
    assert abs(power[0] / power[1] - 1) < 0.07  # 3/√2000
    assert abs(power[2] / power[1] - 1) < 0.01
    assert abs(power[3] / power[1] - 1) < ROUNDING


def test_what_activity_and_noise_make_visible():
    """Of linear reductions: R by a cost of activity, P by private noise; both by both."""
    q = lrnn.reduce(NET)
    block = {"S": {"zm", "zu", "vm", "vu"}, "R": {"mu", "mm", "uu"}, "P": {"zv", "vv", "zz"}}

    def families(task):
        seen = lrnn.measured_visible(q, task, key=jr.key(0)).visible
        found = {"".join(c for c in name if c.isalpha()) for name in seen}
        return {"".join(sorted(pair, key="zvmu".index)) for pair in found}

    noisy = tasks.PrivateNoise(TRIALS, SIGMA, neurons=N)
    assert families(TRIALS) == block["S"]
    assert families(COSTLY["trials"]) == block["S"] | block["R"]
    assert families(COSTLY["impulse response"]) == block["S"] | block["R"]
    assert families(noisy) == block["S"] | block["P"]
    both = tasks.PrivateNoise(COSTLY["trials"], SIGMA, neurons=N)
    assert families(both) == block["S"] | block["R"] | block["P"]


@pytest.mark.parametrize("strength", [0.0, COST])
@pytest.mark.parametrize("scale", [None, 2.0])
def test_the_expectation_over_private_noise_is_exact(scale, strength):
    """Against covariances of all neurons, in NumPy."""
    s = N if scale is None else scale
    net = lrnn.LowRankRNN.from_stack(jnp.asarray(THETA), ROLES, s, dt=DT)
    task = TRIALS if strength == 0 else lrnn.RateCost(TRIALS, strength)
    noisy = lrnn.PrivateNoise(task, SIGMA, neurons=N, scale=scale)
    batch = noisy.sample(jr.key(0))
    exact = costly_loss(THETA, SIGMA, strength, s)
    assert abs(noisy.loss(lrnn.reduce(net), batch) - exact) < ROUNDING * exact
    assert exact > 1.01 * costly_loss(THETA, 0.0, strength, s)


@pytest.mark.parametrize("strength", [0.0, COST])
def test_networks_with_private_noise_have_the_expectation_in_the_mean(strength):
    task = TRIALS if strength == 0 else lrnn.RateCost(TRIALS, strength)
    noisy = lrnn.PrivateNoise(task, SIGMA)
    each = eqx.filter_jit(lambda key: noisy.loss(NET, noisy.sample(key)))
    losses = np.asarray(jax.lax.map(each, jr.split(jr.key(1), 10_000), batch_size=500))
    error = losses.std() / 100
    exact = costly_loss(THETA, SIGMA, strength)
    assert abs(losses.mean() - exact) < 4 * error
    assert exact - costly_loss(THETA, 0.0, strength) > 20 * error


def test_learning_with_private_noise_by_hand():
    """The reduction against descent on all weights of the network in NumPy."""
    noisy = lrnn.PrivateNoise(COSTLY["trials"], SIGMA, neurons=N)
    curve = lrnn.learn(lrnn.reduce(NET), noisy, METHOD, epochs=8, key=jr.key(0))
    losses, theta = descended(8, sigma=SIGMA)
    assert np.allclose(curve.loss[:-1], losses, rtol=0, atol=1e-12)
    assert np.allclose(curve.gram[-1], theta.T @ theta / N, rtol=0, atol=1e-12)
    quiet = descended(8)[1]
    assert np.abs(theta - quiet).max() > 1e-3  # noise is learned from


def test_gradients_are_those_of_finite_differences():
    q = lrnn.reduce(NET).overlaps.gram
    direction = jnp.asarray(RNG.normal(size=q.shape))
    direction = direction + direction.T
    noisy = lrnn.PrivateNoise(COSTLY["trials"], SIGMA, neurons=N)
    for task in (*COSTLY.values(), noisy):
        batch = task.sample(jr.key(0))

        @jax.jit
        def loss(gram, task=task, batch=batch):
            return task.loss(lrnn.reduce(NET).with_gram(gram), batch)

        slope = jnp.sum(jax.jit(jax.grad(loss))(q) * direction)
        assert abs(slope / central(loss, q, direction) - 1) < 1e-6  # rounding over the step
    batch = noisy.sample(jr.key(0))

    @jax.jit
    def loss_of(theta):
        return noisy.loss(NET.with_vectors(theta), batch)

    direction = jnp.asarray(RNG.normal(size=THETA.shape))
    slope = jnp.sum(jax.jit(jax.grad(loss_of))(NET.vectors) * direction)
    assert abs(slope / central(loss_of, NET.vectors, direction) - 1) < 1e-6


def test_flow_knows_what_is_conserved():
    """By costs of activity and by noise UᵀU − VᵀV only: the spectrum of JQ stays for outputs."""
    task = lrnn.PrivateNoise(COSTLY["trials"], SIGMA, neurons=N)
    data = jax.tree.map(lambda a: a[None], task.sample(jr.key(0)))
    flow, descent = (
        lrnn.learn(lrnn.reduce(NET), task, method, epochs=100, **options)
        for method, options in (
            (lrnn.Flow(0.02), {"batches": data, "record": 100}),
            (lrnn.Descent(0.02), {"key": jr.key(0)}),
        )
    )
    assert flow.result == lrnn.RESULTS.successful
    # the flow is the limit of small steps
    assert (
        np.abs(flow.gram[-1] - descent.gram[-1]).max()
        < 0.05 * np.abs(flow.gram[-1] - flow.gram[0]).max()
    )
    kept = [lrnn.invariants(lrnn.reduce(NET).with_gram(q)) for q in (flow.gram[0], flow.gram[-1])]
    assert np.abs(kept[0].balance - kept[1].balance).max() < 1e-8  # the solver's tolerance
    assert np.abs(kept[0].spectrum - kept[1].spectrum).max() > 3e-3


def test_noise_is_private_and_new_in_every_trial_step_and_epoch():
    noisy = lrnn.PrivateNoise(TRIALS, SIGMA)
    rest = NET.with_vectors(jnp.zeros_like(NET.vectors).at[0, 0].set(N).at[1, 1].set(1))
    trials, keys = noisy.sample(jr.key(0))
    y = noisy.output(rest, tasks.NoisyTrials(trials, keys))[..., 0]  # that of neuron 0 alone
    kicks = np.asarray(y[:, 1:] - (1 - DT) * y[:, :-1])
    assert abs(kicks.std() / SIGMA - 1) < 0.4  # of 33 numbers
    assert len(np.unique(kicks)) == kicks.size
    again = noisy.output(rest, noisy.sample(jr.key(1)))[..., 0]
    assert np.abs(again - y).min() > 0
    assert np.array_equal(noisy.output(rest, tasks.NoisyTrials(trials, keys))[..., 0], y)
    quiet = noisy.output(NET, tasks.NoisyTrials(trials, None))
    assert np.array_equal(quiet, TRIALS.output(NET))


@pytest.mark.slow
def test_every_kind_of_network_learns_with_noise_and_costs():
    held = lrnn.TrialSet(
        RNG.normal(size=(8, STEPS, 1)), RNG.normal(size=(8, STEPS)), dt=DT, batch=4, held_out=0.25
    )
    task = lrnn.PrivateNoise(lrnn.RateCost(held, 0.01), 0.1, neurons=40)
    dense = lrnn.DenseRNN(
        RNG.normal(size=(5, 5)) / 5,
        np.ones((5, 1)),
        np.ones((1, 5)) / 5,
        dt=DT,
        activation=lrnn.Tanh(),
    )
    low = lrnn.LowRankRNN.normalised(40, dt=DT, key=jr.key(0), activation=lrnn.Tanh())
    batch, method = task.sample(jr.key(0)), lrnn.Training(optax.adam(1e-2))
    assert task.loss(dense, batch) != task.loss(dense, batch._replace(keys=None))
    plain, checkpointed = (
        lrnn.learn(low, task, method, epochs=5, key=jr.key(1), simulate=simulate)
        for simulate in (lrnn.Plain(), lrnn.Checkpointed())
    )
    assert np.allclose(plain.loss, checkpointed.loss, rtol=1e-9)
    quiet = lrnn.RateCost(held, 0.01).loss(plain.model, held.held_out)
    assert abs(plain.held_out[-1] - quiet) < ROUNDING
    linear = lrnn.LowRankRNN.normalised(40, dt=DT, key=jr.key(0))
    curves = [
        lrnn.learn(model, task, lrnn.Descent(0.05), epochs=5, key=jr.key(1), **options)
        for model, options in (
            (lrnn.reduce(linear), {}),
            (linear, {"simulate": lrnn.ThroughReduction()}),
        )
    ]
    assert np.allclose(curves[0].gram, curves[1].gram, rtol=0, atol=1e-12)


BENT = {
    "erf": lrnn.Erf(),
    "tanh": lrnn.Tanh(),
    "relu": lrnn.ReLU(),
    "tanh, reads h": lrnn.Tanh(),
}
NODES, LOUD = 6, 1.0
LAW = 1.5 * np.random.default_rng(1).normal(size=(NODES, 5))  # of the columns z, v, m, u, b


def few_nodes(name):
    z, v, m, u, b = LAW.T
    weights = np.array([0.1, 0.3, 0.2, 0.15, 0.05, 0.2])
    readout = lrnn.Identity() if name.endswith("reads h") else None
    net = lrnn.LowRankRNN(
        *(jnp.asarray(a) for a in (z, v, m, u)),
        scale=1 / weights,
        b=b,
        dt=DT,
        activation=BENT[name],
        readout=readout,
    )
    return net, weights


@pytest.mark.parametrize("name", BENT)
def test_nodes_with_private_noise_are_many_neurons_with_noise(name):
    """Each node of a population by 200 000 neurons with the same loadings, in NumPy."""
    net, weights = few_nodes(name)
    z, v, m, u, b = (a[:, None] for a in LAW.T)
    phi = {"erf": lambda h: erf(np.sqrt(np.pi) / 2 * h), "relu": lambda h: np.maximum(h, 0)}.get(
        name, np.tanh
    )
    rng, copies = np.random.default_rng(2), 200_000
    x = rng.normal(size=STEPS)
    h, y, power = np.zeros((NODES, copies)), [], []
    for t in range(STEPS):
        kappa = np.sum(weights[:, None] * v * np.mean(phi(h), 1, keepdims=True))
        h = (1 - DT) * h + DT * (u * kappa + m * x[t] + b)
        h = h + LOUD * rng.normal(size=h.shape)
        rates = np.asarray(phi(h))
        read = h if name.endswith("reads h") else rates
        y.append(np.sum(weights * z[:, 0] * read.mean(1)))
        power.append(np.sum(weights * np.mean(rates**2, 1)))
    trials = lrnn.TrialSet(x[None, :, None], np.zeros((1, STEPS)), dt=DT)
    costly = lrnn.PrivateNoise(lrnn.RateCost(trials, COST), LOUD)
    batch = costly.sample(jr.key(0))
    seen = costly.output(net, batch)[0]
    error = 4 / np.sqrt(copies)  # of means of numbers of order 1, over some steps
    assert np.abs(seen[:, 0] - np.array(y)).max() < error
    assert np.abs(seen[:, 1] - np.array(power)).max() < error
    by_hand = np.mean(np.array(y) ** 2) + COST * np.mean(power)
    assert abs(costly.loss(net, batch) - by_hand) < 2 * error
    quiet = trials.output(net)[0, :, 0]
    nonlinear = np.abs(seen[:, 0] - quiet).max()
    assert nonlinear > 1.5 * error  # noise matters


def test_closures_with_private_noise_by_hand():
    """Gains of erf at Δ + v, in NumPy; and the nodes of the same law beside it."""
    wide = lrnn.LowRankRNN.normalised(500, dt=DT, key=jr.key(0), activation=lrnn.Erf())
    closure = lrnn.reduce(wide)
    noisy, x = lrnn.PrivateNoise(FLIPS, SIGMA), np.ones(STEPS)
    q = np.asarray(closure.overlaps.gram)  # z, v, m, u
    kappa, v, y = np.zeros(2), 0.0, []

    def gain(kappa, v):
        return 1 / np.sqrt(1 + np.pi / 2 * (kappa @ q[2:, 2:] @ kappa + v))

    for t in range(STEPS):
        drive = np.array([x[t], gain(kappa, v) * q[1, 2:] @ kappa])
        kappa, v = kappa + DT * (drive - kappa), (1 - DT) ** 2 * v + SIGMA**2
        y.append(gain(kappa, v) * q[0, 2:] @ kappa)
    trials = lrnn.TrialSet(x[None, :, None], np.zeros((1, STEPS)), dt=DT)
    noisy = lrnn.PrivateNoise(trials, SIGMA)
    batch = noisy.sample(jr.key(0))
    assert np.abs(noisy.output(closure, batch)[0, :, 0] - np.array(y)).max() < ROUNDING
    nodes = lrnn.population(closure, 2048, key=jr.key(0))
    assert np.abs(noisy.output(nodes, batch)[0, :, 0] - np.array(y)).max() < 3e-3
    mixed = lrnn.MixtureRNN(
        [closure.overlaps] * 2, np.array([0.3, 0.7]), dt=DT, activation=lrnn.Erf()
    )
    assert np.abs(noisy.output(mixed, batch)[0, :, 0] - np.array(y)).max() < ROUNDING


def test_smooth_nodes_learn_by_the_slopes_of_their_loss():
    """With checkpoints too; without noise they learn as ever; no draw is left in them."""
    net, _ = few_nodes("tanh")
    trials = lrnn.TrialSet(RNG.normal(size=(3, STEPS, 1)), RNG.normal(size=(3, STEPS)), dt=DT)
    noisy = lrnn.PrivateNoise(lrnn.RateCost(trials, COST), SIGMA)
    batch = noisy.sample(jr.key(0))

    @jax.jit
    def loss(theta):
        return noisy.loss(net.with_vectors(theta), batch)

    direction = jnp.asarray(RNG.normal(size=(NODES, 6))).at[:, -1].set(0)  # ones stay
    slope = jnp.sum(jax.jit(jax.grad(loss))(net.vectors) * direction)
    assert abs(slope / central(loss, net.vectors, direction) - 1) < 1e-6
    curves = [
        lrnn.learn(net, noisy, METHOD, epochs=5, key=jr.key(key), simulate=simulate)
        for key, simulate in ((0, lrnn.Plain()), (1, lrnn.Checkpointed()))
    ]
    assert np.allclose(curves[0].loss, curves[1].loss, rtol=1e-12)
    silent = lrnn.learn(net, lrnn.PrivateNoise(trials, 0.0), METHOD, epochs=5, key=jr.key(0))
    plain = lrnn.learn(net, trials, METHOD, epochs=5)
    assert np.allclose(silent.loss, plain.loss, rtol=1e-9)  # quadrature of a point


@pytest.mark.slow
def test_wide_networks_with_private_noise_learn_as_populations():
    """N = 1000, 4000 against nodes with a smoother φ, which learn without a draw."""
    noise = lrnn.PrivateNoise(lrnn.FlipFlop(0.2, 40, 64, (1.0, 2.0)), 0.3)
    gaps, moved = [], []
    law = lrnn.LowRankRNN.normalised(400, dt=0.2, key=jr.key(0), activation=lrnn.Erf())
    method, options = lrnn.Descent(0.03), {"epochs": 200, "record": 50, "key": jr.key(5)}
    nodes = lrnn.learn(lrnn.population(law, 512, key=jr.key(1)), noise, method, **options)
    for n in (1000, 4000):
        net = lrnn.LowRankRNN.with_overlaps(
            law.overlaps, n, dt=0.2, key=jr.key(2), activation=lrnn.Erf()
        )
        curve = lrnn.learn(net, noise, method, **options)
        gaps.append(float(np.abs(curve.gram[-1] - nodes.gram[-1]).max()))
    silent = lrnn.PrivateNoise(noise.task, 0.0)
    quiet = lrnn.learn(lrnn.population(law, 512, key=jr.key(1)), silent, method, **options)
    moved = float(np.abs(quiet.gram[-1] - nodes.gram[-1]).max())
    assert gaps[1] < min(0.03, gaps[0]), gaps
    assert moved > 3 * gaps[1], (moved, gaps)


def test_what_has_no_expectation_is_refused():
    q = lrnn.reduce(NET)
    labels = lrnn.TrialSet(
        RNG.normal(size=(2, STEPS, 1)), np.zeros((2, STEPS)), dt=DT, loss=tasks.CrossEntropy(2)
    )
    two = lrnn.LowRankRNN.normalised(40, outputs=2, dt=DT, key=jr.key(0))
    refused = {
        "does not know how many neurons.*`neurons`": (lrnn.PrivateNoise(TRIALS, 0.1), q),
        "squared errors, and `task` has CrossEntropy": (
            lrnn.PrivateNoise(labels, 0.1, neurons=40),
            lrnn.reduce(two),
        ),
    }
    for message, (task, model) in refused.items():
        with pytest.raises(ValueError, match=message):
            lrnn.learn(model, task, lrnn.Descent(0.1), epochs=1, key=jr.key(0))
    with pytest.raises(ValueError, match="expectation has no trials"):
        lrnn.RateCost(lrnn.WhiteNoise(lrnn.ExponentialFilter(0.2, DT, STEPS)), 0.1)
    with pytest.raises(ValueError, match=r"`task` must be such as.*ImpulseResponse"):
        lrnn.PrivateNoise(lrnn.RateCost(FILTER, 0.1), 0.1)
    noisy = lrnn.PrivateNoise(TRIALS, 0.1, neurons=N)
    for model in (NET, q):
        with pytest.raises(ValueError, match=r"`batch` must be the data.*PrivateNoise.sample"):
            noisy.loss(model)
