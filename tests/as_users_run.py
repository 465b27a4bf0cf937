"""What users see, who compile at JAX's own flags and without checks of types; prints JSON.

Run by test_as_users_run.py in a process of its own.
"""

import functools
import json

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import lrnn_jax as lrnn
from lrnn_jax import learning

NET = lrnn.LowRankRNN.normalised(12, dt=0.1, key=jr.key(0))
RED = lrnn.reduce(NET)
TANH = lrnn.LowRankRNN.normalised(12, dt=0.1, key=jr.key(0), activation=lrnn.Tanh())
TASK = lrnn.ExponentialFilter(0.2, 0.1, 8)
NOISY = lrnn.ExponentialFilter(0.2, 0.1, 8, label_noise=0.1)
FLIPS = lrnn.FlipFlop(0.1, 60, 3)
STEP = lrnn.Descent(0.1)
Q = RED.overlaps
BATCH = lrnn.Overlaps.from_gram(np.stack([np.eye(4)] * 3))
THREE = np.full(3, 0.1)


def learn(model=RED, task=TASK, method=STEP, epochs=2, **options):
    return lrnn.learn(model, task, method, epochs=epochs, **options)


@functools.cache
def curve():
    return learn()


@functools.cache
def curves():
    return jax.vmap(lambda lr: learn(method=lrnn.Descent(lr)))(jnp.array([0.1, 0.2]))


def noise(reduction=RED, task=NOISY, method=STEP, epochs=2, **options):
    return lrnn.noise_drift(reduction, task, method, epochs=epochs, **options)


def decode(features=np.zeros((5, 2, 3)), key=jr.key(0), **options):
    return learning.decoding_accuracy(features, key=key, **options)


def reduction(overlaps=Q, dt=0.1, **options):
    return lrnn.ReducedRNN(overlaps, dt=dt, **options)


def mixture(populations=(Q, Q), weights=(0.5, 0.5), dt=0.1, **options):
    return lrnn.MixtureRNN(list(populations), weights, dt=dt, **options)


def nodes(overlaps=Q, nodes=16, dt=0.1, key=jr.key(0), **options):
    return lrnn.population(overlaps, nodes, dt=dt, key=key, **options)


def diagnose(network=TANH, task=FLIPS, method=STEP, key=jr.key(0)):
    return lrnn.diagnose_closure(network, task, method, epochs=1, key=key)


