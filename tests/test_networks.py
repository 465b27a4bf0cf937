"""Building networks: constructors, files, factorisation, and what they refuse."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special

import lrnn_jax as lrnn
from lrnn_jax.networks import erf
from lrnn_jax.overlaps import UnknownOverlap

ROUNDING = 1e-13
RNG = np.random.default_rng(0)
VECTORS = {f: RNG.normal(size=(12, c)) for f, c in zip("zvmu", (3, 2, 1, 2))}
WEIGHTS = {
    "w": VECTORS["u"] @ VECTORS["v"].T / 12,
    "w_in": VECTORS["m"],
    "w_out": VECTORS["z"].T / 12,
}


def gap(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def pulse_response(net):
    return net.rollout(jnp.zeros((15, net.inputs)).at[0].set(1.0))


# --- low-rank networks ------------------------------------------------------------------------


def test_normalised_networks_have_families_of_norm_root_n():
    rank, inputs, outputs = 3, 2, 4
    net = lrnn.LowRankRNN.normalised(40, rank, inputs, outputs, dt=0.1, key=jr.key(0))
    q = net.overlaps
    assert (net.inputs, net.outputs, net.state_size) == (inputs, outputs, 40)
    for family in "zvmu":
        assert abs(jnp.trace(q.block(family, family)) - 1) < ROUNDING
    other = lrnn.LowRankRNN.normalised(40, rank, inputs, outputs, dt=0.1, key=jr.key(1))
    assert gap(net.z, other.z) > 0.1
    assert gap(net.z[:, :1], net.m[:, :1]) > 0.1


def test_vectors_round_trip():
    net = lrnn.LowRankRNN(**VECTORS, dt=0.1, frozen=("u2",))
    assert net.vectors.shape == (12, 8)
    assert jnp.array_equal(net.vectors[:, 3:5], net.v)
    assert jnp.array_equal(net.with_vectors(net.vectors).z, net.z)
    changed = net.with_vectors(2 * net.vectors)
    assert jnp.array_equal(changed.m, 2 * net.m)
    assert (changed.frozen, changed.scale, changed.dt) == (net.frozen, net.scale, net.dt)
    assert net.scale == 12
    theta = np.concatenate(list(VECTORS.values()), axis=1)
    assert gap(net.overlaps.gram, theta.T @ theta / 12) < ROUNDING
    assert lrnn.reduce(net).frozen == ("u2",)
    red = lrnn.reduce(net)
    assert eqx.tree_equal(lrnn.reduce(red), red)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": np.ones((11, 2))}, r"z \(12, 3\), v \(12, 2\), m \(12, 1\), u \(11, 2\)"),
        ({"u": np.ones((12, 3))}, r"one column per rank.*v \(12, 2\).*u \(12, 3\)"),
        ({"m": np.ones((12, 0))}, r"`m`.*at least one of each; got shape \(12, 0\)"),
        ({"m": np.ones((1, 12, 1))}, r"`m`.*got shape \(1, 12, 1\)"),
        ({"v": np.full((12, 2), np.nan)}, r"`v` must be finite, but entry \(0, 0\) is nan"),
        ({"z": np.full((12, 3), np.inf)}, r"`z` must be finite"),
        ({"dt": 0.0}, r"`dt`.*\(0, 1\]; got 0"),
        ({"dt": 1.5}, r"`dt`.*\(0, 1\]; got 1\.5"),
        ({"dt": np.nan}, r"`dt`.*\(0, 1\]; got nan"),
        ({"scale": 0.0}, r"`scale` must lie in \(0, inf\)"),
        ({"scale": -12.0}, r"`scale` must lie in \(0, inf\)"),
        ({"scale": np.inf}, r"`scale` must lie in \(0, inf\); got inf"),
        ({"v": VECTORS["v"] + 1j}, r"`v` must hold real numbers; got complex"),
        ({"scale": 12j}, r"`scale` must hold real numbers"),
    ],
    ids=str,
)
def test_what_low_rank_networks_refuse(change, message):
    lrnn.LowRankRNN(**VECTORS, dt=0.1)
    with pytest.raises(ValueError, match=message):
        lrnn.LowRankRNN(**{**VECTORS, "dt": 0.1, **change})


TENSORS = """
import numpy as np, lrnn_jax as lrnn

