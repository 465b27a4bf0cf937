"""Other ways to the same result: through the reduction, and with little memory."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax import learning
from lrnn_jax.networks import recurrent_drive

TASK = lrnn.ExponentialFilter(0.2, 0.05, 90)
NET = lrnn.LowRankRNN.normalised(40, dt=0.05, key=jr.key(0))
FROZEN = lrnn.LowRankRNN.normalised(40, 2, dt=0.05, key=jr.key(1), frozen=("u2",))
LOOP = lrnn.ClosedLoop(lrnn.KIntegrator(2, start=2.0), 20, batch=6)
CONTROLLER = lrnn.LowRankRNN(
    *(jr.normal(k, (30, 1)) / jnp.sqrt(30.0) for k in jr.split(jr.key(2), 4)),
    scale=1.0,
    dt=1.0,
    frozen=("m",),
)
FLIPS = lrnn.FlipFlop(dt=0.1, steps=83, batch=3)
TANH = lrnn.LowRankRNN.normalised(30, dt=0.1, key=jr.key(3), activation=lrnn.Tanh())
DENSE = lrnn.DenseRNN(
    jr.normal(jr.key(4), (12, 12)) / 12,
    jr.normal(jr.key(5), (12, 1)),
    jr.normal(jr.key(6), (1, 12)) / 12,
    dt=1.0,
    activation=lrnn.Tanh(),
)


def gap(a, b):
    """Largest difference relative to the largest entry."""
    a, b = (jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(t)]) for t in (a, b))
    return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))


@pytest.mark.parametrize(
    ("net", "task", "method"),
    [
        pytest.param(*(NET, TASK, lrnn.Descent(5e-3)), marks=pytest.mark.slow),
        (FROZEN, TASK, lrnn.Descent(5e-3, momentum=0.9, weight_decay=1e-3, clip=0.5)),
        pytest.param(
            *(NET, TASK, lrnn.Training(optax.sgd(5e-3, momentum=0.5))), marks=pytest.mark.slow
        ),
        pytest.param(
            *(NET, lrnn.WhiteNoise(TASK, std=1.0, batch=4), lrnn.Descent(1e-3)),
            marks=pytest.mark.slow,
        ),
        (CONTROLLER, LOOP, lrnn.Descent(0.01, clip=1.0)),
        (NET, TASK, lrnn.Flow(5e-3)),
    ],
    ids=["plain", "momentum, decay, clip, frozen", "optax", "noise", "closed loop", "flow"],
)
def test_learning_through_the_reduction_gives_the_same_network(net, task, method):
    epochs = 60
    options = {"epochs": epochs, "key": jr.key(7)} if task.stochastic else {"epochs": epochs}
    fast = lrnn.learn(net, task, method, simulate=lrnn.ThroughReduction(), record=7, **options)
    slow = lrnn.learn(net, task, method, record=7, **options)
    tolerance = 1e-6 if isinstance(method, lrnn.Flow) else 1e-12  # the solver's, or rounding
    assert type(fast.model) is lrnn.LowRankRNN
    assert gap(fast.loss, slow.loss) < tolerance
    assert gap(fast.gram, slow.gram) < tolerance
    assert gap(fast.model.vectors, slow.model.vectors) < tolerance
    assert gap(slow.model.vectors, net.vectors) > 1e-3  # something was learned


def test_what_is_watched_is_the_network():
    watch = size_of_first_neuron
    options = {"epochs": 30, "record": 10, "watch": watch}
    fast = lrnn.learn(NET, TASK, lrnn.Descent(5e-3), simulate=lrnn.ThroughReduction(), **options)
    slow = lrnn.learn(NET, TASK, lrnn.Descent(5e-3), **options)
    assert gap(fast.watched, slow.watched) < 1e-12


def size_of_first_neuron(model):
    return jnp.sum(model.vectors[0] ** 2)


def test_a_run_that_diverges_keeps_its_last_finite_network():
    options = {"epochs": 200, "throw": False, "record": 50}
    fast = lrnn.learn(NET, TASK, lrnn.Descent(5.0), simulate=lrnn.ThroughReduction(), **options)
    slow = lrnn.learn(NET, TASK, lrnn.Descent(5.0), **options)
    assert int(fast.stopped) == int(slow.stopped) > 0
    assert jnp.isfinite(fast.model.vectors).all()


@pytest.mark.parametrize("model", [TANH, DENSE, lrnn.reduce(NET)])
def test_only_linear_networks_learn_through_the_reduction(model):
    with pytest.raises(ValueError, match="linear LowRankRNN"):
        lrnn.learn(model, TASK, lrnn.Descent(1e-3), epochs=1, simulate=lrnn.ThroughReduction())


CASES = [(NET, TASK), (TANH, FLIPS), (DENSE, LOOP), (CONTROLLER, LOOP)]
NAMES = ["impulse", "trials", "dense loop", "low-rank loop"]


@pytest.mark.parametrize(("net", "task"), CASES[1:], ids=NAMES[1:])
def test_checkpoints_change_no_loss_and_no_gradient(net, task):
    data = task.sample(jr.key(8))

    def slope(wrap):
        return jax.jit(jax.value_and_grad(lambda net: task.loss(wrap(net), data)))(net)

    plain, kept = slope(lambda net: net), slope(lrnn.networks.CheckpointedRNN)
    assert gap(kept, plain) < 1e-13


@pytest.mark.parametrize(("net", "task"), CASES[1:3], ids=NAMES[1:3])
def test_learning_with_checkpoints_is_the_same(net, task):
    options = {"epochs": 5, "key": jr.key(9)}
    method = lrnn.Descent(1e-3, clip=1.0)
    kept = lrnn.learn(net, task, method, simulate=lrnn.Checkpointed(), **options)
    plain = lrnn.learn(net, task, method, **options)
    assert type(kept.model) is type(net)
    assert gap(kept.loss, plain.loss) < 1e-12
    assert gap(kept.model, plain.model) < 1e-12


@pytest.mark.parametrize(
    ("net", "task"),
    [
        (TANH, lrnn.FlipFlop(dt=0.1, steps=2500, batch=3)),
        (DENSE, lrnn.ClosedLoop(lrnn.KIntegrator(2), 2500, batch=8)),
    ],
    ids=["trials", "loop"],
)
def test_a_gradient_takes_memory_for_the_root_of_time(net, task):
    """At T = 2500 states of √T = 50 blocks and steps are kept in place of 2500."""
    data = task.sample(jr.key(8))

    def memory(wrap):
        run = jax.jit(jax.grad(lambda net: task.loss(wrap(net), data)))
        return run.lower(net).compile().memory_analysis().temp_size_in_bytes

    assert memory(lrnn.networks.CheckpointedRNN) < memory(lambda net: net) / 4


def test_a_reduction_needs_no_checkpoints():
    with pytest.raises(ValueError, match="a reduction is small"):
        lrnn.learn(
            lrnn.reduce(NET), TASK, lrnn.Descent(1e-3), epochs=1, simulate=lrnn.Checkpointed()
        )


def test_checkpointed_networks_simulate_alike():
    x = jr.normal(jr.key(1), (4, 17, 1))
    noise = jr.normal(jr.key(2), (4, 17, 30))
    kept = lrnn.networks.CheckpointedRNN(TANH)
    assert gap(kept.rollout(x, noise=noise), TANH.rollout(x, noise=noise)) < 1e-14
    assert gap(kept.states(x), TANH.states(x)) < 1e-14


TEACHER = lrnn.DenseRNN(
    DENSE.w + 0.3, DENSE.w_in, DENSE.w_out + 0.1, dt=1.0, activation=lrnn.Tanh()
)
LEARN_ON_TWO = """
import jax
jax.config.update("jax_enable_x64", True)
import sys; sys.path.insert(0, {tests!r})
import lrnn_jax as lrnn
from test_fast_paths import SHARED, learned
for name, case in SHARED.items():
    one, two = learned(case, 1), learned(case, 2)
    size, moved = abs(one.loss).max(), abs(one.loss[-1] - one.loss[0])
    print(name, float(abs(two.loss - one.loss).max() / size), float(moved / size))
    two.model.rollout(jax.numpy.zeros((3, 4, 1))) + one.loss[0]  # its arrays go with any others
