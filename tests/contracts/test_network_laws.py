"""Laws that every network obeys, full or reduced."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnn_jax as lrnn

DT = 0.3
# Rounding of ten steps with sums over a dozen neurons, numbers of order 1
ROUNDING = 1e-13
SINGLE = 2e-6  # the same in float32: twenty times its machine epsilon; 5e-7 seen


def low_rank(rank=1, inputs=1, outputs=1, scale=None, activation=lrnn.Identity()):
    columns = {"z": outputs, "v": rank, "m": inputs, "u": rank}
    rng = np.random.default_rng(rank)
    vectors = {f: rng.normal(size=(12, c)) for f, c in columns.items()}
    return lrnn.LowRankRNN(**vectors, scale=scale, dt=DT, activation=activation)


def dense(inputs=2, outputs=3, activation=lrnn.Identity()):
    rng = np.random.default_rng(9)
    shapes = {"w": (12, 12), "w_in": (12, inputs), "w_out": (outputs, 12)}
    weights = {name: 0.3 * rng.normal(size=shape) for name, shape in shapes.items()}
    return lrnn.DenseRNN(**weights, dt=DT, activation=activation)


def currents(activation=lrnn.Identity(), **more):
    like = dense()
    return lrnn.CurrentRNN(like.w, like.w_in, like.w_out, dt=DT, activation=activation, **more)


def loop_low_rank(net, x, h):
    """h' = h + dt(−h + (1/s) U Vᵀφ(h) + M x),  y = (1/s) Zᵀφ(h')."""
    z, v, m, u, s = (np.asarray(a) for a in (net.z, net.v, net.m, net.u, net.scale))
    phi = np.tanh if isinstance(net.activation, lrnn.Tanh) else np.asarray
    y = []
    for x_t in x:
        h = h + DT * (-h + u @ (v.T @ phi(h)) / s + m @ x_t)
        y.append(z.T @ phi(h) / s)
    return np.array(y)


def loop_dense(net, x, h):
    """h' = (1 − dt) h + dt φ(W h + W_in x),  y = W_out h'."""
    w, w_in, w_out = (np.asarray(a) for a in (net.w, net.w_in, net.w_out))
    phi = np.tanh if isinstance(net.activation, lrnn.Tanh) else np.asarray
    y = []
    for x_t in x:
        h = (1 - DT) * h + DT * phi(w @ h + w_in @ x_t)
        y.append(w_out @ h)
    return np.array(y)


def loop_currents(net, x, h):
    """h' = (1 − dt) h + dt (W φ(h) + W_in x),  y = W_out φ(h')."""
    w, w_in, w_out = (np.asarray(a) for a in (net.w, net.w_in, net.w_out))
    phi = np.tanh if isinstance(net.activation, lrnn.Tanh) else np.asarray
    y = []
    for x_t in x:
        h = (1 - DT) * h + DT * (w @ phi(h) + w_in @ x_t)
        y.append(w_out @ phi(h))
    return np.array(y)


def loop_reduced(net, x, kappa):
    """κ_m' = κ_m + dt(−κ_m + x),  κ_u' = κ_u + dt(−κ_u + S_v κ),  y = S_z κ'."""
    s, outputs, inputs = np.asarray(net.overlaps.S), net.outputs, net.inputs
    s_z, s_v = s[:outputs], s[outputs:]
    y = []
    for x_t in x:
        m, u = kappa[:inputs], kappa[inputs:]
        kappa = np.concatenate([m + DT * (-m + x_t), u + DT * (-u + s_v @ kappa)])
        y.append(s_z @ kappa)
    return np.array(y)


LINEAR = {
    "low-rank": (low_rank(), loop_low_rank),
    "low-rank 3, many channels, s = 1": (low_rank(3, 2, 3, scale=1.0), loop_low_rank),
    "dense": (dense(), loop_dense),
    "dense, currents": (currents(), loop_currents),
    "reduced": (lrnn.reduce(low_rank()), loop_reduced),
    "reduced 3, many channels": (lrnn.reduce(low_rank(3, 2, 3)), loop_reduced),
}
NONLINEAR = {
    "low-rank tanh": (low_rank(2, activation=lrnn.Tanh()), loop_low_rank),
    "dense tanh": (dense(activation=lrnn.Tanh()), loop_dense),
    "dense tanh, currents": (currents(activation=lrnn.Tanh()), loop_currents),
}
linear = pytest.mark.parametrize(("net", "loop"), LINEAR.values(), ids=LINEAR)
every = pytest.mark.parametrize(
    ("net", "loop"), [*LINEAR.values(), *NONLINEAR.values()], ids=[*LINEAR, *NONLINEAR]
)
rollout = eqx.filter_jit(lambda net, x, state=None: net.rollout(x, state))


