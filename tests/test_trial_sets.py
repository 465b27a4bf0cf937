"""Trials of one's own as a task, against sums written out in NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special

import lrnn_jax as lrnn
from lrnn_jax.tasks import CrossEntropy

DT = 0.2
RNG = np.random.default_rng(0)
LENGTHS = (5, 7, 4, 7)
INPUTS = [RNG.normal(size=(n, 2)) for n in LENGTHS]
TARGETS = [RNG.normal(size=(n, 3)) for n in LENGTHS]
CLASSES = [RNG.integers(0, 3, n) for n in LENGTHS]
MASKS = [RNG.integers(0, 2, n) + np.eye(n)[0] for n in LENGTHS]
ROUNDING = 1e-12  # sums over 23 steps of numbers of order 1


def network(outputs=3, n=12):
    shapes = {"z": (n, outputs), "v": (n, 2), "m": (n, 2), "u": (n, 2)}
    vectors = {f: RNG.normal(size=s) for f, s in shapes.items()}
    return lrnn.LowRankRNN(**vectors, dt=DT, activation=lrnn.Tanh())


NET = network()


def outputs(x):
    """y of one trial."""
    return np.asarray(NET.rollout(jnp.asarray(x)))


class TestLoss:
    def test_squared_errors_of_trials_of_different_length(self):
        errors = [np.sum((outputs(x) - y) ** 2, -1) for x, y in zip(INPUTS, TARGETS)]
        task = lrnn.TrialSet(INPUTS, TARGETS, dt=DT)
        assert abs(task.loss(NET) - np.mean(np.concatenate(errors))) < ROUNDING
        masked = lrnn.TrialSet(INPUTS, TARGETS, dt=DT, mask=MASKS)
        m = np.concatenate(MASKS)
        assert abs(masked.loss(NET) - m @ np.concatenate(errors) / m.sum()) < ROUNDING

    def test_cross_entropy_of_class_numbers_and_of_probabilities(self):
        terms = [
            -scipy.special.log_softmax(outputs(x), axis=-1)[np.arange(len(c)), c]
            for x, c in zip(INPUTS, CLASSES)
        ]
        expected = np.mean(np.concatenate(terms))
        task = lrnn.TrialSet(INPUTS, CLASSES, dt=DT, loss=CrossEntropy(3))
        assert abs(task.loss(NET) - expected) < ROUNDING
        soft = [np.eye(3)[c] for c in CLASSES]
        task = lrnn.TrialSet(INPUTS, soft, dt=DT, loss=CrossEntropy(3))
        assert abs(task.loss(NET) - expected) < ROUNDING

    def test_one_channel_needs_no_axis_of_its_own(self):
        x, y = RNG.normal(size=(2, 4, 6))
        flat, full = lrnn.TrialSet(x, y, dt=DT), lrnn.TrialSet(x[..., None], y[..., None], dt=DT)
        assert flat.channels == full.channels == (1, 1)
        assert all(map(np.array_equal, jax.tree.leaves(flat), jax.tree.leaves(full)))


class TestMinibatches:
    def test_no_trial_comes_twice_and_each_comes_as_often_as_others(self):
        numbers = np.arange(10.0)[:, None] * np.ones((1, 3))
        task = lrnn.TrialSet(numbers, numbers, dt=DT, batch=4)
        keys = jr.split(jr.key(0), 500)
        drawn = np.asarray(jax.vmap(lambda key: task.sample(key).inputs[:, 0, 0])(keys)).astype(int)
        assert all(len(set(batch)) == 4 for batch in drawn.tolist())
        counts = np.bincount(drawn.ravel(), minlength=10)
        # 500 draws with probability 0.4: five standard deviations of 11
        assert np.abs(counts - 200).max() < 55

    def test_all_trials_in_every_epoch_need_no_key(self):
        task = lrnn.TrialSet(INPUTS, TARGETS, dt=DT)
        curve = lrnn.learn(NET, task, lrnn.Descent(0.01), epochs=2)
        assert curve.loss[0] == task.loss(NET) > curve.loss[-1]


class TestHeldOut:
    def test_their_loss_is_kept_and_they_are_not_learned_from(self):
        task = lrnn.TrialSet(INPUTS, TARGETS, dt=DT, held_out=0.25)
        seen = lrnn.TrialSet(INPUTS[:3], TARGETS[:3], dt=DT)
        left = lrnn.TrialSet(INPUTS[3:], TARGETS[3:], dt=DT)
        curve = lrnn.learn(NET, task, lrnn.Descent(0.01), epochs=4, record=2)
        assert (
            np.abs(
                curve.loss - lrnn.learn(NET, seen, lrnn.Descent(0.01), epochs=4, record=2).loss
            ).max()
            < ROUNDING
        )
        assert curve.held_out.shape == curve.loss.shape == (3,)
        assert abs(curve.held_out[0] - left.loss(NET)) < ROUNDING
        assert abs(curve.held_out[-1] - left.loss(curve.model)) < ROUNDING

    def test_a_task_without_them_has_no_such_curve(self):
        curve = lrnn.learn(NET, lrnn.TrialSet(INPUTS, TARGETS, dt=DT), lrnn.Descent(0.1), epochs=1)
        assert curve.held_out is None


class TestSources:
    def test_a_file_and_a_dataset_are_the_arrays(self, tmp_path):
        xr = pytest.importorskip("xarray")
        x, y = np.stack(INPUTS[1::2]), np.stack(TARGETS[1::2])
        task = lrnn.TrialSet(x, y, dt=DT)
        np.savez(tmp_path / "trials.npz", inputs=x, target=y, dt=DT)
        dims = ("trial", "time")
        data = xr.Dataset({"inputs": ((*dims, "input"), x), "target": ((*dims, "output"), y)})
        for found in (
            lrnn.TrialSet.load(tmp_path / "trials.npz"),
            lrnn.TrialSet.load(data, dt=DT),
            lrnn.TrialSet.load({"inputs": x, "target": y, "dt": 0.5}, dt=DT),
        ):
            assert all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(task)))

    def test_what_is_missing_is_named(self):
        with pytest.raises(ValueError, match=r"lacks target and has inputs, labels"):
            lrnn.TrialSet.load({"inputs": np.ones((2, 3)), "labels": np.ones(2)}, dt=DT)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": TARGETS[:3]}, r"hold the same trials; got 4, 3 and 4"),
        (
            {"target": [y[:-1] for y in TARGETS]},
            r"as many steps.*trial 0 has inputs \(5, 2\), target \(4, 3\)",
        ),
        ({"inputs": [*INPUTS[:3], INPUTS[3][:, :1]]}, r"trial 3 has inputs \(7, 1\)"),
        (
            {"inputs": [np.full((5, 2), np.nan), *INPUTS[1:]]},
            r"`inputs`.*trial 0.*not finite everywhere",
        ),
        ({"inputs": []}, "`inputs` must hold trials"),
        ({"target": [y + 1j for y in TARGETS]}, r"`target`.*real numbers.*complex128"),
        ({"mask": [-m for m in MASKS]}, "a mask ≥ 0"),
        ({"mask": [0 * m for m in MASKS]}, "`mask` is zero in all trials"),
        ({"batch": 5}, "`batch` must be a whole number from 1 to 4; got 5"),
        ({"held_out": 1.0}, r"`held_out` must lie in \[0, 1\); got 1\.0"),
        (
            {"loss": CrossEntropy(3), "target": [c + 1 for c in CLASSES]},
            "class numbers from 0 to 2; got .* to 3",
        ),
        ({"dt": 2.0}, "`dt`.*must lie in"),
    ],
)
def test_what_is_wrong_is_named(changes, expected):
    with pytest.raises(ValueError, match=expected):
        lrnn.TrialSet(**{"inputs": INPUTS, "target": TARGETS, "dt": DT} | changes)


def test_a_criterion_needs_two_classes():
    with pytest.raises(ValueError, match="`classes` must be a whole number of at least 2; got 1"):
        CrossEntropy(1)
