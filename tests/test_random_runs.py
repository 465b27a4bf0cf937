"""Random valid runs against NumPy: what networks, tasks and methods do together.

Each run draws a network, an objective that fits it and a method with options. The oracle knows the
published equations only: it simulates with loops, takes gradients by the complex step (exact to
rounding) and makes the updates by hand.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special

import lrnn_jax as lrnn
from lrnn_jax.networks import AbstractDenseRNN

EPOCHS = 3
CLOSE = 1e-9  # three updates of numbers of order 1, each from sums over up to 20 steps and trials
PHI = {
    "Identity": lambda h: h,
    "Erf": lambda h: scipy.special.erf(np.sqrt(np.pi) / 2 * h),
    "Tanh": np.tanh,
    "ReLU": lambda h: np.where(h.real > 0, h, 0),
}
LOW_RANK, DENSE = ("z", "v", "m", "u", "b", "h0"), ("w", "w_in", "w_out", "b", "h0")
FAMILY = {"h0": "h"}  # names of low-rank fields that are not their letter

learn = eqx.filter_jit(lrnn.learn)


# --- draw a run ------------------------------------------------------------------------------


def draw_network(rng, inputs, outputs, phi):
    n, rank = int(rng.integers(4, 8)), int(rng.integers(1, 4))
    options = {"dt": rng.choice([0.3, 0.5, 1.0]), "activation": getattr(lrnn, phi)()}
    biases, moved = rng.random() < 0.3, rng.random() < 0.3
    options |= {"readout": lrnn.Identity()} if rng.random() < 0.3 else {}
    if rng.random() < 0.3:
        shapes = {"w": (n, n), "w_in": (n, inputs), "w_out": (outputs, n)}
        arrays = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
        arrays |= {"b": 0.3 * rng.normal(size=n)} if biases else {}
        arrays |= {"h0": 0.5 * rng.normal(size=n)} if moved else {}
        options["frozen"] = tuple(name for name in arrays if rng.random() < 0.15)
        return [lrnn.DenseRNN, lrnn.CurrentRNN][rng.choice(2)](**arrays, **options)
    columns = {"z": outputs, "v": rank, "m": inputs, "u": rank}
    columns |= ({"b": 1} if biases else {}) | ({"h0": 1} if moved else {})
    scale = [None, 1.0, rng.uniform(2, 5, n)][rng.choice(3)]
    size = 0.4 if scale is not None and np.ndim(scale) == 0 else 0.9
    arrays = {name: size * rng.normal(size=(n, c)) for name, c in columns.items()}
    frozen = tuple(FAMILY.get(name, name) for name in arrays if rng.random() < 0.15)
    options["frozen"] = frozen
    return lrnn.LowRankRNN(**arrays, scale=scale, **options)


def draw_objective(rng, dt, inputs, outputs):
    """A task or loop for these channels, in short trials."""
    steps, batch = int(rng.integers(3, 9)), int(rng.integers(1, 4))
    target = rng.normal(size=(steps, inputs, outputs))
    noise = rng.choice([None, 0.3])
    samples = lrnn.ImpulseResponse(target, dt=dt, label_noise=noise)
    choices = [
        samples,
        lrnn.WhiteNoise(lrnn.ImpulseResponse(target, dt=dt), batch=batch),
        lrnn.ClosedLoop(draw_plant(rng, inputs, outputs), steps, batch, rng.choice([0.0, 0.2])),
    ]
    if inputs == outputs == 1:
        choices += [
            lrnn.FlipFlop(dt, max(steps, int(np.ceil(4 / dt)) + 1), batch, (1.0, 2.0)),
            lrnn.DecisionMaking(dt, batch),
        ]
    return choices[rng.choice(len(choices))]


def draw_plant(rng, observed, controls):
    n = 2
    a, b, c = (rng.normal(size=s) for s in ((n, n), (n, controls), (observed, n)))
    noise = {name: rng.choice([None, 0.2]) for name in ("process_noise", "observation_noise")}
    return lrnn.LinearPlant(a / 2, b, c, r=0.1 * np.eye(controls), **noise)


def draw_method(rng, net):
    kind = rng.choice(["Descent", "NormalisedDescent"])
    options = {"lr": 10.0 ** rng.uniform(-3, -1), "momentum": rng.choice([None, 0.5])}
    options["nesterov"] = bool(options["momentum"] is not None and rng.random() < 0.5)
    names = LOW_RANK if isinstance(net, lrnn.LowRankRNN) else DENSE
    names = [name for name in names if getattr(net, name) is not None]
    if isinstance(net, AbstractDenseRNN):  # rates are for what moves
        names = [name for name in names if name not in net.frozen]
    if isinstance(net, lrnn.LowRankRNN):
        names = [FAMILY.get(name, name) for name in names]
    options["rates"] = {
        str(n): float(rng.uniform(0, 2)) for n in rng.choice(names, min(2, len(names)))
    }
    if kind == "Descent":
        options["weight_decay"] = rng.choice([None, 0.1])
        options["clip"] = rng.choice([None, 0.05])
    return kind, options


def draw(seed):
    """One run: network, objective, name and options of the method."""
    rng = np.random.default_rng(seed)
    inputs, outputs = (int(rng.choice([1, 1, 2])) for _ in range(2))
    net = draw_network(rng, inputs, outputs, rng.choice([*PHI]))
    objective = draw_objective(rng, float(net.dt), inputs, outputs)
    return net, objective, *draw_method(rng, net)


# --- the oracle ------------------------------------------------------------------------------


class Oracle:
    """A network of NumPy arrays: names and weights, and the equations."""

    def __init__(self, net):
        self.low_rank = isinstance(net, lrnn.LowRankRNN)
        names = LOW_RANK if self.low_rank else DENSE
        found = {name: getattr(net, name) for name in names}
        self.weights = {k: np.asarray(a) for k, a in found.items() if a is not None}
        self.n, self.dt = net.state_size, float(net.dt)
        self.phi = PHI[type(net.activation).__name__]
        self.psi = PHI[type(net.readout_activation).__name__]
        self.currents = isinstance(net, lrnn.CurrentRNN)
        self.names = {name: FAMILY.get(name, name) if self.low_rank else name for name in names}
        self.frozen = net.frozen
        scale = np.asarray(net.scale) if self.low_rank else 1.0
        self.scale = np.broadcast_to(scale, self.n)
        self.blank = {name: np.zeros_like(a) for name, a in self.weights.items()}

    def per_neuron(self, name, factor):
        """Numbers, one a neuron, beside an array of weights (for dense networks: of ones)."""
        return factor[:, None] if self.low_rank else np.ones_like(self.weights[name])

    def step(self, w, h, x):
        b = w.get("b", np.zeros(self.n)).reshape(-1)
        if self.low_rank:
            kappa = (self.phi(h) / self.scale) @ w["v"]
            return h + self.dt * (-h + kappa @ w["u"].T + x @ w["m"].T + b)
        if self.currents:
            return (1 - self.dt) * h + self.dt * (self.phi(h) @ w["w"].T + x @ w["w_in"].T + b)
        return (1 - self.dt) * h + self.dt * self.phi(h @ w["w"].T + x @ w["w_in"].T + b)

    def read(self, w, h):
        read = self.psi(h)
        return (read / self.scale) @ w["z"] if self.low_rank else read @ w["w_out"].T

    def start(self, w, trials):
        return np.zeros((trials, self.n)) + w.get("h0", np.zeros(self.n)).reshape(-1)

    def rollout(self, w, x):
        h, y = self.start(w, len(x)), []
        for t in range(x.shape[1]):
            h = self.step(w, h, x[:, t])
            y.append(self.read(w, h))
        return np.stack(y, 1)

    def loss(self, w, objective, batch):
        if isinstance(objective, lrnn.ClosedLoop):
            return self.loop(w, objective, batch)
        dt = self.dt
        if isinstance(objective, lrnn.ImpulseResponse):
            target = np.asarray(objective.target) + (0 if batch is None else batch)
            x = np.zeros((target.shape[1], len(target), target.shape[1]))
            x[:, 0] = np.eye(target.shape[1]) / dt
            return dt * np.sum((self.rollout(w, x) - np.swapaxes(target, 0, 1)) ** 2)
        if isinstance(objective, lrnn.WhiteNoise):
            x, target = batch
            return dt * np.sum((self.rollout(w, x) - target) ** 2) / len(x)
        error = np.sum((self.rollout(w, batch.inputs) - batch.target) ** 2, -1)
        return np.sum(batch.mask * error) / np.sum(batch.mask)

    def loop(self, w, objective, batch):
        plant = jax.tree.map(np.asarray, objective.plant)
        start, *noise = batch if isinstance(batch, tuple) else (batch, None, None)
        x, h, loss = start, self.start(w, len(start)), 0
        for t in range(objective.horizon):
            u = self.read(w, h)
            x = x @ plant.a.T + u @ plant.b.T
            x = x + (0 if noise[0] is None else noise[0][:, t] @ plant.process_noise.T)
            o = x @ plant.c.T
            o = o + (0 if noise[1] is None else noise[1][:, t] @ plant.observation_noise.T)
            cost = np.sum((x @ plant.q) * x, -1) + np.sum((u @ plant.r) * u, -1)
            control = float(objective.control_cost) * np.sum(u**2, -1)
            loss = loss + np.mean(cost / objective.horizon + control)
            h = self.step(w, h, o)
        return loss

    def gradient(self, w, objective, batch):
        """s ∂L/∂Θ by the complex step."""
        slope = {name: np.zeros_like(a) for name, a in w.items()}
        for name, a in w.items():
            for i in np.ndindex(a.shape):
                moved = a.astype(complex)
                moved[i] += 1e-30j
                slope[name][i] = self.loss(w | {name: moved}, objective, batch).imag / 1e-30
        return {k: g * self.per_neuron(k, self.scale) for k, g in slope.items()}

    def norm(self, g):
        squares = (np.sum(a**2 * self.per_neuron(k, 1 / self.scale)) for k, a in g.items())
        return np.sqrt(sum(squares))

    def learn(self, objective, batches, kind, options):
        """Losses of all epochs, and the weights at the end."""
        w, memory, losses = dict(self.weights), dict(self.blank), []
        name, rates = self.names, options["rates"]
        rates = {k: 0.0 if name[k] in self.frozen else rates.get(name[k], 1.0) for k in w}
        decay, clip = options.get("weight_decay"), options.get("clip")
        momentum, ahead = options["momentum"] or 0.0, options["nesterov"]
        for batch in batches[:EPOCHS]:
            losses.append(self.loss(w, objective, batch))
            g = {k: rates[k] * a for k, a in self.gradient(w, objective, batch).items()}
            size = self.norm(g)
            shrink = 1 / size if kind == "NormalisedDescent" and size else 1.0
            shrink = min(1.0, clip / size) if clip and size else shrink
            g = {k: shrink * a + (decay or 0) * rates[k] * w[k] for k, a in g.items()}
            memory = {k: momentum * memory[k] + g[k] for k in g}
            move = {k: g[k] + momentum * memory[k] for k in g} if ahead else memory
            w = {k: w[k] - options["lr"] * move[k] for k in w}
        return np.array([*losses, self.loss(w, objective, batches[-1])]), w


# --- what has to hold ------------------------------------------------------------------------


def gap(a, b):
    """Largest difference, relative to the size of what is compared."""
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (a, b))
    return np.max(np.abs(a - b)) / (1 + np.max(np.abs(b)))


def weights(net):
    return {name: np.asarray(getattr(net, name)) for name in Oracle(net).weights}


def with_weights(net, arrays):
    """The network with these weights."""
    names = tuple(arrays)
    values = tuple(jnp.asarray(arrays[name]) for name in names)
    return eqx.tree_at(lambda n: tuple(getattr(n, name) for name in names), net, values)


def check(seed, tmp_path):
    net, objective, kind, options = draw(seed)
    method, key = getattr(lrnn, kind)(**options), jr.key(seed)
    run = {"epochs": EPOCHS, "key": key if objective.stochastic else None}
    sampled = [objective.sample(jr.fold_in(key, e)) for e in range(EPOCHS + 1)]
    batches = [jax.tree.map(np.asarray, batch) for batch in sampled]
    oracle = Oracle(net)
    x = np.random.default_rng(seed).normal(size=(2, 5, net.inputs))
    assert gap(net.rollout(jnp.asarray(x)), oracle.rollout(oracle.weights, x)) < CLOSE

    curve = learn(net, objective, method, **run, throw=False)
    with np.errstate(over="ignore", invalid="ignore"):  # a run may diverge
        losses, end = oracle.learn(objective, batches, kind, options)
    if not np.isfinite(losses).all():
        assert curve.result != lrnn.RESULTS.successful
        return "diverged"
    assert curve.result == lrnn.RESULTS.successful
    assert gap(curve.loss, losses) < CLOSE
    assert gap(weights(curve.model), end) < CLOSE

    # by other ways, the same: given data, several networks at once, other records, a file
    given = jax.tree.map(lambda *a: jnp.stack(a), *sampled)
    by_data = {"epochs": EPOCHS, "batches": given, "record": 2, "throw": False}
    several = jax.tree.map(lambda a: jnp.stack([a, 1.1 * a]), weights(net))
    many = eqx.filter_vmap(lambda a: lrnn.learn(with_weights(net, a), objective, method, **by_data))
    again = many(several)
    assert again.epochs[0].tolist() == [0, 2, 3]
    assert gap(again.loss[0], curve.loss[jnp.array([0, 2, 3])]) < CLOSE
    curve.save(tmp_path / "curve.npz")
    loaded = lrnn.LearningCurve.load(tmp_path / "curve.npz")
    for before, after in zip(jax.tree.leaves(curve), jax.tree.leaves(loaded), strict=True):
        assert np.array_equal(before, after, equal_nan=True)
    if isinstance(net, lrnn.CurrentRNN):
        low_rank = lrnn.factorise(net, energy=1.0).network
        assert gap(low_rank.rollout(jnp.asarray(x)), oracle.rollout(oracle.weights, x)) < CLOSE
    if isinstance(net, lrnn.LowRankRNN) and net.linear:
        theory = learn(lrnn.reduce(net), objective, method, **run)
        assert gap(theory.loss, losses) < CLOSE
        assert gap(theory.overlaps.gram[-1], with_weights(net, end).overlaps.gram) < CLOSE
        return "network, reduction"
    return "network"


@pytest.mark.parametrize("seed", range(6))
def test_a_random_run_is_the_oracles(seed, tmp_path):
    check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 440))
def test_many_random_runs_are_the_oracles(seed, tmp_path):
    if seed % 40 == 0:
        jax.clear_caches()  # hundreds of runs exhaust a process's memory maps
    check(seed, tmp_path)
