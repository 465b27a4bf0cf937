"""Linear networks and their theory: time per epoch and error against the exact result."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from exact import descent as exact_descent
from measure import DT, LR, descend, exponential, measure, network, oscillator

import lrnn_jax as lrnn

CHECKED = 50  # epochs after which a theory is compared with 80-bit arithmetic
WAYS = {
    "rollout": lrnn.Evaluation.ROLLOUT,
    "doubling": lrnn.Evaluation.DOUBLING,
    "closed form": lrnn.Evaluation.CLOSED_FORM,
}


def largest(x):
    return float(np.max(np.abs(np.asarray(x))))


def gap_to_theory(curve, net, task, epochs, **options):
    """max |ΔQ| between a network's curve and its reduction's."""
    return float(descend(lrnn.reduce(net), task, epochs, **options).distance(curve).max)


@pytest.mark.parametrize(
    ("n", "steps"), [(500, 400), (100, 400), (2000, 400), (500, 100), (500, 1600)]
)
def test_full_rank_one(benchmark, n, steps):
    net, task, epochs = network(n), exponential(steps), 100
    curve = measure(
        benchmark,
        lambda: descend(net, task, epochs),
        epochs=epochs,
        work="full network by rollout",
        **{"n": n, "steps": steps, "rank": 1},
    )
    error = gap_to_theory(curve, net, task, epochs)
    benchmark.extra_info["error"] = error
    assert error < 1e-11


@pytest.mark.parametrize("steps", [400, 100, 1600])
def test_full_rank_two(benchmark, steps):
    net, task, epochs = network(500, 2), oscillator(steps), 50
    curve = measure(
        benchmark,
        lambda: descend(net, task, epochs),
        epochs=epochs,
        work="full network by rollout",
        **{"n": 500, "steps": steps, "rank": 2},
    )
    error = gap_to_theory(curve, net, task, epochs)
    benchmark.extra_info["error"] = error
    assert error < 1e-11


@pytest.mark.parametrize("rank", [1, 2])
def test_full_weights_through_the_reduction(benchmark, rank):
    net, epochs = network(500, rank), 2000
    task = exponential() if rank == 1 else oscillator()

    def run():
        curve = descend(lrnn.reduce(net), task, epochs, record=epochs)
        return lrnn.lift(curve, net).vectors

    measure(
        benchmark,
        run,
        epochs=epochs,
        work="full weights through the reduction",
        **{"n": 500, "steps": 400, "rank": rank},
    )
    simulated = descend(net, task, 100).model.vectors
    lifted = lrnn.lift(descend(lrnn.reduce(net), task, 100), net).vectors
    error = largest(lifted - simulated) / largest(simulated)
    benchmark.extra_info["error"] = error
    assert error < 1e-11


@pytest.mark.parametrize(
    ("way", "steps", "n"),
    [(way, steps, 500) for way in WAYS for steps in (400, 100, 1600, 6400)]
    + [("closed form", 400, n) for n in (50, 5000)],
)
def test_theory_rank_one(benchmark, way, steps, n):
    epochs = 500 if way == "rollout" else 2000
    model, task = lrnn.reduce(network(n)), exponential(steps, WAYS[way])
    theory(benchmark, model, task, epochs, way, {"n": n, "steps": steps, "rank": 1})


@pytest.mark.parametrize(
    ("way", "steps"), [("doubling", 400), ("doubling", 100), ("doubling", 1600), ("rollout", 400)]
)
def test_theory_rank_two(benchmark, way, steps):
    epochs = 500 if way == "rollout" else 2000
    model, task = lrnn.reduce(network(500, 2)), oscillator(steps, WAYS[way])
    theory(benchmark, model, task, epochs, way, {"n": 500, "steps": steps, "rank": 2})


def theory(benchmark, model, task, epochs, way, sizes):
    curve = measure(
        benchmark,
        lambda: descend(model, task, epochs),
        epochs=epochs,
        work=f"theory by {way}",
        **sizes,
    )
    if sizes["steps"] <= 400:
        found = np.asarray(curve.gram[CHECKED])
        error = largest(found - exact_descent(model, task, CHECKED))
        benchmark.extra_info["error"] = error
        assert error < 1e-11


@pytest.mark.parametrize("solver", ["adaptive", "isospectral"])
def test_flow(benchmark, solver):
    model, task, epochs = lrnn.reduce(network()), exponential(), 2000
    options = {"solver": lrnn.learning.Isospectral(), "rtol": 1e-6, "atol": 1e-8}
    flow = lrnn.Flow(LR, **(options if solver == "isospectral" else {}))
    curve = measure(
        benchmark,
        lambda: lrnn.learn(model, task, flow, epochs=epochs, record=10),
        epochs=epochs,
        work=f"flow, {solver}",
        **{"n": 500, "steps": 400, "rank": 1},
    )
    tight = lrnn.Flow(LR, rtol=1e-12, atol=1e-14)
    reference = lrnn.learn(model, task, tight, epochs=epochs, record=10)
    benchmark.extra_info["error"] = largest(curve.gram - reference.gram)
    assert benchmark.extra_info["error"] < (1e-3 if solver == "isospectral" else 1e-6)


@pytest.mark.parametrize("cells", [100, 1000, 10_000])
def test_sweep(benchmark, cells):
    task, epochs = exponential(), 200
    reduction = lrnn.reduce(network())

    def one(gram):
        model = reduction.with_gram(gram)
        return descend(model, task, epochs, record=epochs, throw=False).loss[-1]

    def start(key):
        return lrnn.LowRankRNN.normalised(50, dt=DT, key=key).overlaps.gram

    grams, many = jax.vmap(start)(jr.split(jr.key(1), cells)), jax.jit(jax.vmap(one))
    losses = measure(
        benchmark,
        lambda: many(grams),
        epochs=epochs,
        cells=cells,
        work="sweep of the closed form (vmap)",
        **{"n": 50, "steps": 400, "rank": 1},
    )
    alone = jnp.stack([one(gram) for gram in grams[:3]])
    benchmark.extra_info["error"] = largest(losses[:3] - alone)
    assert benchmark.extra_info["error"] < 1e-11


@pytest.mark.parametrize(
    ("what", "batch", "epochs"),
    [("theory", None, 2000), ("theory", 10, 20), ("full network", 10, 10)],
)
def test_white_noise(benchmark, what, batch, epochs):
    task = lrnn.WhiteNoise(exponential(), std=1.0, batch=batch)
    net, key = network(), jr.key(2)
    model = net if what == "full network" else lrnn.reduce(net)
    curve = measure(
        benchmark,
        lambda: descend(model, task, epochs, key=key),
        epochs=epochs,
        work=f"white noise, {what}, " + (f"batch {batch}" if batch else "expected loss"),
        **{"n": 500, "steps": 400, "rank": 1},
    )
    if what == "full network":
        benchmark.extra_info["error"] = gap_to_theory(curve, net, task, epochs, key=key)
        assert benchmark.extra_info["error"] < 1e-11
    assert curve.loss[-1] < curve.loss[0]


def test_gradient_through_learning(benchmark):
    model, task, epochs = lrnn.reduce(network()), exponential(), 500

    @jax.jit
    def slope(gram):
        def final(gram):
            run = descend(model.with_gram(gram), task, epochs, record=epochs, throw=False)
            return run.loss[-1]

        return jax.grad(final)(gram)

    gram = model.overlaps.gram
    found = measure(
        benchmark,
        lambda: slope(gram),
        epochs=epochs,
        work="gradient of the final loss by initial overlaps",
        **{"n": 500, "steps": 400, "rank": 1},
    )
    h = 1e-4 * jnp.zeros((4, 4)).at[2, 2].set(1)
    ends = [
        descend(model.with_gram(gram + side), task, epochs, record=epochs).loss[-1]
        for side in (h, -h)
    ]
    difference = (ends[0] - ends[1]) / 2e-4
    relative = float(abs(found[2, 2] - difference) / abs(difference))
    assert relative < 1e-5  # of the central difference, with this h
