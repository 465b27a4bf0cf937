"""Tasks of NeuroGym: against a task of the same interface, and the real ones where installed."""

import sys
from types import SimpleNamespace

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.tasks import CrossEntropy, Squared, from_neurogym

TASKS = (
    "PerceptualDecisionMaking-v0",
    "ContextDecisionMaking-v0",
    "DelayMatchSample-v0",
    "GoNogo-v0",
    "MultiSensoryIntegration-v0",
)


class Task:
    """What NeuroGym's tasks offer: trials of 5 to 9 steps, whose class is the sign of the input."""

    dt, action_space = 20, SimpleNamespace(n=3)

    def __init__(self):
        self.unwrapped, self.rng, self.resets = self, None, 0

    def seed(self, seed):
        self.rng = np.random.RandomState(seed)

    def reset(self):
        self.resets += 1
        self.ob, self.gt = None, None

    def get_wrapper_attr(self, name):
        return {"new_trial": self.new_trial}[name]

    def new_trial(self):
        steps = self.rng.randint(5, 10)
        self.ob = self.rng.normal(size=(steps, 2)).astype(np.float32)
        self.gt = np.where(np.arange(steps) < 3, 0, 1 + (self.ob[0, 0] > 0)).astype(np.int64)


class Continuous(Task):
    action_space = SimpleNamespace()

    def new_trial(self):
        super().new_trial()
        self.gt = self.ob[:, :1] / 2


def test_trials_are_those_that_the_task_draws():
    env = Task()
    task = from_neurogym(env, tau=100, trials=12, key=jr.key(3), batch=4, held_out=0.25)
    assert float(task.dt) == pytest.approx(0.2)
    assert task.channels == (2, 3)
    assert isinstance(task.criterion, CrossEntropy)
    assert task.batch == 4
    assert task.held_out.mask.shape[0] == 3
    again = Task()
    again.seed(int(jr.bits(jr.key(3), dtype=jnp.uint32)))
    drawn = [np.concatenate([a, b]) for a, b in zip(task.data, task.held_out)]
    for x, y, mask in zip(*drawn):
        again.new_trial()
        n = len(again.gt)
        assert np.array_equal(x[:n], again.ob)
        assert np.array_equal(y[:n], np.eye(3)[again.gt])
        assert not x[n:].any()
        assert np.array_equal(mask, np.arange(len(mask)) < n)
    assert env.resets == 1
    other = from_neurogym(Task(), tau=100, trials=12, key=jr.key(4))
    assert not np.array_equal(other.data.inputs[:9, :5], task.data.inputs[:, :5])


def test_numbers_are_wanted_as_they_are():
    task = from_neurogym(Continuous(), tau=40, trials=6, key=jr.key(0))
    assert isinstance(task.criterion, Squared)
    assert float(task.dt) == 0.5
    assert np.allclose(task.data.target, task.data.inputs[..., :1] / 2)


class Unknown(Task):
    action_space = "Box(2)"


class Silent(Task):
    def new_trial(self):
        del self.gt


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        (Task(), {"tau": 10}, r"`tau` must be at least the step of the task, 20 ms; got 10"),
        (Task(), {"tau": -1}, r"`tau` is the time constant in ms and must lie in"),
        (Task(), {"trials": 0}, r"`trials` must be a whole number of at least 1"),
        (Task(), {"timing": {}}, r"made already, so that timing would change nothing"),
        (object(), {}, r"`env` must be the name of a NeuroGym task, or one that"),
        (Silent(), {}, r"must have ground truths for whole trials, and Silent has none"),
        (Unknown(), {}, r"numbers of its actions; those of Unknown reach 2, .*Box"),
    ],
)
def test_what_is_no_task_of_trials_is_refused(env, options, message):
    with pytest.raises(ValueError, match=message):
        from_neurogym(env, **{"tau": 100, "trials": 4, "key": jr.key(0)} | options)


def test_without_neurogym_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurogym", None)
    expected = r"NeuroGym cannot be imported.*pip install 'lrnn_jax\[neurogym\]'"
    with pytest.raises(ValueError, match=expected):
        from_neurogym("GoNogo-v0", tau=100, trials=1, key=jr.key(0))


class TestRealTasks:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("neurogym", reason="the extra neurogym is not installed")

    @pytest.mark.parametrize("name", TASKS)
    def test_a_network_learns_its_trials(self, name):
        task = from_neurogym(name, dt=50, tau=100, trials=40, key=jr.key(0), batch=8)
        again = from_neurogym(name, dt=50, tau=100, trials=40, key=jr.key(0), batch=8)
        assert np.array_equal(task.data.inputs, again.data.inputs)
        assert float(task.dt) == 0.5
        assert task.data.target.sum(-1).max() == 1
        lengths = task.data.mask.sum(1)
        assert (lengths.min() < lengths.max()) == (name == "ContextDecisionMaking-v0")
        inputs, outputs = task.channels
        net = lrnn.LowRankRNN.normalised(
            40, 1, inputs, outputs, dt=task.dt, key=jr.key(0), activation=lrnn.Tanh()
        )
        curve = lrnn.learn(net, task, lrnn.Descent(0.3), epochs=20, key=jr.key(1))
        assert curve.loss[-1] < 0.9 * curve.loss[0]

    def test_what_has_no_ground_truth_is_refused(self):
        for name, message in (
            ("Bandit-v0", "ground truths for whole trials, and Bandit has none"),
            ("Reaching1D-v0", "numbers of its actions; those of Reaching1D reach 6"),
            ("Nothing-v0", "'Nothing-v0' failed with NameNotFound"),
        ):
            with pytest.raises(ValueError, match=message):
                from_neurogym(name, tau=100, trials=20, key=jr.key(0))
