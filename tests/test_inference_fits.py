"""Observations of learning curves, estimates from them, and which way of learning made them."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.inference import Loss, Observations, Outputs, Prior, Successes, Visible
from lrnn_jax.overlaps import random_overlaps

EPOCHS = range(0, 61, 5)
TRACES = []
CLOSE: dict = {"atol": 1e-12, "rtol": 1e-10}


def rated(**rates):
    """All have all four multipliers, so that all share one program."""
    return lrnn.Descent(2e-2, rates={"z": 1.0, "v": 1.0, "m": 1.0, "u": 1.0} | rates)


METHOD = rated()
TRUTH = random_overlaps(key=jr.key(1))
MODEL = lrnn.ReducedRNN(random_overlaps(key=jr.key(5)), dt=0.05)  # only its roles and dt count


class Counted(lrnn.ExponentialFilter):
    """The task, noting each time its loss is traced."""

    def loss(self, model, batch=None):
        TRACES.append(type(model).__name__)
        return lrnn.ExponentialFilter.loss(self, model, batch)


TASK = Counted(0.2, 0.05, 100)  # pyright: ignore[reportCallIssue]


def learned(method=METHOD, n=40, epochs=EPOCHS, truth=TRUTH):
    """Networks of n neurons, trained by autodiff, at the observed epochs: S, and impulse responses
    by NumPy's recursion h' = (1 − dt) h + dt (W h + m x)."""
    net = lrnn.LowRankRNN.with_overlaps(truth, n, dt=0.05, key=jr.key(2))
    curve = lrnn.learn(net, TASK, method, epochs=epochs[-1], watch=lambda net: net.vectors)
    rows = list(epochs)
    outputs = []
    for theta in np.asarray(curve.watched)[rows]:
        z, v, m, u = theta.T
        h, y = m.copy(), []
        for _ in range(100):
            y.append(z @ h / n)
            h = 0.95 * h + 0.05 * u * (v @ h) / n
        outputs.append(y)
    gram = np.asarray(curve.gram)[rows]
    return np.asarray(curve.loss)[rows], np.array(outputs), gram[:, :2, 2:].reshape(len(rows), 4)


@pytest.fixture(scope="module")
def curves():
    return learned()


@pytest.fixture(scope="module")
def estimate(curves):
    """Of S, nearly without noise."""
    data = Observations(Visible(), curves[2], epochs=EPOCHS, noise=1e-7)
    return inference.infer(data, TASK, METHOD, model=MODEL, starts=6, key=jr.key(0))


# --- observations -----------------------------------------------------------------------------


def test_channels_see_what_experiments_record(curves):
    """At uneven epochs, against neurons trained by autodiff."""
    loss, outputs, _ = curves
    seen, rows = (0, 10, 15, 40), [0, 2, 3, 8]
    theta = TRUTH.vector()

    def predicted(channel, unknown=(), more=()):
        values = jnp.concatenate([theta, jnp.array(more)])
        s = inference.Setting(MODEL, TASK, METHOD, channel, seen, 5, unknown)
        return np.asarray(s.predict(values))

    found = predicted(Outputs(10, first=5), ("gain", "offset"), (2.0, -0.1))
    np.testing.assert_allclose(found, 2 * outputs[rows, 5::10] - 0.1, **CLOSE)
    np.testing.assert_allclose(
        predicted(Loss(log=True))[:, 0], np.log(loss[rows]), atol=1e-12, rtol=1e-10
    )
    share = 0.5 + 0.4 * (1 - loss[rows] / loss[0])
    both = predicted(Successes(), ("span", "floor"), (0.4, 0.5))
    np.testing.assert_allclose(both[:, 0], share, **CLOSE)
    other = learned(lrnn.Descent(4e-2), epochs=seen)[2]
    np.testing.assert_allclose(
        predicted(Visible(), ("lr",), (np.log(4e-2),)), other, atol=1e-12, rtol=1e-10
    )


def test_outputs_of_loops_are_controls_at_these_steps():
    """Time runs along another axis than in tasks: step by step, trials within."""
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=0.3), 12)
    red = lrnn.ReducedRNN(TRUTH, dt=0.3)
    controls = np.asarray(loop.output(red))
    assert controls.shape == (12, 2, 1)
    found = Outputs(every=4, first=2).look(loop, red)
    np.testing.assert_array_equal(found, controls[[2, 6, 10]].ravel())


def test_counts_are_shares_with_the_noise_of_the_binomial():
    data = Observations.binomial(np.array([5, 10, 0]), 10, epochs=(0, 2, 6))
    np.testing.assert_allclose(data.values[:, 0], [0.5, 1.0, 0.0])
    p = np.array([6, 11, 1]) / 12
    np.testing.assert_allclose(data.noise[:, 0], np.sqrt(p * (1 - p) / 10))
    assert (data.stride, data.size) == (2, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": [1.0, np.nan]}, "`values`"),
        ({"epochs": (1, 0)}, "`epochs` must rise"),
        ({"epochs": (0, 1, 2)}, "`epochs` needs one entry for each row of `values`, 2; got 3"),
        ({"noise": 0.0}, "`noise` must lie in"),
        ({"noise": np.ones(3)}, "`noise` is one number or has the shape"),
    ],
)
def test_wrong_data_are_refused(changed, message):
    given = {"values": np.ones(2), "epochs": (0, 1), "noise": 0.1} | changed
    values = np.asarray(given.pop("values"))
    with pytest.raises(ValueError, match=message):
        Observations(Loss(), values, **given)


# --- estimates --------------------------------------------------------------------------------


def test_an_estimate_finds_the_network(estimate):
    """Without noise, up to its image: nine combinations, and the flat one within the cone."""
    assert estimate.result == lrnn.RESULTS.successful
    assert estimate.starts_agreeing >= 4
    grams = np.asarray(estimate.images().overlaps.gram)
    assert len(grams) == 1  # S breaks sign and transposition
    expected = np.asarray(estimate.combined.weights @ TRUTH.vector())
    assert list(estimate.names[4:]) == ["mu", "zv", "mm+zz", "uu+vv", "mm−uu"]
    np.testing.assert_allclose(estimate.values, expected, atol=1e-6)
    low, high = map(float, estimate.flat_range)
    off = float(TRUTH["mm"] - estimate.overlaps["mm"])
    assert low <= off <= high
    assert "Estimate, successful" in str(estimate)


def test_half_of_the_starts_are_near_the_data(curves):
    """The nearest of fifty is nearer than one of ten that are just drawn, and all differ."""
    s = inference.Setting(MODEL, TASK, METHOD, Visible(), tuple(EPOCHS), 5, ())
    values = jnp.asarray(curves[2].ravel())
    begin = inference.starting(s, 20, values, jnp.full(values.shape, 0.01), jr.key(0))
    far = np.array([np.sum((np.asarray(s.predict(x)) - curves[2]) ** 2) for x in begin])
    assert np.all(far[10:] < np.median(far[:10]))
    assert np.median(far[10:]) < 0.3 * np.median(far[:10])
    assert len(np.unique(begin[:, 0])) == 20


def test_more_starts_are_drawn_while_no_two_agree(curves):
    """Six suffice; where rounding makes χ² differ by more than one, none of 24 agree."""
    for noise, ends, far in ((1e-2, 6, 0.0), (1e-10, 24, 1.0)):
        values = curves[2] + far * np.asarray(jr.normal(jr.key(1), curves[2].shape))
        data = Observations(Visible(), values, epochs=EPOCHS, noise=noise)
        found = inference.infer(data, TASK, METHOD, model=MODEL, starts=6, key=jr.key(0))
        assert (len(found.fits.cost), found.resolved) == (ends, ends == 6)
    assert len(np.unique(np.asarray(found.fits.theta)[:, 0])) == ends


def test_intervals_are_those_of_a_linear_problem(estimate):
    """(JᵀJ/σ² + 1/spread²)⁻¹ by NumPy, with J from differences of curves."""
    run, step = eqx.filter_jit(inference.Setting.linearised), 1e-5
    j = []
    for i in range(10):
        ends = [run(estimate.setting, estimate.theta.at[i].add(x))[0] for x in (step, -step)]
        j.append((ends[0] - ends[1]) / (2 * step))
    j, w = np.array(j).T, np.asarray(estimate.combined.weights)
    for noise in (1e-7, 0.1):  # with much noise the prior counts
        sigma = jnp.full(len(j), noise)
        found = inference.covariance(estimate.setting, estimate.theta, sigma, estimate.prior_std)
        found = np.sqrt(np.diag(w @ found @ w.T))
        exact = w @ np.linalg.inv(j.T @ j / noise**2 + np.eye(10) / 4) @ w.T
        np.testing.assert_allclose(found, np.sqrt(np.diag(exact)), rtol=1e-2)
        if noise < 1e-3:
            np.testing.assert_allclose(estimate.std, found, rtol=1e-6)
    low, high = estimate.intervals(0.95)["vu"]
    value, std = (float(x[estimate.names.index("vu")]) for x in (estimate.values, estimate.std))
    np.testing.assert_allclose((low, high), (value - 1.96 * std, value + 1.96 * std), rtol=1e-4)
    assert estimate.weak == ()


def test_data_and_noise_are_arrays_of_one_program(curves, estimate):
    """Another data set, noise and start cost no compilation; noise makes combinations weak."""
    traced = len(TRACES)
    assert traced > 0
    noisy = curves[2] + 0.01 * np.asarray(jr.normal(jr.key(1), curves[2].shape))
    data = Observations(Visible(), noisy, epochs=EPOCHS, noise=0.01)
    found = inference.infer(data, TASK, METHOD, model=MODEL, starts=6, key=jr.key(3))
    assert len(TRACES) == traced
    assert 20 < float(found.chi2) < 90  # 52 numbers
    assert set(found.weak) >= {"uu+vv"}
    assert found.result == lrnn.RESULTS.weak
    error = (found.values - found.combined.weights @ TRUTH.vector()) / found.std
    assert float(jnp.abs(error).max()) < 4


def test_a_wrong_model_is_rejected_by_its_misfit(curves, estimate):
    data = Observations(Visible(), curves[2][::-1], epochs=EPOCHS, noise=1e-7)  # backwards in time
    found = inference.infer(data, TASK, METHOD, model=MODEL, starts=6, key=jr.key(3))
    assert found.result == lrnn.RESULTS.rejected


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ({}, "mm+zz uu+vv mm−uu"),
        ({"m": 0.0}, "mm uu+zz zz−vv"),
        ({"z": 0.5, "u": 2.0}, "mm+2zz uu+2vv mm−0.5uu"),
        ({"z": 0.0, "v": 0.0}, "vv zz"),
    ],
)
def test_combinations_have_no_part_along_the_flat_direction(rates, names):
    method = lrnn.Descent(0.1, rates=rates)
    s = inference.Setting(MODEL, TASK, method, Visible(), (0, 5), 5, ())
    found = inference.combinations(s)
    flat = lrnn.Overlaps(inference.flat_direction(MODEL, rates), MODEL.roles).vector()
    if rates.keys() != {"z", "v"}:
        assert np.linalg.matrix_rank(np.asarray(found.weights)) == 9
        np.testing.assert_allclose(found.weights @ flat, 0, atol=1e-15)
        assert found.names[6:] == tuple(names.split()) or rates == {"m": 0.0}
        assert found.unread == ()
    else:
        assert found.names == ("zm", "zu", "vm", "vu", "zv", *names.split())
        assert found.unread == ("mu", "mm", "uu")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": Observations(Loss(), np.ones(4), epochs=range(4), noise=1.0)}, "fewer than the"),
        ({"objective": lrnn.ExponentialFilter(0.2, 0.05, 9, label_noise=0.1)}, "label noise"),
        ({"method": lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly())}, "`method` must be such as"),
        ({"unknown": ("floor",)}, "`unknown` takes names among lr, momentum, gain, offset"),
        ({"unknown": ("momentum",)}, "`unknown` names the momentum"),
        ({"prior": Prior(np.eye(3))}, "`prior` has a mean of shape"),
    ],
)
def test_what_cannot_be_inferred_is_refused(changed, message):
    data = Observations(Outputs(10), np.ones((2, 10)), epochs=(0, 5), noise=0.1)
    given = {"data": data, "objective": TASK, "method": METHOD} | changed
    with pytest.raises(ValueError, match=message):
        inference.infer(**given, model=MODEL, starts=2, key=jr.key(0))


def test_a_prior_outside_the_cone_is_refused():
    with pytest.raises(ValueError, match="`mean` of a prior lies outside the cone"):
        Prior(-np.eye(4))


def test_noise_of_unknown_size_is_found(curves, estimate):
    """σ said three times too large: the same program and intervals as with the truth."""
    noisy = curves[2] + 0.01 * np.asarray(jr.normal(jr.key(1), curves[2].shape))
    given: dict = {"objective": TASK, "method": METHOD, "model": MODEL, "starts": 6}
    traced = len(TRACES)
    known, found = (
        inference.infer(
            Observations(Visible(), noisy, epochs=EPOCHS, noise=noise),
            **given, unknown=unknown, key=jr.key(3),
        )
        for noise, unknown in ((0.01, ()), (0.03, ("noise",)))
    )  # fmt: skip
    assert len(TRACES) == traced
    assert (float(known.scale), known.deviance) == (1.0, known.chi2)
    scale = float(found.scale) * 3
    assert abs(scale - 1) < 3 / np.sqrt(2 * 43)
    np.testing.assert_allclose(found.chi2, 43, rtol=0.02)  # n − p, 9 directions being known
    np.testing.assert_allclose(found.std / scale, known.std, rtol=0.1)
    np.testing.assert_allclose(found.values, known.values, atol=0.02)
    np.testing.assert_allclose(found.deviance, found.chi2 + 104 * np.log(scale / 3), rtol=1e-10)


def test_estimates_survive_files(estimate, tmp_path):
    kind = type(estimate)
    objective = lrnn.ExponentialFilter(0.2, 0.05, 9, evaluation=lrnn.Evaluation.ROLLOUT)
    other = eqx.tree_at(lambda e: e.setting.objective, estimate, objective)
    other.save(tmp_path / "estimate.npz")
    again = kind.load(tmp_path / "estimate.npz")
    assert eqx.tree_equal(again, other)
    assert again.setting.objective.evaluation is lrnn.Evaluation.ROLLOUT
    estimate.save(tmp_path / "yours.npz")  # a task of one's own
    assert eqx.tree_equal(kind.load(tmp_path / "yours.npz", like=estimate), estimate)
    with pytest.raises(ValueError, match="holds a Estimate, not Observations"):
        Observations.load(tmp_path / "estimate.npz")


# --- before data, and which way of learning ---------------------------------------------------


def test_what_learning_will_tell_is_what_it_told(estimate):
    """The same precision as an estimate's, whose prior counts for nothing; before learning, S."""
    model = lrnn.ReducedRNN(TRUTH, dt=0.05)
    found = inference.identifiable(
        TASK, METHOD, model, epochs=EPOCHS, observe=Visible(), noise=1e-7
    )
    assert found.names == estimate.names
    np.testing.assert_allclose(found.std[-1], estimate.std, rtol=1e-3)
    np.testing.assert_allclose(found.std[0, :4], 1e-7)
    assert np.all(np.isinf(found.std[0, 4:]))
    np.testing.assert_allclose(found.directions[0, :4], 1e-7)
    known = found.known(1e-5)
    assert (known[0], known[-1]) == (4, 9)
    assert np.all(np.diff(known) >= 0)
    assert found.images.names == ("itself",)
    assert found.ranks is not None
    assert found.ranks.visible[-1] == 10  # exactly; the tenth is the flat direction, by O(η)
    assert "4 → 9 of 10" in str(found) or "4 → 10 of 10" in str(found)


