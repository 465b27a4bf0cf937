"""What theory predicts of experiments: when curves part, and what is saved on relearning."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.inference import Loss, Outputs
from lrnn_jax.overlaps import random_overlaps

TASK = lrnn.ExponentialFilter(0.2, 0.05, 60)
OTHER = lrnn.ExponentialFilter(1.0, 0.05, 60)
METHOD = lrnn.Descent(2e-2)
Q = random_overlaps(key=jr.key(1))
Q = lrnn.Overlaps(Q.gram + 0.3 * jnp.eye(4), Q.roles)
RED = lrnn.ReducedRNN(Q, dt=0.05)


def test_matched_networks_part_while_they_learn(tmp_path):
    """d′ of 50 neurons under autodiff, by NumPy; matched before learning, and the file of it."""
    twin = lrnn.degenerate_twin(RED, uu=2 * float(Q["uu"]))
    pairs = {"network": (RED, METHOD), "twin": (twin, METHOD)}
    way = {"epochs": (0, 4, 20), "observe": Outputs(every=6), "noise": 0.02}
    found = inference.discriminability(TASK, pairs, **way)
    nets = [
        lrnn.LowRankRNN.with_overlaps(q, 50, dt=0.05, key=jr.key(2)) for q in (Q, twin.overlaps)
    ]
    ys = []
    for net in nets:
        curve = lrnn.learn(net, TASK, METHOD, epochs=20, watch=lambda m: TASK.output(m)[0, ::6, 0])
        ys.append(np.asarray(curve.watched)[[0, 4, 20]])
    squares = np.sum((ys[0] - ys[1]) ** 2, axis=1) / 0.02**2
    between = np.asarray(found.between("network", "twin"))
    np.testing.assert_allclose(between, np.sqrt(np.cumsum(squares)), rtol=1e-8, atol=1e-8)
    assert between[0] < 1e-8 < 3 < between[2]
    assert found.told("twin", "network") == 20
    assert found.told("twin", "network", 1e9) is None
    found.save(tmp_path / "pairs.npz")
    again = inference.Discriminability.load(tmp_path / "pairs.npz")
    assert (again.names, again.epochs) == (found.names, found.epochs)


def test_rules_of_learning_part_from_the_same_network():
    """One network under two rules and with momentum; noise by epoch."""
    net = lrnn.LowRankRNN.with_overlaps(Q, 30, dt=0.05, key=jr.key(2))
    ways = {
        "gradient": (net, METHOD),
        "RFLO": (net, lrnn.Descent(2e-2, rule=lrnn.RFLO(key=jr.key(3)))),
        "momentum": (net, lrnn.Descent(2e-2, 0.9)),
    }
    sigma = np.array([0.01, 0.02, 0.04])[:, None]
    found = inference.discriminability(TASK, ways, epochs=(0, 5, 20), observe=Loss(), noise=sigma)
    losses = [lrnn.learn(*pair[:1], TASK, pair[1], epochs=20).loss for pair in ways.values()]
    seen = np.array([np.asarray(loss)[[0, 5, 20]] for loss in losses]) / sigma[:, 0]
    expected = np.sqrt(np.cumsum((seen[:, None] - seen[None]) ** 2, axis=-1))
    np.testing.assert_allclose(found.dprime, np.moveaxis(expected, -1, 0), atol=1e-9)
    assert float(found.between("gradient", "momentum")[-1]) > 3
    assert "gradient | RFLO 0 →" in str(found)


@pytest.mark.parametrize(
    ("alternatives", "noise", "message"),
    [
        ({"one": (RED, METHOD)}, 0.1, "`alternatives` are at least two"),
        ({"a": RED, "b": RED}, 0.1, "`alternatives` are pairs of a network and a method"),
        ({"a": (RED, METHOD), "b": (RED, METHOD)}, -0.1, "`noise`"),
        ({"a": (RED, METHOD), "b": (RED, METHOD)}, np.full(3, 0.1), "`noise` is one number or"),
    ],
)
def test_what_cannot_be_compared_is_refused(alternatives, noise, message):
    way = {"epochs": (0, 2), "observe": Loss(), "noise": noise}
    with pytest.raises(ValueError, match=message):
        inference.discriminability(TASK, alternatives, **way)


def test_what_is_saved_on_relearning_is_that_of_a_network_which_learns_again():
    """50 neurons by autodiff go through both histories; log L interpolated by NumPy."""
    history, most = (0, 6, 30), 400
    way = {"history": history, "epochs": most, "criterion": 0.05}
    found = inference.savings(RED, TASK, OTHER, METHOD, **way)
    net = lrnn.LowRankRNN.with_overlaps(Q, 50, dt=0.05, key=jr.key(2))
    once = lrnn.learn(net, TASK, METHOD, epochs=most)
    level = 0.05 * float(once.loss[0])

    def until(loss):
        log = np.log(np.asarray(loss)) - np.log(level)
        n = int(np.flatnonzero(log <= 0)[0])
        return 0.0 if n == 0 else n - 1 + log[n - 1] / (log[n - 1] - log[n])

    first = until(once.loss)
    np.testing.assert_allclose(found.first, first, rtol=1e-9)
    learned = lrnn.learn(net, TASK, METHOD, epochs=int(np.ceil(first))).model
    for i, h in enumerate(history):
        for start, counted in ((learned, found.again), (net, found.transfer)):
            between = lrnn.learn(start, OTHER, METHOD, epochs=h).model
            expected = until(lrnn.learn(between, TASK, METHOD, epochs=most).loss)
            np.testing.assert_allclose(counted[i], expected, rtol=1e-8, atol=1e-9)
    assert float(found.savings[0]) == 1.0
    assert float(found.transfer[0]) == pytest.approx(float(found.first), rel=1e-12)
    assert 0 < float(found.savings[2]) < float(found.savings[1]) < 1
    with pytest.raises(ValueError, match="`epochs` must be enough"):
        inference.savings(RED, TASK, OTHER, METHOD, history=(0, 5), epochs=3)
