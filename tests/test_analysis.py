"""What is said of a network of one's own: low-rank or dense, linear or not."""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import matplotlib as mpl
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import experiments

mpl.use("Agg")

DT = 0.2
RNG = np.random.default_rng(3)
SHORT = experiments.AnalysisConfig(steps=40, epochs=6, batch=4, nodes=64)


def bent(n=400, rank=1, inputs=1, **options):
    """A low-rank network of Gaussian loadings."""
    return lrnn.LowRankRNN.normalised(
        n, rank, inputs, dt=DT, key=jr.key(0), activation=lrnn.Erf(), **options
    )


def wide():
    """A network whose outputs are of order 1, not of order 1/√N."""
    names = ["zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz"]
    law = lrnn.Overlaps.from_values(**dict(zip(names, [0.5, 0.5, 0.5, 0.6, 0.1, 0.3, 1, 1, 2, 2])))
    return lrnn.LowRankRNN.with_overlaps(law, 400, dt=DT, key=jr.key(0), activation=lrnn.Erf())


def dense(w, kind=lrnn.CurrentRNN, phi=lrnn.Tanh(), **options):
    n = len(w)
    w_in, w_out = RNG.normal(size=(n, 1)), RNG.normal(size=(1, n)) / n
    return kind(w, w_in, w_out, dt=options.pop("dt", DT), activation=phi, **options)


def low_rank(n=60, rank=2):
    u, v = RNG.normal(size=(2, n, rank))
    return u @ v.T / n


def random(n=60, gain=0.8):
    return gain * RNG.normal(size=(n, n)) / n**0.5


def said(experiment, report=None):
    notes = [] if report is None else experiment.notes(report.results)
    return "\n".join([*experiment.before, *notes])


def drawn(report):
    figure = report.draw()
    figure.canvas.draw()
    count = len(figure.axes)
    mpl.pyplot.close(figure)
    return count


class TestNonlinear:
    @pytest.mark.slow
    def test_a_wide_gaussian_network_is_what_theory_says(self):
        net = wide()
        experiment = experiments.analyse(net)
        report = experiment(SHORT)
        r = report.results
        # the oracle: the same outputs, made here
        task = lrnn.WhiteNoise(SHORT.filter(net), batch=SHORT.batch)
        batch = task.sample(jr.split(jr.key(SHORT.seed), 3)[1])
        y = net.rollout(batch.inputs)
        off = jnp.linalg.norm(lrnn.reduce(net).rollout(batch.inputs) - y) / jnp.linalg.norm(y)
        assert r.output_error["closure"] == pytest.approx(float(off), rel=1e-9)
        assert 0 < r.output_error["closure"] < 0.2  # a few 1/√N
        assert r.loss_error["closure"] < 0.2
        verdicts = {claim.name: claim for claim in report.claims}
        assert verdicts["joint_over_chance"].holds
        # what theory says: S and R are seen, the rest is not
        assert {*r.visible} == {"zm", "zu", "vm", "vu", "mu", "mm", "uu"}
        assert {*r.invisible} == {"zv", "vv", "zz"}
        text = said(experiment, report)
        for words in ("φ = Erf", "400 neurons, rank 1", "depend on zm", "joint fourth", "1 stable"):
            assert words in text
        assert drawn(report) == 6
        assert report.to_xarray().loss.shape == (3, 7)

    @pytest.mark.slow
    def test_loadings_that_are_not_gaussian_on_trials_of_ones_own(self):
        """In another scaling: s = 1."""
        net = bent(n=100, rank=2, inputs=2)
        z, v, m, u = (np.asarray(a) ** 3 for a in (net.z, net.v, net.m, net.u))
        options = {"dt": DT, "activation": lrnn.Erf()}
        one = lrnn.LowRankRNN(z / 100, v / 10, m, u / 10, 1.0, **options)
        x = RNG.normal(size=(6, 30, 2))
        task = lrnn.TrialSet(x, np.cumsum(x, axis=1)[..., :1] * DT, dt=DT, held_out=0.5)
        experiment = experiments.analyse(one, task=task)
        assert "The scaling s = 1 becomes s = N" in said(experiment)
        report = experiment(SHORT)
        r = report.results
        expected = lrnn.LowRankRNN(z, v, m, u, **options)
        assert np.allclose(r.full.gram[0], expected.overlaps.gram, rtol=1e-12)
        assert r.initial_loss["full"] == pytest.approx(float(task.loss(one)), rel=1e-12)
        assert r.full.held_out is not None
        verdicts = {claim.name: claim for claim in report.claims}
        assert not verdicts["joint_over_chance"].holds
        assert np.asarray(r.kurtosis).min() > 3  # of a cubed normal law: 43.2
        assert drawn(report) == 6

    @pytest.mark.slow
    def test_a_dense_one_of_low_rank_is_factorised_and_may_diverge(self):
        experiment = experiments.analyse(dense(low_rank(), lrnn.DenseRNN, dt=1.0))
        report = experiment(dataclasses.replace(SHORT, lr=50.0))
        r = report.results
        assert r.rank == 2
        assert r.factorisation.discarded < 1e-14
        assert r.result["closure"] != "successful"
        assert r.loss_error["closure"] > 1
        verdicts = {claim.name: claim.holds for claim in report.claims}
        assert verdicts["discarded"]
        assert not verdicts["closure_prediction"]
        assert drawn(report) == 6