CANDIDATES = {
    "all": METHOD,
    "read-out": rated(v=0.0, m=0.0, u=0.0),
    "recurrent": rated(z=0.0, m=0.0),
}


@pytest.mark.slow
def test_what_learned_is_told_from_what_did_not(estimate):
    truth = "recurrent"
    visible = learned(CANDIDATES[truth])[2]
    noisy = visible + 0.01 * np.asarray(jr.normal(jr.key(4), visible.shape))
    data = Observations(Visible(), noisy, epochs=EPOCHS, noise=0.01)
    found = inference.compare(
        data, TASK, CANDIDATES, model=MODEL, unknown=(), starts=6, key=jr.key(0)
    )
    assert found.best == truth
    assert found.dimensions == {"all": 10, "read-out": 7, "recurrent": 9}
    name, best = truth, found.estimates[truth]
    expected = float(best.chi2) + found.dimensions[name] * np.log(52)
    np.testing.assert_allclose(found.bic[name], expected)
    assert found.gap == sorted(found.bic.values())[1] - found.bic[truth]
    assert str(found).startswith(f"Best: {truth};")
    few = [n for n, e in found.estimates.items() if e.starts_agreeing < 2]
    assert list(found.unresolved) == few


def test_a_network_that_learned_by_a_local_rule_is_found():
    """N = 40, F orthogonal to all vectors, RFLO: seven overlaps; three that no curve shows."""
    rule = lrnn.RFLO(key=jr.key(0))
    task, method = lrnn.ExponentialFilter(0.2, 0.25, 20), lrnn.Descent(0.05, rule=rule)
    net = lrnn.LowRankRNN.with_overlaps(TRUTH, 40, dt=0.25, key=jr.key(2))
    beside = np.linalg.svd(np.asarray(net.vectors))[0][:, 4] * np.sqrt(40)
    given = lrnn.Descent(0.05, rule=lrnn.RFLO(beside[:, None]))
    seen = lrnn.learn(net, task, given, epochs=60, record=5, watch=lambda n: n.overlaps.S.ravel())
    data = Observations(Visible(), seen.watched, epochs=EPOCHS, noise=1e-6)
    options: dict = {"model": lrnn.reduce(net), "starts": 4, "key": jr.key(0)}
    found = inference.infer(data, task, method, **options)
    assert found.names == ("zm", "zu", "vm", "vu", "mu", "mm", "uu")
    expected = [TRUTH[name] for name in found.names]
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    assert np.all(np.abs(found.values - np.array(expected)) < 4 * found.std)
    assert str(found).endswith("never seen: zv, vv, zz")
    assert (float(found.flat_range[0]), float(found.flat_range[1])) == (0, 0)
    seen = inference.identifiable(
        task, method, lrnn.reduce(net), epochs=EPOCHS, observe=Visible(), noise=1e-6
    )
    np.testing.assert_allclose(seen.std[-1], found.std, rtol=1e-2)
    assert (seen.ranks.visible[-1], seen.images.null_names) == (7, ("zz", "zv", "vv"))


