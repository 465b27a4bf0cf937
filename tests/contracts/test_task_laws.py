"""Laws that every task obeys."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.overlaps import Roles

DT, STEPS = 0.1, 12
ROUNDING = 1e-12  # sums over 12 steps and 15 neurons of numbers of order 1, squared

loss = eqx.filter_jit(lambda task, model, batch: task.loss(model, batch))
sample = eqx.filter_jit(lambda task, key: task.sample(key))


def network(rank=1, inputs=1, outputs=1, dt=DT):
    roles = Roles(outputs, rank, inputs)
    theta = np.random.default_rng(rank).normal(size=(15, roles.size))
    return lrnn.LowRankRNN(**{f: theta[:, s] for f, s in roles.slices.items()}, dt=dt)


def reduction(s, rank=1, inputs=1, outputs=1):
    """A reduction with visible block S; outputs and losses depend on nothing else."""
    roles = Roles(outputs, rank, inputs)
    gram = jnp.eye(roles.size).at[: roles.left, roles.left :].set(jnp.asarray(s))
    return lrnn.ReducedRNN(lrnn.Overlaps(gram, roles), dt=DT)


def leaky(rate, amplitude):
    """y_t = (zm − w) pᵗ + w qᵗ with w = zu·vm/vu and q = 1 − dt + dt·vu = e^{−c* dt}."""
    vu = (np.exp(-rate * DT) - 1 + DT) / DT
    return reduction([[amplitude, amplitude], [vu, vu]])


def oscillator(rate, frequency):
    """With K = VᵀU/s: y_t = zm pᵗ + z_uᵀ K⁻¹ ((1 − dt + dt K)ᵗ − pᵗ) vm; a rotation does it."""
    rho = np.exp((-rate + 1j * frequency) * DT)
    k = (np.array([[rho.real, -rho.imag], [rho.imag, rho.real]]) - (1 - DT) * np.eye(2)) / DT
    return reduction(np.block([[np.ones((1, 2)), np.zeros((1, 1))], [k[:, :1], k]]), rank=2)


MANY = network(2, 2, 3)
FILTER = lrnn.ExponentialFilter(0.2, DT, STEPS, 1.5)
# name: task, a network that fits it, a model that solves it
TASKS = {
    "exponential": (FILTER, network(), leaky(0.2, 1.5)),
    "exponential, noisy labels": (
        lrnn.ExponentialFilter(0.2, DT, STEPS, 1.5, label_noise=0.3),
        network(),
        leaky(0.2, 1.5),
    ),
    "oscillating": (
        lrnn.OscillatingFilter(0.3, 2.0, DT, STEPS),
        network(2),
        oscillator(0.3, 2.0),
    ),
    "mixed, of one term": (
        lrnn.tasks.MixedFilter(np.array([0.2]), np.array([1.5]), dt=DT, steps=STEPS),
        network(),
        leaky(0.2, 1.5),
    ),
    "mixed": (
        lrnn.tasks.MixedFilter(
            np.array([0.2, 1.0]), np.array([1.0, -0.5]), np.array([0.0, 2.0]), dt=DT, steps=STEPS
        ),
        network(2),
        None,
    ),
    "many exponentials": (
        lrnn.ExponentialFilter(0.3, DT, STEPS, np.array([[1.5, 0.5]]), label_noise=0.3),
        network(2, 1, 2),
        None,
    ),
    "samples": (lrnn.ImpulseResponse(FILTER.samples, dt=DT), network(), leaky(0.2, 1.5)),
    "many samples": (
        lrnn.ImpulseResponse(np.random.default_rng(0).normal(size=(STEPS, 2, 3)), dt=DT),
        MANY,
        None,
    ),
    "white noise": (lrnn.WhiteNoise(FILTER), network(), leaky(0.2, 1.5)),
    "white noise, minibatch": (lrnn.WhiteNoise(FILTER, batch=4), network(), leaky(0.2, 1.5)),
    "teacher": (lrnn.TeacherStudent(MANY, STEPS), network(1, 2, 3), lrnn.reduce(MANY)),
    "reduced teacher, minibatch": (
        lrnn.TeacherStudent(lrnn.reduce(MANY), STEPS, std=0.5, batch=4),
        network(1, 2, 3),
        MANY,
    ),
    "dense teacher": (
        lrnn.TeacherStudent(
            lrnn.DenseRNN(MANY.u @ MANY.v.T / MANY.scale, MANY.m, MANY.z.T / MANY.scale, dt=DT),
            STEPS,
        ),
        network(1, 2, 3),
        MANY,
    ),
}
OWN = lrnn.TrialSet(
    np.random.default_rng(1).normal(size=(5, STEPS, 2)),
    np.random.default_rng(2).normal(size=(5, STEPS, 3)),
    dt=DT,
)
STABLE = eqx.tree_at(lambda net: net.u, network(), network().u / 10)
TASKS |= {
    "flip-flop": (lrnn.FlipFlop(DT, 80, 3, (1.0, 2.0)), STABLE, None),
    "decision making": (lrnn.DecisionMaking(DT, 3), STABLE, None),
    "trial set": (OWN, network(1, 2, 3), None),
    "trial set, minibatch": (
        lrnn.TrialSet(OWN.data.inputs, OWN.data.target, dt=DT, batch=2),
        network(1, 2, 3),
        None,
    ),
}
TASKS |= {
    "cost of activity": (lrnn.RateCost(FILTER, 0.1), network(), None),
    "cost of activity, minibatch": (
        lrnn.RateCost(lrnn.WhiteNoise(FILTER, batch=4), 0.1),
        network(),
        None,
    ),
    # without noise, as a network is told what is drawn, and its reduction the average
    "private noise": (lrnn.PrivateNoise(OWN, 0.0, neurons=15), network(1, 2, 3), None),
    "private noise, cost of activity": (
        lrnn.PrivateNoise(
            lrnn.RateCost(lrnn.FlipFlop(DT, 80, 3, (1.0, 2.0)), 0.1), 0.0, neurons=15
        ),
        STABLE,
        None,
    ),
}


def asked(task):
    """What a task asks for, without what is added to it."""
    return type(innermost(task)).__name__


def innermost(task):
    return innermost(task.task) if isinstance(task, (lrnn.RateCost, lrnn.PrivateNoise)) else task


every = pytest.mark.parametrize(("task", "net", "solution"), TASKS.values(), ids=TASKS)
STOCHASTIC = {name: row[:2] for name, row in TASKS.items() if row[0].stochastic}
SOLVED = {name: row for name, row in TASKS.items() if row[2] is not None}


class TestEveryTask:
    @every
    def test_a_fitting_model_passes(self, task, net, solution):
        task.check(net)
        task.check(lrnn.reduce(net))

    @every
    def test_wrong_channels_are_refused_naming_both_sides(self, task, net, solution):
        wrong = network(1, net.inputs + 1, net.outputs + 2)
        expected = (
            rf"{asked(task)} has {net.inputs} input.* {net.outputs} output.*"
            rf"LowRankRNN with {net.inputs + 1} input.* {net.outputs + 2} output"
        )
        with pytest.raises(ValueError, match=expected):
            task.check(wrong)
        with pytest.raises(ValueError, match="ReducedRNN with"):
            lrnn.learn(lrnn.reduce(wrong), task, lrnn.Descent(0.1), epochs=1, key=jr.key(0))

    @every
    def test_another_time_step_is_refused_naming_both_sides(self, task, net, solution):
        wrong = network(1, net.inputs, net.outputs, dt=0.25)
        expected = rf"{asked(task)} is sampled at dt = 0\.1.*LowRankRNN.*dt = 0\.25"
        with pytest.raises(ValueError, match=expected):
            task.check(wrong)

    @every
    def test_samples_depend_on_the_key_and_on_nothing_else(self, task, net, solution):
        first = sample(task, jr.key(1))
        assert (first is None) == (not task.stochastic)
        if first is None:
            return
        other = jax.tree.leaves(sample(task, jr.key(2)))
        keys = jnp.stack([jr.key(1), jr.key(2)])
        together = jax.tree.leaves(eqx.filter_jit(eqx.filter_vmap(task.sample))(keys))
        changes = []
        for a, b, both in zip(jax.tree.leaves(first), other, together):
            assert np.max(np.abs(np.asarray(both) - np.stack([a, b]))) < ROUNDING
            changes.append(np.max(np.abs(np.asarray(a) - np.asarray(b))))
        assert changes[0] > 0.1  # the input, or the noise; a mask may stay the same

    @every
    def test_a_network_has_the_loss_of_its_reduction(self, task, net, solution):
        batch = sample(task, jr.key(1))
        full, reduced = loss(task, net, batch), loss(task, lrnn.reduce(net), batch)
        assert full.shape == reduced.shape == ()
        assert abs(full - reduced) < ROUNDING * (1 + full)
        assert full > 1e-3

    @pytest.mark.parametrize(("task", "net", "solution"), SOLVED.values(), ids=SOLVED)
    def test_the_solution_has_no_loss_but_the_noise(self, task, net, solution):
        batch = sample(task, jr.key(1))
        noise = batch if isinstance(batch, jax.Array) else jnp.zeros(1)
        assert abs(loss(task, solution, batch) - DT * jnp.sum(noise**2)) < ROUNDING

    @pytest.mark.parametrize(("task", "net"), STOCHASTIC.values(), ids=STOCHASTIC)
    def test_random_data_need_a_key(self, task, net):
        with pytest.raises(ValueError, match=rf"{type(task).__name__} draws fresh data.*`key`"):
            lrnn.learn(net, task, lrnn.Descent(0.1), epochs=1)
        with pytest.raises(ValueError, match=r"Flow follows the gradient of one loss"):
            lrnn.learn(net, task, lrnn.Flow(0.1), epochs=1, key=jr.key(0))


def test_the_table_holds_every_public_task():
    covered = {type(row[0]).__name__ for row in TASKS.values()}
    from lrnn_jax import tasks

    public = {
        name
        for name, item in vars(tasks).items()
        if isinstance(item, type)
        and issubclass(item, tasks.AbstractObjective)
        and not name.startswith("Abstract")
    }
    assert covered == public