WRONG = {
    # numbers
    "lr": lambda: lrnn.Descent(THREE),
    "lr: text": lambda: lrnn.Descent("0.1"),
    "lr: bool": lambda: lrnn.Descent(True),
    "lr: complex": lambda: lrnn.Descent(0.1j),
    "lr: None": lambda: lrnn.Descent(None),
    "lr: no schedule": lambda: lrnn.Descent(lambda: 0.1),
    "lr: vectors": lambda: lrnn.Descent(lambda epoch: jnp.full(3, 0.1)),
    "lr: optimiser": lambda: lrnn.Muon(optax.sgd(0.1)),
    "momentum": lambda: lrnn.Descent(0.1, momentum=THREE),
    "momentum: nan": lambda: lrnn.NormalisedDescent(0.1, momentum=np.nan),
    "nesterov": lambda: lrnn.Descent(0.1, momentum=0.5, nesterov="no"),
    "nesterov: 1": lambda: lrnn.Muon(0.1, nesterov=1),
    "weight_decay": lambda: lrnn.Descent(0.1, weight_decay=[0.1]),
    "weight_decay: Muon": lambda: lrnn.Muon(0.1, weight_decay=1j),
    "clip": lambda: lrnn.Descent(0.1, clip=True),
    "rates": lambda: lrnn.Descent(0.1, rates=["m"]),
    "rates: names": lambda: lrnn.Descent(0.1, rates={1: 0.5}),
    "rates: array": lambda: lrnn.Flow(0.1, rates={"m": THREE}),
    "rates: bool": lambda: lrnn.Flow(0.1, rates={"m": True}),
    "rule": lambda: lrnn.Descent(0.1, rule=lrnn.Gradient),
    "rule: text": lambda: lrnn.Training(optax.sgd(0.1), rule="gradient"),
    "rule: Flow": lambda: lrnn.Flow(0.1, rule=None),
    "iterations": lambda: lrnn.Muon(0.1, iterations=2.0),
    "optimiser": lambda: lrnn.Training(STEP),
    "optimiser: function": lambda: lrnn.Training(optax.sgd),
    "rtol": lambda: lrnn.Flow(0.1, rtol=THREE),
    "atol": lambda: lrnn.Flow(0.1, atol="small"),
    "max_steps": lambda: lrnn.Flow(0.1, max_steps=1e3),
    "stop_at_loss": lambda: lrnn.Flow(0.1, stop_at_loss=THREE),
    "invariant_tol": lambda: lrnn.Flow(0.1, invariant_tol=THREE),
    "invariant_tol: bool": lambda: lrnn.Flow(0.1, invariant_tol=False),
    "solver": lambda: lrnn.Flow(0.1, solver=diffrax.Euler()),
    "solver: class": lambda: lrnn.Flow(0.1, solver=diffrax.Tsit5),
    "adjoint": lambda: lrnn.Flow(0.1, adjoint=diffrax.BacksolveAdjoint()),
    "method: of Slowed": lambda: learning.Slowed(lrnn.Flow(0.1), 0.1, 2.0),
    "below": lambda: learning.Slowed(STEP, THREE, 2.0),
    "factor": lambda: learning.Slowed(STEP, 0.1, 0.0),
    # learn
    "model": lambda: learn(Q),
    "model: class": lambda: learn(lrnn.ReducedRNN),
    "objective": lambda: learn(task=lrnn.ExponentialFilter),
    "objective: array": lambda: learn(task=np.ones(8)),
    "method": lambda: learn(method=optax.sgd(0.1)),
    "method: number": lambda: learn(method=0.1),
    "epochs": lambda: learn(epochs=2.5),
    "epochs: bool": lambda: learn(epochs=True),
    "record": lambda: learn(record=None),
    "key": lambda: learn(task=NOISY, key=0),
    "key: keys": lambda: learn(task=NOISY, key=jr.split(jr.key(0))),
    "batches": lambda: learn(task=NOISY, batches=np.zeros((2, 8))),
    "batches: complex": lambda: learn(task=NOISY, batches=np.zeros((2, 8, 1, 1), complex)),
    "batches: text": lambda: learn(task=NOISY, batches="noise"),
    "watch": lambda: learn(watch="loss"),
    "watch: text": lambda: learn(watch=lambda model: "zm"),
    "watch: keys": lambda: learn(watch=lambda model: {1: model.dt}),
    "watch: model": lambda: learn(watch=lambda model: model),
    "watch: random keys": lambda: learn(watch=lambda model: jr.key(0)),
    "simulate": lambda: learn(simulate=lrnn.Checkpointed),
    "devices": lambda: learn(devices=1.0),
    "throw": lambda: learn(throw="no"),
    "progress": lambda: learn(progress="bar"),
    # sequences and what is read off curves
    "phases": lambda: lrnn.learn_sequence(RED, TASK),
    "phases: pairs": lambda: lrnn.learn_sequence(RED, [(TASK, STEP)]),
    "key: sequence": lambda: lrnn.learn_sequence(RED, [(NOISY, STEP, 2)], key=1),
    "progress: sequence": lambda: lrnn.learn_sequence(RED, [(TASK, STEP, 2)], progress=1),
    "curves": lambda: learning.join_curves(curve(), RED),
    "join_curves": lambda: learning.join_curves(curves(), curves()),
    "curve: excursion": lambda: learning.excursion(RED, 0, 1),
    "first": lambda: learning.excursion(curve(), 0.5, 2),
    "last": lambda: learning.excursion(curve(), 0, 9),
    "tasks": lambda: learning.holonomy(RED, [TASK], STEP, epochs=2),
    "cycles": lambda: learning.holonomy(RED, [TASK, TASK], STEP, epochs=2, cycles=0),
    "settle": lambda: learning.holonomy(RED, [TASK, TASK], STEP, epochs=2, settle=-1),
    "curve: lift": lambda: lrnn.lift(RED, NET),
    "lift": lambda: lrnn.lift(curves(), NET),
    "network: lift": lambda: lrnn.lift(curve(), RED),
    "epoch": lambda: lrnn.lift(curve(), NET, epoch="last"),
    "other": lambda: curve().distance(RED),
    "save": lambda: curves().save("curves.npz"),
    # noise, decoding, closure
    "reduction": lambda: noise(NET),
    "task: noise": lambda: noise(task=TASK),
    "method: noise": lambda: noise(method=lrnn.Flow(0.1)),
    "method.rule": lambda: noise(method=lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly())),
    "directions": lambda: noise(directions=2.0),
    "record: noise": lambda: noise(record=0),
    "throw: noise": lambda: noise(throw=1),
    "features": lambda: decode(np.zeros((5, 3, 3))),
    "features: complex": lambda: decode(np.zeros((5, 2, 3), complex)),
    "held_out": lambda: decode(held_out=5),
    "splits": lambda: decode(splits=0),
    "noise": lambda: decode(noise=THREE),
    "penalty": lambda: decode(penalty=0.0),
    "key: decoder": lambda: decode(key=3),
    "network: diagnose": lambda: diagnose(lrnn.reduce(TANH)),
    "task: diagnose": lambda: diagnose(task=lrnn.FlipFlop),
    "key: diagnose": lambda: diagnose(key=0),
    # reductions
    "overlaps": lambda: reduction(np.eye(4)),
    "overlaps: batch": lambda: reduction(BATCH),
    "dt": lambda: reduction(dt=THREE),
    "activation": lambda: reduction(activation=lrnn.Tanh),
    "activation: function": lambda: reduction(activation=jnp.tanh),
    "frozen": lambda: reduction(frozen="u2"),
    "network": lambda: lrnn.reduce(Q),  # pyright: ignore[reportCallIssue]
    "populations": lambda: lrnn.MixtureRNN(Q, [1.0], dt=0.1),
    "populations: arrays": lambda: mixture([np.eye(4)] * 2),
    "weights": lambda: mixture(weights=[[0.5, 0.5]]),
    "weights: negative": lambda: mixture(weights=[1.5, -0.5]),
    "activation: mixture": lambda: mixture(activation="tanh"),
    "frozen: mixture": lambda: mixture(frozen=3),
    "n": lambda: mixture().network(10.0, key=jr.key(0)),
    "overlaps: population": lambda: nodes(BATCH),
    "law": lambda: nodes(np.eye(4)),
    "nodes": lambda: nodes(nodes=True),
    "quadrature": lambda: nodes(quadrature="sobol"),
    "key: population": lambda: nodes(key=0),
}
"""Calls that must be refused; the argument that is to be named stands before a colon."""