def test_confusion_counts_what_compare_says(tmp_path):
    ways = {"all": METHOD, "read-out": rated(v=0.0, m=0.0, u=0.0)}
    given: dict = {"model": MODEL, "unknown": (), "starts": 4, "repetitions": 2, "key": jr.key(3)}
    seen: dict = {"epochs": EPOCHS, "observe": Visible()}
    found = inference.confusion(TASK, ways, **given, **seen, noise=0.01)
    assert found.names == ("all", "read-out")
    assert found.said.tolist() == [[2, 0, 0], [0, 2, 0]]
    assert str(found) == "Right 1: all → all 2; read-out → read-out 2"
    # χ² of 52 numbers, nine or seven of which are spent: 4 sd
    spent = np.asarray(found.misfit) * 52 - np.array([[43], [45]])
    assert np.all(np.abs(spent) < 4 * np.sqrt(2 * 45))
    found.save(tmp_path / "confusion.npz")
    assert inference.Confusion.load(tmp_path / "confusion.npz").said.tolist() == found.said.tolist()
    # nothing is told by such noise, and the way of fewer dimensions wins
    loud = inference.confusion(TASK, ways, **given, **seen, noise=10.0)
    assert loud.said.tolist() == [[0, 2, 0], [0, 2, 0]]
    assert (loud.right, str(loud)) == (0.5, "Right 0.5: all → read-out 2; read-out → read-out 2")
    big = eqx.tree_at(lambda method: method.lr, METHOD, jnp.asarray(1.0))
    with pytest.raises(ValueError, match=r"'all' diverges for one of the random networks"):
        inference.confusion(TASK, {"all": big}, **given, **seen, noise=0.01)


