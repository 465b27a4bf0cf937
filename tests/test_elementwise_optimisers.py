"""Adam and its like: neuron by neuron, so that populations of nodes are their exact limit."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn

DT = 0.1
TASK = lrnn.ExponentialFilter(0.2, DT, 12)
THETA = np.random.default_rng(3).normal(size=(3, 4))
COPIES = [0, 0, 1, 2]


def largest(x):
    return float(jnp.max(jnp.abs(x)))


def nodes_and_neurons(**options):
    """Nodes of weights 1/2, 1/4, 1/4, and the four neurons for which they stand."""
    nodes = lrnn.LowRankRNN(*THETA.T, scale=np.array([2.0, 4.0, 4.0]), dt=DT, **options)
    return nodes, lrnn.LowRankRNN(*THETA[COPIES].T, dt=DT, **options)


LOCAL = {
    "adam": optax.adam(0.05),
    "adamw": optax.adamw(0.05, weight_decay=0.1),
    "rmsprop": optax.rmsprop(0.02),
    "sign": optax.sign_sgd(0.01),
    "lion": optax.lion(0.01),
    "clipped": optax.chain(optax.clip(0.05), optax.sgd(0.2)),
    "adagrad": optax.adagrad(0.1),
    "adam, if finite": optax.apply_if_finite(optax.adam(0.05), 3),
    "adam, every other": optax.MultiSteps(optax.adam(0.05), 2),
}
MIXING = {
    "global norm": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.05)),
    "lamb": optax.lamb(0.01),
    "muon": optax.contrib.muon(0.01),
    "blocks": optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(0.1)),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, key=0), optax.sgd(0.1)),
    "polyak": optax.polyak_sgd(),
}


def test_nodes_learn_as_the_neurons_that_they_stand_for():
    """To rounding: this is why nodes are the limit, whatever the optimiser makes of loadings."""
    kinds = {
        "adam": {"c": np.ones(1)},
        "lion": {"activation": lrnn.Tanh()},
        "adam, if finite": {},
        "clipped": {},
    }

    @eqx.filter_jit
    def curves():
        return {
            name: [
                lrnn.learn(net, TASK, lrnn.Training(LOCAL[name]), epochs=4)
                for net in nodes_and_neurons(**more)
            ]
            for name, more in kinds.items()
        }

    for few, many in curves().values():
        assert largest(few.gram - many.gram) < 1e-13
        assert largest(few.model.vectors[np.array(COPIES)] - many.model.vectors) < 1e-13
        assert largest(few.gram[-1] - few.gram[0]) > 1e-3


@pytest.mark.parametrize("name", LOCAL)
def test_optimisers_that_treat_each_neuron_by_itself_are_fine_for_populations(name):
    nodes, _ = nodes_and_neurons(c=np.ones(1))
    lrnn.Training(LOCAL[name]).fits(lrnn.networks.weight_space(nodes))


@pytest.mark.parametrize("name", MIXING)
def test_optimisers_that_take_neurons_together_are_refused_for_populations(name):
    nodes, neurons = nodes_and_neurons()
    method = lrnn.Training(MIXING[name])
    with pytest.raises(ValueError, match=r"`optimiser` takes neurons together \(`\w+`\)"):
        lrnn.learn(nodes, TASK, method, epochs=1)
    method.fits(lrnn.networks.weight_space(neurons))  # a network may have them


def test_reductions_say_where_adam_is_exact():
    red = lrnn.reduce(nodes_and_neurons()[1])
    with pytest.raises(ValueError, match=r"Train population\(…\), of which it is exact"):
        lrnn.learn(red, TASK, lrnn.Training(optax.adam(0.1)), epochs=1)
    with pytest.raises(ValueError, match=r"Train the full network with it"):
        lrnn.learn(red, TASK, lrnn.Training(MIXING["global norm"]), epochs=1)


def test_the_epsilon_of_torch_is_in_units_of_the_scale():
    """Adam on ∂L/∂Θ with ε, in NumPy, is Adam here with s ε: at an ε that matters."""
    net, epsilon = nodes_and_neurons()[1], 0.01
    slope_of = eqx.filter_jit(eqx.filter_grad(lambda theta: TASK.loss(net.with_vectors(theta))))
    curve = lrnn.learn(net, TASK, lrnn.Training(optax.adam(0.05, eps=4 * epsilon)), epochs=5)
    theta, m, v = np.asarray(net.vectors), 0.0, 0.0
    for t in range(1, 6):
        g = np.asarray(slope_of(jnp.asarray(theta)))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + epsilon)
    assert largest(curve.model.vectors - theta) < 1e-13
    other = lrnn.learn(net, TASK, lrnn.Training(optax.adam(0.05, eps=epsilon)), epochs=5)
    assert largest(other.model.vectors - theta) > 1e-2


# --- the limit of many neurons ----------------------------------------------------------------

A = np.random.default_rng(3).normal(size=(4, 8))
SIZES = np.sqrt(np.diag(A @ A.T))
Q0 = lrnn.Overlaps.from_gram(A @ A.T / np.outer(SIZES, SIZES))


def learned(model, epochs, steps, lr=1e-2):
    task = lrnn.ExponentialFilter(0.2, DT, steps)
    method = lrnn.Training(optax.adam(lr))
    return lrnn.learn(model, task, method, epochs=epochs, record=epochs).gram[-1]


def apart(neurons, runs, reference, *args):
    """Root mean square over networks of max|ΔQ|."""
    networks = (
        lrnn.LowRankRNN.with_overlaps(Q0, neurons, dt=DT, key=jr.key(100 + i)) for i in range(runs)
    )
    return np.mean([largest(learned(net, *args) - reference) ** 2 for net in networks]) ** 0.5


@pytest.mark.slow
def test_networks_come_to_learn_by_adam_as_nodes_do():
    args = 30, 40, 3e-2
    few, some, reference = (
        learned(lrnn.population(Q0, n, dt=DT, key=jr.key(n)), *args) for n in (64, 512, 4096)
    )
    errors = [largest(q - reference) for q in (few, some)]
    assert errors[1] < errors[0] / 2
    apart_by = [apart(n, 4, reference, *args) for n in (250, 4000)]
    assert apart_by[1] < apart_by[0] / 2  # 1/√16, of four networks
    assert errors[1] < apart_by[0]
    assert largest(reference - Q0.gram) > 0.3


@pytest.mark.slow
def test_adam_at_infinite_width_in_full_size():
    """0.035, 0.018, 0.006 for N = 500, 2000, 8000; 0.019, 0.008, 0.005 for 256 … 4096 nodes."""
    args = 200, 100
    reference = learned(lrnn.population(Q0, 32768, dt=DT, key=jr.key(5)), *args)
    nodes = {
        n: largest(learned(lrnn.population(Q0, n, dt=DT, key=jr.key(6)), *args) - reference)
        for n in (256, 1024, 4096)
    }
    networks = {n: apart(n, 4, reference, *args) for n in (500, 2000, 8000)}
    print("nodes", nodes, "networks", networks)
    assert largest(reference - Q0.gram) > 0.9
    for found, bounds in ((nodes, (0.06, 0.03, 0.015)), (networks, (0.08, 0.05, 0.03))):
        values = [*found.values()]
        assert values[0] > values[1] > values[2]
        assert all(value < bound for value, bound in zip(values, bounds))
