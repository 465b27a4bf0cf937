"""Spectra, stages, gains and landscapes of closed loops."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import stability

PLANT = lrnn.KIntegrator(2, start=2.0)
LOOP = lrnn.ClosedLoop(PLANT, 50)


def network(seed=0, n=30, rank=1, inputs=1, outputs=1, dt=1.0):
    """M, Z entries U(±1/√N), U, V ~ N(0, 1/N), s = 1: [CL]."""
    rng, bound = np.random.default_rng(seed), 1 / np.sqrt(n)
    z, m = (rng.uniform(-bound, bound, (n, c)) for c in (outputs, inputs))
    v, u = rng.normal(size=(2, n, rank)) * bound
    return lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=dt, frozen=("m",))


@pytest.fixture(scope="module")
def curve():
    """Learning to control the double integrator."""
    return lrnn.learn(lrnn.reduce(network()), LOOP, lrnn.Descent(0.01, clip=1.0), epochs=1000)


class TestSpectrum:
    @pytest.mark.parametrize(
        ("plant", "net"),
        [
            (PLANT, network()),
            (lrnn.KIntegrator(3, 2, 2, dt=0.5), network(1, 30, 2, 2, 2, 0.5)),
        ],
        ids=["rank 1", "rank 2"],
    )
    def test_reduced_spectrum_is_the_outliers_of_the_full_one(self, plant, net):
        full, reduced = lrnn.spectrum(net, plant), lrnn.spectrum(lrnn.reduce(net), plant)
        assert len(full) == 30 + plant.state_size
        far = stability.outliers(full, 1 - float(net.dt), len(reduced))
        # coincident eigenvalues (of the leak) are the least exact: error √eps
        both = stability.track(np.stack([reduced, far]))
        assert np.abs(both[0] - both[1]).max() < 1e-6
        bulk = np.sort(np.abs(full - (1 - float(net.dt))))[: len(full) - len(reduced)]
        assert bulk.max() < 1e-6

    def test_it_solves_the_published_polynomial(self):
        overlaps = network(2).overlaps
        roots = np.roots(np.asarray(stability.characteristic_polynomial(overlaps)))
        found = lrnn.spectrum(lrnn.ReducedRNN(overlaps, dt=1.0), PLANT)
        assert np.abs(np.sort_complex(roots) - np.sort_complex(found)).max() < 1e-9

    def test_paths_are_continuous_and_complete(self, curve):
        values = lrnn.spectrum(curve, LOOP)
        assert values.shape == (1001, 4)
        for e in (0, 500, 1000):
            alone = np.linalg.eigvals(np.asarray(stability.loop_matrix(curve, LOOP)[e]))
            assert np.abs(np.sort_complex(values[e]) - np.sort_complex(alone)).max() < 1e-12
        steps = np.abs(np.diff(values, axis=0))
        naive = np.abs(np.diff(np.sort_complex(values), axis=0))
        assert steps.sum() < naive.sum()
        assert np.median(steps) < 0.01

    def test_crossing_eigenvalues_are_told_apart(self):
        t = np.linspace(-1, 1, 41)
        paths = np.stack([t + 0.5j, -t - 0.2j, 2 + 0 * t], axis=1)
        shuffled = np.random.default_rng(0).permuted(paths, axis=1)
        found = stability.track(shuffled)
        assert np.array_equal(np.sort_complex(found[0]), np.sort_complex(paths[0]))
        for column in found.T:
            assert min(np.abs(column - path).max() for path in paths.T) == 0

    def test_a_dense_network_is_watched(self):
        w = 0.1 * np.random.default_rng(0).normal(size=(3, 8, 8))
        dense = lrnn.DenseRNN(w[0], w[1][:, :1], w[2][:1], dt=1.0, activation=lrnn.Tanh())
        loop = lrnn.ClosedLoop(PLANT, 10, batch=3)
        options = {"epochs": 4, "key": jr.key(0), "watch": lrnn.stability.LoopMatrix(loop)}
        run = lrnn.learn(dense, loop, lrnn.Descent(0.1, clip=1.0), **options)
        assert lrnn.spectrum(run.watched).shape == (5, 10)
        by_hand = np.zeros((10, 10))
        by_hand[:2, :2], by_hand[1, 2:] = np.asarray(PLANT.a), dense.w_out[0]
        by_hand[2:, 2:] = dense.w
        by_hand[2:, :2] = np.asarray(dense.w_in @ PLANT.c @ PLANT.a)
        assert np.abs(run.watched[0] - by_hand).max() < 1e-14
        with pytest.raises(ValueError, match="LoopMatrix"):
            lrnn.spectrum(run, loop)
        with pytest.raises(ValueError, match="needs the `plant`"):
            lrnn.spectrum(dense)

    def test_the_leading_eigenvalue_is_the_upper_one_of_a_pair(self, curve):
        values = np.array([[0.5, 1 - 0.2j, 1 + 0.2j], [0.3j, -0.3j, -0.9], [np.nan] * 3])
        lead = stability.leading(values)
        assert list(lead[:2]) == [1 + 0.2j, -0.9]
        assert np.isnan(lead[2])
        values = lrnn.spectrum(curve, LOOP)
        assert np.array_equal(np.abs(stability.leading(values)), stability.radius(values))
        assert (stability.leading(values).imag >= 0).all()


class TestStages:
    def test_three_stages_are_found(self, curve):
        found = lrnn.stages(curve, LOOP)
        assert found.found == (True, True, True)
        values = lrnn.spectrum(curve, LOOP)
        radii = stability.radius(values)
        assert radii[found.stable - 1] >= 1
        assert (radii[found.stable :] < 1).all()
        assert lrnn.stability_epoch(radii, curve.epochs) == found.stable
        # the pair turns complex when the direct feedback turns negative
        assert abs(found.oscillatory - int(np.argmax(np.asarray(curve["zm"]) < 0))) <= 3
        assert list(found.losses) == sorted(found.losses, reverse=True)

    def test_verdicts_say_what_is_missing(self, curve):
        values = lrnn.spectrum(curve, LOOP)
        found = lrnn.stages(curve, values=values)
        short = jax.tree.map(lambda x: x, curve)

        def part(start, end):
            kept = slice(start, end)
            run = dataclasses.replace(
                short,
                epochs=short.epochs[kept] - start,
                loss=short.loss[kept],
                gram=short.gram[kept],
            )
            return lrnn.stages(run, LOOP)

        early = part(0, found.oscillatory)
        assert early.stable == early.oscillatory == -1
        assert early.found == (False, False, False)
        assert "real to the end" in early.verdicts[0]
        middle = part(found.oscillatory + 1, found.stable)
        assert "complex pair from epoch 0" in middle.verdicts[0]
        assert "not stable for good" in middle.verdicts[2]
        late = part(found.stable, 1001)
        assert late.stable == 0
        assert "stable from epoch 0" in late.verdicts[0]

    def test_stability_must_be_for_good(self):
        assert lrnn.stability_epoch(np.array([1.2, 0.9, 1.1, 0.9, 0.8])) == 3
        assert lrnn.stability_epoch(np.array([1.2, 0.9, 1.1]), np.array([0, 5, 10])) == -1
        assert lrnn.stability_epoch(np.array([0.5, 0.9]), np.array([0, 5])) == 0
        assert lrnn.stability_epoch(np.array([1.2, 1.0, 0.9])) == 2  # at 1 it is not yet
        assert lrnn.stability_epoch(np.array([1.5, 0.9, np.nan])) == -1

    def test_formulas_hold_where_they_say(self):
        direct = {"zu": 0.0, "vm": 0.0, "vu": 0.0, "mu": 0.0, "zv": 0.0}
        norms = dict.fromkeys(("mm", "uu", "vv", "zz"), 1.0)
        for zm in (-0.5, 0.3):
            overlaps = lrnn.Overlaps.from_values(zm=zm, **direct, **norms)
            found = lrnn.spectrum(lrnn.ReducedRNN(overlaps, dt=1.0), PLANT)[:2]
            formula = np.asarray(stability.stage_one_eigenvalues(zm))
            assert np.abs(np.sort_complex(found) - np.sort_complex(formula)).max() < 1e-12
        # λ_3 is one Newton step away: its error is quadratic in vm·zu
        errors = []
        for w in (0.02, 0.01):
            some = direct | {"zm": -0.3, "zu": 0.1, "vm": w / 0.1, "vu": 0.3}
            overlaps = lrnn.Overlaps.from_values(**some, **norms)
            found = lrnn.spectrum(lrnn.ReducedRNN(overlaps, dt=1.0), PLANT)
            third = complex(stability.third_eigenvalue(overlaps))
            errors.append(np.abs(found - third).min())
            pair = np.abs(found[0]) ** 20
            assert float(stability.long_term_cost(overlaps, 10)) == pytest.approx(pair, rel=0.05)
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)

    def test_short_term_cost_is_what_happens(self):
        net = lrnn.reduce(network(3))
        run = LOOP.simulate(net, jnp.array([[0.0, 1.0]]))
        x, u = run.states[:, 0], run.controls[:, 0, 0]
        by_hand = x[2, 1] ** 2 + x[3, 0] ** 2 + u[2] ** 2 + x[3, 1] ** 2
        assert float(stability.short_term_cost(net.overlaps)) == pytest.approx(float(by_hand))

    def test_the_tradeoff_is_learned_alike_by_network_and_reduction(self):
        task, net = stability.Tradeoff(0.5, 10), network()
        full = lrnn.learn(net, task, lrnn.Descent(1e-3, clip=1.0), epochs=50)
        reduced = lrnn.learn(lrnn.reduce(net), task, lrnn.Descent(1e-3, clip=1.0), epochs=50)
        assert reduced.distance(full).max < 1e-12
        assert full.loss[-1] < full.loss[0]
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; got 2"):
            stability.Tradeoff(2.0)
        with pytest.raises(ValueError, match="known for rank-1 networks"):
            task.check(network(rank=2))


class TestGains:
    def test_a_static_controller_has_its_own_gains(self):
        """vu = zu = 0 and all states seen, dt = 1: u = Zᵀ M x."""
        plant = lrnn.KIntegrator(2, observed=2)
        k = np.array([[-0.3], [-0.9]])
        eye = np.eye(4)
        net = lrnn.LowRankRNN(
            eye[:, :2] @ k, eye[:, 2:3], eye[:, :2], eye[:, 3:4], scale=1.0, dt=1.0
        )
        loop = lrnn.ClosedLoop(plant, 20)
        assert np.abs(lrnn.effective_gains(net, loop) - k.T).max() < 1e-9
        start = plant.sample(jr.key(0), 50)
        assert np.abs(lrnn.effective_gains(net, loop, start) - k.T).max() < 1e-9
        # its loss is the landscape's at this place
        assert lrnn.stability.gain_landscape(loop, jnp.asarray(k.T)).log_loss == pytest.approx(
            float(loop.log_loss(net)), abs=1e-10
        )

    def test_expected_gains_are_those_of_many_trials(self, curve):
        exact = lrnn.effective_gains(curve.model, LOOP)
        sampled = lrnn.effective_gains(curve.model, LOOP, PLANT.sample(jr.key(0), 20_000))
        assert np.abs(exact - sampled).max() < 0.01
        pendulum = lrnn.ClosedLoop(lrnn.environments.Pendulum(dt=1.0), 5)
        with pytest.raises(ValueError, match="give `batch`"):
            lrnn.effective_gains(curve.model, pendulum)

    def test_the_regulator_is_the_best_static_gain(self):
        loop = lrnn.ClosedLoop(PLANT, 2000, control_cost=1e-3)
        k = jnp.asarray(lrnn.lqr_gain(loop))
        steps = jnp.asarray([[[0.0, 0]], [[0.03, 0]], [[-0.03, 0]], [[0, 0.03]], [[0, -0.03]]])
        around = lrnn.stability.gain_landscape(loop, k[None] + steps)
        assert around.log_loss.argmin() == 0
        assert around.stable.all()
        with pytest.raises(ValueError, match="control cost above zero"):
            lrnn.lqr_gain(LOOP)
        stuck = lrnn.ClosedLoop(lrnn.KIntegrator(1), 5, control_cost=1.0)
        with pytest.raises(ValueError, match="must be around a linear plant"):
            lrnn.lqr_gain(lrnn.ClosedLoop(lrnn.environments.Pendulum(), 5))
        assert lrnn.lqr_gain(stuck).shape == (1, 1)

    def test_regions_of_static_gains(self):
        """λ² − (2 + k₂) λ + 1 + k₂ − k₁ = 0: stable in a triangle, oscillatory in a parabola."""
        k1, k2 = np.meshgrid(np.linspace(-4.1, 1, 21), np.linspace(-4.1, 1, 23), indexing="ij")
        gains = jnp.asarray(np.stack([k1, k2], -1)[:, :, None, :])
        found = lrnn.stability.gain_landscape(LOOP, gains)
        assert found.radius.shape == (21, 23)
        stable = (k1 < 0) & (k2 < k1) & (2 * k2 > k1 - 4)
        assert np.array_equal(found.stable, stable)
        assert np.array_equal(found.oscillatory, k2**2 + 4 * k1 < 0)
        assert found.log_loss[~found.stable].min() > found.log_loss[found.stable].min()
        with pytest.raises(ValueError, match=r"`gains`.*shape \(…, 1, 2\)"):
            lrnn.stability.gain_landscape(LOOP, gains[..., :1])