def test_a_fit_goes_on_from_an_estimate(estimate, curves):
    """From three of its ends and their transposes, beside random starts."""
    seen = Observations(Visible(), curves[2], epochs=EPOCHS, noise=1e-3)
    again = inference.infer(
        seen, TASK, METHOD, model=MODEL, starts=1, begin=estimate, key=jr.key(9)
    )
    assert len(again.fits.cost) == 7
    assert again.starts_agreeing >= 3
    np.testing.assert_allclose(again.values, estimate.values, atol=2e-3)  # the prior
    with pytest.raises(ValueError, match="`begin` is an estimate of zm"):
        inference.infer(
            seen, TASK, METHOD, model=MODEL, unknown=("lr",), begin=estimate, key=jr.key(9)
        )


# --- nonlinear networks --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bent():
    """Outputs of nodes with erf while they learn: data, and the closure of the network."""
    dt, epochs, look = 0.25, range(0, 41, 10), Outputs(every=2)
    task, method = lrnn.ExponentialFilter(0.2, dt, 24), lrnn.Descent(1e-2)
    law = lrnn.ReducedRNN(TRUTH, dt=dt, activation=lrnn.Erf())
    nodes = lrnn.population(law, 41, quadrature=lrnn.networks.GaussHermite(), key=jr.key(0))
    seen = lrnn.learn(nodes, task, method, epochs=40, record=10, watch=lambda m: look.look(task, m))
    y = np.asarray(seen.watched)
    data = Observations(look, y, epochs=epochs, noise=0.01 * np.sqrt(np.mean(y**2)))
    return data, task, method, law, nodes


