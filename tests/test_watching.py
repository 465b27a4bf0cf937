"""`learn(watch=…)` keeps what the user looks at; `Flow` takes fixed data."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn


def norms(model):
    q = model.overlaps
    return {"zm": q["zm"], "squares": jnp.diagonal(q.gram), "large": q["uu"] > 0.5}


@pytest.mark.parametrize("method", [lrnn.Descent(0.05), lrnn.Flow(0.05)], ids=["descent", "flow"])
@pytest.mark.parametrize("full", [True, False])
def test_what_is_watched_is_kept_at_every_recorded_epoch(net, task, method, full):
    model = net if full else lrnn.reduce(net)
    curve = lrnn.learn(model, task, method, epochs=10, record=3, watch=norms)
    assert curve.watched["zm"].shape == (5,)
    assert curve.watched["large"].dtype == bool
    assert jnp.max(jnp.abs(curve.watched["zm"] - curve["zm"])) < 1e-14
    diagonals = jnp.diagonal(curve.gram, axis1=1, axis2=2)
    assert jnp.max(jnp.abs(curve.watched["squares"] - diagonals)) < 1e-14
    assert jnp.abs(diagonals[-1] - diagonals[0]).max() > 1e-3


def test_after_divergence_nothing_is_watched(net, task):
    curve = lrnn.learn(
        lrnn.reduce(net), task, lrnn.Descent(1e3), epochs=6, watch=norms, throw=False
    )
    assert curve.stopped >= 0
    assert jnp.isnan(curve.watched["squares"][-1]).all()
    assert not curve.watched["large"][-1]


def test_flow_on_fixed_data_is_the_limit_of_descent_on_them(net):
    noisy = lrnn.ExponentialFilter(0.2, 0.05, 100, label_noise=0.3)
    batch = noisy.sample(jr.key(3))[None]
    reduced = lrnn.reduce(net)
    flow = lrnn.learn(reduced, noisy, lrnn.Flow(0.05), epochs=20, batches=batch)
    gaps = []
    for factor in (1, 2, 4):
        data = jnp.repeat(batch, 20 * factor, axis=0)
        curve = lrnn.learn(
            reduced, noisy, lrnn.Descent(0.05 / factor), epochs=20 * factor, batches=data
        )
        gaps.append(float(jnp.max(jnp.abs(curve.gram[::factor] - flow.gram))))
    # first order in the learning rate: each halving halves the gap
    assert np.allclose(np.divide(gaps[:-1], gaps[1:]), 2, atol=0.3)
    two = jnp.repeat(batch, 2, axis=0)
    with pytest.raises(ValueError, match="leading axis of length 1"):
        lrnn.learn(reduced, noisy, lrnn.Flow(0.05), epochs=20, batches=two)


def test_watching_goes_through_vmap(net, task):
    def run(lr):
        method = lrnn.Descent(lr)
        return lrnn.learn(lrnn.reduce(net), task, method, epochs=4, watch=norms, throw=False)

    curves = jax.vmap(run)(jnp.array([0.01, 0.05]))
    assert curves.watched["zm"].shape == (2, 5)
