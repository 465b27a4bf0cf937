"""Fixed points: against equations that can be solved otherwise, and over learning."""

import jax.numpy as jnp
import jax.random as jr
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.optimize

import lrnn_jax as lrnn
from lrnn_jax import figures, stability

DT = 0.2


def closure(vu, phi=lrnn.Erf(), vm=0.5):
    """A rank-1 closure with uu = mm = 1 and these overlaps of v; z = v."""
    gram = np.eye(4)
    gram[0, 0] = gram[1, 1] = gram[0, 1] = gram[1, 0] = 4
    for i in (0, 1):
        gram[i, 2] = gram[2, i] = vm
        gram[i, 3] = gram[3, i] = vu
    return lrnn.ReducedRNN(lrnn.Overlaps.from_gram(gram), dt=DT, activation=phi)


def bistable(vu):
    """κ > 0 with κ = vu κ G(κ²) of the erf closure: G = (1 + π κ²/2)^−½."""
    return float(scipy.optimize.brentq(lambda k: vu / np.sqrt(1 + np.pi / 2 * k**2) - 1, 1e-6, 10))  # pyright: ignore[reportArgumentType]


class TestClosure:
    def test_a_bistable_closure_has_two_stable_points_and_a_saddle(self):
        points = lrnn.fixed_points(closure(1.5), key=jr.key(0))
        kappa = bistable(1.5)
        assert str(points) == "3 fixed point(s): 2 stable, 1 saddle"
        # solved to rounding: the slope of the drift there is of order 1
        assert np.abs(points.latents[:, 0] - [-kappa, kappa, 0]).max() < 1e-10
        assert points.unstable.tolist() == [0, 0, 1]
        # d/dκ [vu κ (1 + πκ²/2)^−½] = vu (1 + πκ²/2)^−3/2
        gain = 1.5 * (1 + np.pi / 2 * np.array([kappa, kappa, 0]) ** 2) ** -1.5
        assert np.abs(points.eigenvalues[:, 0] - (1 + DT * (gain - 1))).max() < 1e-10
        assert points.found.sum() == pytest.approx(1)
        assert np.abs(points.outputs[:, 0] - points.latents[:, 0]).max() < 1e-10  # z = v: y = κ

    def test_below_the_pitchfork_only_rest_is_left(self):
        points = lrnn.fixed_points(closure(0.8), key=jr.key(0))
        assert str(points) == "1 fixed point(s): 1 stable"
        assert abs(points.latents[0, 0]) < 1e-10

    def test_an_input_moves_them(self):
        x = 0.3
        points = lrnn.fixed_points(closure(0.8), x, key=jr.key(0))
        size = lambda k: np.sqrt(1 + np.pi / 2 * (k**2 + x**2))  # noqa: E731
        kappa = scipy.optimize.brentq(lambda k: (0.8 * k + 0.5 * x) / size(k) - k, 0, 10)
        assert abs(points.latents[0, 0] - kappa) < 1e-10
        assert points.states[0].tolist() == [x, points.latents[0, 0]]

    def test_single_precision_finds_the_same(self):
        single = lrnn.ReducedRNN(
            lrnn.Overlaps.from_gram(np.asarray(closure(1.5).overlaps.gram, np.float32)),
            dt=np.float32(DT),
            activation=lrnn.Erf(),
        )
        points = lrnn.fixed_points(single, key=jr.key(0))
        assert len(points) == 3
        assert (
            np.abs(np.sort(points.latents[:, 0]) - bistable(1.5) * np.array([-1, 0, 1])).max()
            < 1e-5
        )


class TestNetworks:
    def test_a_network_stays_where_it_is_said_to(self):
        net = lrnn.LowRankRNN.with_overlaps(
            closure(1.5).overlaps, 300, dt=DT, key=jr.key(1), activation=lrnn.Tanh()
        )
        points = lrnn.fixed_points(net, key=jr.key(0))
        assert str(points) == "3 fixed point(s): 2 stable, 1 saddle"
        x = jnp.zeros((3, 1))
        assert np.abs(net.step(jnp.asarray(points.states), x) - points.states).max() < 1e-9
        # the N eigenvalues of one step: those found, and 1 − dt
        for state, found in zip(points.states, points.eigenvalues):
            slope = (1 - np.asarray(net.activation(jnp.asarray(state))) ** 2)[:, None]
            step = (1 - DT) * np.eye(300) + DT / 300 * net.u @ (slope * net.v).T
            values = np.linalg.eigvals(np.asarray(step))
            assert np.abs(np.sort(np.abs(values))[::-1][:1] - max(abs(found[0]), 1 - DT)) < 1e-9

    def test_a_dense_network_is_solved_in_its_state(self):
        net = lrnn.DenseRNN(
            2 * np.eye(2), np.ones((2, 1)), np.ones((1, 2)), dt=DT, activation=lrnn.Tanh()
        )
        points = lrnn.fixed_points(net, key=jr.key(0), starts=200)
        k = scipy.optimize.brentq(lambda h: np.tanh(2 * h) - h, 0.1, 2)
        assert str(points) == "9 fixed point(s): 4 stable, 1 repelling, 4 saddle"
        expected = {(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)}
        assert {tuple(np.round(p / k).astype(int).tolist()) for p in points.latents} == expected


