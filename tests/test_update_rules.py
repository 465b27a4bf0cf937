"""Every option of every update against a few lines of NumPy, on a network and on its reduction.

That both agree says nothing of an update, which is the same code on both. Here the gradient comes
from complex steps through a simulation of its own, and the rules are written once more.
"""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import Slowed

N, DT, STEPS, EPOCHS = 7, 0.2, 6, 5
TARGET = np.exp(-0.3 * DT * np.arange(STEPS))
THETA = np.random.default_rng(0).normal(size=(N, 6)) + 0.4
COLUMNS = ("z", "v1", "v2", "m", "u1", "u2")
FAMILIES = {"z": [0], "v": [1, 2], "m": [3], "u": [4, 5]}
ROUNDING = 1e-12  # of sums over neurons and steps, over five epochs; 2e-14 seen


def network(frozen=()):
    vectors = {f: THETA[:, columns] for f, columns in FAMILIES.items()}
    return lrnn.LowRankRNN(**vectors, dt=DT, frozen=frozen)


def loss(theta, noise=0.0):
    """dt Σ_t (y_t − y*_t)² of the response to an impulse of 1/dt, with s = N."""
    z, v, m, u = (theta[:, columns] for columns in FAMILIES.values())
    h, total = 0 * m[:, 0], 0.0
    for t, target in enumerate(TARGET + noise):
        h = h + DT * (-h + u @ (v.T @ h) / N + m[:, 0] * (t == 0) / DT)
        total = total + DT * (z[:, 0] @ h / N - target) ** 2
    return total


def slope(theta, noise=0.0):
    """s ∂L/∂Θ by complex steps, which have no error of order."""
    g = np.zeros_like(theta)
    for place in np.ndindex(theta.shape):
        moved = theta.astype(complex)
        moved[place] += 1e-30j
        g[place] = N * loss(moved, noise).imag / 1e-30
    return g


def norm(g):
    """√s ‖∂L/∂Θ‖_F."""
    return np.sqrt(np.sum(g**2) / N)


def multipliers(rates, frozen):
    """D: a column's rate goes before its family's, and frozen before both."""
    family = np.array([rates.get(c[0], 1.0) for c in COLUMNS])
    d = np.array([rates.get(c, f) for c, f in zip(COLUMNS, family)])
    return np.where([c in frozen or c[0] in frozen for c in COLUMNS], 0.0, d)


def accumulated(g, c, momentum, nesterov):
    c = momentum * c + g
    return (g + momentum * c if nesterov else c), c


def descent(g, theta, c, d, *, momentum=0.0, nesterov=False, weight_decay=0.0, clip=np.inf):
    g = g * d
    g = g * min(1.0, clip / norm(g)) + weight_decay * theta * d
    return accumulated(g, c, momentum, nesterov)


def normalised(g, theta, c, d, *, momentum=0.0, nesterov=False):
    return accumulated(g * d / norm(g * d), c, momentum, nesterov)


def muon(g, theta, c, d, *, momentum=0.95, nesterov=True, weight_decay=0.0, iterations=5):
    g, c = accumulated(g, c, momentum, nesterov)
    change = np.zeros_like(g)
    for columns in FAMILIES.values():
        b = g[:, columns] / norm(g[:, columns])
        for _ in range(iterations):
            a = b.T @ b / N
            b = b @ (3.4445 * np.eye(len(a)) - 4.7750 * a + 2.0315 * a @ a)
        change[:, columns] = b
    return (change + weight_decay * theta) * d, c


def taught(update, lr=0.1, rates=None, frozen=(), noises=None, **options):
    """Θ at all epochs, and the losses."""
    d, c, theta = multipliers(rates or {}, frozen), 0.0, THETA
    noises = np.zeros((EPOCHS + 1, STEPS)) if noises is None else noises
    out, losses = [theta], [loss(theta, noises[0])]
    for epoch in range(EPOCHS):
        change, c = update(slope(theta, noises[epoch]), theta, c, d, **options)
        theta = theta - (lr(epoch) if callable(lr) else lr) * change
        out.append(theta)
        losses.append(loss(theta, noises[epoch + 1]))
    return np.array(out), np.array(losses)


