"""A run that goes on is, to the last bit, one run: from memory, from files, after a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import Slowed, join_curves

CUT, TOTAL = 7, 15
NET = lrnn.LowRankRNN.normalised(8, 1, dt=0.1, key=jr.key(0))
RED = lrnn.reduce(NET)
BENT = lrnn.LowRankRNN.normalised(8, 1, dt=0.1, key=jr.key(1), activation=lrnn.Erf())
DENSE = lrnn.DenseRNN(
    BENT.u @ BENT.v.T / 8, BENT.m, BENT.z.T / 8, dt=0.1, activation=lrnn.Tanh(), b=BENT.m[:, 0]
)
MIXTURE = lrnn.MixtureRNN([NET.overlaps, BENT.overlaps], np.array([0.3, 0.7]), dt=0.1)
TASK = lrnn.ExponentialFilter(0.2, 0.1, 8, evaluation=lrnn.Evaluation.ROLLOUT)
NOISY = lrnn.ExponentialFilter(0.2, 0.1, 8, label_noise=0.3)
FLIPS = lrnn.FlipFlop(0.1, 40, 2, (0.5, 1.0))
HEAVY = lrnn.Descent(0.1, momentum=0.9)
FALLING = optax.cosine_decay_schedule(0.1, 20)
KEYED = {"key": jr.key(3)}


ROUNDING = 0 if "slow" in sys.argv else 1e-13
"""With the fast tests' compiler flags programs of another length round otherwise."""


