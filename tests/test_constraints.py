"""Masks and signs that every update keeps, and populations of any law of loadings."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.networks import LoadingLaw

DT, N = 0.1, 40
RNG = np.random.default_rng(4)
SIGNS = np.where(RNG.random(N) < 0.8, 1, -1)
TASK = lrnn.ExponentialFilter(0.2, DT, 60)
METHODS = {
    "descent": lrnn.Descent(0.02, momentum=0.9, clip=1.0),
    "muon": lrnn.Muon(0.05),
    "adam": lrnn.Training(optax.adam(0.2)),
}


def dale(normal, uniform):
    """80 % excitatory neurons; z and m lean on u and v, away from the symmetric start."""
    signs = jnp.where(uniform[:, 0] < 0.8, 1.0, -1.0)
    v, u = jnp.abs(normal[:, 1]), jnp.abs(normal[:, 3])
    return {
        "z": normal[:, 0] + 0.5 * u,
        "v": signs * v * jnp.where(signs > 0, 0.5, 1.0),
        "m": normal[:, 2] + 0.5 * normal[:, 0] + 0.5 * signs * v,
        "u": u,
        "signs": signs,
    }


LAW = LoadingLaw(dale, normal=4, uniform=1)


def dense(kind=lrnn.DenseRNN, **options):
    w = np.abs(RNG.normal(size=(N, N))) / N
    w_in, w_out = RNG.normal(size=(N, 1)), RNG.normal(size=(1, N)) / N
    there = RNG.random((N, N)) < 0.5
    wide = {"w": there, "w_in": RNG.random((N, 1)) < 0.5}
    return kind(
        w * SIGNS * there, w_in * wide["w_in"], w_out, masks=wide, signs=SIGNS, dt=DT, **options
    )


class TestKept:
    @pytest.mark.parametrize("name", METHODS)
    def test_signs_of_low_rank_networks(self, name):
        rank2 = LoadingLaw(
            lambda g, e: {
                "z": g[:, 0],
                "v": jnp.sign(e - 0.2) * abs(g[:, 1:3]) / 2,
                "m": g[:, 3],
                "u": abs(g[:, 4:]) / 2,
                "signs": jnp.sign(e[:, 0] - 0.2),
            },
            normal=6,
            uniform=1,
        )
        net = rank2.network(N, dt=DT, key=jr.key(0))
        seen = lrnn.learn(
            net, TASK, METHODS[name], epochs=100, watch=lambda n: {"u": n.u, "v": n.v}
        ).watched
        signs = np.asarray(net.signs, float)[None, :, None]
        assert float(seen["u"].min()) >= 0
        assert float((signs * seen["v"]).min()) >= 0
        assert float((seen["u"][-1] == 0).mean()) > 0.01  # some were stopped at 0
        assert float(jnp.abs(seen["u"][-1] - seen["u"][0]).max()) > 0.1

    @pytest.mark.parametrize("name", METHODS)
    @pytest.mark.parametrize("kind", [lrnn.DenseRNN, lrnn.CurrentRNN])
    def test_masks_and_signs_of_dense_networks(self, kind, name):
        net = dense(kind, activation=lrnn.Tanh())
        watch = lambda n: {"w": n.w, "w_in": n.w_in}  # noqa: E731
        seen = lrnn.learn(net, TASK, METHODS[name], epochs=30, watch=watch).watched
        for array, mask in net.masks.items():
            assert not np.asarray(seen[array])[:, ~np.asarray(mask)].any()
        assert (SIGNS * np.asarray(seen["w"])).min() >= 0
        there = np.asarray(net.masks["w"])
        assert np.asarray(seen["w"][-1] != seen["w"][0])[there].mean() > 0.9

    def test_projected_descent_is_what_a_few_lines_say(self):
        net = LAW.network(N, dt=DT, key=jr.key(1))
        curve = lrnn.learn(net, TASK, lrnn.Descent(0.3), epochs=3)
        theta, signs = np.array(net.vectors), np.asarray(net.signs)
        for _ in range(3):
            loss = lambda theta: TASK.loss(net.with_vectors(theta))  # noqa: E731
            theta = theta - 0.3 * N * np.asarray(jax.grad(loss)(jnp.asarray(theta)))
            theta[:, 3] = np.maximum(theta[:, 3], 0)
            theta[:, 1] = signs * np.maximum(signs * theta[:, 1], 0)
        assert np.abs(theta - np.asarray(curve.model.vectors)).max() < 1e-12
        assert (theta[:, 3] == 0).any()

    def test_freezing_and_rates_still_hold(self):
        net = LAW.network(N, dt=DT, key=jr.key(1), frozen=("u",))
        after = lrnn.learn(net, TASK, lrnn.Descent(0.3, rates={"m": 0.0}), epochs=5).model
        assert jnp.array_equal(after.u, net.u)
        assert jnp.array_equal(after.m, net.m)
        assert not jnp.array_equal(after.v, net.v)


def test_a_population_follows_many_neurons_with_signs():
    """Rows of `rules`: errors of N neurons fall as 1/√N, nodes are nearer than N = 2000."""
    method = lrnn.Descent(0.02)

    def learned(net):
        return lrnn.learn(net, TASK, method, epochs=200, record=200).gram[-1]

    reference = learned(lrnn.population(LAW, 4096, dt=DT, key=jr.key(7)))
    nodes = learned(lrnn.population(LAW, 512, dt=DT, key=jr.key(8)))
    neurons = learned(LAW.network(500, dt=DT, key=jr.key(0)))
    assert float(jnp.abs(nodes - reference).max()) < 0.05
    assert 0.05 < float(jnp.abs(neurons - reference).max()) < 0.3


@pytest.mark.slow
def test_networks_with_signs_approach_the_population():
    """Root mean square over 4 draws; measured 0.086, 0.043, 0.021 (N), 0.022 (512 nodes)."""
    method = lrnn.Descent(0.02)

    def learned(net):
        return lrnn.learn(net, TASK, method, epochs=200, record=200).gram[-1]

    reference = learned(lrnn.population(LAW, 8192, dt=DT, key=jr.key(7)))

    def off(make):
        errors = [jnp.abs(learned(make(jr.key(i))) - reference).max() for i in range(4)]
        return float(jnp.sqrt(jnp.mean(jnp.square(jnp.array(errors)))))

    sizes = {n: off(lambda key, n=n: LAW.network(n, dt=DT, key=key)) for n in (500, 2000, 8000)}
    nodes = off(lambda key: lrnn.population(LAW, 512, dt=DT, key=key))
    print(f"off the population: {sizes}; 512 nodes {nodes}")
    assert sizes[500] > 1.4 * sizes[2000] > 2 * sizes[8000] > 0.01
    assert nodes < sizes[2000]


def test_nodes_of_a_law_average_as_many_neurons_do():
    law = LoadingLaw(
        lambda g, e: {"z": g[:, 0], "v": e[:, 0], "m": e[:, 1], "u": g[:, 0] ** 2},
        normal=1,
        uniform=2,
    )
    nodes = lrnn.population(law, 4096, dt=DT, key=jr.key(0))
    mean = lambda x: float(jnp.sum(x[:, 0] / nodes.scale))  # noqa: E731
    moments = [mean(nodes.z), mean(nodes.v), mean(nodes.v**2), mean(nodes.v * nodes.m)]
    assert np.allclose([*moments, mean(nodes.u)], [0, 1 / 2, 1 / 3, 1 / 4, 1], atol=2e-3)


class TestRefused:
    def test_where_overlaps_cannot_follow(self):
        net = LAW.network(N, dt=DT, key=jr.key(0))
        with pytest.raises(ValueError, match=r"Signs of neurons .* overlaps cannot follow"):
            lrnn.reduce(net)
        with pytest.raises(ValueError, match="overlaps cannot follow"):
            lrnn.learn(net, TASK, lrnn.Descent(0.1), epochs=1, simulate=lrnn.ThroughReduction())
        with pytest.raises(ValueError, match=r"`law`: a network with `signs`.*LoadingLaw"):
            lrnn.population(net, 64, key=jr.key(0))

    @pytest.mark.parametrize("net", [LAW.network(N, dt=DT, key=jr.key(0)), dense()], ids=type)
    def test_flow(self, net):
        with pytest.raises(ValueError, match="Flow has no steps after which masks and signs"):
            lrnn.learn(net, TASK, lrnn.Flow(0.1), epochs=1)

    def test_weights_against_them(self):
        z = RNG.normal(size=(N, 1))
        with pytest.raises(ValueError, match=r"`u` is at least 0 where .*`signs`.* pass such as"):
            lrnn.LowRankRNN(z, SIGNS[:, None] * abs(z), z, z, dt=DT, signs=SIGNS)
        with pytest.raises(ValueError, match=r"`v` has the sign of its neuron"):
            lrnn.LowRankRNN(z, z, z, abs(z), dt=DT, signs=SIGNS)
        w, one = np.abs(RNG.normal(size=(N, N))), np.ones((N, 1))
        with pytest.raises(ValueError, match=r"`w` has the sign of the neuron .* in each column"):
            lrnn.DenseRNN(w, one, one.T, dt=DT, signs=SIGNS)
        with pytest.raises(ValueError, match=r"`w` is 0 where its mask is, in .* 1600 entries"):
            lrnn.DenseRNN(w, one, one.T, dt=DT, masks={"w": np.eye(N)})

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"signs": np.ones(N - 1)}, r"`signs` holds 1 .* or -1 .* shape \(40,\)"),
            ({"signs": np.zeros(N)}, r"`signs` holds 1 .* or -1"),
            ({"masks": {"q": np.eye(N)}}, r"`masks` are for arrays among w, w_in, w_out; got 'q'"),
            ({"masks": {"w": np.eye(3)}}, r"`masks\['w'\]` holds True .* shape \(40, 40\)"),
            ({"masks": {"w": 0.5 * np.eye(N)}}, r"`masks\['w'\]` holds True"),
        ],
    )
    def test_wrong_ones(self, options, match):
        one = np.ones((N, 1))
        with pytest.raises(ValueError, match=match):
            lrnn.DenseRNN(np.eye(N), one, one.T, dt=DT, **options)

    def test_laws(self):
        with pytest.raises(ValueError, match="`draw` must be such as a function that returns"):
            LoadingLaw(lambda g, e: g, normal=4).network(5, dt=DT, key=jr.key(0))
        with pytest.raises(ValueError, match=r"`uniform`.*at least 1"):
            LoadingLaw(dale, normal=0)