def gap(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def check(model, method, expected, **options):
    way = lrnn.Evaluation.ROLLOUT  # compiles fastest
    task = lrnn.ExponentialFilter(0.3, DT, STEPS, evaluation=way, **options.pop("task", {}))
    curve = lrnn.learn(model, task, method, epochs=EPOCHS, **options)
    thetas, losses = expected
    assert gap(curve.gram, np.einsum("eni,enj->eij", thetas, thetas) / N) < ROUNDING
    assert gap(curve.loss, losses) < ROUNDING
    assert gap(thetas[-1], THETA) > 1e-2  # something was learned
    last = lrnn.lift(curve, network()) if isinstance(model, lrnn.ReducedRNN) else curve.model
    assert gap(last.vectors, thetas[-1]) < ROUNDING
    for column, label in enumerate(COLUMNS):
        if label in model.frozen or label[0] in model.frozen:
            assert gap(last.vectors[:, column], THETA[:, column]) < 1e-15  # 0 on a network
    return curve


def both(frozen=()):
    net = network(frozen)
    return net, lrnn.reduce(net)


def falling(epoch):
    return 0.1 / (1 + epoch)


HEAVY = {"momentum": 0.8}
CASES = {
    "lr": (lrnn.Descent, descent, {}),
    "schedule": (lrnn.Descent, descent, {"lr": falling}),
    "momentum": (lrnn.Descent, descent, HEAVY),
    "nesterov": (lrnn.Descent, descent, HEAVY | {"nesterov": True}),
    "decay": (lrnn.Descent, descent, {"weight_decay": 0.3}),
    "clip": (lrnn.Descent, descent, {"clip": 0.5}),
    "clip, never": (lrnn.Descent, descent, {"clip": 1e3}),
    "rates": (lrnn.Descent, descent, {"rates": {"u2": 0.0, "u": 0.5, "v": 2.0, "v1": 0.3}}),
    "all": (
        *(lrnn.Descent, descent),
        HEAVY | {"nesterov": True, "weight_decay": 0.3, "clip": 0.5, "rates": {"u": 0.5}},
    ),
    "normalised": (lrnn.NormalisedDescent, normalised, {}),
    "normalised, all": (
        *(lrnn.NormalisedDescent, normalised),
        HEAVY | {"nesterov": True, "lr": falling, "rates": {"v1": 0.3}},
    ),
    "muon": (lrnn.Muon, muon, {}),
    "muon, all": (
        *(lrnn.Muon, muon),
        {"momentum": 0.5, "nesterov": False, "weight_decay": 0.3, "iterations": 2}
        | {"rates": {"u": 0.5, "v1": 0.0}, "lr": falling},
    ),
}
FROZEN = ("m", "u2")


@pytest.mark.parametrize("full", [True, False], ids=["network", "reduction"])
@pytest.mark.parametrize(("make", "update", "options"), CASES.values(), ids=CASES)
def test_each_option_does_what_its_equation_says(make, update, options, full):
    model = both()[0 if full else 1]
    check(model, make(**{"lr": 0.1} | options), taught(update, **options))


@pytest.mark.parametrize("full", [True, False], ids=["network", "reduction"])
@pytest.mark.parametrize(("make", "update"), [(lrnn.Descent, descent), (lrnn.Muon, muon)])
def test_frozen_columns_do_not_move_by_anything(make, update, full):
    """Not by momentum, not by decay, not for a rate of their own."""
    options = HEAVY | {"weight_decay": 0.3, "rates": {"u2": 2.0, "m": 1.0}}
    model = both(FROZEN)[0 if full else 1]
    check(model, make(0.1, **options), taught(update, frozen=FROZEN, **options))


def test_a_columns_rate_goes_before_its_familys_in_either_order():
    pairs = [("u", 0.5), ("u2", 0.0)]
    curves = [
        lrnn.learn(
            *(both()[1], lrnn.ExponentialFilter(0.3, DT, STEPS)),
            lrnn.Descent(0.1, rates=dict(order)),
            epochs=2,
        )
        for order in itertools.permutations(pairs)
    ]
    for curve in curves:
        assert np.ptp(curve["u2u2"]) == 0
        assert np.ptp(curve["u1u1"]) > 1e-3


@pytest.mark.parametrize("full", [True, False], ids=["network", "reduction"])
def test_label_noise_moves_the_target_of_its_epoch(full):
    key, sigma = jr.key(5), 0.4
    keys = jax.vmap(lambda e: jr.fold_in(key, e))(jnp.arange(EPOCHS + 1))
    draws = np.asarray(jax.vmap(lambda k: jr.normal(k, (STEPS, 1, 1)))(keys))
    noises = sigma * draws[:, :, 0, 0]
    expected = taught(descent, noises=noises, **HEAVY)
    quiet = taught(descent, **HEAVY)
    assert gap(expected[0], quiet[0]) > 1e-2
    task = {"label_noise": sigma}
    check(both()[0 if full else 1], lrnn.Descent(0.1, **HEAVY), expected, key=key, task=task)


def test_steps_are_slowed_from_the_first_small_loss_on():
    _, losses = taught(descent)
    below = (losses[1] + losses[2]) / 2  # reached at epoch 2
    expected = taught(descent, lr=lambda epoch: 0.1 if epoch < 2 else 0.025)
    assert losses[1] > below > losses[2]
    check(both()[1], Slowed(lrnn.Descent(0.1), below, 4.0), expected)


# --- optax ------------------------------------------------------------------------------------


def stateless(change):
    return lambda g, theta, c, d: (change(g * d, theta) * d, 0.0)


def decayed(g, theta):
    return g + 0.3 * theta


def cut(g, theta):
    return np.clip(g, -0.2, 0.2)


def cut_norm(g, theta):
    return g * min(1.0, 0.5 / np.sqrt(np.sum(g**2)))


def adam(g, theta, c, d):
    """β = (0.9, 0.999), ε = 1e-8."""
    m, v, t = (0.0, 0.0, 0) if isinstance(c, float) else c
    g, t = g * d, t + 1
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    change = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return change * d, (m, v, t)


def accumulating(g, theta, c, d):
    """The sum of two gradients, at every second of them."""
    g = g * d
    return (0 * g, g) if isinstance(c, float) or not np.any(c) else (g + c, 0 * g)


OPTAX = {
    "sgd": (optax.sgd(0.1), descent, {}, True),
    "momentum": (optax.sgd(0.1, momentum=0.8), descent, HEAVY, True),
    "nesterov": (
        *(optax.sgd(0.1, momentum=0.8, nesterov=True), descent),
        *(HEAVY | {"nesterov": True}, True),
    ),
    "schedule": (optax.sgd(falling), descent, {"lr": falling}, True),
    "decay": (
        *(optax.chain(optax.add_decayed_weights(0.3), optax.sgd(0.1)), stateless(decayed)),
        *({}, True),
    ),
    "two at a time": (optax.chain(optax.sgd(0.1), optax.apply_every(2)), accumulating, {}, True),
    "clip": (optax.chain(optax.clip(0.2), optax.sgd(0.1)), stateless(cut), {}, False),
    "norm": (
        *(optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)), stateless(cut_norm)),
        *({}, False),
    ),
    "adam": (optax.adam(0.1), adam, {}, False),
}
RUNS = [
    pytest.param(
        optimiser, update, options, full, id=f"{name}-{'network' if full else 'reduction'}"
    )
    for name, (optimiser, update, options, exact) in OPTAX.items()
    for full in ((True, False) if exact else (True,))
]


