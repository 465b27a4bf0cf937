"""Tasks: their data, and what their constructors refuse."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.overlaps import Roles

EXPONENTIAL = {"rate": 0.2, "dt": 0.1, "steps": 12}
OSCILLATING = {**EXPONENTIAL, "frequency": 2.0}


def test_targets_are_sampled_at_multiples_of_dt():
    t = 0.1 * np.arange(12)
    rate, amplitude = np.array([[0.2, 0.7]]), np.array([[1.0, -2.0]])
    decay = amplitude * np.exp(-rate * t[:, None, None])
    task = lrnn.ExponentialFilter(rate, 0.1, 12, amplitude)
    assert np.allclose(task.samples, decay, rtol=0, atol=1e-15)
    assert (task.channels, task.steps) == ((1, 2), 12)
    task = lrnn.OscillatingFilter(rate, 2.0, 0.1, 12, amplitude)
    expected = decay * np.cos(2 * t)[:, None, None]
    assert np.allclose(task.samples, expected, rtol=0, atol=1e-14)
    assert np.array_equal(lrnn.ImpulseResponse(t, dt=0.1).samples[:, 0, 0], t)


def test_the_loss_is_dt_times_the_squared_error_of_the_impulse_response():
    net = lrnn.LowRankRNN.normalised(10, 2, 2, 3, dt=0.1, key=jr.key(0))
    target = np.random.default_rng(0).normal(size=(12, 2, 3))
    task = lrnn.ImpulseResponse(target, dt=0.1)
    x = np.zeros((2, 12, 2))
    x[[0, 1], 0, [0, 1]] = 1 / 0.1
    y = np.swapaxes(net.rollout(jnp.asarray(x)), 0, 1)
    assert np.allclose(task.output(net), np.swapaxes(y, 0, 1), rtol=0, atol=1e-14)
    assert np.isclose(task.loss(net), 0.1 * np.sum((y - target) ** 2), rtol=1e-13)
    noise = np.random.default_rng(1).normal(size=(12, 2, 3))
    noisy = 0.1 * np.sum((y - target - noise) ** 2)
    assert np.isclose(task.loss(net, jnp.asarray(noise)), noisy, rtol=1e-13)


@pytest.mark.parametrize(("frequency", "noisy"), [(None, False), (1.5, True)])
def test_derivatives_of_the_closed_form_are_those_of_the_simulation(frequency, noisy):
    """By overlaps, which learning moves, and by all else that a user may ask for, in any order."""
    gram = jnp.asarray(np.cov(np.random.default_rng(0).normal(size=(4, 9))))

    def loss(evaluation, gram, rate, dt):
        shape = {} if frequency is None else {"frequency": frequency}
        make = lrnn.ExponentialFilter if frequency is None else lrnn.OscillatingFilter
        task = make(rate=rate, dt=dt, steps=12, evaluation=evaluation, **shape)
        task = lrnn.WhiteNoise(task, evaluation=evaluation) if noisy else task
        return task.loss(lrnn.ReducedRNN(lrnn.Overlaps(gram, Roles()), dt=dt))

    closed, simulated = (
        partial(loss, way) for way in (lrnn.Evaluation.CLOSED_FORM, lrnn.Evaluation.ROLLOUT)
    )
    at, every = (gram, 0.3, 0.1), (0, 1, 2)
    slopes = jax.jit(jax.grad(simulated, every))(*at)
    for i in every:
        np.testing.assert_allclose(jax.jit(jax.grad(closed, i))(*at), slopes[i], rtol=1e-9)
    if not noisy:
        curved, found = (jax.jit(jax.hessian(way, every))(*at) for way in (simulated, closed))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(curved), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("many", [("gram",), ("rate",), ("dt",), ("gram", "rate")])
def test_slopes_of_many_closed_forms_at_once_are_those_of_each(many):
    """In one program, along a direction in all that they depend on."""
    draws = [np.random.default_rng(i).normal(size=(4, 9)) for i in range(3)]
    every = {
        "gram": jnp.asarray([np.cov(x) for x in draws]),
        "rate": jnp.array([0.2, 0.3, 0.4]),
        "dt": jnp.array([0.1, 0.2, 0.3]),
    }

    @jax.jit
    def loss(at):
        task = lrnn.ExponentialFilter(rate=at["rate"], dt=at["dt"], steps=12)
        model = lrnn.ReducedRNN(lrnn.Overlaps(at["gram"], Roles()), dt=at["dt"])
        return jnp.broadcast_to(task.loss(model), (2,))

    def one(i):
        at = {name: value[i if name in many else 0] for name, value in every.items()}
        return jax.jvp(loss, (at,), (at,))[1]

    axes = {name: 0 if name in many else None for name in every}
    given = {name: value if name in many else value[0] for name, value in every.items()}
    at_once = jax.jvp(jax.jit(jax.vmap(loss, (axes,))), (given,), (given,))[1]
    np.testing.assert_allclose(at_once, [one(i) for i in range(3)], rtol=1e-12)


def test_label_noise_has_its_standard_deviation():
    task = lrnn.ExponentialFilter(**EXPONENTIAL, label_noise=0.3)
    draws = np.asarray(jax.vmap(task.sample)(jr.split(jr.key(0), 1000)))
    assert draws.shape == (1000, 12, 1, 1)
    # the variance of n normal draws has relative standard error √(2/n); the mean 1/√n
    n = draws.size
    assert abs(np.mean(draws)) < 5 * 0.3 / np.sqrt(n)
    assert abs(np.var(draws) / 0.3**2 - 1) < 5 * np.sqrt(2 / n)
    silent = lrnn.ExponentialFilter(**EXPONENTIAL, label_noise=0.0)
    assert silent.stochastic
    assert jnp.max(jnp.abs(silent.sample(jr.key(0)))) == 0


def test_white_noise_targets_are_the_convolution_of_the_input():
    filter = lrnn.OscillatingFilter(0.2, 2.0, 0.1, 12, np.array([[1.0, -2.0], [0.5, 3.0]]))
    batch = lrnn.WhiteNoise(filter, std=2.0, batch=3).sample(jr.key(0))
    assert batch is not None
    x, y = batch
    assert (x.shape, y.shape) == ((3, 12, 2), (3, 12, 2))
    for trial in range(3):
        expected = np.zeros((12, 2))
        for t in range(12):
            for j in range(t + 1):
                expected[t] += 0.1 * np.asarray(x)[trial, t - j] @ np.asarray(filter.samples)[j]
        assert np.allclose(y[trial], expected, rtol=0, atol=1e-13)
    assert 1.0 < np.std(x) < 3.0


def test_teachers_answer_for_themselves():
    teacher = lrnn.LowRankRNN.normalised(10, dt=0.1, key=jr.key(0))
    batch = lrnn.TeacherStudent(teacher, 12, batch=3).sample(jr.key(1))
    assert batch is not None
    x, y = batch
    assert jnp.array_equal(y, teacher.rollout(x))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "steps": 0}, r"`steps`.*at least 1; got 0"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "dt": 0.0}, r"`dt`.*\(0, 1\]"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "dt": 1.2}, r"`dt`.*\(0, 1\]"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "rate": np.nan}, "`rate` must be finite"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "amplitude": np.inf}, "`amplitude` must be fin"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "amplitude": np.ones(2)}, r"got \(\) and \(2,\)"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "label_noise": -1.0}, "`label_noise`.*got -1"),
        (lrnn.ExponentialFilter, {**EXPONENTIAL, "label_noise": np.nan}, "`label_noise`.*nan"),
        (
            lrnn.ExponentialFilter,
            {**EXPONENTIAL, "label_noise": np.full(3, 0.01)},
            r"`label_noise` is one number; got an array of shape \(3,\)",
        ),
        (lrnn.WhiteNoise, {"std": np.ones(2)}, r"`std` is one number; got .*\(2,\)"),
        (
            lrnn.DecisionMaking,
            {"dt": 0.1, "batch": 2, "noise": np.ones(2)},
            "`noise` is one number",
        ),
        (
            lrnn.ExponentialFilter,
            {**EXPONENTIAL, "rate": np.ones((1, 2)), "amplitude": np.ones((2, 1))},
            r"\(inputs, outputs\), the same.*got \(1, 2\) and \(2, 1\)",
        ),
        (lrnn.OscillatingFilter, {**OSCILLATING, "steps": -3}, r"`steps`.*got -3"),
        (lrnn.OscillatingFilter, {**OSCILLATING, "dt": 0.0}, r"`dt`"),
        (lrnn.OscillatingFilter, {**OSCILLATING, "frequency": np.inf}, "`frequency` must be fini"),
        (
            lrnn.OscillatingFilter,
            {**OSCILLATING, "frequency": np.ones((1, 2))},
            r"`frequency`.*shape of `rate` \(\); got \(1, 2\)",
        ),
        (lrnn.ImpulseResponse, {"target": np.ones((3, 2)), "dt": 0.1}, r"`target`.*got \(3, 2\)"),
        (lrnn.ImpulseResponse, {"target": np.ones(0), "dt": 0.1}, r"`target`.*got \(0, 1, 1\)"),
        (lrnn.ImpulseResponse, {"target": np.array([np.nan]), "dt": 0.1}, "`target` must be fini"),
        (lrnn.ImpulseResponse, {"target": np.ones(3), "dt": -0.1}, "`dt`"),
        (lrnn.WhiteNoise, {"std": -1.0}, r"`std` must lie in \[0, inf\); got -1"),
        (lrnn.WhiteNoise, {"batch": 0}, "`batch`.*at least 1, or None.*got 0"),
        (
            lrnn.WhiteNoise,
            {"filter": lrnn.ExponentialFilter(**EXPONENTIAL, label_noise=0.1)},
            "Label noise belongs to the impulse task",
        ),
        (lrnn.TeacherStudent, {"steps": 0}, "`steps`"),
        (lrnn.TeacherStudent, {"batch": -1}, "`batch`"),
        (lrnn.TeacherStudent, {"std": np.inf}, "`std`"),
        (
            lrnn.TeacherStudent,
            {"teacher": lrnn.LowRankRNN(*np.eye(4), dt=0.1, activation=lrnn.Tanh())},
            "linear teachers without biases; give `batch`",
        ),
    ],
)
def test_what_tasks_refuse(make, options, message):
    fine = {
        lrnn.WhiteNoise: {"filter": lrnn.ExponentialFilter(**EXPONENTIAL)},
        lrnn.TeacherStudent: {"teacher": lrnn.LowRankRNN(*np.eye(4), dt=0.1), "steps": 12},
    }.get(make, {})
    with pytest.raises(ValueError, match=message):
        make(**{**fine, **options})


def test_nonlinear_students_need_samples():
    student = lrnn.LowRankRNN(*np.eye(4), dt=0.1, activation=lrnn.Tanh())
    filter = lrnn.ExponentialFilter(**EXPONENTIAL)
    lrnn.WhiteNoise(filter, batch=2).check(student)
    with pytest.raises(ValueError, match=r"`batch` to train this LowRankRNN on samples"):
        lrnn.WhiteNoise(filter).check(student)


def test_ways_of_computing_a_loss_that_do_not_apply_are_refused_before_learning():
    one = lrnn.ReducedRNN(lrnn.Overlaps(jnp.eye(4), Roles()), dt=0.1)
    two = lrnn.ReducedRNN(lrnn.Overlaps(jnp.eye(6), Roles(rank=2)), dt=0.1)
    closed, doubling = lrnn.Evaluation.CLOSED_FORM, lrnn.Evaluation.DOUBLING
    samples = np.ones(12)
    for model, task, message in [
        (two, lrnn.ExponentialFilter(**EXPONENTIAL, evaluation=closed), r"rank 1.*has rank 2"),
        (one, lrnn.ImpulseResponse(samples, dt=0.1, evaluation=closed), "target made of expon"),
        (one, lrnn.ImpulseResponse(samples, dt=0.1, evaluation=doubling), "array of samples"),
        (
            two,
            lrnn.WhiteNoise(lrnn.ExponentialFilter(**EXPONENTIAL), evaluation=closed),
            r"rank 1.*has rank 2",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            task.check(model)


def test_a_nearly_invisible_direction_is_seen_and_rounding_is_not():
    """y depends on vm through zu·vm alone: of size 1e-9 it is a direction, of 1e-18 rounding."""
    task = lrnn.ExponentialFilter(0.2, 0.1, 30)
    for size, rank, names in ((1e-9, 3, ("zm", "zu", "vm", "vu")), (1e-18, 2, ("zm", "zu"))):
        gram = np.eye(4)
        for i, j, value in ((0, 2, 0.3), (0, 3, size), (1, 2, 0.5), (1, 3, 0.4)):
            gram[i, j] = gram[j, i] = value
        reduction = lrnn.reduce(lrnn.ReducedRNN(lrnn.Overlaps.from_gram(gram), dt=0.1))
        found = lrnn.measured_visible(reduction, task)
        assert (found.rank, found.visible) == (rank, names)
        assert len(found.null) == 10 - rank
        assert set(found.invisible) >= {"mu", "zv", "mm", "uu", "vv", "zz"}


NET = lrnn.LowRankRNN(*np.eye(4), dt=0.1)
NOISE = lrnn.WhiteNoise(lrnn.ExponentialFilter(**EXPONENTIAL), batch=2)
FLIPS = lrnn.FlipFlop(0.1, 60, 2)
TRIALS = lrnn.tasks.Trials(jnp.ones((2, 60, 1)), jnp.ones((2, 60, 1)), jnp.ones((2, 60)))
LABELS = lrnn.ExponentialFilter(**EXPONENTIAL, label_noise=0.1)
DATA = {
    "label noise": (LABELS, jnp.ones((12, 2, 1)), r"shape \(12, 1, 1\).*got .*\(12, 2, 1\)"),
    "one trial": (FLIPS, jax.tree.map(lambda a: a[0], TRIALS), r"`batch.inputs`.*\(60, 1\)"),
    "other steps": (FLIPS, jax.tree.map(lambda a: a[:, :50], TRIALS), r"\(trial, 60, 1\)"),
    "other channels": (FLIPS, TRIALS._replace(target=jnp.ones((2, 60, 2))), r"`batch.target`"),
    "fewer masks": (FLIPS, TRIALS._replace(mask=jnp.ones((1, 60))), r"`batch.mask`.*as many tri"),
    "nothing scored": (FLIPS, TRIALS._replace(mask=jnp.zeros((2, 60))), r"`batch.mask` is zero"),
    "complex": (FLIPS, TRIALS._replace(mask=np.ones((2, 60)) + 1j), "`batch.mask` must hold real"),
    "other pairs": (
        NOISE,
        lrnn.tasks.Pairs(jnp.ones((2, 12, 1)), jnp.ones((2, 11, 1))),
        r"`batch.target`",
    ),
}


@pytest.mark.parametrize(("task", "batch", "message"), DATA.values(), ids=DATA)
def test_data_are_checked_against_what_is_drawn(task, batch, message):
    with pytest.raises(ValueError, match=message):
        task.loss(NET, batch)


def test_data_may_be_tuples_and_masks_of_bool():
    loss = FLIPS.loss(NET, TRIALS)
    assert FLIPS.score(FLIPS.output(NET, TRIALS), TRIALS) == loss
    scored = TRIALS._replace(mask=TRIALS.mask > 0)
    assert FLIPS.trials(scored).mask.dtype == jnp.float64
    pairs = NOISE.sample(jr.key(0))
    assert pairs is not None
    assert NOISE.loss(NET, pairs) > 0
    assert NOISE.loss(NET, lrnn.tasks.Pairs(*pairs)) == NOISE.loss(NET, pairs)
