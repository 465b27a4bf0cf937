"""How everything here is timed, and the networks and tasks that are timed."""

import functools
from time import perf_counter

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

DT = 0.05
LR = 5e-3
SECONDS = 1.5  # spent on the rounds of one benchmark


def measure(benchmark, run, *, epochs, work, cells=1, **info):
    """Time run() and note what the table needs; returns what run() returned.

    The first call compiles: its time less that of a later one is the compile time. Each round ends
    when the result is there, not when it is dispatched.

    Arguments:
        run: does the work; its result, a pytree of arrays, is waited for.
        epochs, cells: the reported time is per network and epoch.
        work: what it is, for the table; networks with the same name are compared.
        info: further columns, such as n, steps, rank, error.
    """

    def ready():
        return jax.block_until_ready(run())

    jax.clear_caches()  # an earlier benchmark may have compiled the same program
    start = perf_counter()
    result = ready()
    first = perf_counter() - start
    start = perf_counter()
    ready()
    later = perf_counter() - start
    rounds = max(5, min(50, round(SECONDS / later)))
    benchmark.pedantic(ready, rounds=rounds, iterations=1)
    best = later
    if benchmark.stats is not None:
        later, best = benchmark.stats.stats.median, benchmark.stats.stats.min
    dtypes = {x.dtype.name for x in jax.tree.leaves(result) if hasattr(x, "dtype")}
    note = {
        "work": work,
        "epochs": epochs,
        "cells": cells,
        "compile_s": max(first - later, 0.0),
        "device": jax.devices()[0].device_kind,
        "dtype": next(name for name in sorted(dtypes) if name.startswith("float")),
        "us_per_epoch": 1e6 * later / (epochs * cells),
        "best_us_per_epoch": 1e6 * best / (epochs * cells),
    }
    benchmark.extra_info.update(note | info)
    return result


def best(run, rounds):
    """Seconds of the best of some calls, of the first beyond that (it compiles), and the result."""
    seconds = []
    for _ in range(1 + rounds):
        start = perf_counter()
        result = jax.block_until_ready(run())
        seconds.append(perf_counter() - start)
    return min(seconds[1:]), seconds[0] - min(seconds[1:]), result


SAME = 1e-8  # largest relative difference of two loss curves; rounding is 1e-13
COMPILED = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
TORCH = {False: "PyTorch, eager", True: "PyTorch, torch.compile"}


def compare_results(benchmark, run, *, epochs, work, by, expected, **sizes):
    """Time run() as one of several ways to the same numbers, `expected`."""
    found = np.asarray(measure(benchmark, run, epochs=epochs, work=work, by=by, **sizes))
    difference = relative(found, expected)
    benchmark.extra_info["error"] = difference
    assert difference < SAME


@functools.cache
def network(n=500, rank=1):
    """A network of [LR]: Gaussian vectors, s = N."""
    return lrnn.LowRankRNN.normalised(n, rank, dt=DT, key=jr.key(0))


def exponential(steps=400, evaluation=lrnn.Evaluation.AUTO):
    """The filter of the 10-overlap theory."""
    return lrnn.ExponentialFilter(0.2, DT, steps, evaluation=evaluation)


def oscillator(steps=400, evaluation=lrnn.Evaluation.AUTO):
    """The filter of the 21-overlap theory."""
    return lrnn.OscillatingFilter(0.3, 2.0, DT, steps, evaluation=evaluation)


def descend(model, task, epochs, **options):
    """The curve of plain descent."""
    return lrnn.learn(model, task, lrnn.Descent(LR), epochs=epochs, **options)


def flips(steps=800, batch=10):
    """The flip-flop of [LR] fig. 4."""
    return lrnn.FlipFlop(dt=0.025, steps=steps, batch=batch)


def twins(name):
    """A twin of `memory_twins`, the task "A", "B" or "C" with its learning rate, two Q to start."""
    from lrnn_jax.experiments import MemoryTwinsConfig, twin_tasks

    config = MemoryTwinsConfig()
    start = [lrnn.overlaps.random_overlaps(key=jr.key(seed)) for seed in (0, 1)]
    model = lrnn.ReducedRNN(start[0], dt=config.dt, activation=lrnn.Erf())
    lr = config.lr_c if name == "C" else config.lr
    return model, twin_tasks(config)[name], lr, jnp.stack([q.gram for q in start])


def cast(tree, dtype):
    """Floating arrays of a tree in another precision."""

    def one(a):
        return a.astype(dtype) if jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating) else a

    return jax.tree.map(one, tree)


def relative(found, expected):
    """Largest difference of two curves, relative to the largest entry."""
    found, expected = (np.asarray(a, float) for a in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())
