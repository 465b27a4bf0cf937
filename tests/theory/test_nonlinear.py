"""Nonlinear networks: Gaussian averages, the closure, and the infinite-width population."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad

import lrnn_jax as lrnn
from lrnn_jax.networks import GaussHermite, gaussian_average

GRAM = jnp.array(
    [[1.0, 0.2, 0.3, 0.3], [0.2, 1.0, 0.3, 0.5], [0.3, 0.3, 1.0, 0.2], [0.3, 0.5, 0.2, 1.0]]
)
OVERLAPS = lrnn.Overlaps.from_gram(GRAM)
DT = 0.1


def cubic_tanh(h):
    return jnp.tanh(h) * (1 + 0.2 * jnp.tanh(h) ** 2)


ACTIVATIONS = {
    "erf": lrnn.Erf(),
    "tanh": lrnn.Tanh(),
    "own": lrnn.OddActivation(cubic_tanh),
}
NOT_ODD = {
    "relu": lrnn.ReLU(),
    "softplus": lrnn.networks.Softplus(),
    "own, not odd": lrnn.SmoothActivation(lambda h: jnp.tanh(h) + 0.3 * jnp.tanh(h) ** 2),
}


AVERAGED = ACTIVATIONS | NOT_ODD


@pytest.mark.parametrize("activation", AVERAGED.values(), ids=AVERAGED.keys())
@pytest.mark.parametrize("variance", [0.0, 0.3, 4.0, 25.0])
@pytest.mark.parametrize("mean", [0.0, 0.7])
def test_averages_are_integrals(activation, variance, mean):
    def integral(function):
        def density(x):
            return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

        options = {"epsabs": 1e-13, "epsrel": 1e-13, "limit": 400}
        points = [-mean / np.sqrt(variance)] if variance else None
        spread = np.sqrt(variance)
        return quad(
            lambda x: density(x) * float(function(mean + spread * x)),
            -9,
            9,
            points=points,
            **options,
        )[0]

    if isinstance(activation, lrnn.ReLU) and mean == variance == 0:
        return  # its slope is not defined there
    slope = jax.jit(jax.grad(activation))
    plain = jax.jit(activation.__call__)
    arguments = jnp.asarray(mean), jnp.asarray(variance)
    # the tolerance of the issue, far above what both integrations reach
    assert abs(activation.gain(*arguments) - integral(slope)) < 1e-10
    assert abs(activation.average(*arguments) - integral(plain)) < 1e-10
    assert abs(activation.power(*arguments) - integral(lambda x: plain(x) ** 2)) < 1e-10


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_derivatives_of_the_gain_are_exact_and_finite_at_zero(activation):
    def gain(variance):
        return activation.gain(jnp.zeros_like(variance), variance)

    for variance in (0.5, 9.0):
        step = 1e-4
        numeric = (gain(jnp.asarray(variance + step)) - gain(jnp.asarray(variance - step))) / (
            2 * step
        )
        # central differences: error step²/6 times the third derivative, below 1e-7 here
        assert abs(jax.grad(gain)(jnp.asarray(variance)) - numeric) < 1e-7
    zero = jnp.zeros(())
    third = jax.grad(jax.grad(jax.grad(activation)))(zero)
    assert abs(jax.grad(gain)(zero) - third / 2) < 1e-9
    assert jnp.isfinite(jax.grad(jax.grad(gain))(zero))


def test_erf_in_closed_form_is_its_quadrature():
    variance = jnp.linspace(0.0, 25.0, 6)
    mean = jnp.linspace(-1.0, 2.0, 6)
    erf = lrnn.Erf()
    for order, closed in ((1, erf.gain), (0, erf.average)):
        quadrature = gaussian_average(erf, order, mean, variance)
        assert jnp.max(jnp.abs(closed(mean, variance) - quadrature)) < 1e-11
    power = 2 / jnp.pi * jnp.arcsin(jnp.pi / 2 * variance / (1 + jnp.pi / 2 * variance))
    assert jnp.max(jnp.abs(erf.power(jnp.zeros_like(mean), variance) - power)) < 1e-11


def outputs(model, key=3):
    task = lrnn.FlipFlop(dt=DT, steps=80, batch=5, wait=(1.0, 2.0), input_amp=2.0)
    return jax.jit(lambda m, x: m.rollout(x))(model, task.sample(jr.key(key)).inputs)


@pytest.mark.parametrize("activation", [lrnn.Erf(), lrnn.Tanh()])
def test_closure_is_exact_at_start_up_to_one_over_root_n(activation):
    closure = outputs(lrnn.ReducedRNN(OVERLAPS, dt=DT, activation=activation))
    assert jnp.std(closure) > 0.05
    sizes, errors = (250, 1000, 4000, 16000), []
    for n in sizes:

        def squared(key, n=n):
            options = {"dt": DT, "activation": activation, "key": key}
            net = lrnn.LowRankRNN.with_overlaps(OVERLAPS, n, **options)
            return jnp.mean((outputs(net) - closure) ** 2)

        each = jax.lax.map(squared, jr.split(jr.key(0), 16))
        errors.append(float(jnp.sqrt(jnp.mean(each))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # −1/2, with a scatter of about 0.05 from sixteen networks a size
    assert -0.68 < slope < -0.4
    assert errors[-1] < 0.02 * jnp.std(closure)


@pytest.mark.parametrize("quadrature", [lrnn.networks.Sobol(), GaussHermite()])
@pytest.mark.parametrize("activation", [lrnn.Identity(), lrnn.Erf()])
def test_population_starts_from_exactly_the_given_overlaps(quadrature, activation):
    nodes = lrnn.population(
        OVERLAPS, 128, dt=DT, activation=activation, quadrature=quadrature, key=jr.key(0)
    )
    assert jnp.max(jnp.abs(nodes.overlaps.gram - GRAM)) < 1e-13  # rounding
    assert abs(jnp.sum(1 / nodes.scale) - 1) < 1e-13
    assert nodes.state_size <= 192
    closure = lrnn.ReducedRNN(OVERLAPS, dt=DT, activation=activation)
    # exact for linear φ; for erf the closure is exact at the start, the nodes to their error
    tolerance = 1e-12 if activation.linear else 0.02
    assert jnp.max(jnp.abs(outputs(nodes) - outputs(closure))) < tolerance


def test_half_of_the_nodes_do_for_odd_activations():
    def points(odd):
        return GaussHermite().points(256 if not odd else 128, 4, odd=odd, key=jr.key(0))

    (half, half_weights), (full, full_weights) = points(True), points(False)
    assert len(half) * 2 == len(full)
    for moments in (lambda x: x[:, 0] ** 2 * x[:, 1] ** 2, lambda x: x[:, 2] ** 4):
        assert abs(half_weights @ moments(half) - full_weights @ moments(full)) < 1e-12


def test_population_of_a_linear_network_learns_like_its_reduction():
    nodes = lrnn.population(OVERLAPS, 16, dt=DT, key=jr.key(0))
    task = lrnn.ExponentialFilter(0.2, DT, 50)
    method = lrnn.Descent(0.02, momentum=0.5, clip=1.0)
    wide = lrnn.learn(nodes, task, method, epochs=50)
    reduced = lrnn.learn(lrnn.reduce(nodes), task, method, epochs=50)
    assert reduced.distance(wide).max < 1e-12  # an identity for any weights of the neurons
    assert jnp.abs(wide.gram[-1] - GRAM).max() > 0.1


TASK = lrnn.FlipFlop(dt=DT, steps=80, batch=5, wait=(1.0, 2.0), input_amp=2.0, target_amp=0.7)


def learned(model, epochs=150):
    method = lrnn.Descent(0.2)
    return lrnn.learn(model, TASK, method, epochs=epochs, key=jr.key(7), record=epochs).gram[-1]


OTHERS = [
    pytest.param(phi, id=name, marks=[] if name == "erf" else pytest.mark.slow)
    for name, phi in ACTIVATIONS.items()
]


@pytest.mark.parametrize("activation", OTHERS)
def test_population_converges_in_its_nodes_and_the_closure_does_not(activation):
    def nodes(count, seed=0):
        return lrnn.population(OVERLAPS, count, dt=DT, activation=activation, key=jr.key(seed))

    exact = learned(nodes(768))
    moved = jnp.max(jnp.abs(exact - GRAM))
    assert moved > 0.2
    few, more = (jnp.max(jnp.abs(learned(nodes(n)) - exact)) for n in (48, 192))
    closure = lrnn.ReducedRNN(OVERLAPS, dt=DT, activation=activation)
    error = jnp.max(jnp.abs(learned(closure) - exact))
    assert more < few
    assert more < 0.01 * jnp.max(jnp.abs(exact))
    assert error > 2 * more  # the closure's error is its own: no number of neurons removes it


def test_flip_flop_trials_are_what_they_say():
    task = lrnn.FlipFlop(dt=0.05, steps=600, batch=20, wait=(1.0, 2.0), input_amp=2.0)
    trials = jax.jit(lambda key: task.sample(key))(jr.key(0))
    inputs, target, mask = (np.asarray(a).squeeze() for a in trials)
    assert inputs.shape == target.shape == mask.shape == (20, 600)
    assert set(np.unique(inputs)) == {-2.0, 0.0, 2.0}
    assert set(np.unique(target)) == {-1.0, 0.0, 1.0}
    assert not inputs[:, :10].any()  # the first pulse comes at 0.5
    assert (np.abs(inputs[:, 10:20]) == 2).all()  # and lasts 0.5
    assert not mask[:, :60].any()  # then 2 are not scored
    assert mask[:, 60:80].all()  # and at least 1 is
    for x, y, scored in zip(inputs, target, mask):
        onsets = np.flatnonzero((x != 0) & (np.roll(x, 1) == 0))
        waits = np.diff(onsets) * 0.05 - 2.5
        assert (waits > 0.9).all()
        assert (waits < 2.1).all()
        last = np.sign(x[np.maximum.accumulate(np.where(x != 0, np.arange(600), 0))])
        assert (y[scored > 0] == last[scored > 0]).all()
        assert not (x[scored > 0]).any()


def test_decision_making_trials_are_what_they_say():
    task = lrnn.DecisionMaking(dt=0.1, batch=200, noise=0.05)
    trials = jax.vmap(task.sample)(jr.split(jr.key(0), 2))
    inputs, target, mask = (np.asarray(a)[0].squeeze() for a in trials)
    assert inputs.shape == (200, 200)
    assert set(np.unique(target[:, -1] * 16)) == {-16.0, -8.0, -2.0, 2.0, 8.0, 16.0}
    assert not inputs[:, :10].any()
    assert not inputs[:, 100:].any()
    stimulus = inputs[:, 10:100]
    # means over 90 steps of noise 0.05: standard error 0.0053, six of them
    assert np.abs(stimulus.mean(axis=1) - target[:, -1] * 16 * 0.032).max() < 0.032
    assert abs((stimulus - stimulus.mean(axis=1, keepdims=True)).std() - 0.05) < 0.002
    assert not mask[:, :110].any()
    assert mask[:, 110:].all()
    assert not np.array_equal(trials.inputs[0], trials.inputs[1])


WRONG = {
    "short": ({"steps": 20}, "nothing would be scored"),
    "waits": ({"wait": (0.01, 1.0)}, "at least one step"),
    "reversed": ({"wait": (3.0, 1.0)}, "lowest, highest"),
    "batch": ({"batch": 0}, "`batch`"),
    "dt": ({"dt": 1.5}, "`dt`"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG.keys())
def test_impossible_trials_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        lrnn.FlipFlop(**{"dt": 0.1, "steps": 100, "batch": 4, **wrong})


def test_what_closure_and_population_refuse():
    with pytest.raises(ValueError, match="not odd"):
        lrnn.OddActivation(lambda h: h + h**2)
    net = lrnn.LowRankRNN.normalised(50, dt=DT, key=jr.key(0), activation=lrnn.Erf())
    one = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, 1.0, dt=DT, activation=lrnn.Erf())
    with pytest.raises(ValueError, match="s = N"):
        lrnn.reduce(one)
    with pytest.raises(ValueError, match="at least as many nodes"):
        lrnn.population(OVERLAPS, 3, dt=DT, key=jr.key(0))
    with pytest.raises(ValueError, match="`dt`"):
        lrnn.population(OVERLAPS, 8, key=jr.key(0))
    with pytest.raises(ValueError, match="one per neuron"):
        lrnn.LowRankRNN(net.z, net.v, net.m, net.u, jnp.ones(3), dt=DT)
    with pytest.raises(ValueError, match="batch"):
        lrnn.learn(net, lrnn.TeacherStudent(lrnn.reduce(net), 20), lrnn.Descent(0.1), epochs=1)


def test_visible_overlaps_of_the_closure_include_the_activity():
    seen = lrnn.visible(lrnn.ReducedRNN(OVERLAPS, dt=DT, activation=lrnn.Erf()))
    assert set(seen.visible) == {"zm", "zu", "vm", "vu", "mu", "mm", "uu"}
    assert set(seen.invisible) == {"zv", "vv", "zz"}
