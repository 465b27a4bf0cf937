"""Numbers that vary are arrays: three values of any of them cost one trace."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractObjective

TRACES = []
THETA = jr.normal(jr.key(0), (12, 4)) + 0.6


class Counted(AbstractObjective):
    """A task that notes each time its loss is traced."""

    task: lrnn.ExponentialFilter

    @property
    def stochastic(self) -> bool:
        return self.task.stochastic

    def check(self, model: AbstractRNN) -> None:
        self.task.check(model)

    def sample(self, key):
        return self.task.sample(key)

    def output(self, model: AbstractRNN, batch=None):
        return self.task.output(model, batch)

    def weight(self, batch):
        return self.task.weight(batch)

    def loss(self, model: AbstractRNN, batch=None):
        TRACES.append(type(model).__name__)
        return self.task.loss(model, batch)


def learn(method, model=None, rate=0.2, amplitude=1.0, steps=5, noise=None, key=None):
    task = lrnn.ExponentialFilter(rate, 0.1, steps, amplitude, label_noise=noise)
    model = lrnn.LowRankRNN(*THETA.T, dt=0.1) if model is None else model
    return lrnn.learn(model, Counted(task), method, epochs=3, key=key)


def new_traces(call):
    """How often the loss was traced, and the final loss."""
    before = len(TRACES)
    loss = float(call().loss[-1])
    return len(TRACES) - before, loss


def network(factor):
    return lrnn.LowRankRNN(*(factor * THETA.T), dt=0.1)


# Each with a horizon of its own, so that no case finds the other's program
VARIED = {
    "learning rate": lambda x: learn(lrnn.Descent(x), steps=3),
    "learning rate as an integer": lambda x: learn(lrnn.Descent(round(10 * x)), steps=4),
    "momentum": lambda x: learn(lrnn.Descent(0.1, momentum=x)),
    "clip and decay": lambda x: learn(lrnn.Descent(0.1, clip=x, weight_decay=x)),
    "rates": lambda x: learn(lrnn.Descent(0.1, rates={"m": x})),
    "target": lambda x: learn(lrnn.Descent(0.1), rate=x, amplitude=2 * x, steps=5),
    "label noise": lambda x: learn(lrnn.Descent(0.1), noise=x, key=jr.key(round(1000 * x))),
    "initial vectors": lambda x: learn(lrnn.Descent(0.1), network(1 + x), steps=6),
    "initial overlaps": lambda x: learn(lrnn.Descent(0.1), lrnn.reduce(network(1 + x))),
    "muon": lambda x: learn(lrnn.Muon(x, momentum=x, weight_decay=x), lrnn.reduce(network(1))),
    "flow": lambda x: learn(
        lrnn.Flow(x, rtol=1e-6 * x, rates={"m": x}), lrnn.reduce(network(1 + x)), rate=x
    ),
}


@pytest.mark.parametrize("call", VARIED.values(), ids=VARIED)
def test_three_values_cost_one_trace(call):
    first, *others = [new_traces(lambda x=x: call(x)) for x in (0.11, 0.23, 0.37)]
    assert first[0] > 0  # the counter works
    assert [count for count, _ in others] == [0, 0]
    assert len({loss for _, loss in (first, *others)}) == 3  # and the values were used


def test_the_same_call_does_not_compile_again(caplog):
    call = VARIED["learning rate"]
    call(0.11)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        count, _ = new_traces(lambda: call(0.11))
    compiled = [r.message for r in caplog.records if "Compiling" in r.message]
    assert count == 0
    assert compiled == []
    with jax.log_compiles(), caplog.at_level("WARNING"):
        count, _ = new_traces(lambda: learn(lrnn.Descent(0.1), steps=7))
    assert count > 0
    assert any("Compiling" in r.message for r in caplog.records)  # what the log would have shown


def test_vmap_over_values_is_one_trace():
    def final(lr, rate):
        return learn(lrnn.Descent(lr), rate=rate, steps=8).loss[-1]

    @eqx.filter_jit
    def sweep(lrs, rates):
        return jax.vmap(final)(lrs, rates)

    lrs = jnp.array([0.1, 0.2, 0.3])
    before = len(TRACES)
    first = sweep(lrs, lrs + 0.1)
    once = len(TRACES) - before
    second = sweep(lrs, lrs + 0.5)
    assert once > 0
    assert len(TRACES) - before == once
    assert len({float(x) for x in (*first, *second)}) == 6


def nonlinear(x):
    net = lrnn.LowRankRNN.normalised(12, dt=0.1, key=jr.key(round(100 * x)), activation=lrnn.Erf())
    task = lrnn.FlipFlop(dt=0.1, steps=60, batch=2, input_amp=1 + x)
    options = {"epochs": 2, "key": jr.key(round(10 * x))}
    for model in (net, lrnn.reduce(net), lrnn.population(net, 16, key=jr.key(1))):
        yield lrnn.learn(model, task, lrnn.Descent(x), **options).loss[-1]


def twins(x):
    net = network(1.0)
    twin = lrnn.degenerate_twin(net, uu=float(net.overlaps["uu"]) + x)
    for model in (net, twin):
        task = lrnn.ExponentialFilter(x, 0.1, 9)
        yield lrnn.learn(
            model, task, lrnn.Descent(x), epochs=2, simulate=lrnn.ThroughReduction()
        ).loss[-1]


def loops(x):
    net = lrnn.LowRankRNN(*(0.1 * (1 + x) * THETA.T), scale=1.0, dt=1.0, frozen=("m",))
    for batch in (None, 7):
        loop = lrnn.ClosedLoop(lrnn.KIntegrator(2, start=1 + x), 8, batch, control_cost=x)
        key = None if batch is None else jr.key(round(100 * x))
        for model in (net, lrnn.reduce(net)):
            curve = lrnn.learn(model, loop, lrnn.Descent(x, clip=1.0), epochs=2, key=key)
            yield curve.loss[-1]
        yield abs(lrnn.spectrum(curve, loop)[-1]).max()


def looks(x):
    """What is asked of networks, tasks and loops without learning."""
    net, filters = network(1 + x), lrnn.ExponentialFilter(x, 0.1, 11)
    flips = lrnn.FlipFlop(dt=0.1, steps=40, batch=2, input_amp=1 + x)
    trials = flips.sample(jr.key(round(100 * x)))
    dense = lrnn.DenseRNN(x * jnp.eye(12), THETA[:, :1], THETA[:, 1:2].T, dt=0.1)
    for model in (net, lrnn.reduce(net), dense):
        yield model.rollout(jnp.full((3, 9, 1), x)).sum()
        yield model.states(jnp.full((3, 9, 1), x)).sum()
        yield filters.output(model).sum()
        yield filters.loss(model)
        yield flips.loss(model, trials)
    yield lrnn.invariants(net).spectrum[0]
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2, start=1 + x), 8, 7)
    net = lrnn.LowRankRNN(*(0.1 * (1 + x) * THETA.T), scale=1.0, dt=1.0)
    for model in (net, lrnn.reduce(net)):
        starts = loop.sample(jr.key(round(100 * x)))
        yield loop.simulate(model, starts).states.sum()
        yield loop.loss(model, starts)
        yield loop.loss(model)


def designs(x):
    """What an experimenter asks before she measures, and a theorist of a point."""
    q = lrnn.overlaps.random_overlaps(key=jr.key(round(100 * x)))
    yield lrnn.overlaps.reachable_dimensions(q).dimension + x
    one, other = (lrnn.ReducedRNN(q.replace(mu=q["mu"] + d), dt=0.1) for d in (0.0, x))
    filters = lrnn.tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, x]), dt=0.1, steps=7)
    seen = {"epochs": range(0, 7, 3), "observe": inference.Visible(), "noise": x}
    asked = {"starts": 1, "key": jr.key(round(100 * x))}
    yield inference.separate(one, other, filters, lrnn.Descent(x / 100), **seen, **asked).value
    yield inference.optimal_probe(
        one, filters, lrnn.Descent(x / 100), **seen, **asked, directions=3
    ).value
    found = inference.confusion(
        lrnn.ExponentialFilter(x, 0.1, 7),
        {"all": lrnn.Descent(x / 100)},
        model=one,
        **seen,
        unknown=(),
        repetitions=1,
        **asked,
    )
    yield float(found.misfit[0, 0])


@pytest.mark.parametrize(
    "cell", [nonlinear, twins, loops, looks, pytest.param(designs, marks=pytest.mark.slow)]
)
def test_loops_as_in_notebooks_compile_in_their_first_round_only(cell, caplog):
    """New networks, tasks, plants, trials and rates of the same sizes."""
    values = [float(v) for v in cell(0.21)]
    with jax.log_compiles(), caplog.at_level("WARNING"):
        others = [float(v) for v in cell(0.34)]
    assert [r.message for r in caplog.records if "Compiling" in r.message] == []
    assert all(a != b for a, b in zip(values, others))
