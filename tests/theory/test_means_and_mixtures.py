"""Closures with means (activations that are not odd, biases), and mixtures of populations."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.networks import GaussHermite, Softplus

DT = 0.1
PLAIN = lrnn.Overlaps.from_gram(
    jnp.array(
        [[1.0, 0.2, 0.3, 0.3], [0.2, 1.0, 0.3, 0.5], [0.3, 0.3, 1.0, 0.2], [0.3, 0.5, 0.2, 1.0]]
    )
)
MEANS = PLAIN.with_means(z=0.3, v=-0.2, m=0.4, u=0.1)
TASK = lrnn.FlipFlop(dt=DT, steps=60, batch=5, wait=(1.0, 2.0), input_amp=2.0)
TRIALS = TASK.sample(jr.key(3))
DESCENT = lrnn.Descent(0.05)

outputs = jax.jit(lambda model: model.rollout(TRIALS.inputs))


def largest(x):
    return float(jnp.max(jnp.abs(x)))


def with_bias(n=30, activation=lrnn.Identity(), **options):
    net = lrnn.LowRankRNN.normalised(n, dt=DT, key=jr.key(0), activation=activation)
    b = 0.3 + 0.5 * jr.normal(jr.key(1), (n,))
    return lrnn.LowRankRNN(net.z, net.v, net.m, net.u, b=b, dt=DT, activation=activation, **options)


def test_vectors_with_given_means_have_them():
    net = lrnn.LowRankRNN.with_overlaps(MEANS, 40, dt=DT, key=jr.key(0), activation=Softplus())
    assert largest(net.overlaps.gram - MEANS.gram) < 1e-13
    assert largest(jnp.mean(net.z) - 0.3) < 1e-14
    assert net.roles.names[-5:] == ("zo", "vo", "mo", "uo", "oo")
    assert largest(lrnn.reduce(net).overlaps.gram - MEANS.gram) < 1e-13
    assert largest(MEANS.covariance[-1]) == 0


@pytest.mark.parametrize("activation", [Softplus(), lrnn.ReLU()])
def test_closure_with_means_is_exact_at_start_up_to_one_over_root_n(activation):
    closure = outputs(lrnn.ReducedRNN(MEANS, dt=DT, activation=activation))
    sizes, errors = (250, 1000, 4000), []
    for n in sizes:

        def squared(key, n=n):
            options = {"dt": DT, "activation": activation, "key": key}
            net = lrnn.LowRankRNN.with_overlaps(MEANS, n, **options)
            return jnp.mean((outputs(net) - closure) ** 2)

        each = jax.lax.map(squared, jr.split(jr.key(0), 16))
        errors.append(float(jnp.sqrt(jnp.mean(each))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # −1/2, with a scatter of about 0.1 from sixteen networks at three sizes
    assert -0.75 < slope < -0.35
    assert errors[-1] < 0.03 * jnp.std(closure)


def one_step(model, lr):
    curve = lrnn.learn(model, TASK, lrnn.Descent(lr), epochs=1, batches=tuple_of(TRIALS))
    gram = curve.gram[-1]
    return gram[:4, :4]


def tuple_of(trials):
    return jax.tree.map(lambda a: a[None], trials)


def test_the_first_step_of_the_closure_is_exact_to_second_order():
    """Learning leaves the column space from the second order in the learning rate on."""
    phi = Softplus()
    nodes = lrnn.population(
        MEANS, 4096, dt=DT, activation=phi, quadrature=GaussHermite(), key=jr.key(0)
    )
    closure = lrnn.ReducedRNN(MEANS, dt=DT, activation=phi)
    gaps = [largest(one_step(nodes, lr) - one_step(closure, lr)) for lr in (1.6, 0.8, 0.4)]
    moved = largest(one_step(closure, 0.4) - PLAIN.gram)
    assert moved > 0.1
    assert gaps[-1] > 2e-6  # far above the nodes' own error
    assert np.allclose(np.divide(gaps[:-1], gaps[1:]), 4, atol=0.4)


@pytest.mark.parametrize("method", [DESCENT, lrnn.Muon(0.02)], ids=["descent", "muon"])
def test_the_column_of_ones_never_learns(method):
    model = lrnn.ReducedRNN(MEANS, dt=DT, activation=lrnn.ReLU())
    curve = lrnn.learn(model, TASK, method, epochs=20, key=jr.key(1))
    assert largest(curve["oo"] - 1) < 1e-13
    assert largest(curve["zo"] - curve["zo"][0]) > 1e-3
    net = lrnn.LowRankRNN.with_overlaps(MEANS, 50, dt=DT, key=jr.key(0), activation=lrnn.ReLU())
    full = lrnn.learn(net, TASK, method, epochs=20, key=jr.key(1))
    assert largest(full["oo"] - 1) < 1e-13
    assert abs(float(full["zo"][-1] - jnp.mean(full.model.z))) < 1e-13


@pytest.mark.parametrize(
    "method",
    [
        lrnn.Descent(0.02, momentum=0.8, weight_decay=1e-3, clip=1.0),
        lrnn.Descent(0.02, rates={"b": 0.0}),
        lrnn.Muon(0.02),
    ],
    ids=["options", "frozen bias", "muon"],
)
def test_a_linear_network_with_biases_learns_like_its_reduction(method):
    net = with_bias()
    full = lrnn.learn(net, TASK, method, epochs=50, key=jr.key(1))
    reduced = lrnn.learn(lrnn.reduce(net), TASK, method, epochs=50, key=jr.key(1))
    assert reduced.distance(full).max < 1e-12  # an identity
    assert set(full.overlaps.names) >= {"zb", "vb", "bb", "mb", "ub"}
    assert largest(full["zb"] - full["zb"][0]) > 1e-2
    lifted = lrnn.lift(reduced, net)
    assert largest(lifted.b - full.model.b) < 1e-12
    moves = largest(full.model.b - net.b)
    assert (moves == 0) == ("b" in getattr(method, "rates", {}))


def test_the_closure_of_biases_is_that_of_the_population():
    net = with_bias(activation=lrnn.Erf())
    closure = lrnn.reduce(net)
    assert closure.roles.means
    assert closure.state_size == 3
    nodes = lrnn.population(net, 4096, key=jr.key(0))
    assert largest(nodes.overlaps.gram - net.overlaps.gram) < 1e-12
    answer = outputs(closure)
    assert largest(outputs(nodes) - answer) < 0.04 * largest(answer)  # the nodes' own error
    without = lrnn.LowRankRNN(net.z, net.v, net.m, net.u, dt=DT, activation=lrnn.Erf())
    assert largest(outputs(lrnn.reduce(without)) - answer) > 0.1 * largest(answer)


def test_a_saved_network_with_biases_comes_back(tmp_path):
    net = with_bias(activation=Softplus())
    curve = lrnn.learn(net, TASK, DESCENT, epochs=2, key=jr.key(0))
    curve.save(tmp_path / "curve.npz")
    again = lrnn.LearningCurve.load(tmp_path / "curve.npz")
    assert largest(again.model.b - curve.model.b) == 0
    assert again.overlaps.names == curve.overlaps.names


# --- mixtures ---------------------------------------------------------------------------------

OTHER = lrnn.Overlaps.from_gram(
    jnp.array(
        [[1.5, -0.2, 0.6, 0.1], [-0.2, 0.8, 0.3, -0.4], [0.6, 0.3, 1.2, 0.2], [0.1, -0.4, 0.2, 1.1]]
    )
)


def mixture(activation=lrnn.Identity(), means=False, **options):
    parts = [PLAIN, OTHER]
    if means:
        parts = [PLAIN.with_means(m=0.75, z=0.2), OTHER.with_means(m=-0.75)]
    return lrnn.MixtureRNN(parts, jnp.array([0.3, 0.7]), dt=DT, activation=activation, **options)


@pytest.mark.parametrize(
    "method",
    [
        lrnn.Descent(0.05, momentum=0.8, weight_decay=1e-3, clip=1.0),
        lrnn.Descent(0.05, rates={"m": 0.0, "v": 0.5}),
        lrnn.NormalisedDescent(0.02),
        lrnn.Muon(0.02),
        lrnn.Flow(0.05),
    ],
    ids=["options", "rates", "normalised", "muon", "flow"],
)
def test_a_linear_mixture_learns_like_its_network(method):
    model = mixture()
    net = model.network(20, key=jr.key(0))
    assert largest(net.overlaps.gram - model.overlaps.gram) < 1e-13
    assert largest(net.vectors[:6].T @ net.vectors[:6] / 6 - PLAIN.gram) < 1e-13
    task = lrnn.ExponentialFilter(0.2, DT, 50)
    reduced = lrnn.learn(model, task, method, epochs=30)
    full = lrnn.learn(net, task, method, epochs=30)
    # an identity; the flow to its tolerances, 1e-9 a step
    assert reduced.distance(full).max < (1e-6 if isinstance(method, lrnn.Flow) else 1e-12)
    assert largest(full.gram[-1] - full.gram[0]) > 0.1
    for p, rows in enumerate((slice(0, 6), slice(6, 20))):
        lifted = net.vectors[rows] @ reduced.transform[-1, p]
        assert largest(lifted - full.model.vectors[rows]) < 1e-5
    with pytest.raises(ValueError, match="transform for each population"):
        lrnn.lift(reduced, net)


def test_a_mixture_of_one_population_is_the_closure():
    one = lrnn.MixtureRNN([PLAIN], jnp.ones(1), dt=DT, activation=lrnn.Erf())
    closure = lrnn.ReducedRNN(PLAIN, dt=DT, activation=lrnn.Erf())
    curves = [lrnn.learn(m, TASK, DESCENT, epochs=20, key=jr.key(1)) for m in (one, closure)]
    assert curves[0].distance(curves[1]).max < 1e-13
    assert largest(curves[1].gram[-1] - PLAIN.gram) > 0.01


@pytest.mark.parametrize("activation", [lrnn.Erf(), Softplus()])
def test_a_mixture_with_means_is_the_limit_of_its_networks(activation):
    model = mixture(activation, means=True)
    answer = outputs(model)
    nodes = lrnn.population(model, 8192, key=jr.key(0))
    assert largest(outputs(nodes) - answer) < 0.01 * largest(answer)
    if activation.odd:
        # what one Gaussian with the same moments would do is something else
        single = outputs(lrnn.ReducedRNN(model.overlaps, dt=DT, activation=activation))
        assert largest(single - answer) > 0.01 * largest(answer)
    net = model.network(4000, key=jr.key(1))
    assert largest(outputs(net) - answer) < 0.1 * largest(answer)


def test_a_saved_mixture_comes_back(tmp_path):
    curve = lrnn.learn(mixture(lrnn.Erf(), means=True), TASK, DESCENT, epochs=2, key=jr.key(0))
    curve.save(tmp_path / "curve.npz")
    again = lrnn.LearningCurve.load(tmp_path / "curve.npz")
    assert largest(again.model.populations.gram - curve.model.populations.gram) == 0
    assert again.transform.shape == (3, 2, 5, 5)


def refused(**changes):
    options = {"overlaps": [PLAIN, OTHER], "weights": jnp.array([0.5, 0.5]), "dt": DT, **changes}
    return lambda: lrnn.MixtureRNN(options.pop("overlaps"), options.pop("weights"), **options)


WRONG = {
    "not odd": (
        lambda: lrnn.ReducedRNN(PLAIN, dt=DT, activation=lrnn.ReLU()),
        "ReLU, which is not",
    ),
    "means twice": (lambda: MEANS.with_means(z=0.1), "means already"),
    "too large a mean": (lambda: PLAIN.with_means(z=1.5), "smallest eigenvalue"),
    "scale": (
        lambda: lrnn.LowRankRNN.with_overlaps(MEANS, 40, 1.0, dt=DT, key=jr.key(0)),
        "s = N",
    ),
    "biases": (
        lambda: lrnn.ReducedRNN(
            lrnn.Overlaps.from_gram(jnp.eye(5), bias=True), dt=DT, activation=lrnn.Erf()
        ),
        "with biases or an initial state needs the means",
    ),
    "two biases": (
        lambda: lrnn.LowRankRNN(*[jnp.ones((5, 1))] * 4, b=jnp.ones((5, 2)), dt=DT),
        "single column",
    ),
    "weights": (refused(weights=jnp.array([0.5, 0.6])), "sum to 1"),
    "negative": (refused(weights=jnp.array([1.5, -0.5])), "`weights` must lie in"),
    "count": (refused(weights=jnp.array([1.0])), "one for each of its populations"),
    "roles": (refused(overlaps=[PLAIN, MEANS]), "same columns"),
    "mixture not odd": (refused(activation=Softplus()), "needs the means"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_impossible_models_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- what outputs see, measured ---------------------------------------------------------------

LINEAR = lrnn.ReducedRNN(PLAIN, dt=DT)
SEEN = {
    "linear": (LINEAR, lrnn.ExponentialFilter(0.2, DT, 50), 3),  # zm, zu·vm and vu
    "linear, trials": (LINEAR, TASK, 3),
    "erf": (lrnn.ReducedRNN(PLAIN, dt=DT, activation=lrnn.Erf()), TASK, 6),
    "softplus": (lrnn.ReducedRNN(MEANS, dt=DT, activation=Softplus()), TASK, 10),
}


@pytest.mark.parametrize(("model", "task", "rank"), SEEN.values(), ids=SEEN)
def test_what_is_seen_by_measurement_is_what_theory_says(model, task, rank):
    theory, measured = lrnn.visible(model), lrnn.measured_visible(model, task, key=jr.key(0))
    assert set(measured.visible) == set(theory.visible)
    assert set(measured.invisible) == set(theory.invisible)
    # the gauge u → cu, v → v/c is not seen either
    assert measured.rank == rank == len(theory.visible) - 1
    assert measured.null.shape == (len(model.roles.names) - rank, len(model.roles.names))
    assert largest(measured.jacobian @ measured.null.T) < 1e-9 * largest(measured.jacobian)


def test_seeing_needs_a_reduction_and_data():
    net = lrnn.LowRankRNN.normalised(20, dt=DT, key=jr.key(0))
    with pytest.raises(ValueError, match=r"reduce\(network\)"):
        lrnn.measured_visible(net, TASK, key=jr.key(0))
    with pytest.raises(ValueError, match="`key`"):
        lrnn.measured_visible(LINEAR, TASK)


def test_what_one_gram_matrix_cannot_say_of_a_mixture_is_refused_by_name():
    bent = mixture(lrnn.Erf())
    with pytest.raises(ValueError, match=r"`populations`"):
        lrnn.degenerate_twin(mixture(), uu=1.1)
    with pytest.raises(ValueError, match=r"no function of its overlaps.*a MixtureRNN"):
        lrnn.measured_visible(mixture(), TASK, key=jr.key(0))
    with pytest.raises(ValueError, match="Gram matrix for each population"):
        lrnn.reduce(bent)
    linear = lrnn.visible(bent.overlaps.roles).visible
    assert lrnn.visible(bent).visible == (*linear, "mu", "mm", "uu")


def test_a_linear_mixture_is_the_reduction_of_its_overlaps():
    """Its loss by doubling, and the spectrum of its loop over learning."""
    model = mixture()
    reduced = lrnn.reduce(model)
    task = lrnn.ExponentialFilter(0.2, DT, 50)
    assert abs(task.loss(model) - task.loss(reduced)) < 1e-14
    curve, single = (
        lrnn.learn(m, task, lrnn.Descent(0.05), epochs=3)
        for m in (model, model.network(20, key=jr.key(0)))
    )
    plant = lrnn.KIntegrator(dt=DT)
    found, expected = (lrnn.spectrum(c, plant) for c in (curve, single))
    assert np.abs(found - expected).max() < 1e-12


@pytest.mark.slow
def test_an_isospectral_flow_of_a_mixture():
    task = lrnn.ExponentialFilter(0.2, DT, 50)
    flow = lrnn.Flow(0.05, solver=lrnn.learning.Isospectral(), rtol=1e-7, atol=1e-9)
    curve, usual = (lrnn.learn(mixture(), task, m, epochs=20) for m in (flow, lrnn.Flow(0.05)))
    assert curve.distance(usual).max < 1e-5  # second order at these tolerances; 2e-7 seen
    assert curve.invariant_drift()[-1] < 1e-8  # the balance, kept to the tolerance; 2.5e-9 seen


def test_a_mask_of_zeros_is_refused():
    with pytest.raises(ValueError, match="mask"):
        TASK.loss(LINEAR, TRIALS._replace(mask=jnp.zeros_like(TRIALS.mask)))