def same(a, b, tolerance=ROUNDING, **tolerances):
    """Equal to the last bit, or up to a tolerance; parts may have another one, by name."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b)):
        name = jax.tree_util.keystr(path)
        size = tolerances.get(name.lstrip("."), tolerance)
        if size == 0 or not jnp.issubdtype(x.dtype, jnp.floating):
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            np.testing.assert_allclose(x, y, size, size, err_msg=name)


def through_file(curve, folder, like=None):
    curve.save(folder / "curve.npz")
    return lrnn.LearningCurve.load(folder / "curve.npz", like)


RUNS = {
    "momentum": (RED, TASK, HEAVY, {}),
    "everything": (
        *(NET, TASK),
        lrnn.Descent(FALLING, 0.8, True, weight_decay=0.1, clip=0.5, rates={"m": 0.5}),
        {"record": 5},
    ),
    "normalised": (MIXTURE, TASK, lrnn.NormalisedDescent(0.1, momentum=0.5), {"record": 2}),
    "muon": (DENSE, FLIPS, lrnn.Muon(0.01), KEYED),
    "adam": (BENT, FLIPS, lrnn.Training(optax.adam(FALLING)), KEYED | {"record": 4}),
    "several epochs a step": (
        *(RED, NOISY),
        lrnn.Training(optax.MultiSteps(optax.sgd(0.1, 0.9), 3)),
        KEYED,
    ),
    "an optimiser with a key": (
        *(NET, TASK),
        lrnn.Training(optax.chain(optax.add_noise(0.01, 0.5, 1), optax.sgd(0.1))),
        {},
    ),
    "slowed": (NET, TASK, Slowed(HEAVY, 0.5, 3.0), {"simulate": lrnn.ThroughReduction()}),
    "closure": (lrnn.reduce(BENT), FLIPS, HEAVY, KEYED),
    "population": (lrnn.population(BENT, 16, key=jr.key(2)), FLIPS, HEAVY, KEYED),
    "loop": (NET, lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=0.1), 5, 3), HEAVY, KEYED),
    "diverges at the cut": (RED, TASK, lrnn.Descent(1.0, momentum=0.9), {"throw": False}),
    "diverges before": (RED, TASK, lrnn.Descent(3.0, momentum=0.9), {"throw": False}),
}


BITS = [pytest.param(name, marks=pytest.mark.slow, id=f"{name}, bit by bit") for name in RUNS]


FEW = ("everything", "adam", "several epochs a step", "closure", "loop", "diverges at the cut")


@pytest.mark.parametrize("name", [*FEW, *BITS])
def test_two_runs_are_one(tmp_path, name):
    model, task, method, options = RUNS[name]
    whole = lrnn.learn(model, task, method, epochs=TOTAL, **options)
    half = through_file(lrnn.learn(model, task, method, epochs=CUT, **options), tmp_path)
    assert half.loss[-1] != whole.loss[-1]  # something was left to do; NaN is not itself
    same(lrnn.learn(half.model, task, method, epochs=TOTAL, resume=half, **options), whole)


def run(model=RED, method=HEAVY, epochs=CUT, task=TASK, **options):
    return lrnn.learn(model, task, method, epochs=epochs, **options)


def on(curve, method=HEAVY, epochs=TOTAL, **options):
    return run(curve.model, method, epochs, resume=curve, **options)


def test_flow_goes_on_to_its_tolerance():
    flow = lrnn.Flow(FALLING, stop_at_loss=1e-9)
    whole, half = run(method=flow, epochs=TOTAL), run(method=flow)
    again = on(half, flow)
    assert again.epochs.tolist() == whole.epochs.tolist()
    # interpolation between steps; the two steps at the cut are others
    assert again.distance(whole).max < 1e-6
    assert np.allclose(again.model.overlaps.gram, whole.model.overlaps.gram, atol=1e-9)
    assert np.abs(half.gram[-1] - whole.gram[-1]).max() > 1e-3


@pytest.mark.slow
def test_a_flow_that_an_event_ended_stays_where_it_ended():
    flow = lrnn.Flow(0.02, stop_at_loss=0.3)
    whole, half = run(method=flow, epochs=300), run(method=flow, epochs=200)
    assert 0 < half.stopped < 200
    again = on(half, flow, 300)
    same(again.model, half.model)
    assert int(again.stopped) == int(whole.stopped)
    assert lrnn.learning.outcome(again.result) == "event_occurred"
    assert np.isnan(again.loss[200:]).all()


@pytest.mark.parametrize("record", [4, 20])
def test_any_number_of_cuts_anywhere(record):
    whole, curve = run(epochs=TOTAL, record=record), None
    for epochs in (0, 3, 6, 6, 7, 15):
        model = RED if curve is None else curve.model
        curve = run(model, epochs=epochs, record=record, resume=curve)
        assert int(curve.epochs[-1]) == epochs
    same(curve, whole)


def test_what_is_watched_and_held_out_goes_on_too(tmp_path):
    trials = jr.normal(jr.key(0), (2, 5, 6, 1))
    task = lrnn.TrialSet(*trials, dt=0.1, batch=2, held_out=0.4)
    options = {"watch": watched, "task": task, **KEYED}
    half = through_file(run(NET, **options), tmp_path)
    same(on(half, **options), run(NET, epochs=TOTAL, **options))


def watched(model):
    return {"z": model.z, "large": model.z > 0.5}


def test_batches_are_those_of_all_epochs():
    batches = jnp.stack([NOISY.sample(jr.key(i)) for i in range(TOTAL)])
    options = {"task": NOISY, "batches": batches}
    same(on(run(**options), **options), run(epochs=TOTAL, **options))


def test_a_curve_that_went_on_lifts():
    assert (
        np.abs(lrnn.lift(on(run()), NET).vectors - run(NET, epochs=TOTAL).model.vectors).max()
        < 1e-12
    )


def test_learning_that_goes_on_is_a_function_of_arrays():
    """`vmap` and `jit` go through both runs; members of a batch go on by themselves."""

    def first(lr):
        return run(method=lrnn.Descent(lr, momentum=0.9))

    def second(lr, curve):
        return on(curve, lrnn.Descent(lr, momentum=0.9))

    rates = jnp.array([0.1, 0.2])
    halves = jax.vmap(first)(rates)
    curves = jax.vmap(second)(rates, halves)
    whole = jax.vmap(lambda lr: run(method=lrnn.Descent(lr, momentum=0.9), epochs=TOTAL))(rates)
    same(curves, whole)
    same(eqx.filter_jit(second)(rates[0], first(rates[0])), second(rates[0], first(rates[0])))
    member = jax.tree.map(lambda a: a[1], halves)
    assert np.allclose(second(0.2, member).gram, whole.gram[1], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"`method.lr` was 0.2 and is 0.1"):
        second(0.1, member)
    with pytest.raises(ValueError, match="takes one curve"):
        on(halves)


def test_gradients_go_through_the_cut():
    def loss(lr, cut):
        method = lrnn.Descent(lr, momentum=0.9)
        curve = run(method=method, epochs=cut) if cut else None
        model = RED if curve is None else curve.model
        return run(model, method, TOTAL, resume=curve).loss[-1]

    slope, whole = (jax.grad(loss)(0.1, cut) for cut in (CUT, 0))
    assert abs(whole) > 1e-3
    assert abs(slope - whole) < 1e-12


def altered(curve, **fields):
    return dataclasses.replace(curve, **fields)


PREFIX = r"`resume` is of another run: "
OTHERS = {
    "model": (lambda c: run(RED, epochs=TOTAL, resume=c), r"`model` must be resume.model.*`model."),
    "kind of model": (lambda c: run(NET, epochs=TOTAL, resume=c), r"`model` must be resume.model"),
    "rate": (lambda c: on(c, lrnn.Descent(0.2, momentum=0.9)), PREFIX + "`method.lr` was 0.1 and"),
    "option": (
        lambda c: on(c, lrnn.Descent(0.1)),
        PREFIX + "`method.momentum` was 0.9 and is N",
    ),
    "method": (
        lambda c: on(c, lrnn.Muon(0.1, 0.9)),
        PREFIX + "`method` was another one and is M",
    ),
    "schedule": (lambda c: on(c, lrnn.Descent(FALLING, 0.9)), PREFIX + "`method.lr` was 0.1 and"),
    "task": (
        lambda c: on(c, task=lrnn.ExponentialFilter(0.3, 0.1, 8)),
        PREFIX + "`objective.rate` was 0.2 and is 0.3",
    ),
    "steps": (
        lambda c: on(c, task=lrnn.ExponentialFilter(0.2, 0.1, 9)),
        PREFIX + "`objective.steps` was 8 and is 9",
    ),
    "kind of task": (
        lambda c: on(c, task=lrnn.ImpulseResponse(np.ones(8), dt=0.1)),
        PREFIX + "`objective` was another one and is Impu",
    ),
    "epochs": (lambda c: on(c, epochs=3), "`epochs` is the total, at least the 7 .* got 3"),
    "record": (lambda c: on(c, record=2), "`record` must be that of `resume`, 1; got 2"),
    "watch": (lambda c: on(c, watch=lambda m: m.dt), "`watch` must be what `resume`"),
    "joined": (lambda c: on(join_curves(c, c)), "`resume` holds no state"),
    "not both": (lambda c: run(save_every=3), "`save_to` must be such as .*with `save_every`"),
    "nor this": (lambda c: run(save_to="x"), "`save_every` must be a whole number.*`save_to`"),
    "between": (
        lambda c: run(save_every=3, save_to="x", record=2),
        "`save_every` must be a multiple of `record`, 2; got 3",
    ),
    "traced": (
        lambda c: jax.vmap(lambda lr: run(method=lrnn.Descent(lr), save_every=3, save_to="x"))(
            jnp.ones(2)
        ),
        "outside of jit, vmap",
    ),
}


@pytest.fixture(scope="module")
def half():
    return run()


@pytest.mark.parametrize(("go", "message"), OTHERS.values(), ids=OTHERS)
def test_another_run_is_refused_with_what_differs(half, go, message):
    with pytest.raises(ValueError, match=message) as refused:
        go(half)
    assert str(refused.value).count(". ") == 0


def test_random_trials_and_functions_are_told_apart():
    with pytest.raises(ValueError, match=r"`key` was another one"):
        on(run(task=NOISY, key=jr.key(1)), task=NOISY, key=jr.key(2))
    on(run(key=jr.key(1)), key=jr.key(2))  # which draws nothing
    mine = run(NET, lrnn.Training(optax.adam(FALLING)))
    again = optax.adam(optax.cosine_decay_schedule(0.1, 20))
    same(on(mine, lrnn.Training(again)), run(NET, lrnn.Training(again), TOTAL))
    for other in (
        optax.adam(0.1),
        optax.adam(optax.cosine_decay_schedule(0.1, 21)),
        optax.sgd(0.1),
    ):
        with pytest.raises(ValueError, match=r"`program` was another one.*functions of the method"):
            on(mine, lrnn.Training(other))


def test_a_file_of_before_loads_and_cannot_go_on(tmp_path):
    """It has no state; also where `like` has one."""
    curve = run()
    curve.save(tmp_path / "old.npz")
    with np.load(tmp_path / "old.npz") as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("state.")}
    header = json.loads(str(arrays.pop("header")))
    del header["content"]["fields"]["state"]
    np.savez(tmp_path / "old.npz", **arrays, header=np.array(json.dumps(header)))
    for like in (None, curve):
        old = lrnn.LearningCurve.load(tmp_path / "old.npz", like)
        assert old.state is None
        with pytest.raises(ValueError, match="saved by an earlier version"):
            on(old)


def test_a_network_of_your_own_goes_on_from_a_file(tmp_path):
    """`like` is the model: a curve of the same length is not at hand."""
    bent = lrnn.OddActivation(lambda h: h / jnp.sqrt(1 + h**2))
    net = lrnn.LowRankRNN.normalised(8, dt=0.1, key=jr.key(0), activation=bent)
    for model in (net, lrnn.reduce(net)):
        half = through_file(run(model), tmp_path, like=model)
        same(on(half), run(model, epochs=TOTAL))


def test_states_add_little_to_files(tmp_path):
    """Of a reduction: numbers by field; of a network with momentum: one more array of weights."""
    net = lrnn.LowRankRNN.normalised(1000, 2, dt=0.1, key=jr.key(0))
    for model, most in ((lrnn.reduce(net), 12_000), (net, 12_000 + net.vectors.nbytes)):
        curve = run(model, epochs=2)
        curve.save(tmp_path / "with.npz")
        altered(curve, state=None).save(tmp_path / "without.npz")
        sizes = [(tmp_path / f"{name}.npz").stat().st_size for name in ("with", "without")]
        assert 0 < sizes[0] - sizes[1] < most


def test_an_interrupted_run_goes_on():
    def stop(epoch, epochs, loss):
        assert epochs == TOTAL
        if epoch >= 9:
            raise KeyboardInterrupt

    with pytest.raises(lrnn.Interrupted) as stopped:
        on(run(record=2), record=2, progress=stop)
    curve = stopped.value.curve
    assert 9 <= int(curve.epochs[-1]) < TOTAL
    same(on(curve, record=2), run(epochs=TOTAL, record=2))


@pytest.mark.parametrize("model", [RED, NET], ids=["reduction", "network"])
def test_saving_on_the_way_changes_nothing(tmp_path, model):
    seen, path = [], tmp_path / "run.npz"

    def look(epoch, epochs, loss):
        found = lrnn.LearningCurve.load(path).state.epochs if path.exists() else 0
        seen.append((epoch, found))

    options = {"save_every": 4, "save_to": path, "record": 2, "progress": look}
    whole = run(model, epochs=TOTAL, record=2)
    same(run(model, epochs=TOTAL, **options), whole)
    same(lrnn.LearningCurve.load(path), whole)
    assert {found for _, found in seen} == {0, 4, 8, 12}
    same(on(run(model, epochs=5, record=2), **options), whole)  # begins between two saves
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


LONG = """
import sys
import jax, optax
import jax.random as jr
import lrnn_jax as lrnn