class Tensor:
    dtype = "torch.float32"
    def __array__(self, dtype=None, copy=None):
        return np.ones((5, 1), dtype or np.float32)

net = lrnn.LowRankRNN(Tensor(), Tensor(), Tensor(), Tensor(), dt=0.1)
assert net.state_size == 5 and (net.u == 1).all() and net.u.dtype == "float32"
"""


def test_tensors_of_other_libraries_are_arrays():
    """Whatever has `__array__`; a process of its own, as tests hold users to annotations."""
    subprocess.run([sys.executable, "-c", TENSORS], check=True)


def test_ranks_and_frozen_names_out_of_range():
    wide = {f: np.ones((2, 3)) for f in "zvmu"}
    with pytest.raises(ValueError, match=r"`rank` must be a whole number from 1 to 2; got 3"):
        lrnn.LowRankRNN(**wide, dt=0.1)
    for rank in (0, 6):
        with pytest.raises(ValueError, match=rf"rank.*{rank}"):
            lrnn.LowRankRNN.normalised(5, rank, dt=0.1, key=jr.key(0))
    with pytest.raises(UnknownOverlap, match=r"'u3'.*Did you mean .*'u2'"):
        lrnn.LowRankRNN(**VECTORS, dt=0.1, frozen=("u3",))
    red = lrnn.reduce(lrnn.LowRankRNN(**VECTORS, dt=0.1))
    with pytest.raises(UnknownOverlap, match="'w'"):
        lrnn.ReducedRNN(red.overlaps, dt=0.1, frozen=("w",))
    with pytest.raises(ValueError, match=r"`dt`.*\(0, 1\]; got 2"):
        lrnn.ReducedRNN(red.overlaps, dt=2.0)


def test_trials_may_share_an_initial_state():
    net = lrnn.LowRankRNN(**VECTORS, dt=0.1)
    x, start = jr.normal(jr.key(0), (4, 6, 1)), jr.normal(jr.key(1), (12,))
    alone = jnp.stack([net.rollout(trial, state=start) for trial in x])
    for state in (start, start[None], start.astype("float32").astype(float)):
        assert gap(net.rollout(x, state=state), alone) < 1e-6
    with pytest.raises(ValueError, match=r"`state` must have shape \(12,\).*got \(4, 1\)"):
        net.rollout(x, state=jnp.ones((4, 1)))


def test_known_values_are_checked_inside_traces():
    @jax.jit
    def made(x):
        for options in ({"dt": 1.5}, {"dt": 0.1, "scale": -1.0}):
            with pytest.raises(ValueError, match=next(reversed(options))):
                lrnn.LowRankRNN(**VECTORS, **options)
        with pytest.raises(ValueError, match=r"`lr` must lie in \[0, inf\); got -1"):
            lrnn.Descent(-1.0)
        with pytest.raises(ValueError, match="smallest eigenvalue is -1"):
            lrnn.Overlaps.from_gram(np.eye(4) - 2 * np.diag([1.0, 0, 0, 0]))
        with pytest.raises(ValueError, match=r"`v` must be finite, but entry \(0, 0\) is nan"):
            lrnn.LowRankRNN(**{**VECTORS, "v": np.full((12, 2), np.nan)}, dt=0.1)
        with pytest.raises(ValueError, match=r"`noise` must lie in \[0, inf\)"):
            lrnn.KIntegrator(noise=np.array([0.1, -0.1]))
        with pytest.raises(ValueError, match=r"`rate` must be finite; got nan"):
            lrnn.ExponentialFilter(np.nan, 0.1, 12)
        return x

    assert made(1.0) == 1.0


def test_arrays_of_two_dtypes_take_the_wider_one():
    """Also where JAX is not allowed to promote by itself, as here."""
    mixed = {f: a.astype(np.float32) if f in "zm" else a for f, a in VECTORS.items()}
    net = lrnn.LowRankRNN(**mixed, b=np.ones(12, np.float32), dt=np.float32(0.1))
    assert {net.z.dtype, net.v.dtype, net.b.dtype, net.overlaps.gram.dtype} == {np.dtype("float64")}
    weights = {n: a.astype(np.float32) if n == "w" else a for n, a in WEIGHTS.items()}
    assert lrnn.DenseRNN(**weights, dt=0.1).dtype == jnp.float64
    plant = lrnn.LinearPlant(np.eye(2, dtype=np.float32), np.eye(2), np.eye(2, dtype=np.float32))
    assert plant.a.dtype == plant.c.dtype == jnp.float64
    task = lrnn.OscillatingFilter(np.float32(0.2), np.ones(()), 0.1, 12, label_noise=np.float32(1))
    assert task.samples.dtype == jnp.float64
    assert net.rollout(jnp.ones((5, 1), jnp.float32)).dtype == jnp.float64


# --- dense networks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": np.ones((12, 11))}, r"w \(12, 11\), w_in \(12, 1\), w_out \(3, 12\)"),
        ({"w": np.ones(12)}, r"w \(12,\)"),
        ({"w_in": np.ones((11, 1))}, r"w_in \(11, 1\)"),
        ({"w_in": np.ones(12)}, r"w_in \(12,\)"),
        ({"w_out": np.ones((12, 3))}, r"w_out \(12, 3\)"),
        ({"w_out": np.ones((0, 12))}, r"w_out \(0, 12\)"),
        ({"w": np.full((12, 12), np.nan)}, r"`w` must be finite"),
        ({"w": WEIGHTS["w"] * 1j}, r"`w` must hold real numbers; got complex"),
        ({"dt": 1.01}, r"`dt`"),
        ({"frozen": ("m",)}, r"`frozen`.*w_in.*got \['m'\]"),
    ],
    ids=str,
)
def test_what_dense_networks_refuse(change, message):
    lrnn.DenseRNN(**WEIGHTS, dt=0.1)
    with pytest.raises(ValueError, match=message):
        lrnn.DenseRNN(**{**WEIGHTS, "dt": 0.1, **change})


# --- factorisation ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_factorising_a_low_rank_matrix_is_exact(scale):
    dense = lrnn.DenseRNN(**WEIGHTS, dt=0.1)
    found = lrnn.factorise(dense, rank=2, scale=scale)
    net = found.network
    assert found.rank == 2
    assert gap(net.u @ net.v.T / scale, WEIGHTS["w"]) < ROUNDING
    assert gap(net.u.T @ net.u, net.v.T @ net.v) < ROUNDING * scale
    assert jnp.array_equal(net.m, WEIGHTS["w_in"])
    assert gap(pulse_response(net), pulse_response(dense)) < ROUNDING
    assert found.discarded < 1e-15
    assert abs(found.energy - 1) < 1e-15
    assert found.largest_discarded < 1e-14
    assert np.allclose(found.singular_values[:2], np.linalg.svd(WEIGHTS["w"])[1][:2], rtol=1e-12)
    assert lrnn.factorise(dense).rank == 2  # the default energy finds it


def test_what_is_discarded_is_reported():
    q, _ = np.linalg.qr(RNG.normal(size=(12, 12)))
    p, _ = np.linalg.qr(RNG.normal(size=(12, 12)))
    sigma = np.array([4.0, 3.0, 2.0, 1.0] + [0.0] * 8)
    dense = lrnn.DenseRNN(q @ np.diag(sigma) @ p, WEIGHTS["w_in"], WEIGHTS["w_out"], dt=0.1)
    found = lrnn.factorise(dense, rank=2)
    assert abs(found.energy - 25 / 30) < ROUNDING
    assert abs(found.discarded - np.sqrt(5 / 30)) < ROUNDING
    assert abs(found.largest_discarded - 2) < ROUNDING
    difference = np.asarray(dense.w - found.network.u @ found.network.v.T)
    assert abs(np.linalg.norm(difference) / np.linalg.norm(dense.w) - found.discarded) < ROUNDING
    assert abs(np.linalg.norm(difference, 2) - found.largest_discarded) < ROUNDING
    text = str(found)
    assert text.startswith("rank 2 of 12: 83.33333")
    assert "0.408" in text
    for energy, rank in [(0.5, 1), (16 / 30, 1), (0.6, 2), (0.9, 3), (0.99, 4), (1.0, 4)]:
        assert lrnn.factorise(dense, energy=energy).rank == rank, energy
    full = lrnn.factorise(dense, rank=12)
    assert (full.discarded, full.largest_discarded) == (0.0, 0.0)


def test_a_network_without_recurrence_factorises_at_rank_one():
    zero = lrnn.DenseRNN(np.zeros((4, 4)), np.ones((4, 1)), np.ones((1, 4)), dt=0.1)
    found = lrnn.factorise(zero)
    assert (found.rank, found.energy, found.discarded) == (1, 1.0, 0.0)
    assert gap(pulse_response(found.network), pulse_response(zero)) < ROUNDING


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "energy": 0.9}, "`rank` or `energy`, not both"),
        ({"rank": 0}, "rank.*got 0"),
        ({"rank": 13}, "`rank` must be a whole number from 1 to 12; got 13"),
        ({"energy": 0.0}, r"`energy`.*\(0, 1\]; got 0"),
        ({"energy": 1.1}, r"`energy`.*\(0, 1\]; got 1\.1"),
        ({"rank": 2, "scale": 0.0}, r"`scale` must lie in \(0, inf\)"),
        ({"rank": 2, "scale": -1.0}, r"`scale` must lie in \(0, inf\)"),
    ],
    ids=str,
)
def test_what_factorise_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        lrnn.factorise(lrnn.DenseRNN(**WEIGHTS, dt=0.1), **options)


def test_nonlinear_dense_networks_do_not_factorise():
    with pytest.raises(ValueError, match=r"DenseRNN equals a low-rank network.*CurrentRNN"):
        lrnn.factorise(lrnn.DenseRNN(**WEIGHTS, dt=0.1, activation=lrnn.Tanh()), rank=2)


SHIFTED = lrnn.SmoothActivation(lambda h: jnp.tanh(h) + 0.5)


def test_a_vanilla_rnn_of_unit_steps_factorises_exactly():
    """As h_t = φ(a_t) of the currents a that W h + W_in x + b are: for any φ with φ(0) = 0."""
    b, c = RNG.normal(size=12), {"dt": 1.0, "activation": lrnn.Tanh()}
    dense = lrnn.DenseRNN(**WEIGHTS, b=b, **c)
    found = lrnn.factorise(dense, rank=2, scale=12.0)
    x = jnp.asarray(RNG.normal(size=(20, 1)))
    assert gap(found.network.rollout(x), dense.rollout(x)) < ROUNDING
    for other in ({"h0": np.ones(12)}, {"dt": 0.5}, {"activation": SHIFTED}):
        with pytest.raises(ValueError, match="dt = 1 and it starts from h = 0"):
            lrnn.factorise(lrnn.DenseRNN(**WEIGHTS, **c | other))
    with pytest.raises(ValueError, match="dt = 1 and it starts from h = 0"):
        lrnn.factorise(lrnn.DenseRNN(**WEIGHTS, **c, readout=lrnn.Tanh()))


def test_what_learning_added_factorises_apart():
    before = RNG.normal(size=(12, 12))
    options = {"dt": 0.1, "activation": lrnn.Tanh()}
    start = lrnn.CurrentRNN(before, WEIGHTS["w_in"], WEIGHTS["w_out"], **options)
    end = lrnn.CurrentRNN(**WEIGHTS | {"w": before + WEIGHTS["w"]}, **options)
    found = lrnn.factorise(end, initial=start, scale=12.0)
    assert found.rank == 2
    assert gap(found.network.u @ found.network.v.T / 12, WEIGHTS["w"]) < ROUNDING
    assert lrnn.factorise(end).rank > 2
    small = lrnn.CurrentRNN(np.eye(3), np.ones((3, 1)), np.ones((1, 3)), **options)
    with pytest.raises(ValueError, match=r"`initial`.*same shape \(12, 12\); got \(3, 3\)"):
        lrnn.factorise(end, initial=small)
    with pytest.raises(ValueError, match="`initial` must be such as a CurrentRNN; got a DenseRNN"):
        lrnn.factorise(end, initial=lrnn.DenseRNN(**WEIGHTS, **options))


def test_erf_is_accurate_odd_and_differentiable():
    """In float64 to rounding (a few units of 1.1e-16); its derivatives by their formulas."""
    x = np.concatenate([np.linspace(-8, 8, 40_001), 10.0 ** np.arange(-300, 0, 7)])
    exact = scipy.special.erf(x)
    found = np.asarray(erf(jnp.asarray(x)))
    assert np.abs(found - exact).max() < 5e-16
    assert np.abs(found[x != 0] / exact[x != 0] - 1).max() < 1e-15
    np.testing.assert_array_equal(found, -np.asarray(erf(-jnp.asarray(x))))
    slope = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    each = jnp.asarray(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(erf))(each), slope, rtol=1e-14, atol=1e-300)
    second = jax.vmap(jax.grad(jax.grad(erf)))(each)
    np.testing.assert_allclose(second, -2 * x * slope, rtol=1e-14, atol=1e-300)
    ends = jnp.array([jnp.inf, -jnp.inf, 0.0, 30.0])
    np.testing.assert_array_equal(erf(ends), [1.0, -1.0, 0.0, 1.0])
    assert jnp.isnan(erf(jnp.array(jnp.nan)))
    assert jnp.array_equal(jax.grad(erf)(jnp.array(jnp.inf)), 0.0)


@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("options", [{}, {"b": 1}, {"h0": 1, "scale": 1}])
def test_states_of_linear_networks_are_those_of_neurons(options, dt):
    """By a loop over latents: rank 2, trials that start anywhere, against one over neurons."""
    vectors = {n: RNG.normal(size=12) for n in ("b", "h0") if n in options}
    scale = RNG.uniform(6, 20, 12) if "scale" in options else 12.0
    net = lrnn.LowRankRNN(**VECTORS, **vectors, scale=scale, dt=dt)
    x, start = RNG.normal(size=(4, 9, 1)), RNG.normal(size=(4, 12))
    v, m, u = (VECTORS[f] for f in "vmu")
    h, states = start, []
    for t in range(9):
        kappa = h @ (v / np.broadcast_to(scale, 12)[:, None])
        h = (1 - dt) * h + dt * (kappa @ u.T + x[:, t] @ m.T + vectors.get("b", 0.0))
        states.append(h)
    found = net.states(jnp.asarray(x), jnp.asarray(start))
    np.testing.assert_allclose(found, np.stack(states, 1), rtol=0, atol=ROUNDING)
    assert net.states(jnp.asarray(x[:, :0])).shape == (4, 0, 12)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), net)
    found = single.states(jnp.asarray(x, jnp.float32), jnp.asarray(start, jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.stack(states, 1), atol=2e-5)


def test_float32_networks_stay_float32():
    """Also with float64 switched on: no constant of an activation may promote."""
    for phi in (lrnn.Erf(), lrnn.Tanh(), lrnn.ReLU(), lrnn.networks.Softplus()):
        net = lrnn.LowRankRNN.normalised(20, dt=0.1, key=jr.key(0), activation=phi)
        single = jax.tree.map(lambda a: a.astype(jnp.float32), net)
        x = jr.normal(jr.key(1), (3, 15, 1))
        out, exact = single.rollout(x), net.rollout(x)
        assert out.dtype == jnp.float32
        assert gap(out.astype(float), exact) < 1e-5 * float(jnp.abs(exact).max())