case = SHARED["flip-flop"]
a, b = (jax.grad(lambda lr: learned(case, d, lr).loss[-1])(0.01) for d in (1, 2))
print("slope", float(abs(b / a - 1)), float(abs(a)))
several = jax.vmap(lambda lr: learned(case, 2, lr).loss)(jax.numpy.array([0.01, 0.02]))
a = learned(case, 1, 0.02).loss
print("several", float(abs(several[1] / a - 1).max()), float(abs(several[0] / a - 1).max()))
"""
DRAWN = jax.vmap(lrnn.FlipFlop(dt=0.1, steps=83, batch=4).sample)(jr.split(jr.key(11), 8))
SHARED = {
    "flip-flop": (TANH, lrnn.FlipFlop(dt=0.1, steps=83, batch=4), {}),
    "dense-loop": (DENSE, LOOP, {}),
    "low-rank-loop": (CONTROLLER, LOOP, {"simulate": lrnn.Checkpointed()}),
    "student": (DENSE, lrnn.TeacherStudent(TEACHER, 20, batch=4), {}),
    "demonstrations": (DENSE, lrnn.environments.Demonstrations(TEACHER, LOOP), {}),
    "closure": (lrnn.reduce(TANH), lrnn.FlipFlop(dt=0.1, steps=83, batch=4), {}),
    "half-unscored": (
        *(TANH, lrnn.FlipFlop(dt=0.1, steps=83, batch=4)),
        {"batches": DRAWN._replace(mask=DRAWN.mask.at[:, :2].set(0.0))},
    ),
    "numpy": (
        TANH,
        lrnn.FlipFlop(dt=0.1, steps=83, batch=4),
        {"batches": type(DRAWN)(*map(np.asarray, DRAWN))},
    ),
}


def learned(case, devices, lr=1e-2):
    net, task, options = case
    method = lrnn.Descent(lr, clip=1.0)
    options = {"epochs": 8, "key": jr.key(9), "devices": devices, **options}
    return lrnn.learn(net, task, method, **options)


@pytest.mark.slow
def test_devices_share_trials_and_change_nothing():
    """On two devices of a CPU, in a process of its own; trials differ in how much is scored."""
    code = LEARN_ON_TWO.format(tests=str(Path(__file__).parent))
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = {name: (float(a), float(b)) for name, a, b in map(str.split, run.stdout.splitlines())}
    assert found.keys() == {*SHARED, "slope", "several"}
    for off, change in found.values():
        assert off < 1e-13  # rounding of sums in another order
        assert change > 1e-4  # something was learned


def test_batches_of_numpy_are_taken_by_epochs_that_are_traced():
    trials = type(DRAWN)(*map(np.asarray, DRAWN))
    taken = jax.jit(lambda epoch: learning.Data(None, trials).at(FLIPS, epoch))(3)
    assert gap(taken.inputs, trials.inputs[3]) == 0


def test_more_devices_than_there_are_say_how_to_have_them():
    with pytest.raises(ValueError, match=r"there are 1.*setup_jax\(devices=2\)"):
        lrnn.learn(TANH, FLIPS, lrnn.Descent(0.1), epochs=1, key=jr.key(0), devices=2)


class TestSharing:
    """What cannot be shared, on devices that are only counted."""

    @pytest.fixture(autouse=True)
    def _two(self, monkeypatch):
        monkeypatch.setattr(jax, "local_devices", lambda: jax.devices() * 2)

    def test_trials_that_do_not_share_out_evenly(self):
        with pytest.raises(ValueError, match="3 trials do not share out evenly over 2"):
            lrnn.learn(TANH, FLIPS, lrnn.Descent(0.1), epochs=1, key=jr.key(0), devices=2)

    @pytest.mark.parametrize(
        ("net", "task"),
        [
            (NET, TASK),
            (NET, lrnn.ExponentialFilter(0.2, 0.05, 90, label_noise=0.1)),
            (NET, lrnn.WhiteNoise(TASK)),
            (CONTROLLER, lrnn.ClosedLoop(lrnn.KIntegrator(2), 20)),
        ],
    )
    def test_data_that_are_no_trials(self, net, task):
        with pytest.raises(ValueError, match="are no trials"):
            lrnn.learn(net, task, lrnn.Descent(0.1), epochs=1, key=jr.key(0), devices=2)


def test_the_fast_weight_gradient_is_the_gradient():
    """Reverse, forward and second derivatives of W h, with and without trials."""

    def plain(w, h):
        return h @ w.T

    w = jr.normal(jr.key(1), (5, 5))
    for shape in ((5,), (3, 5), (2, 3, 5)):
        h = jr.normal(jr.key(2), shape)
        for order in (jax.jacrev, jax.jacfwd, jax.hessian):
            for argument in (0, 1):

                def of(product, w=w, h=h, order=order, argument=argument):
                    return order(lambda w, h: jnp.sum(jnp.sin(product(w, h))), argument)(w, h)

                assert gap(of(recurrent_drive), of(plain)) < 1e-13
