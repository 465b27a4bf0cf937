"""Rollout, doubling and closed form compute the same loss: values and gradients, to rounding."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrnn_jax as lrnn
from lrnn_jax.overlaps import Roles

WAYS = [
    lrnn.Evaluation.ROLLOUT,
    lrnn.Evaluation.DOUBLING,
    lrnn.Evaluation.CLOSED_FORM,
]
SCALAR = Roles()
# Rounding of T products and sums, relative to the largest entry: the relative error of qᵀ is T ε
# = 2e-13 at T = 1000, that of its square twice as much. The largest gap seen is 3e-13
ROUNDING = 2e-12
evaluate = eqx.filter_jit(lambda task, model: task.loss(model))


def gram_of(s, roles=SCALAR):
    """A matrix with visible block S, all that losses look at."""
    s = jnp.asarray(s, float).reshape(roles.left, -1)
    return jnp.eye(roles.size).at[: roles.left, roles.left :].set(s)


@functools.cache
def evaluator(way, steps, triangular=False, roles=SCALAR):
    """(gram, dt, target parameters) → loss, and its gradients in gram and target parameters."""

    def loss(gram, target, dt):
        filter = lrnn.OscillatingFilter if "frequency" in target else lrnn.ExponentialFilter
        task = filter(**target, dt=dt, steps=steps, evaluation=way)
        if triangular:
            task = lrnn.WhiteNoise(filter(**target, dt=dt, steps=steps), evaluation=way)
        return task.loss(lrnn.ReducedRNN(lrnn.Overlaps(gram, roles), dt=dt))

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def gap(gram, target, dt, steps, ways=WAYS, **options):
    """Largest difference between the ways, relative to the largest value (at least 1)."""
    target = jax.tree.map(lambda x: jnp.asarray(x, float), target)
    found = [jax.tree.leaves(evaluator(way, steps, **options)(gram, target, dt)) for way in ways]
    worst = 0.0
    for leaves in zip(*found):
        scale = max(1.0, *(float(jnp.max(jnp.abs(x))) for x in leaves))
        assert np.isfinite(scale)
        worst = max(worst, *(float(jnp.max(jnp.abs(x - leaves[0]))) / scale for x in leaves))
    return worst


def exponential(rate=0.2, amplitude=1.3):
    return {"rate": rate, "amplitude": np.full((1, 1), amplitude)}


# S = (zm, zu, vm, vu), target rate, dt; q = 1 − dt + dt·vu is the network's pole, p = 1 − dt
CASES = {
    "generic": ((0.4, 0.7, -0.3, 0.5), 0.2, 0.05),
    "at the solution": ((1.3, 1.0, 1.04, 0.8), 0.2, 0.05),
    "no network": ((0.0, 0.0, 0.0, 0.0), 0.2, 0.05),
    "vu = 0: q = p": ((0.4, 0.7, -0.3, 0.0), 0.2, 0.05),
    "q nearly p": ((0.4, 0.7, -0.3, 1e-9), 0.2, 0.05),
    "vu = 1: q = 1": ((0.4, 0.7, -0.3, 1.0), 0.2, 0.05),
    "q is the target's pole": ((0.4, 0.7, -0.3, (np.expm1(-0.01) + 0.05) / 0.05), 0.2, 0.05),
    "p is the target's pole": ((0.4, 0.7, -0.3, 0.5), -np.log(0.5) / 0.5, 0.5),
    "all three poles equal": ((0.4, 0.7, -0.3, 0.0), -np.log(0.5) / 0.5, 0.5),
    "target without decay": ((0.4, 0.7, -0.3, 0.5), 0.0, 0.05),
    "no decay anywhere": ((0.4, 0.7, -0.3, 1.0), 0.0, 0.05),
    "unstable": ((0.4, 0.7, -0.3, 1.5), 0.2, 0.05),
    "very unstable": ((0.4, 0.7, -0.3, 3.0), 0.2, 0.05),
    "negative q": ((0.4, 0.7, -0.3, -2.5), 0.2, 0.5),
    "q = -1": ((0.4, 0.7, -0.3, -3.0), 0.2, 0.5),
    "dt = 1: p = 0": ((0.4, 0.7, -0.3, 0.5), 0.2, 1.0),
    "p = q = 0": ((0.4, 0.7, -0.3, 0.0), 0.2, 1.0),
}


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 64, 400, 1000])
def test_exponential_targets_at_all_horizons(steps):
    for name, (s, rate, dt) in CASES.items():
        assert gap(gram_of(s), exponential(rate), dt, steps) < ROUNDING, name


@pytest.mark.parametrize("steps", [7, 30])
def test_white_noise_expectation(steps):
    for name, (s, rate, dt) in CASES.items():
        assert gap(gram_of(s), exponential(rate), dt, steps, triangular=True) < ROUNDING, name


@pytest.mark.parametrize(("steps", "triangular"), [(7, True), (100, False)])
def test_oscillating_targets(steps, triangular):
    for name, (s, rate, dt) in CASES.items():
        for frequency in (0.0, 2.0):  # a complex pole, also at zero frequency
            target = {**exponential(rate), "frequency": frequency}
            assert gap(gram_of(s), target, dt, steps, triangular=triangular) < ROUNDING, name


@pytest.mark.parametrize(
    ("kind", "rank", "triangular"),
    [
        ("one rate", 1, False),
        ("rate per channel", 1, True),
        ("oscillating", 1, False),
        ("rate per channel", 2, False),
        ("oscillating", 2, True),
    ],
)
def test_many_channels(kind, rank, triangular):
    roles = Roles(outputs=3, rank=rank, inputs=2)
    s = 0.5 * jr.normal(jr.key(rank), (roles.left, roles.size - roles.left))
    target = {"rate": 0.3, "amplitude": jr.normal(jr.key(5), (2, 3))}
    if kind != "one rate":
        target["rate"] = jnp.linspace(0.0, 1.0, 6).reshape(2, 3)
    if kind == "oscillating":
        target["frequency"] = 2.0
    ways = WAYS if rank == 1 else WAYS[:2]
    assert (
        gap(gram_of(s, roles), target, 0.1, 7, ways, roles=roles, triangular=triangular) < ROUNDING
    )


@settings(deadline=None, max_examples=25)
@given(
    s=st.tuples(*[st.floats(-3, 3)] * 4),
    rate=st.floats(0, 3),
    amplitude=st.floats(-3, 3),
    dt=st.floats(0.01, 1),
)
def test_any_network_and_target(s, rate, amplitude, dt):
    assert gap(gram_of(s), exponential(rate, amplitude), dt, 64) < ROUNDING
    assert gap(gram_of(s), exponential(rate, amplitude), dt, 7, triangular=True) < ROUNDING


def program(make, net, way, steps, batch=None):
    """The program of a loss, and how many steps its longest loop takes."""
    loss = make(way, steps).loss
    text = str(jax.make_jaxpr(lambda q: loss(net.with_gram(q), batch))(net.overlaps.gram))
    return text, max([int(n) for n in re.findall(r"length=(\d+)", text)], default=0)


LOOP = lrnn.KIntegrator(2)
TASKS = {
    "filter": (lambda way, steps: lrnn.ExponentialFilter(0.3, 0.2, steps, evaluation=way), WAYS),
    "oscillating": (
        lambda way, steps: lrnn.OscillatingFilter(0.3, 1.0, 0.2, steps, evaluation=way),
        WAYS,
    ),
    "white noise": (
        lambda way, steps: lrnn.WhiteNoise(lrnn.ExponentialFilter(0.3, 0.2, steps), evaluation=way),
        WAYS,
    ),
    "loop": (lambda way, steps: lrnn.ClosedLoop(LOOP, steps, 50, evaluation=way), WAYS[:2]),
}


@pytest.mark.parametrize(("make", "ways"), TASKS.values(), ids=TASKS)
def test_each_way_is_a_program_of_its_own(make, ways):
    """Only the roll-out steps through time; doublings, and powers of poles, go by log₂ T."""
    looped = ways is not WAYS
    gram = gram_of((0.4, 0.7, -0.3, 0.5))
    net = lrnn.ReducedRNN(lrnn.Overlaps(gram, SCALAR), dt=1.0 if looped else 0.2)
    batch = jr.normal(jr.key(0), (50, 2)) if looped else None
    short, long = ([program(make, net, way, n, batch) for way in ways] for n in (67, 4001))
    assert [steps for _, steps in short] == [67, 6, 6][: len(ways)]
    assert [steps for _, steps in long] == [4001, 11, 11][: len(ways)]
    assert len({text for text, _ in short}) == len(ways)
    for (text, _), moved in zip(short[1:], (False, True)):  # sums with slopes of their own at last
        assert looped or ("_moving" in text) == moved
    assert "qr" not in short[0][0]  # each trial of a loop, not the directions they span
    auto, _ = program(make, net, lrnn.Evaluation.AUTO, 67, batch)
    assert auto == short[-1][0]  # the fastest of those that apply


def test_second_derivatives_are_finite_and_agree():
    def hessian(way):
        def loss(x, dt):
            task = lrnn.ExponentialFilter(x[4], dt, 7, evaluation=way)
            return task.loss(lrnn.ReducedRNN(lrnn.Overlaps(gram_of(x[:4]), SCALAR), dt=dt))

        return jax.jit(jax.hessian(loss))

    found = [hessian(way) for way in WAYS]
    for name, (s, rate, dt) in CASES.items():
        x, *others = [f(jnp.array([*s, rate]), dt) for f in found]
        assert jnp.isfinite(x).all(), name
        scale = jnp.max(jnp.abs(x))
        assert scale > 1e-3, name
        assert all(jnp.max(jnp.abs(y - x)) < ROUNDING * max(scale, 1) for y in others), name


def test_samples_of_a_filter_are_the_same_target_as_its_modes():
    red = lrnn.ReducedRNN(lrnn.Overlaps(gram_of((0.4, 0.7, -0.3, 0.5)), SCALAR), dt=0.1)
    filter = lrnn.OscillatingFilter(0.3, 2.0, 0.1, 50, 1.5)
    t = 0.1 * np.arange(50)
    expected = 1.5 * np.exp(-0.3 * t) * np.cos(2 * t)
    assert np.allclose(filter.samples[:, 0, 0], expected, rtol=0, atol=ROUNDING)
    array = lrnn.ImpulseResponse(expected, dt=0.1)
    loss = evaluate(filter, red)
    assert abs(evaluate(array, red) - loss) < ROUNDING
    assert loss > 0.1


def test_continuous_time_formula_is_the_limit_of_small_steps():
    zm, zu, vm, vu, rate, amplitude = 0.4, 0.7, -0.3, 0.5, 0.2, 1.3
    a, b, w, c, f = zm, zu * vm, vu, rate, amplitude
    limit = (
        a**2 / 2
        + a * b / (2 - w)
        + b**2 / (2 * (1 - w) * (2 - w))
        - 2 * f * a / (1 + c)
        - 2 * f * b / ((1 + c) * (1 + c - w))
        + f**2 / (2 * c)
    )
    errors = []
    for dt in 0.02 / 2.0 ** np.arange(4):
        steps = round(100 / dt)  # e^{−2·0.2·100} = 4e-18: as good as T = ∞
        red = lrnn.ReducedRNN(lrnn.Overlaps(gram_of((zm, zu, vm, vu)), SCALAR), dt=dt)
        loss = evaluate(lrnn.ExponentialFilter(rate, dt, steps, amplitude), red)
        errors.append(float(loss) - limit)
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert abs(errors[0]) < 0.1 * limit
    assert np.all(np.abs(orders - 1) < 0.02)  # first order in dt; 1.003 seen at the last halving


@pytest.mark.parametrize("kind", ["filter", "teacher"])
def test_minibatch_loss_converges_to_its_expectation(kind):
    student = lrnn.reduce(lrnn.LowRankRNN.normalised(n=20, rank=1, dt=0.1, key=jr.key(0)))

    def task(batch):
        if kind == "filter":
            return lrnn.WhiteNoise(lrnn.ExponentialFilter(0.2, 0.1, 20), std=0.7, batch=batch)
        teacher = lrnn.LowRankRNN.normalised(n=20, rank=2, dt=0.1, key=jr.key(1))
        return lrnn.TeacherStudent(teacher, 20, std=0.7, batch=batch)

    sampled = task(100)
    keys = jr.split(jr.key(2), 100)
    losses = jax.jit(jax.vmap(lambda key: sampled.loss(student, sampled.sample(key))))(keys)
    error = np.std(losses, ddof=1) / np.sqrt(len(keys))
    expected = float(evaluate(task(None), student))
    assert abs(np.mean(losses) - expected) < 5 * error
    assert error < 0.02 * expected  # so that five standard errors are a tenth of the loss at most