@pytest.mark.parametrize(("optimiser", "update", "options", "full"), RUNS)
def test_optax_sees_the_gradients_and_its_updates_are_taken(optimiser, update, options, full):
    """Gradients s ∂L/∂Θ; frozen columns get none, and stay."""
    model = both(FROZEN)[0 if full else 1]
    expected = taught(update, frozen=FROZEN, **options)
    check(model, lrnn.Training(optimiser), expected)


# --- the shortcut -----------------------------------------------------------------------------


def test_visible_only_is_descent_on_the_visible_block():
    """S' = S − η(g + μC): with momentum and look ahead; the rest of Q stays."""
    gram = THETA.T @ THETA / N
    s, c = gram[:3, 3:].copy(), 0.0

    def loss_of(s):  # latents κ of [M U]
        kappa, total = np.zeros(3, complex), 0.0
        for t, target in enumerate(TARGET):
            drive = np.concatenate([[(t == 0) / DT], s[1:] @ kappa])
            kappa = kappa + DT * (drive - kappa)
            total = total + DT * (s[0] @ kappa - target) ** 2
        return total

    method = lrnn.Descent(0.05, momentum=0.8, nesterov=True, rule=lrnn.rules.VisibleOnly())
    task = lrnn.ExponentialFilter(0.3, DT, STEPS)
    curve = lrnn.learn(both()[1], task, method, epochs=EPOCHS)
    for epoch in range(EPOCHS + 1):
        expected = gram.copy()
        expected[:3, 3:], expected[3:, :3] = s, s.T
        assert gap(curve.gram[epoch], expected) < ROUNDING
        g = np.zeros_like(s)
        for place in np.ndindex(s.shape):
            moved = s.astype(complex)
            moved[place] += 1e-30j
            g[place] = loss_of(moved).imag / 1e-30
        change, c = accumulated(g, c, 0.8, True)
        s = s - 0.05 * change
    assert gap(curve.gram[-1], gram) > 1e-2
