"""Nonlinear networks at full size: `pytest -m slow -n 0 -s tests/test_nonlinear_full_size.py`."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn

pytestmark = pytest.mark.slow

OVERLAPS = lrnn.Overlaps.from_gram(
    np.array([[1, 0.2, 0.3, 0.3], [0.2, 1, 0.3, 0.5], [0.3, 0.3, 1, 0.2], [0.3, 0.5, 0.2, 1]])
)
TASK = lrnn.FlipFlop(dt=0.1, steps=200, batch=10, wait=(2.0, 5.0), input_amp=2.0, target_amp=0.7)
ERF = {"dt": 0.1, "activation": lrnn.Erf()}


def learned(model):
    """Q after 1500 epochs of strong learning; prints it."""
    curve = lrnn.learn(model, TASK, lrnn.Descent(0.2), epochs=1500, key=jr.key(1), record=1500)
    last = {name: round(float(curve[name][-1]), 4) for name in ("zz", "vv", "mm", "uu")}
    line = f"{type(model).__name__} of {model.state_size}: {last}, loss {float(curve.loss[-1]):.2g}"
    if isinstance(model, lrnn.LowRankRNN):
        found = lrnn.gaussianity(curve.model)
        kurtosis = [round(float(x), 2) for x in found.kurtosis]
        line += f", kurtosis {kurtosis}, joint {found.joint:.2f} (chance {found.chance:.2f})"
    print(line, flush=True)
    return curve.gram[-1]


def apart(a, b):
    """‖a − b‖/‖b‖ in the Frobenius norm."""
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def nodes(count, seed):
    return lrnn.population(OVERLAPS, count, key=jr.key(seed), **ERF)


def test_strong_learning_leaves_the_closure_behind_at_any_width():
    print()
    limit = learned(nodes(4096, 0))
    closure = apart(learned(lrnn.ReducedRNN(OVERLAPS, **ERF)), limit)
    default = [apart(learned(nodes(192, seed)), limit) for seed in range(4)]
    finer = [apart(learned(nodes(1024, seed)), limit) for seed in range(2)]
    wide = {
        n: apart(learned(lrnn.LowRankRNN.with_overlaps(OVERLAPS, n, key=jr.key(0), **ERF)), limit)
        for n in (250, 1000, 4000)
    }
    print(f"relative distance of Q to 4096 nodes: closure {closure:.2%}; 192 nodes {default}")
    print(f"1024 nodes {finer}; networks {wide}")
    assert max(default) < 0.01
    assert max(finer) < 0.003
    assert closure > 2 * wide[4000]
    assert wide[4000] < wide[250]
