"""Learning is a differentiable function of its start, its learning rate and its target."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

THETA = jr.normal(jr.key(0), (12, 4)) + 0.6  # all overlaps positive, so all of them matter
NET = lrnn.LowRankRNN(*THETA.T, dt=0.1)
RED = lrnn.reduce(NET)
EPOCHS = 12

# Symmetric directions of the initial Gram matrix: two invisible overlaps and two visible ones
DIRECTIONS = [RED.roles.entry(name) for name in ("uu", "mu", "zm", "vu")]
NAMES = ("uu", "mu", "zm", "vu", "lr", "rate", "momentum", "clip")
START = np.array([0.0, 0.0, 0.0, 0.0, 0.03, 0.3, 0.6, 0.5])


def task_of(rate):
    return lrnn.ExponentialFilter(rate, dt=0.1, steps=8, evaluation=lrnn.Evaluation.ROLLOUT)


def outcome(method):
    """Parameters in the order of `NAMES` → (final loss, vu half-way)."""

    def run(x):
        gram = RED.overlaps.gram
        for value, (i, j) in zip(x, DIRECTIONS):
            gram = gram.at[i, j].add(value)
            gram = gram if i == j else gram.at[j, i].add(value)
        model = RED.with_gram(gram)
        curve = lrnn.learn(model, task_of(x[5]), method(x[4], x[6], x[7]), epochs=EPOCHS)
        return jnp.stack([curve.loss[-1], curve["vu"][EPOCHS // 2]])

    return run


def central_differences(f, x, h):
    """Fourth-order differences: truncation h⁴ f⁽⁵⁾/30, rounding 1e-16/h."""
    near, far = (
        np.stack([(f(x + d) - f(x - d)) / (2 * k * h) for d in k * h * np.eye(len(x))], axis=-1)
        for k in (1, 2)
    )
    return (4 * near - far) / 3


def check(exact, numeric, tolerance, unused=()):
    assert np.max(np.abs(exact - numeric)) < tolerance
    for name, column in zip(NAMES, np.asarray(exact).T):
        if name in unused:
            assert np.all(column == 0)
        else:
            assert np.max(np.abs(column)) > 1e-3, name


METHODS = {
    "descent": lambda lr, mu, clip: lrnn.Descent(lr, momentum=mu, clip=clip, weight_decay=0.01),
    "nesterov": lambda lr, mu, _: lrnn.Descent(lr, momentum=mu, nesterov=True, rates={"m": lr}),
    "normalised": lambda lr, mu, _: lrnn.NormalisedDescent(lr, momentum=mu),
    "muon": lambda lr, mu, _: lrnn.Muon(lr, momentum=mu, weight_decay=0.1, iterations=2),
}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_through_discrete_steps(name):
    f = outcome(METHODS[name])
    numeric = central_differences(jax.jit(f), START, h=1e-5)
    exact = jax.jit(jax.jacrev(f))(START)
    # of the differences; where the clip matters, it was active
    check(exact, numeric, tolerance=1e-8, unused=() if name == "descent" else ("clip",))


ADJOINTS = {
    "default": (diffrax.RecursiveCheckpointAdjoint(), jax.jacrev),
    "direct": (diffrax.DirectAdjoint(), jax.jacrev),
    "forward": (diffrax.ForwardMode(), jax.jacfwd),
}


def flow(adjoint):
    # few steps, which compile sooner
    options = {"rtol": 1e-7, "atol": 1e-9, "max_steps": 16, "adjoint": adjoint}
    return outcome(lambda lr, *_: lrnn.Flow(lr, **options))


@pytest.fixture(scope="module")
def numeric_flow():
    return central_differences(jax.jit(flow(ADJOINTS["default"][0])), START, h=1e-5)


EACH = [
    pytest.param(*case, id=name, marks=[pytest.mark.slow] if name == "direct" else [])
    for name, case in ADJOINTS.items()
]


@pytest.mark.parametrize(("adjoint", "jacobian"), EACH)
def test_gradients_through_flow(adjoint, jacobian, numeric_flow):
    exact = jax.jit(jacobian(flow(adjoint)))(START)
    # the solver's error, 1e-7 a step, is smooth in the parameters only as far as the steps are
    check(exact, numeric_flow, tolerance=1e-6, unused=("momentum", "clip"))


def test_gradients_of_a_network_are_those_of_its_reduction():
    """∂/∂Θ = Θ (G + Gᵀ)/s for G = ∂/∂Q, through the whole of learning."""
    method = lrnn.Descent(0.1, momentum=0.6)

    def final(model):
        return lrnn.learn(model, task_of(0.3), method, epochs=EPOCHS).loss[-1]

    theta, gram = NET.vectors, RED.overlaps.gram
    full = jax.jit(jax.grad(lambda theta: final(NET.with_vectors(theta))))(theta)
    reduced = jax.jit(jax.grad(lambda gram: final(RED.with_gram(gram))))(gram)
    expected = theta @ (reduced + reduced.T) / NET.scale
    assert jnp.max(jnp.abs(full - expected)) < 1e-13  # rounding of entries of order 0.01
    assert jnp.max(jnp.abs(expected)) > 1e-3


def test_jit_and_vmap_give_what_a_loop_gives():
    def run(lr, gram):
        return lrnn.learn(RED.with_gram(gram), task_of(0.3), lrnn.Descent(lr), epochs=EPOCHS)

    lrs = jnp.array([0.05, 0.1, 0.2])
    grams = jnp.stack([RED.overlaps.gram * f for f in (1.0, 1.1, 0.9)])
    batch = jax.jit(jax.vmap(run))(lrs, grams)
    compiled = jax.jit(run)
    assert batch.gram.shape == (3, EPOCHS + 1, 4, 4)
    assert batch["vu"].shape == (3, EPOCHS + 1)
    assert (batch.result == lrnn.RESULTS.successful).tolist() == [True] * 3
    for i in range(3):
        for one in (run(lrs[i], grams[i]), compiled(lrs[i], grams[i])):
            assert jnp.max(jnp.abs(batch.gram[i] - one.gram)) < 1e-12
            assert jnp.max(jnp.abs(batch.loss[i] - one.loss)) < 1e-12
            assert batch.distance(batch).max.shape == (3,)
    assert jnp.max(jnp.abs(batch.gram[0] - batch.gram[2])) > 1e-2


@pytest.mark.slow
def test_memory_of_reverse_mode_grows_slower_than_the_number_of_epochs():
    def memory(epochs, record):
        def final(gram):
            method, task = lrnn.Descent(0.1, momentum=0.6), task_of(0.3)
            return lrnn.learn(RED.with_gram(gram), task, method, epochs=epochs, record=record).loss[
                -1
            ]

        compiled = jax.jit(jax.grad(final)).lower(RED.overlaps.gram).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = memory(256, 16), memory(4096, 64)
    state = 2 * 4 * 4 * 8  # weights and momentum, float64
    assert short > 16 * state  # the analysis does count something
    # 16 times the epochs; 5 seen: the states at 64 records in place of 16, and of 64 epochs in each
    assert long < 8 * short
    assert long < 4096 * state
    # numbers without divisors do no worse
    assert memory(4093, 1) < 1.5 * memory(4096, 1)
    assert memory(4093, 4093) < 1.5 * memory(4096, 64)