def inputs_and_state(net, *batch):
    rng = np.random.default_rng(0)
    x, state = (*batch, 10, net.inputs), (*batch, net.state_size)
    return jnp.asarray(rng.normal(size=x)), jnp.asarray(rng.normal(size=state))


def gap(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


class TestEveryNetwork:
    @every
    def test_rollout_is_the_equation(self, net, loop):
        x, state = inputs_and_state(net)
        y = rollout(net, x)
        assert y.shape == (10, net.outputs)
        expected = loop(net, np.asarray(x), np.zeros(net.state_size))
        assert gap(y, expected) < ROUNDING * (1 + np.abs(expected).max())
        expected = loop(net, np.asarray(x), np.asarray(state))
        assert gap(rollout(net, x, state), expected) < ROUNDING * (1 + np.abs(expected).max())
        assert gap(y, expected) > 1e-3  # the initial state mattered

    @every
    def test_trials_do_not_see_each_other(self, net, loop):
        x, state = inputs_and_state(net, 2, 3)
        y = rollout(net, x, state)
        assert y.shape == (2, 3, 10, net.outputs)
        expected = loop(net, np.asarray(x[1, 2]), np.asarray(state[1, 2]))
        assert gap(y[1, 2], expected) < ROUNDING * (1 + np.abs(expected).max())

    @every
    def test_steps_and_readouts_make_the_rollout(self, net, loop):
        x, state = inputs_and_state(net)

        @eqx.filter_jit
        def two_steps(net, x, state):
            states = net.states(x, state)
            one = net.step(state, x[0])
            two = states[1], net.step(one, x[1])
            return two, (net.readout(states), net.rollout(x, state))

        of_states, of_outputs = two_steps(net, x, state)
        assert of_states[0].shape == (net.state_size,)
        for a, b in (of_states, of_outputs):
            assert gap(a, b) < ROUNDING * (1 + jnp.abs(b).max())

    @every
    def test_wrong_input_channels_are_refused_naming_both_sides(self, net, loop):
        x = jnp.zeros((10, net.inputs + 1))
        expected = rf"{type(net).__name__} has {net.inputs} input.*array {net.inputs + 1} "
        with pytest.raises(ValueError, match=expected):
            net.rollout(x)

    @every
    def test_single_precision_stays_single_and_close(self, net, loop):
        single = jax.tree.map(lambda a: a.astype(jnp.float32), net)
        x, _ = inputs_and_state(net)
        exact, y = rollout(net, x), rollout(single, x)
        assert single.dtype == y.dtype == jnp.float32
        assert net.dtype == exact.dtype == jnp.float64
        assert 0 < gap(y, exact) < SINGLE * max(1, np.abs(np.asarray(exact)).max())

    @linear
    def test_linear_networks_superpose(self, net, loop):
        x, state = inputs_and_state(net, 2, 3)
        mix = lambda a: a.at[0, 0].set(2 * a[0, 1] - 3 * a[0, 2])  # noqa: E731
        y = np.asarray(rollout(net, mix(x), mix(state)))
        assert gap(y[0, 0], 2 * y[0, 1] - 3 * y[0, 2]) < ROUNDING * (1 + np.abs(y).max())

    @pytest.mark.parametrize("net", [net for net, _ in NONLINEAR.values()], ids=NONLINEAR)
    def test_nonlinear_networks_do_not(self, net):
        x, _ = inputs_and_state(net)
        assert gap(rollout(net, 2 * x), 2 * rollout(net, x)) > 1e-2


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 3)])
@pytest.mark.parametrize("scale", [12.0, 1.0])
def test_a_reduction_computes_what_its_network_computes(shape, scale):
    net = low_rank(*shape, scale=scale)
    net = net.with_vectors(net.vectors * np.sqrt(scale / 12))
    x, kappa = inputs_and_state(lrnn.reduce(net), 4)
    h = kappa @ jnp.concatenate([net.m, net.u], axis=1).T  # h = M κ_m + U κ_u
    full, reduced = rollout(net, x, h), rollout(lrnn.reduce(net), x, kappa)
    assert gap(full, reduced) < ROUNDING * (1 + float(jnp.max(jnp.abs(full))))
    states = net.states(x, h), lrnn.reduce(net).states(x, kappa)
    assert gap(states[0], states[1] @ jnp.concatenate([net.m, net.u], axis=1).T) < 1e-11
    assert jnp.max(jnp.abs(full)) > 0.1


def test_the_system_matrices_of_a_reduction_are_its_step():
    red = lrnn.reduce(low_rank(3, 2, 3))
    a, b, c = red.system()
    x, kappa = inputs_and_state(red)
    after = a @ kappa + b @ x[0]
    assert gap(after, red.step(kappa, x[0])) < ROUNDING
    assert gap(c @ after, red.readout(after)) < ROUNDING
