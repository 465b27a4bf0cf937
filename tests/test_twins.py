"""Networks with given overlaps, and twins that compute the same but remember differently."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrnn_jax as lrnn
from lrnn_jax.networks import vectors_with_overlaps
from lrnn_jax.overlaps import UnknownOverlap, gram_rank, is_realisable, reachable_interval

# Rounding of sums of a few products of order-1 numbers
ROUNDING = 1e-13


def overlaps(seed=0):
    z, v, m, u = jr.normal(jr.key(seed), (4, 7))
    return lrnn.Overlaps.from_vectors(z=z, v=v, m=m, u=u, scale=7)


def gap(a, b):
    return float(jnp.max(jnp.abs(a - b)))


# --- vectors with given overlaps --------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 50])
def test_vectors_have_the_given_overlaps(n):
    q = overlaps(3)
    theta = vectors_with_overlaps(q, n, scale=n, key=jr.key(1))
    assert theta.shape == (n, 4)
    assert gap(theta.T @ theta / n, q.gram) < ROUNDING
    net = lrnn.LowRankRNN.with_overlaps(q, n, dt=0.1, key=jr.key(1), frozen=("m",))
    assert gap(net.overlaps.gram, q.gram) < ROUNDING
    assert net.frozen == ("m",)
    assert gap(net.vectors, theta) < ROUNDING
    other = lrnn.LowRankRNN.with_overlaps(q, n, 1.0, dt=0.1, key=jr.key(2))
    assert gap(other.overlaps.gram, q.gram) < ROUNDING
    assert gap(other.vectors * np.sqrt(n), theta) > 0.1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-2, 2), min_size=8, max_size=8))
def test_fewer_neurons_than_vectors_suffice_at_low_rank(values):
    theta = jnp.array(values).reshape(2, 4)
    q = lrnn.Overlaps.from_gram(theta.T @ theta)
    new = vectors_with_overlaps(q, 2, scale=2.0, key=jr.key(1))
    # the root of an eigenvalue that is rounding (1e-16 × 30) is up to 1e-7, and is left out
    assert gap(new.T @ new / 2.0, q.gram) < 1e-12


def test_fewer_neurons_than_the_rank_are_refused():
    theta = jr.normal(jr.key(0), (3, 6))
    q = lrnn.Overlaps.from_gram(theta.T @ theta, rank=2)
    assert gram_rank(q.gram) == 3
    with pytest.raises(ValueError, match=r"span 3 dimensions.*at least 3 neurons; got n = 2"):
        lrnn.LowRankRNN.with_overlaps(q, 2, dt=0.1, key=jr.key(0))
    net = lrnn.LowRankRNN.with_overlaps(q, 3, dt=0.1, key=jr.key(0))
    assert gap(net.overlaps.gram, q.gram) < ROUNDING


# --- degenerate twins -------------------------------------------------------------------------

NEW = {"uu": 2.048, "mu": 0.4, "zz": 1.5}


@pytest.mark.parametrize("kind", ["overlaps", "reduction", "network"])
def test_twin_computes_the_same_and_learns_differently(kind):
    net = lrnn.LowRankRNN.normalised(n=30, dt=0.1, key=jr.key(0))
    model = {"network": net, "reduction": lrnn.reduce(net), "overlaps": net.overlaps}[kind]
    twin = lrnn.degenerate_twin(model, **NEW)
    assert type(twin) is type(model)
    q = twin if kind == "overlaps" else twin.overlaps
    assert all(abs(q[name] - value) < ROUNDING for name, value in NEW.items())
    for name in set(overlaps().names) - set(NEW):
        assert abs(q[name] - net.overlaps[name]) < ROUNDING
    if kind == "overlaps":
        return
    x = jr.normal(jr.key(1), (40, 1))
    assert gap(twin.rollout(x), model.rollout(x)) < ROUNDING
    task = lrnn.ExponentialFilter(0.2, 0.1, 20)
    curves = [lrnn.learn(one, task, lrnn.Descent(0.05), epochs=20) for one in (model, twin)]
    assert abs(curves[0].loss[0] - curves[1].loss[0]) < ROUNDING
    assert gap(curves[0].loss, curves[1].loss) > 1e-3


def test_twin_of_a_network_is_the_nearest_one():
    """Optimal transport: Θ' = ΘR with symmetric R; no rotation of the neurons comes nearer."""
    net = lrnn.LowRankRNN.normalised(n=30, dt=0.1, key=jr.key(0))
    twin = lrnn.degenerate_twin(net, **NEW)
    r = jnp.linalg.lstsq(net.vectors, twin.vectors)[0]
    assert gap(r, r.T) < 1e-12
    assert jnp.linalg.eigvalsh((r + r.T) / 2)[0] > 0
    same = lrnn.degenerate_twin(net, uu=net.overlaps["uu"])
    assert gap(same.vectors, net.vectors) < 1e-12


