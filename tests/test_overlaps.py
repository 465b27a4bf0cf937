"""Overlaps: names, realisability, and what losses see of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrnn_jax as lrnn
from lrnn_jax.overlaps import (
    Roles,
    UnknownOverlap,
    check_gram,
    from_vector,
    is_realisable,
    root,
)

RANK_ONE = ("zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz")
# Rounding of sums of a few products of order-1 numbers
ROUNDING = 1e-13
ONE = np.ones(1)


def overlaps(seed=0, n=7, **shape):
    roles = Roles(**shape)
    theta = jr.normal(jr.key(seed), (n, roles.size))
    parts = {f: theta[:, s] for f, s in roles.slices.items()}
    return lrnn.Overlaps.from_vectors(**parts, scale=n)


def gap(a, b):
    return float(jnp.max(jnp.abs(a - b)))


# --- names ------------------------------------------------------------------------------------


def test_rank_one_names_in_order():
    assert overlaps().names == RANK_ONE
    assert Roles().labels == ("z", "v", "m", "u")


def test_rank_two_has_twenty_one_names():
    names = overlaps(rank=2).names
    assert len(names) == len(set(names)) == 21
    assert names[:9] == ("zm", "zu1", "zu2", "v1m", "v1u1", "v1u2", "v2m", "v2u1", "v2u2")
    assert names[-6:] == ("mm", "u1u1", "u2u2", "v1v1", "v2v2", "zz")


@pytest.mark.parametrize("shape", [{}, {"rank": 2}, {"rank": 3, "inputs": 2, "outputs": 3}])
def test_every_name_reads_its_entry_in_either_order(shape):
    q = overlaps(n=12, **shape)
    k = q.roles.size
    assert len(q.names) == k * (k + 1) // 2
    for name, (i, j), value in zip(q.names, q.roles.pairs, q.vector()):
        assert q[name] == q.gram[i, j] == value
        first, second = q.roles.labels[i], q.roles.labels[j]
        assert q[second + first] == value
    assert len({(i, j) for i, j in q.roles.pairs} | {(j, i) for i, j in q.roles.pairs}) == k * k


def test_latex_names():
    assert Roles().latex[3] == r"$\sigma_{vu}$"
    assert Roles(rank=2).latex[5] == r"$\sigma_{v_{1}u_{2}}$"
    assert len(Roles(rank=2).latex) == 21


def test_blocks():
    q = overlaps(rank=2, inputs=2, outputs=3, n=12)
    assert q.S.shape == (5, 4)
    assert q.R.shape == (4, 4)
    assert q.P.shape == (5, 5)
    assert jnp.array_equal(jnp.block([[q.P, q.S], [q.S.T, q.R]]), q.gram)
    assert jnp.array_equal(q.block("zv", "mu"), q.S)
    assert jnp.array_equal(q.block("mu", "mu"), q.R)
    assert jnp.array_equal(q["vu"], q.block("v", "u"))
    assert jnp.array_equal(q["uv"], q["vu"].T)
    assert jnp.array_equal(q.block("u2", "z")[0], q["u2z"][0])
    assert overlaps()["v1u1"] == overlaps()["vu"]


def test_unknown_names_come_with_suggestions():
    q = overlaps(rank=2)
    with pytest.raises(UnknownOverlap, match=r"'v1u3'.*rank 2.*Did you mean 'v1u[12]'.*Known: zm"):
        q["v1u3"]
    with pytest.raises(KeyError, match="Did you mean"):
        overlaps()["vx"]
    with pytest.raises(UnknownOverlap, match=r"'vu' is a block.*'v1u1', 'v1u2', 'v2u1', 'v2u2'"):
        q.replace(vu=0.1)
    with pytest.raises(UnknownOverlap, match=r"loading vector 'u3'.*Did you mean .*'u[12]'"):
        q.block("u3", "m")


def test_text_says_what_it_is():
    text = str(overlaps())
    assert text.startswith("Overlaps of rank 1, 1 input, 1 output: zm ")
    assert "uu" in text
    batch = lrnn.Overlaps(jnp.ones((3, 4, 4)), Roles())
    assert str(batch) == "Overlaps of rank 1, 1 input, 1 output, batch (3,)"


# --- construction -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-2, 2), min_size=20, max_size=20))
def test_vectors_gram_values_and_vector_round_trip(values):
    theta = np.array(values).reshape(5, 4)
    z, v, m, u = theta.T
    q = lrnn.Overlaps.from_vectors(z=z, v=v, m=m, u=u, scale=5)
    assert np.allclose(q.gram, theta.T @ theta / 5, rtol=0, atol=ROUNDING)
    for other in (
        lrnn.Overlaps.from_gram(q.gram),
        lrnn.Overlaps.from_values(**dict(zip(q.names, q.vector()))),
        lrnn.Overlaps(from_vector(q.vector(), q.roles), q.roles),
    ):
        assert np.array_equal(other.gram, q.gram)
        assert other.roles == q.roles


@pytest.mark.parametrize("shape", [{}, {"rank": 2}, {"inputs": 2, "outputs": 3}])
def test_from_visible_leaves_the_least_invisible_part(shape):
    full = overlaps(2, n=9, **shape)
    left = full.roles.left
    seen = {n: x for n, p, x in zip(full.names, full.roles.pairs, full.vector()) if max(p) >= left}
    small = lrnn.Overlaps.from_visible(**shape, **seen)
    assert gap(small.S, full.S) == gap(small.R, full.R) == 0
    # anything smaller is unrealisable: the range of Q is that of R, and P ≤ every other P
    assert int(jnp.linalg.matrix_rank(small.gram)) == len(full.R)
    assert jnp.linalg.eigvalsh(full.P - small.P).min() > 1e-3


def test_from_visible_says_what_is_missing_or_too_much():
    seen = {"zm": 0.5, "zu": 2.3, "vm": 2.0, "vu": 1.5, "mu": 1.6, "mm": 1.8, "uu": 2.2}
    with pytest.raises(ValueError, match="missing: uu"):
        lrnn.Overlaps.from_visible(**{n: x for n, x in seen.items() if n != "uu"})
    with pytest.raises(ValueError, match="leave out zz"):
        lrnn.Overlaps.from_visible(**seen, zz=1.0)
    with pytest.raises(ValueError, match="positive semidefinite"):
        lrnn.Overlaps.from_visible(**{**seen, "uu": 0.1})


def test_columns_and_plain_vectors_are_the_same():
    x = np.arange(12.0).reshape(3, 4)
    flat = lrnn.Overlaps.from_vectors(z=x[:, 0], v=x[:, 1], m=x[:, 2], u=x[:, 3], scale=1)
    columns = lrnn.Overlaps.from_vectors(z=x[:, :1], v=x[:, 1:2], m=x[:, 2:3], u=x[:, 3:], scale=1)
    assert jnp.array_equal(flat.gram, columns.gram)
    integers = lrnn.Overlaps.from_gram(np.eye(4, dtype=int))
    assert integers.gram.dtype == jnp.float64


def test_shape_errors_name_the_arrays():
    x = np.ones(5)
    with pytest.raises(ValueError, match=r"v \(4, 1\)"):
        lrnn.Overlaps.from_vectors(z=x, v=x[:4], m=x, u=x, scale=1)
    with pytest.raises(ValueError, match=r"u \(5, 2\)"):
        lrnn.Overlaps.from_vectors(z=x, v=x, m=x, u=np.ones((5, 2)), scale=1)
    with pytest.raises(ValueError, match=r"`m`.*shape \(1, 5, 1\)"):
        lrnn.Overlaps.from_vectors(z=x, v=x, m=np.ones((1, 5, 1)), u=x, scale=1)
    with pytest.raises(ValueError, match=r"rank 2, 1 input, 1 output, has .*\(6, 6\).*\(4, 4\)"):
        lrnn.Overlaps.from_gram(np.eye(4), rank=2)
    with pytest.raises(ValueError, match="rank"):
        lrnn.Overlaps.from_gram(np.eye(2), rank=0)
    with pytest.raises(ValueError, match=r"missing: uu, zz"):
        lrnn.Overlaps.from_values(**{n: 0.1 for n in RANK_ONE if n not in ("uu", "zz")})


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_scale_must_be_positive_and_finite(scale):
    x = np.ones(5)
    with pytest.raises(ValueError, match="scale"):
        lrnn.Overlaps.from_vectors(z=x, v=x, m=x, u=x, scale=scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_must_be_finite(bad):
    gram = np.eye(4)
    gram[1, 2] = gram[2, 1] = bad
    with pytest.raises(ValueError, match=r"`matrix` must be finite, but entry \(1, 2\)"):
        lrnn.Overlaps.from_gram(gram)
    with pytest.raises(ValueError, match=r"`u` must be finite"):
        lrnn.Overlaps.from_vectors(z=ONE, v=ONE, m=ONE, u=bad * ONE, scale=1)


def test_indefinite_matrices_are_refused_with_their_smallest_eigenvalue():
    gram = np.eye(4)
    gram[0, 3] = gram[3, 0] = 1.25  # eigenvalues 1 ± 1.25
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.25"):
        lrnn.Overlaps.from_gram(gram)
    batch = np.stack([np.eye(4), gram])
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.25"):
        lrnn.Overlaps.from_gram(batch)
    assert is_realisable(jnp.asarray(batch)).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -"):
        overlaps().replace(zm=10.0)


def test_asymmetric_matrices_are_refused_with_the_entry():
    gram = np.eye(4)
    gram[1, 2] = 0.5
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(2, 1\) differ by 0\.5"):
        lrnn.Overlaps.from_gram(gram)


def test_rounding_is_forgiven():
    theta = np.random.default_rng(0).normal(size=(2, 4))  # rank 2: two eigenvalues are rounding
    lrnn.Overlaps.from_gram(theta.T @ theta)
    lrnn.Overlaps.from_gram((1e6 * theta.T @ theta).astype(np.float32))


def test_inside_a_trace_realisability_is_checked_at_run_time():
    @eqx.filter_jit
    def vu(gram):
        return lrnn.Overlaps.from_gram(gram)["vu"]

    assert vu(jnp.eye(4)) == 0
    with pytest.raises(RuntimeError, match="positive semidefinite"):
        vu(jnp.eye(4).at[0, 3].set(2.0).at[3, 0].set(2.0)).block_until_ready()
    with pytest.raises(RuntimeError, match="symmetric"):
        vu(jnp.eye(4).at[0, 3].set(0.5)).block_until_ready()
    check_gram(jnp.eye(4))


def test_leading_axes_are_allowed_everywhere():
    single = [overlaps(seed) for seed in range(6)]
    batch = lrnn.Overlaps.from_gram(jnp.stack([q.gram for q in single]).reshape(2, 3, 4, 4))
    assert batch["vu"].shape == (2, 3)
    assert batch.S.shape == (2, 3, 2, 2)
    assert batch.vector().shape == (2, 3, 10)
    assert batch["vu"][1, 2] == single[5]["vu"]
    replaced = batch.replace(uu=9.0, vv=jnp.full((2, 3), 8.0))
    assert jnp.array_equal(replaced["uu"], jnp.full((2, 3), 9.0))
    assert jnp.array_equal(replaced["zm"], batch["zm"])
    a = root(batch.gram)
    assert gap(jnp.swapaxes(a, -1, -2) @ a, batch.gram) < ROUNDING


def test_independent_draws_are_unrealisable_in_13_percent_of_cases():
    """|N(0, 0.4)| off the diagonal and U(0.5, 2) on it: 13.47 % of 4 million draws (±0.02 %)."""
    draws, p = 20_000, 0.1347
    rng = np.random.default_rng(1)
    gram = np.zeros((draws, 4, 4))
    i, j = np.triu_indices(4, 1)
    gram[:, i, j] = gram[:, j, i] = np.abs(rng.normal(0, 0.4, (draws, 6)))
    gram[:, range(4), range(4)] = rng.uniform(0.5, 2, (draws, 4))
    share = 1 - float(jnp.mean(is_realisable(jnp.asarray(gram))))
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / draws)


# --- visibility -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [{}, {"rank": 2, "inputs": 2, "outputs": 3}])
def test_output_changes_with_visible_overlaps_and_not_with_invisible_ones(shape):
    q = overlaps(n=12, **shape)
    sees = lrnn.visible(q)
    x = jr.normal(jr.key(1), (6, q.roles.inputs))

    @jax.jit
    def output(gram):
        return lrnn.ReducedRNN(lrnn.Overlaps(gram, q.roles), dt=0.3).rollout(x)

    before = output(q.gram)
    assert set(sees.visible) | set(sees.invisible) == set(q.names)
    assert not set(sees.visible) & set(sees.invisible)
    for name, (i, j) in zip(q.names, q.roles.pairs):
        after = output(q.gram.at[i, j].add(0.1).at[j, i].set(q.gram[j, i] + 0.1))
        assert (gap(before, after) > 1e-5) == (name in sees.visible), name
        assert jnp.array_equal(before, after) == (name in sees.invisible), name


def test_numbers_of_visible_overlaps():
    assert lrnn.visible(overlaps()).visible == ("zm", "zu", "vm", "vu")
    assert len(lrnn.visible(overlaps(rank=2)).visible) == 9
    assert len(lrnn.visible(overlaps(rank=2)).invisible) == 12


def test_a_nonlinear_activation_sees_seven_overlaps_and_conserves_the_balance_only():
    net = lrnn.LowRankRNN(*np.eye(4), dt=0.1, activation=lrnn.Tanh())
    assert lrnn.visible(net).visible == ("zm", "zu", "vm", "vu", "mu", "mm", "uu")
    assert lrnn.visible(net).invisible == ("zv", "vv", "zz")
    conserved = lrnn.invariants(net)
    assert not conserved.spectrum_conserved
    assert conserved.balance_conserved
    assert "not linear" in conserved.why[0]


def test_projections_split_a_matrix():
    batch = jnp.stack([overlaps(seed).gram for seed in range(3)])
    sees = lrnn.visible(overlaps())
    seen, unseen = sees.project(batch), sees.project_invisible(batch)
    assert jnp.array_equal(seen + unseen, batch)
    assert jnp.array_equal(sees.project(seen), seen)
    assert jnp.max(jnp.abs(sees.project(unseen))) == 0
    q = lrnn.Overlaps(seen, Roles())
    assert jnp.max(jnp.abs(q.P)) == jnp.max(jnp.abs(q.R)) == 0
    assert jnp.array_equal(q.S, batch[:, :2, 2:])


def test_distance_by_visibility():
    q = overlaps()
    other = q.gram.at[0, 2].add(0.5).at[2, 0].add(0.5).at[3, 3].add(0.25)
    seen, unseen = lrnn.visible(q).distance(q.gram, other)
    assert abs(seen - 0.5) < ROUNDING
    assert abs(unseen - 0.25) < ROUNDING


def test_coupling_is_the_velocity_of_gradient_flow():
    """dq/dt = −C(q) ∂L/∂q, against a step of learning with a vanishing learning rate."""
    q = overlaps(rank=2)
    coupling = lrnn.coupling(q.roles)
    model, task = lrnn.ReducedRNN(q, dt=0.2), lrnn.OscillatingFilter(0.3, 2.0, 0.2, 6)

    def after(lr):
        return lrnn.learn(model, task, lrnn.Descent(lr), epochs=1).overlaps.vector()[-1]

    def loss(vector):
        return task.loss(model.with_gram(from_vector(vector, q.roles)))

    velocity = jax.jit(lambda: jax.jvp(after, (jnp.zeros(()),), (jnp.ones(()),))[1])()
    slope = jax.jit(jax.grad(loss))(q.vector())
    assert gap(velocity, -coupling.matrix(q.vector()) @ slope) < ROUNDING
    assert jnp.array_equal(slope != 0, jnp.asarray(coupling.drives))
    assert jnp.max(jnp.abs(velocity)) > 0.01
    assert lrnn.coupling(Roles()).entry("zm", "zm") == "mm + zz"
    assert lrnn.coupling(Roles()).entry("zm", "vu") == ""


def test_a_column_goes_before_its_family():
    """Whichever comes first; what is not named keeps its default."""
    roles = Roles(rank=2)
    for names in (("u", "u1"), ("u1", "u")):
        values = {name: {"u": 2.0, "u1": 3.0}[name] for name in names}
        assert roles.per_column(values) == [1.0, 1.0, 1.0, 1.0, 3.0, 2.0]
    assert roles.frozen_columns(("v2", "m")) == [False, False, True, True, False, False]