def long_run(epochs, record, path=None, go_on=False):
    net = lrnn.LowRankRNN.normalised(16, 1, dt=0.1, key=jr.key(0), activation=lrnn.Tanh())
    task = lrnn.FlipFlop(0.1, 40, 2, (0.5, 1.0))
    method = lrnn.Training(optax.adam(optax.cosine_decay_schedule(1e-2, epochs)))
    curve = lrnn.LearningCurve.load(path) if go_on else None
    model = net if curve is None else curve.model
    options = {"record": record, "key": jr.key(1), "resume": curve}
    saved = {} if path is None else {"save_every": record, "save_to": path}
    return lrnn.learn(model, task, method, epochs=epochs, **options, **saved)

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    epochs, record, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if sys.argv[4:] == ["whole"]:
        long_run(epochs, record).save(path)
    else:
        long_run(epochs, record, path, len(sys.argv) > 4)
"""


def killed_and_resumed(folder, epochs, every, kills):
    """The curve of a run that is killed each time it has saved something; and of one run."""
    script, path, whole = (folder / name for name in ("run.py", "run.npz", "whole.npz"))
    script.write_text(LONG)

    def start(*more, path=path):
        call = [sys.executable, script, epochs, every, path, *more]
        own = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}  # as users run it
        return subprocess.Popen([str(part) for part in call], stderr=subprocess.PIPE, env=own)

    for kill in range(kills):
        before = path.stat().st_mtime_ns if kill else 0
        process = start(*["go on"] * (kill > 0))
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert 0 < lrnn.LearningCurve.load(path).state.epochs < epochs
    for process in (start("go on"), start("whole", path=whole)):
        _, said = process.communicate()
        assert process.returncode == 0, said
    return lrnn.LearningCurve.load(path), lrnn.LearningCurve.load(whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_file(tmp_path):
    # losses, weights and memory to the last bit; the recorded Gram matrices lead nowhere, and
    # another processor may round them otherwise in a program of another length
    same(*killed_and_resumed(tmp_path, 600, 10, kills=1), tolerance=0, gram=1e-13)


@pytest.mark.slow
def test_a_long_run_that_is_killed_again_and_again(tmp_path):
    again, whole = killed_and_resumed(tmp_path, 100_000, 500, kills=10)
    same(again, whole)
    assert int(whole.epochs[-1]) == 100_000