def interval(q, i, j):
    found = reachable_interval(q.gram, i, j)
    assert found is not None
    return found


def test_unreachable_twins_name_the_interval_whose_ends_are_the_boundary():
    q = overlaps(2)
    for name, (i, j) in zip(q.names, q.roles.pairs):
        low, high = interval(q, i, j)
        assert low < q[name] < high
        width = (high - low) if np.isfinite(high) else low
        ends = [(low, -1)] + ([(high, 1)] if np.isfinite(high) else [])
        assert (high == np.inf) == (i == j)
        for end, outward in ends:
            at = lambda x, i=i, j=j: q.gram.at[i, j].set(x).at[j, i].set(x)  # noqa: E731
            smallest = jnp.linalg.eigvalsh(at(end))[0]
            assert abs(smallest) < 1e-12, name
            assert is_realisable(at(end - 1e-6 * outward * width)), name
            assert not is_realisable(at(end + 1e-6 * outward * width)), name


def test_error_of_an_unreachable_twin_reads_well():
    q = overlaps(2)
    low, high = interval(q, 2, 3)
    with pytest.raises(ValueError, match=rf"mu can reach \[{low:.6g}, {high:.6g}\] with the other"):
        lrnn.degenerate_twin(q, mu=5.0)
    with pytest.raises(ValueError, match=r"mu can reach .* with uu as asked"):
        lrnn.degenerate_twin(q, mu=5.0, uu=float(q["uu"]) + 0.1)
    with pytest.raises(ValueError, match=r"No value of mu is reachable with uu as asked"):
        lrnn.degenerate_twin(q, mu=0.0, uu=0.0)


def test_twins_refuse_visible_and_unknown_names():
    with pytest.raises(ValueError, match=r"`vu` is loss-visible.*Invisible here: mu, zv, mm, uu"):
        lrnn.degenerate_twin(overlaps(), vu=0.3)
    with pytest.raises(UnknownOverlap, match="'ux'"):
        lrnn.degenerate_twin(overlaps(), ux=0.3)


def test_dependent_vectors_have_no_nearest_twin_but_a_way_out():
    x = jr.normal(jr.key(0), (20, 2))
    net = lrnn.LowRankRNN(x[:, 0], x[:, 1], x[:, 0], x[:, 1], dt=0.1)
    with pytest.raises(ValueError, match=r"linearly dependent.*with_overlaps"):
        lrnn.degenerate_twin(net, uu=float(net.overlaps["uu"]) + 1)
    q = lrnn.degenerate_twin(net.overlaps, uu=float(net.overlaps["uu"]) + 1)
    twin = lrnn.LowRankRNN.with_overlaps(q, 20, dt=0.1, key=jr.key(1))
    assert gap(twin.overlaps.gram, q.gram) < ROUNDING


def test_twins_inside_jit_and_of_batches():
    q = overlaps()
    batch = lrnn.Overlaps(jnp.stack([q.gram, 1.1 * q.gram]), q.roles)
    twins = lrnn.degenerate_twin(batch, uu=float(q["uu"]) + 1)
    assert jnp.array_equal(twins["uu"], jnp.full(2, q["uu"] + 1))
    value = jax.jit(lambda x: lrnn.degenerate_twin(q, uu=x)["uu"])(q["uu"] + 1)
    assert value == q["uu"] + 1
    with pytest.raises(ValueError, match="At least one member of the batch"):
        lrnn.degenerate_twin(batch, uu=0.0)