@pytest.mark.slow
def test_a_population_finds_the_overlaps_that_a_closure_fits_and_misses(bent):
    """The closure explains the data and is off by more than its intervals allow."""
    data, task, method, law, nodes = bent
    closed = inference.infer(data, task, method, model=law, starts=6, key=jr.key(1))
    assert float(closed.chi2) < data.size
    other = nodes.moved_to(random_overlaps(key=jr.key(3)))
    found = inference.infer(data, task, method, model=other, starts=2, begin=closed, key=jr.key(1))
    truth = np.asarray(TRUTH.vector())
    off, std = np.asarray(closed.theta - truth), np.sqrt(np.diag(closed.covariance))
    assert np.abs(off / std).max() > 4
    assert float(found.chi2) < 0.1
    assert np.abs(found.theta - truth).max() < 0.05 < np.abs(off).max()


def test_nodes_move_with_overlaps_where_eigenvalues_are_equal(bent):
    """Slopes of curves at Q = 1, as all normalised networks have it, against differences."""
    data, task, method, _, nodes = bent
    unit = nodes.moved_to(lrnn.Overlaps(jnp.eye(4), nodes.roles))
    way = inference.Setting(unit, task, method, data.channel, data.epochs, 10, ())
    theta, step = lrnn.Overlaps(jnp.eye(4), nodes.roles).vector(), 1e-5
    slopes = eqx.filter_jit(inference.Setting.linearised)(way, theta)[1]
    run = eqx.filter_jit(inference.Setting.predict)
    for i in range(10):
        ends = [run(way, theta.at[i].add(x)).ravel() for x in (step, -step)]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slopes[:, i], expected, atol=1e-8)


def test_the_spread_of_finite_networks_is_that_of_an_ensemble(bent):
    """σ_N by hand; it falls as 1/√N."""
    data, task, method, law, _ = bent
    way = {"epochs": data.epochs, "observe": data.channel, "draws": 12, "key": jr.key(4)}
    few, many = (inference.finite_size(law, task, method, neurons=n, **way) for n in (50, 800))
    assert few.shape == data.values.shape
    ratio = float(jnp.sqrt(jnp.mean(few**2) / jnp.mean(many**2)))
    assert 2.5 < ratio < 6.4  # 4 for 1/√N
    ys = []
    for key in jr.split(jr.key(4), 12):
        net = lrnn.LowRankRNN.with_overlaps(
            law.overlaps, 50, dt=law.dt, activation=lrnn.Erf(), key=key
        )
        curve = lrnn.learn(net, task, method, epochs=40, watch=task.output)
        ys.append(np.asarray(curve.watched)[::10, 0, ::2, 0])
    np.testing.assert_allclose(few, np.std(ys, axis=0, ddof=1), rtol=1e-7, atol=1e-12)
