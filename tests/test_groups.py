"""Many at once, in groups: what `vmap` gives, and no small product over too many."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax.sweeps import in_groups

MATRIX = jnp.arange(64.0).reshape(8, 8) / 64


def product(x):
    """Entries of a product of 8×8 matrices; before its sum it has 8³ numbers."""
    return {"y": jnp.sum((x * MATRIX)[:, :, None] * jnp.sin(x * MATRIX)[None], axis=1)}


def loops(program):
    return [line for line in program.eqns if line.primitive.name == "scan"]


@pytest.mark.parametrize("count", [1, 6, 16, 17, 41, 100])
def test_all_are_there_once(count):
    x = jnp.linspace(0.1, 1, count)
    found = jax.jit(lambda x: in_groups(product, x))(x)
    assert found["y"].shape == (count, 8, 8)
    for i in range(count):
        assert np.allclose(found["y"][i], (x[i] * MATRIX) @ jnp.sin(x[i] * MATRIX), rtol=1e-13)


def test_products_over_a_group_stay_below_what_xla_sums_at_once():
    def rank_2(x, a):
        return jnp.sum(x * a[:, :, None] * a[None], axis=1)

    many = jnp.zeros(500), jnp.zeros((500, 3, 3))
    (loop,) = loops(jax.make_jaxpr(lambda *x: in_groups(rank_2, *x))(*many).jaxpr)
    size = loop.invars[-1].aval.shape[1]
    assert loop.params["length"] * size >= 500
    assert 16_384 < 8 * 27 * size < 32_768


def test_groups_of_anything_have_an_end():
    def wide(count):
        return loops(jax.make_jaxpr(lambda x: in_groups(jnp.sin, x))(jnp.zeros(count)).jaxpr)

    assert not wide(256)
    assert [loop.params["length"] for loop in wide(600)] == [3]


def test_networks_side_by_side_are_those_alone():
    """Pairs of trees and keys, as in `many_pairs`; a rate from outside of what is mapped."""
    loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), 20)

    def reduced(key):
        return lrnn.reduce(lrnn.LowRankRNN.normalised(40, dt=1.0, key=key))

    def one(start, key, lr):
        method = lrnn.Descent(lr * (1 + jr.uniform(key)), clip=1.0)
        return lrnn.learn(start, loop, method, epochs=5, throw=False).loss

    keys = jr.split(jr.key(0), 50)
    starts = eqx.filter_vmap(reduced)(keys)
    run = jax.jit(lambda lr: in_groups(lambda start, key: one(start, key, lr), starts, keys))
    found = run(1e-3)
    assert loops(jax.make_jaxpr(run)(1e-3).jaxpr.eqns[0].params["jaxpr"].jaxpr)  # 512 B each
    for i in (0, 24, 25, 49):
        alone = one(reduced(keys[i]), keys[i], 1e-3)
        assert np.allclose(found[i], alone, rtol=1e-12)


@pytest.mark.parametrize("xs", [(), (1.0,), (np.ones(3), np.ones(4)), ({"a": np.ones(())},)])
def test_first_axes_must_be_there_and_equal(xs):
    with pytest.raises(ValueError, match="equally long first axes; got shapes"):
        in_groups(lambda *x: x, *xs)
