"""Networks that start from a state of their own, and that read out h in place of φ(h)."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

DT = 0.2
RNG = np.random.default_rng(3)


def vectors(n, names="zvmu", columns=1):
    out = {f: RNG.normal(size=(n, columns)) for f in names}
    return out | {"h0": RNG.normal(size=n)}


class TestLinear:
    # 500 epochs of rank 2 with two inputs and outputs, momentum and clipping: full = reduced
    @pytest.mark.parametrize("bias", [None, RNG.normal(size=40)], ids=["", "biases"])
    def test_learning_is_that_of_the_reduction(self, bias):
        net = lrnn.LowRankRNN(**vectors(40, columns=2), b=bias, dt=DT)
        task = lrnn.TrialSet(RNG.normal(size=(6, 12, 2)), RNG.normal(size=(6, 12, 2)), dt=DT)
        method = lrnn.Descent(0.01, momentum=0.9, clip=1.0)
        truth = lrnn.learn(net, task, method, epochs=500, record=50)
        theory = lrnn.learn(lrnn.reduce(net), task, method, epochs=500, record=50)
        assert float(theory.distance(truth).max) < 1e-11
        assert float(jnp.abs(truth["hh"][-1] - truth["hh"][0])) > 1e-3  # it learned
        lifted = lrnn.lift(theory, net)
        assert float(jnp.abs(lifted.h0 - truth.model.h0).max()) < 1e-10

    def test_a_frozen_one_stays(self):
        net = lrnn.LowRankRNN(**vectors(20), dt=DT, frozen=("h",))
        task = lrnn.ImpulseResponse(np.ones(8), dt=DT)
        after = lrnn.learn(net, task, lrnn.Descent(0.05), epochs=20).model
        assert jnp.array_equal(after.h0, net.h0)
        assert not jnp.array_equal(after.u, net.u)

    def test_outputs_see_it_through_what_reads_it(self):
        mask = lrnn.visible(lrnn.LowRankRNN(**vectors(20), dt=DT))
        assert {"zh", "vh"} <= set(mask.visible)
        assert {"mh", "uh", "hh"} <= set(mask.invisible)


class TestNonlinear:
    def test_the_closure_is_that_of_infinitely_many_neurons(self):
        """A quadrature of many nodes is the limit; the closure is exact before any learning."""
        gram = 0.2 * np.ones((5, 5)) + np.eye(5)
        means = np.array([0.1, 0.3, -0.2, 0.2, 0.4, 1.0])
        full = np.zeros((6, 6))
        full[:5, :5] = gram
        full += np.outer(means, means)
        law = lrnn.Overlaps.from_gram(full, start=True, means=True)
        x = jnp.asarray(RNG.normal(size=(2, 30, 1)))
        for readout in (None, lrnn.Identity()):
            closure = lrnn.ReducedRNN(law, dt=DT, activation=lrnn.Tanh(), readout=readout)
            nodes = lrnn.population(closure, 4096, key=jr.key(0))
            expected = closure.rollout(x)
            # 4096 Sobol nodes in five dimensions: 1e-3 seen
            assert float(jnp.abs(nodes.rollout(x) - expected).max()) < 5e-3
            at_rest = closure.rollout(x, state=jnp.zeros(closure.state_size))
            assert float(jnp.abs(at_rest - expected).max()) > 0.1  # the initial state mattered

    def test_reading_out_h_is_another_output_of_the_same_states(self):
        parts = vectors(30)
        rates, states = (
            lrnn.LowRankRNN(**parts, dt=DT, activation=lrnn.Tanh(), readout=readout)
            for readout in (None, lrnn.Identity())
        )
        x = jnp.asarray(RNG.normal(size=(10, 1)))
        h = np.asarray(states.states(x))
        assert np.array_equal(h, rates.states(x))
        for net, read in ((rates, np.tanh(h)), (states, h)):
            assert np.abs(net.rollout(x) - read @ parts["z"] / 30).max() < 1e-14

    def test_another_read_out_is_refused(self):
        with pytest.raises(ValueError, match=r"`readout` is Identity\(\).*own Tanh; got Erf"):
            lrnn.LowRankRNN(**vectors(5), dt=DT, activation=lrnn.Tanh(), readout=lrnn.Erf())

    def test_a_closure_with_an_initial_state_needs_means(self):
        law = lrnn.Overlaps.from_gram(np.eye(5), start=True)
        with pytest.raises(ValueError, match="biases or an initial state needs the means"):
            lrnn.ReducedRNN(law, dt=DT, activation=lrnn.Tanh())


class TestDense:
    def test_one_of_currents_is_a_low_rank_network(self):
        n = 15
        w, w_in, w_out = (RNG.normal(size=s) for s in ((n, n), (n, 2), (2, n)))
        b, h0 = RNG.normal(size=(2, n))
        x = jnp.asarray(RNG.normal(size=(20, 2)))
        for readout in (None, lrnn.Identity()):
            options = {"dt": DT, "activation": lrnn.Tanh(), "readout": readout, "frozen": ("h0",)}
            dense = lrnn.CurrentRNN(w, w_in, w_out, b, h0=h0, **options)
            low_rank = lrnn.factorise(dense, rank=n).network
            assert low_rank.frozen == ("h",)
            # chaotic weights: rounding grows over 20 steps
            assert float(jnp.abs(low_rank.rollout(x) - dense.rollout(x)).max()) < 1e-9

    def test_rates_with_another_activation_are_refused(self):
        net = lrnn.DenseRNN(
            np.eye(3), np.ones((3, 1)), np.ones((1, 3)), dt=DT, activation=lrnn.Tanh()
        )
        with pytest.raises(
            ValueError, match=r"DenseRNN equals.*only where φ is linear.*CurrentRNN"
        ):
            lrnn.factorise(net)

    def test_one_number_a_neuron(self):
        with pytest.raises(
            ValueError, match=r"`h0` holds one number for each of 3 neurons; got \(2,\)"
        ):
            lrnn.DenseRNN(np.eye(3), np.ones((3, 1)), np.ones((1, 3)), h0=np.ones(2), dt=DT)