def refusals() -> dict[str, str]:
    """What each of them ends in."""
    found = {}
    for name, call in WRONG.items():
        try:
            call()
            found[name] = "accepted"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def gaps() -> dict[str, float]:
    """Differences of what must be equal to rounding, in float64."""
    from test_update_rules import CASES, both, gap, taught

    (net, _), way = both(), lrnn.Evaluation.ROLLOUT
    task = lrnn.ExponentialFilter(0.3, 0.2, 6, evaluation=way)
    make, update, options = CASES["all"]
    method = make(**{"lr": 0.1} | options)
    thetas, losses = taught(update, **options)
    full = lrnn.learn(net, task, method, epochs=5)
    fast = lrnn.learn(net, task, method, epochs=5, simulate=lrnn.ThroughReduction())
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), 9)
    controller = lrnn.LowRankRNN.normalised(12, dt=1.0, key=jr.key(1))
    by_neurons, by_overlaps = map(eqx.filter_jit(loop.loss), (controller, lrnn.reduce(controller)))
    scalar = lrnn.reduce(lrnn.LowRankRNN.normalised(12, dt=0.2, key=jr.key(2)))
    ways = []
    for each in (way, lrnn.Evaluation.DOUBLING, lrnn.Evaluation.CLOSED_FORM):
        filter = lrnn.ExponentialFilter(0.3, 0.2, 64, evaluation=each)
        ways.append(eqx.filter_jit(filter.loss)(scalar))
    return {
        "network and NumPy": gap(full.model.vectors, thetas[-1]),
        "losses": gap(full.loss, losses),
        "through the reduction": gap(fast.model.vectors, full.model.vectors),
        "loop and its theory": gap(by_neurons / by_overlaps, 1.0),
        "evaluations": gap(jnp.array(ways), ways[0]),
    }


if __name__ == "__main__":
    messages = refusals()  # in JAX's own float32
    jax.config.update("jax_enable_x64", True)
    print(json.dumps({"messages": messages, "gaps": gaps()}))