class TestDense:
    def test_one_of_low_rank_is_factorised(self):
        for kind, dt in ((lrnn.CurrentRNN, DT), (lrnn.DenseRNN, 1.0)):
            text = said(experiments.analyse(dense(low_rank(), kind, dt=dt)))
            assert "W: rank 2 of 60: 100.0" in text
            assert "choose" not in text

    def test_one_of_full_rank_stops_with_its_spectrum(self):
        w = random() + low_rank()
        experiment = experiments.analyse(dense(w))
        for words in ("of 60 would be kept", "of the norm discarded", "--rank", "--initial"):
            assert words in said(experiment)
        report = experiment(SHORT)
        r, sigma = report.results, np.linalg.svd(w)[1]
        assert r.effective_rank == pytest.approx((sigma**2).sum() ** 2 / (sigma**4).sum())
        assert r.stable_rank == pytest.approx((sigma**2).sum() / sigma[0] ** 2)
        assert r.gain == pytest.approx(np.linalg.norm(w) / 60**0.5)
        assert r.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(w)).max())
        assert r.standing_out == (sigma > 2.858 * np.median(sigma)).sum()
        assert r.ranks["90%"] == np.argmax(np.cumsum(sigma**2) / (sigma**2).sum() >= 0.9) + 1
        lost = (sigma[10:] ** 2).sum() ** 0.5 / np.linalg.norm(sigma)
        assert report.values["discarded_at_most"] == pytest.approx(lost)
        assert not report.claims[0].holds
        assert not r.curves()  # nothing was learned
        assert drawn(report) == 3
        header, rows = report.table
        assert header[0] == "rank"
        assert [row[0] for row in rows] == ["1", "2", "3", "5", "10", "20", "50", "60"]

    def test_it_goes_on_at_a_rank_that_is_asked_for(self):
        net = dense(random(gain=0.3) + low_rank())
        assert "choose with --rank" not in said(experiments.analyse(net, rank=2))
        assert "W: rank 2 of 60: " in said(experiments.analyse(net, rank=2))
        assert "choose with --rank" in said(experiments.analyse(net, energy=0.5))

    def test_rates_are_not_factorised(self):
        experiment = experiments.analyse(dense(low_rank(), lrnn.DenseRNN))
        assert "DenseRNN equals a low-rank network" in said(experiment)
        assert experiment(SHORT).results.standing_out == 2

    def test_what_learning_added_is_analysed_apart(self):
        start = dense(random(gain=1.0))
        added = low_rank(rank=1)
        options = {"dt": DT, "activation": lrnn.Tanh()}
        end = lrnn.CurrentRNN(start.w + added, start.w_in, start.w_out, **options)
        radius = np.abs(np.linalg.eigvals(np.asarray(start.w))).max()
        text = said(experiments.analyse(end, initial=start))
        for words in ("ΔW: rank 1 of 60", "what learning added", f"spectral radius {radius:.3g}"):
            assert words in text
        apart = np.linalg.norm(added) / np.linalg.norm(start.w)
        assert f"{apart:.3g} times the norm of W_0" in text
        rates = [lrnn.DenseRNN(net.w, net.w_in, net.w_out, **options) for net in (end, start)]
        spectrum = experiments.analyse(rates[0], initial=rates[1])(SHORT).results
        assert spectrum.effective_rank == pytest.approx(1)


class TestRank:
    def test_vectors_of_high_rank_stop_too(self):
        net = bent(n=60, rank=12)
        assert "choose with --rank" in said(experiments.analyse(net))
        assert experiments.analyse(net)(SHORT).results.neurons == 60
        assert "choose" not in said(experiments.analyse(net, rank=12))

    def test_fewer_of_them_are_the_largest(self):
        net = bent(n=60, rank=3)
        sigma = np.linalg.svd(np.asarray(net.u @ net.v.T / 60))[1]
        lost = np.linalg.norm(sigma[2:]) / np.linalg.norm(sigma)
        text = said(experiments.analyse(net, rank=2))
        assert f"W: rank 2 of 60: {1 - lost**2:.6%} of Σσ² kept" in text

    def test_the_figure_of_a_linear_one_is_readable_at_any_rank(self):
        net = lrnn.LowRankRNN.normalised(60, 7, 6, dt=DT, key=jr.key(0))
        report = experiments.analyse(net)(SHORT)
        assert drawn(report) == 4
        assert len(report.table[1]) == 10  # blocks, not overlaps


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        (bent(n=9), {"rank": 10}, "`rank` must be a whole number from 1 to 9; got 10"),
        (bent(n=9), {"initial": dense(np.eye(9))}, "`initial` is for dense networks"),
        (dense(np.eye(9)), {"rank": 1, "energy": 0.5}, "Give `rank` or `energy`, not both"),
        (dense(np.eye(9)), {"energy": 2.0}, r"`energy` must lie in \(0, 1\]; got 2"),
        (dense(np.eye(9)), {"initial": dense(np.eye(8))}, r"`initial`.*\(9, 9\); got \(8, 8\)"),
    ],
    ids=["rank", "low-rank", "both", "energy", "sizes"],
)
def test_what_is_wrong_is_named(network, options, expected):
    with pytest.raises(ValueError, match=expected):
        experiments.analyse(network, **options)
