"""Nonlinear networks and closures on the same trials here and in PyTorch, with equal losses.

The trials are drawn before, for both; here an epoch that draws its own takes little more
(test_trials.py).
"""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from measure import COMPILED, TORCH, compare_results, flips, relative, twins

import lrnn_jax as lrnn

EPOCHS = 4
FULL = {"n": 1000, "steps": 800, "rank": 1, "batch": 10}
TWIN = {"n": "∞", "steps": 400, "rank": 1, "batch": 128}
ERF = "erf network, flip-flop"
CLOSURE = "closure, flip-flop"
WHERE = pytest.mark.parametrize("work", [CLOSURE, "twin, task A"])


@functools.cache
def draw(task_of, *arguments):
    """Trials of some epochs, as arrays of ours and of theirs."""
    task = task_of(*arguments)
    task = task[1] if isinstance(task, tuple) else task
    epochs = [task.sample(k) for k in jr.split(jr.key(1), 4 * EPOCHS)]
    trials = jax.tree.map(lambda *a: jnp.stack(a), *epochs)
    theirs = np.asarray(trials.inputs)[..., 0], np.asarray(trials.target)[..., 0]
    return task, trials, (*theirs, np.asarray(trials.mask))


@functools.cache
def network():
    return lrnn.LowRankRNN.normalised(1000, dt=0.025, key=jr.key(0), activation=lrnn.Erf())


@functools.cache
def reduction(work):
    """The closure's model, its task with trials, η and sizes."""
    if work == CLOSURE:
        return lrnn.reduce(network()), draw(flips), 5e-2, FULL
    model, _, lr, _ = twins("A")
    return model, draw(twins, "A"), lr, TWIN


def learned(model, drawn, lr, epochs, **options):
    task, trials, _ = drawn
    options |= {"epochs": epochs, "batches": trials}
    return lrnn.learn(model, task, lrnn.Descent(lr), **options).loss[:epochs]


@functools.cache
def expected(work, epochs):
    model, drawn, lr, _ = (network(), draw(flips), 5e-2, FULL) if work == ERF else reduction(work)
    return np.asarray(learned(model, drawn, lr, epochs))


@pytest.mark.parametrize("devices", [2, 1])
def test_full_here(benchmark, devices):
    compare_results(
        benchmark,
        lambda: learned(network(), draw(flips), 5e-2, EPOCHS, devices=devices),
        epochs=EPOCHS,
        work=ERF,
        by=f"lrnn_jax, {('one device', 'two devices')[devices - 1]}",
        expected=expected(ERF, EPOCHS),
        **FULL,
    )


@COMPILED
def test_full_torch(benchmark, compiled):
    pytest.importorskip("torch")
    import torch
    from peers import torch_trials

    torch.set_num_threads(2)
    net = network()
    vectors = [np.asarray(x) for x in (net.z, net.v, net.m, net.u)]
    options = {"dt": 0.025, "lr": 5e-2, "epochs": EPOCHS, "compiled": compiled}
    compare_results(
        benchmark,
        lambda: torch_trials.train_network(vectors, draw(flips)[2], **options),
        epochs=EPOCHS,
        work=ERF,
        by=TORCH[compiled],
        expected=expected(ERF, EPOCHS),
        **FULL,
    )


@WHERE
def test_closure_here(benchmark, work):
    model, drawn, lr, sizes = reduction(work)
    epochs = 4 * EPOCHS
    compare_results(
        benchmark,
        lambda: learned(model, drawn, lr, epochs),
        epochs=epochs,
        work=work,
        by="lrnn_jax, float64",
        expected=expected(work, epochs),
        **sizes,
    )


@WHERE
@COMPILED
def test_closure_torch(benchmark, work, compiled):
    pytest.importorskip("torch")
    import torch
    from peers import torch_trials

    torch.set_num_threads(1)
    model, drawn, lr, sizes = reduction(work)
    gram, dt = np.asarray(model.overlaps.gram), float(model.dt)
    options = {"dt": dt, "lr": lr, "epochs": EPOCHS, "compiled": compiled}
    compare_results(
        benchmark,
        lambda: torch_trials.train_closure(gram, drawn[2], **options),
        epochs=EPOCHS,
        work=work,
        by=TORCH[True] if compiled else "PyTorch, TorchScript",
        expected=expected(work, EPOCHS),
        **sizes,
    )


def test_both_compute_the_same():
    """Descent moves the losses that are compared."""
    for work in (ERF, CLOSURE):
        losses = expected(work, EPOCHS)
        assert relative(losses, np.full_like(losses, losses[0])) > 1e-3
