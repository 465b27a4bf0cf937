"""Gradient flow on overlaps is the limit of small learning rates, for any solver."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrnn_jax as lrnn
from lrnn_jax.learning import Isospectral

TASK = lrnn.ExponentialFilter(0.2, dt=0.1, steps=20, evaluation=lrnn.Evaluation.ROLLOUT)
NET = lrnn.LowRankRNN.normalised(n=20, rank=1, dt=0.1, key=jr.key(0))
RED = lrnn.reduce(NET)


def largest(x):
    return float(jnp.max(jnp.abs(x)))


def orders(errors):
    return np.log2(np.divide(errors[:-1], errors[1:]))


def signed_eigenvalues(gram, left=2):
    """Eigenvalues of JQ, J = diag(+1 on Z V, −1 on M U)."""
    sign = np.where(np.arange(gram.shape[-1]) < left, 1.0, -1.0)[:, None]
    return np.sort(np.linalg.eigvals(sign * np.asarray(gram)).real, axis=-1)


def test_difference_to_descent_halves_with_the_learning_rate():
    flow = lrnn.learn(RED, TASK, lrnn.Flow(0.02), epochs=40)
    assert largest(flow.gram[-1] - flow.gram[0]) > 0.05
    errors = []
    for halving in range(3):
        method = lrnn.Descent(0.02 / 2**halving)
        curve = lrnn.learn(RED, TASK, method, epochs=40 * 2**halving, record=2**halving)
        errors.append(largest(curve.gram - flow.gram))
    assert errors[0] > 1e-5  # far above the solver's own error
    assert np.all(np.abs(orders(errors) - 1) < 0.05)


@pytest.mark.parametrize("rank", [1, 2])
def test_velocity_is_the_block_ode(rank):
    """Ṡ = −(GR + PG), Ṗ = −(GSᵀ + SGᵀ), Ṙ = −(GᵀS + SᵀG): for rank 1 the ten ODEs of [LR]."""
    task = lrnn.OscillatingFilter(0.3, 2.0, dt=0.1, steps=20)
    k = 2 + 2 * rank

    @jax.jit
    def compare(theta):
        red = lrnn.ReducedRNN(lrnn.Overlaps.from_gram(theta.T @ theta, rank), dt=0.1)

        def after(lr):
            return lrnn.learn(red, task, lrnn.Descent(lr), epochs=1).gram[-1]

        velocity = jax.jvp(after, (jnp.zeros(()),), (jnp.ones(()),))[1]
        q = red.overlaps

        def loss(s):
            n = s.shape[0]
            return task.loss(red.with_gram(q.gram.at[:n, n:].set(s)))

        g = jax.grad(loss)(q.S)
        s_dot = -(g @ q.R + q.P @ g)
        p_dot = -(g @ q.S.T + q.S @ g.T)
        r_dot = -(g.T @ q.S + q.S.T @ g)
        return velocity, jnp.block([[p_dot, s_dot], [s_dot.T, r_dot]])

    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.floats(-1, 1), min_size=k * k, max_size=k * k))
    def check(values):
        velocity, blocks = compare(jnp.array(values).reshape(k, k))
        # sums of at most 2k products of numbers of the size of the largest entry
        assert largest(velocity - blocks) < 1e-13 * (1 + largest(blocks))

    check()
    theta = jr.normal(jr.key(0), (k, k))
    assert largest(compare(theta)[0]) > 0.1


def test_rates_of_columns_enter_the_velocity_as_dgq_plus_qgd():
    rates = {"m": 0.5, "u": 2.0, "z": 0.0}
    d, q = jnp.diag(jnp.array([0.0, 1.0, 0.5, 2.0])), RED.overlaps.gram

    def after(lr):
        return lrnn.learn(RED, TASK, lrnn.Descent(lr, rates=rates), epochs=1).gram[-1]

    velocity = jax.jit(lambda: jax.jvp(after, (jnp.zeros(()),), (jnp.ones(()),))[1])()
    slope = jax.jit(jax.grad(lambda q: TASK.loss(RED.with_gram(q))))(q)
    gamma = slope + slope.T
    assert largest(velocity + d @ gamma @ q + q @ gamma @ d) < 1e-13  # a sum of eight products
    assert largest(velocity) > 0.1
    assert velocity[0, 0] == 0


def test_flow_of_the_vectors_is_flow_of_the_overlaps():
    on_vectors = lrnn.learn(NET, TASK, lrnn.Flow(0.05), epochs=40)
    on_overlaps = lrnn.learn(RED, TASK, lrnn.Flow(0.05), epochs=40)
    # two adaptive solves with rtol 1e-9 a step
    assert float(on_vectors.distance(on_overlaps).max) < 1e-7
    lifted = lrnn.lift(on_overlaps, NET)
    assert largest(lifted.vectors - on_vectors.model.vectors) < 1e-7
    assert largest(on_vectors.gram[-1] - on_vectors.gram[0]) > 0.1


def test_scheduled_flow_depends_on_the_integral_of_the_rate():
    ramp = optax.linear_schedule(0.1, 0.0, 40)  # integral over 40 epochs: 20 epochs of 0.1
    slowing = lrnn.learn(RED, TASK, lrnn.Flow(ramp), epochs=40)
    constant = lrnn.learn(RED, TASK, lrnn.Flow(0.1), epochs=40)
    assert largest(slowing.gram[-1] - constant.gram[20]) < 1e-7  # rtol 1e-9 a step
    assert largest(constant.gram[20] - constant.gram[0]) > 0.1
    assert largest(slowing.gram[10] - constant.gram[10]) > 1e-3


@eqx.filter_jit
def isospectral(steps, time=4.0):
    """Fixed steps of the isospectral integrator from T = 1, on the flow with η = 1."""

    def omega(t, transform, args):
        q0 = RED.overlaps.gram
        loss = lambda q: TASK.loss(RED.with_gram(q))  # noqa: E731
        slope = jax.grad(loss)(transform.T @ q0 @ transform)
        return -(slope + slope.T)

    sol = diffrax.diffeqsolve(
        diffrax.ODETerm(omega),
        Isospectral(),
        t0=0.0,
        t1=time,
        dt0=time / steps,
        y0=jnp.eye(4),
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, time, 7)),
        stepsize_controller=diffrax.ConstantStepSize(),
        max_steps=500,
    )
    assert sol.ys is not None
    return jnp.swapaxes(sol.ys, 1, 2) @ RED.overlaps.gram @ sol.ys


def test_isospectral_steps_converge_with_order_two_and_keep_the_spectrum_at_any_step():
    counts = jnp.array([12.0, 100.0, 200.0, 400.0])
    coarse, *runs = [isospectral(n) for n in counts]
    exact = lrnn.learn(RED, TASK, lrnn.Flow(0.1, rtol=1e-11, atol=1e-13), epochs=40).gram[-1]
    measured = orders([largest(run[-1] - exact) for run in runs])
    assert np.all(np.abs(measured - 2) < 0.05)
    assert largest(coarse[-1] - exact) > 1e-2  # steps so large that the solution is poor
    start = signed_eigenvalues(RED.overlaps.gram)
    for run in (coarse, *runs):  # also between steps: dense output stays on the group
        # rounding of up to 400 products with matrix exponentials
        assert np.max(np.abs(signed_eigenvalues(run) - start)) < 1e-13
        assert largest(run[-1] - run[0]) > 0.1


def test_isospectral_flow_with_loose_tolerance_keeps_the_spectrum():
    method = lrnn.Flow(0.1, solver=Isospectral(), rtol=1e-2, atol=1e-3, invariant_tol=None)
    curve = lrnn.learn(RED, TASK, method, epochs=40)
    exact = lrnn.learn(RED, TASK, lrnn.Flow(0.1), epochs=40)
    drift = signed_eigenvalues(curve.gram) - signed_eigenvalues(RED.overlaps.gram)
    assert np.max(np.abs(drift)) < 1e-13
    assert 1e-6 < float(curve.distance(exact).max) < 5e-2
    with pytest.raises(ValueError, match=r"reduce\(network\)"):
        lrnn.learn(NET, TASK, method, epochs=1)


def test_flow_ends_at_convergence():
    plain = lrnn.learn(RED, TASK, lrnn.Flow(0.1), epochs=40)
    target = float(plain.loss[25])
    curve = lrnn.learn(RED, TASK, lrnn.Flow(0.1, stop_at_loss=target), epochs=40)
    assert curve.result == lrnn.RESULTS.event_occurred
    end = int(curve.stopped)
    assert 25 <= end < 40
    before, after = curve.loss[: end + 1], curve.loss[end + 1 :]
    assert largest(before - plain.loss[: end + 1]) < 1e-8
    assert jnp.isnan(after).all()
    assert jnp.isnan(curve.gram[end + 1 :]).all()
    assert TASK.loss(curve.model) <= target
    never = lrnn.learn(RED, TASK, lrnn.Flow(0.1, stop_at_loss=0.0), epochs=40)
    assert never.result == lrnn.RESULTS.successful
    assert never.stopped == -1


def test_a_flow_that_has_converged_before_it_starts():
    curve = lrnn.learn(RED, TASK, lrnn.Flow(0.1, stop_at_loss=100.0), epochs=40)
    assert curve.result == lrnn.RESULTS.event_occurred
    assert curve.stopped == 0
    assert largest(curve.loss[0] - TASK.loss(RED)) < 1e-14
    assert largest(curve.gram[0] - RED.overlaps.gram) == 0
    assert jnp.isnan(curve.loss[1:]).all()
    assert largest(curve.model.overlaps.gram - RED.overlaps.gram) == 0


def test_too_few_steps_are_reported_and_the_curve_is_kept():
    method = lrnn.Flow(0.1, max_steps=4)
    with pytest.raises(lrnn.LearningError, match="max_steps_reached") as caught:
        lrnn.learn(RED, TASK, method, epochs=40)
    curve = caught.value.curve
    assert jnp.isfinite(curve.loss[0])
    assert jnp.isnan(curve.loss[-1])
    assert 0 <= int(curve.stopped) < 40


def test_lost_invariants_are_reported():
    with pytest.raises(lrnn.LearningError, match="invariants_lost"):
        lrnn.learn(RED, TASK, lrnn.Flow(0.1, rtol=1e-2, atol=1e-2), epochs=40)