class TestLearning:
    def test_the_pitchfork_is_found_where_vu_passes_one(self):
        task = lrnn.ImpulseResponse(np.ones(30), dt=DT)
        start = lrnn.ReducedRNN(closure(0.8).overlaps, dt=DT)
        curve = lrnn.learn(start, task, lrnn.Descent(3e-3), epochs=100, record=5)
        bent = lrnn.learn(
            closure(0.8), FLIP, lrnn.Descent(0.02), epochs=60, key=jr.key(0), record=4
        )
        history = stability.fixed_points_of_learning(bent, key=jr.key(0))
        crossed = int(bent.epochs[np.flatnonzero(np.asarray(bent["vu"]) > 1)[0]])
        assert history.changes() == [(crossed, (1, 0), (2, 1))]
        linear = stability.fixed_points_of_learning(curve, key=jr.key(0))
        assert all(len(points) == 1 for points in linear.points)


FLIP = lrnn.FlipFlop(DT, 40, 8)


class TestFlipFlop:
    def test_learning_makes_two_stable_points_and_a_saddle(self):
        """In the network and in its closure, apart by the closure's error, from 50 starts."""
        n, task, lr, epochs = 1000, FLIP, 0.02, 60
        law = lrnn.Overlaps.from_gram(closure(0.8).overlaps.gram)
        options = {"dt": task.dt, "activation": lrnn.Erf()}
        net = lrnn.LowRankRNN.with_overlaps(law, n, key=jr.key(1), **options)
        run = {"epochs": epochs, "key": jr.key(0), "record": epochs // 20}
        truth, theory = (
            lrnn.learn(model, task, lrnn.Descent(lr), **run) for model in (net, lrnn.reduce(net))
        )
        found = lrnn.fixed_points(truth.model, key=jr.key(2), starts=50)
        near = lrnn.fixed_points(lrnn.reduce(truth.model), key=jr.key(2), starts=50)
        far = lrnn.fixed_points(theory.model, key=jr.key(2), starts=50)
        for points in (found, near, far):
            assert points.kinds.tolist() == ["stable", "stable", "saddle"]
            assert abs(points.latents[2, 0]) < 1e-8
        # what the network drifts at the closure's points, over how fast it is drawn back there
        drift = truth.model.equilibria.drift
        for k, k_closure in zip(found.latents[:2, 0], near.latents[:2, 0]):
            away = float(drift(truth.model, jnp.array([k_closure]), jnp.zeros(1))[0])
            slope = (found.eigenvalues[0, 0].real - 1) / float(task.dt)
            assert abs(k - k_closure) < 3 * abs(k) / n**0.5
            assert abs((k_closure - k) - away / slope) < 0.3 * abs(away / slope)
        apart = np.abs(far.latents[:2] - found.latents[:2]).max()
        error = float(lrnn.learning.relative_gap(theory, truth))
        print(f"\nN = {n}: κ {found.latents[0, 0]:.4f}, closures {apart:.4f} away; Q {error:.3%}")
        assert apart < 5 * error * np.abs(found.latents[0, 0])
        for curve in (truth, theory):  # at rest both turn over where vu passes 1
            history = stability.fixed_points_of_learning(curve, key=jr.key(2))
            crossed = int(curve.epochs[np.flatnonzero(np.asarray(curve["vu"]) > 1)[0]])
            assert history.changes()[0] == (crossed, (1, 0), (2, 1))
        drawn(found, far, history)

    @pytest.mark.slow
    def test_at_full_size_nodes_have_the_network_s_points_and_a_closure_others(self):
        """N = 600, T = 800, 2000 epochs: U has lost its tails, which no closure at its Q knows."""
        task = lrnn.FlipFlop(0.025, 800, 10, (2.0, 5.0))
        net = lrnn.LowRankRNN.normalised(600, dt=0.025, key=jr.key(0), activation=lrnn.Erf())
        nodes = lrnn.population(net, 192, key=jr.key(2))
        run = {"epochs": 2000, "key": jr.key(1), "record": 50}
        truth, wide, theory = (
            lrnn.learn(model, task, lrnn.Descent(0.05), **run)
            for model in (net, nodes, lrnn.reduce(net))
        )
        at_its_overlaps = lrnn.reduce(truth.model)
        models = {"network": truth.model, "nodes": wide.model, "closure": theory.model}
        models["closure at the network's Q"] = at_its_overlaps
        points = {k: lrnn.fixed_points(m, key=jr.key(3), starts=50) for k, m in models.items()}
        kappa = {k: float(np.abs(p.latents[0, 0])) for k, p in points.items()}
        print(f"\n{kappa}")
        for found in points.values():
            assert found.kinds.tolist() == ["stable", "stable", "saddle"]
        assert abs(kappa["nodes"] / kappa["network"] - 1) < 0.3 / 600**0.5
        assert abs(kappa["closure at the network's Q"] / kappa["network"] - 1) > 0.04
        u = np.asarray(truth.model.u[:, 0])
        assert np.mean(u**4) / np.mean(u**2) ** 2 - 3 < -0.4
        # ⟨v φ(uκ)⟩ of the neurons' own u and v is κ; Gaussian ones with their Q have another gain
        start = {}
        for name, curve in (("network", truth), ("nodes", wide), ("closure", theory)):
            history = stability.fixed_points_of_learning(curve, key=jr.key(3))
            (start[name], before, after), *_ = history.changes()
            assert (before, after) == ((1, 0), (2, 1))
            rises = np.flatnonzero(np.asarray(curve["vu"]) > 1)[0]
            assert abs(start[name] - curve.epochs[rises]) <= 50
        print(f"pitchfork at epoch {start}")
        assert max(start.values()) - min(start.values()) <= 100


def drawn(points, other, history):
    """Stable points are full, others half or open; one line where their number changes."""
    with figures.style():
        figure, (left, right) = figures.panels(1, 2, height=2.4)
        figures.plot_fixed_points(left, points.latents, points.kinds, other=other.latents)
        latents, kinds = zip(*((p.latents, p.kinds) for p in history.points))
        changes = [epoch for epoch, *_ in history.changes()]
        figures.plot_branches(right, history.epochs, latents, kinds, changes=changes)
        looks = {line.get_label(): line for line in left.lines}
        fills = {name: looks[name].get_fillstyle() for name in ("stable", "saddle")}
        assert fills == {"stable": "full", "saddle": "left"}
        assert np.array_equal(np.sort(looks["stable"].get_xdata()), np.sort(points.latents[:2, 0]))
        assert np.array_equal(looks["closure"].get_xdata(), other.latents[:, 0])
        marks = {line.get_label(): line for line in right.lines}
        stable = np.concatenate([p.latents[p.stable, 0] for p in history.points])
        assert np.array_equal(marks["stable"].get_ydata(), stable)
        assert list(marks[f"change at {changes[0]}"].get_xdata()) == [changes[0]] * 2
        figure.canvas.draw()
        plt.close(figure)


def test_points_of_two_latents_lie_in_their_plane():
    kinds = np.array(["stable", "saddle", "repelling"])
    latents = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0], [5.0, 6.0, 0.0]])
    with figures.style():
        figure, ax = plt.subplots()
        assert figures.plot_fixed_points(ax, latents, kinds, axes=(1, 0)) is ax
        places = np.squeeze(np.array([line.get_data() for line in ax.lines], float))
        assert places.tolist() == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0]]
        assert ax.lines[2].get_fillstyle() == "none"
        assert (ax.get_xlabel(), ax.get_ylabel()) == (r"$\kappa_{2}$", r"$\kappa_{1}$")
        figures.plot_branches(ax, np.arange(2), [latents] * 2, [kinds] * 2, axis=1)
        assert ax.get_ylabel() == r"fixed points $\kappa_{2}$"
        figure.canvas.draw()
        plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"x": np.ones(2)}, r"`x` is a constant input, one number for each of 1 channel.*\(2,\)"),
        ({"starts": 0}, r"`starts` must be a whole number of at least 1; got 0"),
        ({"spread": 0.0}, r"`spread` must lie in \(0, inf\); got 0\.0"),
        ({"tol": -1.0}, r"`tol` must lie in \(0, inf\); got -1\.0"),
    ],
)
def test_what_is_wrong_is_named(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        lrnn.fixed_points(closure(1.5), **{"x": None} | arguments, key=jr.key(0))


def test_a_dense_networks_curve_is_refused():
    net = lrnn.DenseRNN(np.eye(3), np.ones((3, 1)), np.ones((1, 3)), dt=DT, activation=lrnn.Tanh())
    curve = lrnn.learn(net, FLIP, lrnn.Descent(0.01), epochs=1, key=jr.key(0))
    with pytest.raises(ValueError, match="curve of a DenseRNN holds no overlaps"):
        stability.fixed_points_of_learning(curve, key=jr.key(0))
