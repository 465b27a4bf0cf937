"""`learn`: what it refuses, its data, failures, optimisers and precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import lrnn_jax as lrnn
from lrnn_jax.learning import outcome
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.overlaps import UnknownOverlap

THETA = jr.normal(jr.key(0), (12, 4)) + 0.6
NET = lrnn.LowRankRNN(*THETA.T, dt=0.1)
RED = lrnn.reduce(NET)
TASK = lrnn.ExponentialFilter(0.2, dt=0.1, steps=8, evaluation=lrnn.Evaluation.ROLLOUT)
NOISY = lrnn.ExponentialFilter(0.2, dt=0.1, steps=8, label_noise=0.1)
DENSE = lrnn.DenseRNN(NET.u @ NET.v.T / 12, NET.m, NET.z.T / 12, dt=0.1)
EPOCHS = 12
DIVERGING = lrnn.Descent(30.0)
ROUNDING = 1e-12
TANH = lrnn.LowRankRNN.normalised(12, dt=0.1, key=jr.key(0), activation=lrnn.Tanh())
FLIPS = lrnn.FlipFlop(0.1, 60, 3)
TRIALS = jax.vmap(FLIPS.sample)(jr.split(jr.key(2), 12))
SHORT = jax.tree.map(lambda a: a[:, :, :50], TRIALS)


def run(model=RED, task=TASK, method=lrnn.Descent(0.1), epochs=EPOCHS, **options):
    return lrnn.learn(model, task, method, epochs=epochs, **options)


def gap(a, b):
    return float(jnp.max(jnp.abs(a - b)))


@pytest.fixture(scope="module")
def curve():
    return run()


# --- what learn refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "`epochs` must be a whole number of at least 0; got -1"),
        ({"record": 0}, "`record` must be a whole number of at least 1; got 0"),
        ({"task": NOISY}, "ExponentialFilter draws fresh data in each epoch: pass `key`"),
        ({"task": NOISY, "batches": jnp.zeros((5, 8, 1, 1))}, r"at least 12 .*\(5, 8, 1, 1\)"),
        ({"task": NOISY, "batches": (jnp.zeros((12, 8)), jnp.zeros((13, 8)))}, r"first axis"),
        ({"task": NOISY, "batches": jnp.zeros(())}, r"first axis"),
        ({"task": NOISY, "method": lrnn.Flow(0.1), "key": jr.key(0)}, "one loss.*Descent"),
        ({"method": lrnn.Flow(0.1), "batches": jnp.zeros((12, 8, 1, 1))}, "one loss"),
        ({"task": NOISY, "batches": jnp.zeros((12, 8, 1))}, r"\(epochs, 8, 1, 1\).*\(12, 8, 1\)"),
        ({"task": NOISY, "batches": jnp.zeros((12, 8, 1, 1), int)}, "dtype float64; got .* int64"),
        ({"task": NOISY, "batches": [jnp.zeros((12, 8, 1, 1))]}, r"sample returns.*got \[array\]"),
        ({"model": TANH, "task": FLIPS, "batches": tuple(TRIALS)}, r"Trials\(inputs=.*got \(array"),
        ({"model": TANH, "task": FLIPS, "batches": SHORT}, r"\(epochs, trials, 60, 1\).*50, 1\)"),
        (
            {"model": DENSE, "method": lrnn.Descent(0.1, rates={"u": 0.5})},
            r"`rates` are for weights among .*'w_in'.*got 'u'",
        ),
        (
            {"model": NET, "method": lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly())},
            "ReducedRNN .*got a LowRankRNN",
        ),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_unknown_columns_come_with_suggestions():
    for method in (lrnn.Descent(0.1, rates={"u2": 0.5}), lrnn.Flow(0.1, rates={"u2": 0.5})):
        with pytest.raises(UnknownOverlap, match=r"'u2'.*Did you mean 'u'"):
            run(method=method)


def test_things_of_another_type():
    with pytest.raises(TypeError):
        run(model=RED.overlaps)
    with pytest.raises(TypeError):
        run(method=optax.sgd(0.1))
    with pytest.raises(TypeError):
        run(task=jnp.ones(8))

    class Rigid(AbstractRNN):
        """A network without weights."""

        dt: jax.Array
        activation: lrnn.Identity
        inputs = outputs = state_size = property(lambda self: 1)
        dtype = property(lambda self: self.dt.dtype)
        initial_state = property(lambda self: jnp.zeros(1))
        biased = property(lambda self: False)

        def step(self, state, x):
            return x

        def readout(self, state):
            return state

    with pytest.raises(ValueError, match="Nothing can learn in this Rigid"):
        run(model=Rigid(jnp.asarray(0.1), lrnn.Identity()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lrnn.Descent(-0.1), r"`lr` must lie in \[0, inf\); got -0\.1"),
        (lambda: lrnn.Descent(np.nan), "`lr`"),
        (lambda: lrnn.Descent(np.inf), "`lr`"),
        (lambda: lrnn.Descent(0.1, momentum=1.0), r"`momentum` must lie in \[0, 1\); got 1"),
        (lambda: lrnn.Descent(0.1, momentum=-0.1), "`momentum`"),
        (lambda: lrnn.Descent(0.1, weight_decay=-1.0), "`weight_decay`"),
        (lambda: lrnn.Descent(0.1, clip=0.0), r"`clip` must lie in \(0, inf\); got 0"),
        (lambda: lrnn.Descent(0.1, nesterov=True), "`nesterov`.*give `momentum` too"),
        (lambda: lrnn.NormalisedDescent(0.1, nesterov=True), "`nesterov`.*give `momentum` too"),
        (lambda: lrnn.Muon(0.1, momentum=1.5), "`momentum`"),
        (lambda: lrnn.Muon(0.1, iterations=0), "`iterations`.*at least 1; got 0"),
        (lambda: lrnn.Flow(0.1, rtol=-1.0), "`rtol`"),
        (lambda: lrnn.Flow(0.1, atol=np.nan), "`atol`"),
        (lambda: lrnn.Flow(0.1, stop_at_loss=-1.0), "`stop_at_loss`"),
        (lambda: lrnn.Descent(0.1, rates={"u": -1.0}), r"`rates\['u'\]` must lie in \[0, inf\)"),
        (lambda: lrnn.Descent(0.1, rates={"u": np.nan}), r"`rates\['u'\]`.*nan"),
        (lambda: lrnn.Descent(0.1, rates={"u": np.ones(2)}), r"`rates\['u'\]` is one number"),
    ],
)
def test_hyperparameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- data -------------------------------------------------------------------------------------


def test_batches_may_have_another_number_of_trials_and_another_precision():
    fewer = jax.tree.map(lambda a: a[:, :2].astype(jnp.float32), TRIALS)
    assert run(TANH, FLIPS, lrnn.Descent(0.1), epochs=2, batches=fewer).loss.dtype == float


def test_given_batches_are_those_that_the_key_draws():
    key = jr.key(3)
    keys = jax.vmap(lambda e: jr.fold_in(key, e))(jnp.arange(EPOCHS + 1))
    batches = jax.vmap(NOISY.sample)(keys)
    drawn, given = run(task=NOISY, key=key), run(task=NOISY, batches=batches)
    assert gap(drawn.gram, given.gram) < ROUNDING
    assert gap(drawn.loss, given.loss) < ROUNDING
    assert gap(run(task=NOISY, key=jr.key(4)).gram, drawn.gram) > 1e-4


def test_the_last_batch_serves_for_the_final_loss_where_there_is_no_other():
    batches = 0.1 * np.random.default_rng(0).normal(size=(2, 8, 1, 1))
    curve = run(task=NOISY, batches=jnp.asarray(batches), epochs=2)
    assert gap(curve.loss[-1], NOISY.loss(curve.model, jnp.asarray(batches[-1]))) < ROUNDING
    assert gap(curve.loss[-1], NOISY.loss(curve.model, jnp.asarray(batches[0]))) > 1e-4


def test_loss_and_gram_belong_to_the_state_before_the_update(curve):
    assert curve.epochs.tolist() == list(range(EPOCHS + 1))
    assert jnp.array_equal(curve.gram[0], RED.overlaps.gram)
    assert jnp.array_equal(curve.gram[-1], curve.model.overlaps.gram)
    for epoch in (0, 5, EPOCHS):
        assert gap(curve.loss[epoch], TASK.loss(RED.with_gram(curve.gram[epoch]))) < ROUNDING
    assert curve.result == lrnn.RESULTS.successful
    assert curve.stopped == -1
    assert curve.loss[-1] < curve.loss[0]


def test_no_epochs_is_a_run_too():
    for method in (lrnn.Descent(0.1), lrnn.Flow(0.1)):
        curve = run(method=method, epochs=0)
        assert curve.loss.shape == (1,)
        assert jnp.array_equal(curve.gram[0], RED.overlaps.gram)
        assert jnp.array_equal(curve.transform[0], jnp.eye(4))


def test_schedules_give_the_rate_of_each_epoch(curve):
    stopping = run(method=lrnn.Descent(lambda epoch: jnp.where(epoch < 5, 0.1, 0.0)))
    assert gap(stopping.gram[:6], curve.gram[:6]) < ROUNDING
    assert gap(stopping.gram[5:], stopping.gram[5:6]) < ROUNDING
    assert gap(stopping.gram[5], stopping.gram[4]) > 1e-4
    constant = run(method=lrnn.Descent(optax.constant_schedule(0.1)))
    assert gap(constant.gram, curve.gram) < ROUNDING


# --- failures ---------------------------------------------------------------------------------


def test_divergence_raises_with_the_epoch_and_keeps_the_curve():
    with pytest.raises(lrnn.LearningError, match=r"diverged.*smaller learning rate.*at epoch") as e:
        run(method=DIVERGING, epochs=50)
    curve = e.value.curve
    stopped = int(curve.stopped)
    assert f"(at epoch {stopped} of 50)" in str(e.value)
    assert 0 < stopped < 50
    assert jnp.isfinite(curve.loss[:stopped]).all()
    assert jnp.isfinite(curve.gram[:stopped]).all()
    assert outcome(curve.result) == "diverged"


def test_a_loss_that_overflows_stops_learning_though_weights_and_gradients_are_finite():
    task = lrnn.ExponentialFilter(0.2, 0.1, 20, amplitude=1e160)  # squared: more than 1e308
    for model in (NET, RED):
        curve = lrnn.learn(model, task, lrnn.Descent(1e-200), epochs=4, throw=False)
        assert (int(curve.stopped), outcome(curve.result)) == (0, "diverged")


@pytest.mark.parametrize("model", [NET, RED, DENSE], ids=lambda m: type(m).__name__)
def test_divergence_without_throwing_is_a_result(model):
    curve = run(model, method=DIVERGING, epochs=50, throw=False)
    stopped = int(curve.stopped)
    assert curve.result == lrnn.RESULTS.diverged
    assert jnp.isfinite(curve.loss[:stopped]).all()
    assert curve.loss[stopped - 1] > 1e3 * curve.loss[0]
    assert jnp.isnan(curve.loss[stopped + 1 :]).all()
    assert jnp.isnan(curve.gram[stopped + 1 :]).all()
    for leaf in jax.tree.leaves(eqx.filter(curve.model, eqx.is_inexact_array)):
        assert jnp.isfinite(leaf).all()
    thin = run(model, method=DIVERGING, epochs=50, throw=False, record=25)
    assert thin.stopped == stopped
    assert jnp.isnan(thin.loss).tolist() == [e > stopped for e in (0, 25, 50)]


def test_one_diverging_member_leaves_the_others_alone():
    lrs = jnp.array([0.05, 30.0, 0.1])
    batch = jax.vmap(lambda lr: run(method=lrnn.Descent(lr), epochs=50, throw=False))(lrs)
    assert (batch.result == lrnn.RESULTS.diverged).tolist() == [False, True, False]
    for i in (0, 2):
        alone = run(method=lrnn.Descent(lrs[i]), epochs=50)
        assert gap(batch.gram[i], alone.gram) < ROUNDING
        assert gap(batch.loss[i], alone.loss) < ROUNDING
    with pytest.raises(RuntimeError, match="diverged"):
        jax.vmap(lambda lr: run(method=lrnn.Descent(lr), epochs=50))(lrs)


def test_inside_jit_failures_are_raised_at_run_time():
    @eqx.filter_jit
    def final(lr):
        return run(method=lrnn.Descent(lr), epochs=50).loss[-1]

    assert final(jnp.asarray(0.1)) < 1
    with pytest.raises(RuntimeError, match="Learning diverged"):
        final(jnp.asarray(30.0)).block_until_ready()


def test_multipliers_made_outside_pass_through_jit():
    method = lrnn.Descent(0.1, rates={"m": 0.5})

    @jax.jit
    def losses(gram):
        return run(RED.with_gram(gram), method=method, epochs=3).loss

    assert gap(losses(RED.overlaps.gram), run(method=method, epochs=3).loss) < ROUNDING


@pytest.mark.parametrize("method", [lrnn.Descent(0.1), lrnn.Flow(0.1)], ids=["descent", "flow"])
def test_unrealisable_overlaps_are_a_result(method):
    wrong = RED.with_gram(RED.overlaps.gram.at[0, 1].add(9.0).at[1, 0].add(9.0))
    curve = run(wrong, method=method, throw=False)
    assert outcome(curve.result) == "unrealisable"
    with pytest.raises(lrnn.LearningError, match="not positive semidefinite"):
        run(wrong, method=method)


# --- optimisers -------------------------------------------------------------------------------


def each(change):
    """The optimiser that makes its updates of gradients so."""
    return optax.stateless(lambda g, _: jax.tree.map(change, g))


LATE = optax.linear_schedule(0.0, 1e-2, 10, transition_begin=10**6)
ELEMENTWISE = {
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01),
    "rmsprop": optax.rmsprop(0.01),
    "lion": optax.lion(0.01),
    "sign": optax.sign_sgd(0.01),
    "clip": optax.chain(optax.clip(0.1), optax.sgd(0.1)),
    "clip, seldom": optax.chain(optax.clip(100.0), optax.sgd(0.1)),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, key=0), optax.sgd(0.1)),
    "adam, every fourth": optax.MultiSteps(optax.adam(0.01), 4),
    "adam, accumulated": optax.chain(optax.scale_by_adam(), optax.apply_every(4), optax.scale(-1)),
    "adam, late": optax.adam(LATE),
    "clip, late": optax.conditionally_transform(optax.clip(0.1), lambda step: step > 10**6),  # pyright: ignore[reportOperatorIssue]
    "same for all": each(jnp.ones_like),
    "rounded": each(lambda a: a.astype(int).astype(a.dtype)),
    "chosen": each(lambda a: jnp.where(jnp.sum(a) > 0, a, 2 * a)),
    "branches": each(lambda a: jax.lax.cond(jnp.sum(a) > 0, lambda: a, lambda: 2 * a)),
    "remembered": optax.GradientTransformation(  # moves by the signs of the epoch before
        optax.sgd(0.1, momentum=0.9).init,
        lambda g, c, _: (c[0].trace, (optax.TraceState(jax.tree.map(jnp.sign, g)), c[1])),  # pyright: ignore[reportIndexIssue]
    ),
}
RAW_NORM = {
    "clip_by_global_norm": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    "clip_by_global_norm, seldom": optax.chain(optax.clip_by_global_norm(1e3), optax.sgd(0.1)),
    "normalised": optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.1)),
    "polyak": optax.polyak_sgd(),
}
COUNTING = {
    "by N": each(lambda a: a / len(a)),
    "muon": optax.contrib.muon(0.01),
}
EXACT = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "decay": optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.1)),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.1, 10)),
    "tiny": optax.sgd(1e-8),
    "accumulator": optax.chain(optax.trace(0.9), optax.scale(-0.01)),
    "late": optax.sgd(LATE),
    "every fourth": optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 4),
    "accumulated": optax.chain(optax.sgd(0.1), optax.apply_every(4)),
    "never": optax.set_to_zero(),
    "average": optax.chain(optax.ema(0.9), optax.sgd(0.1)),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2)),
    "schedule-free": optax.contrib.schedule_free_sgd(0.1),
    "settings in the state": optax.inject_hyperparams(optax.sgd)(LATE),
    "finite only": optax.apply_if_finite(optax.chain(optax.zero_nans(), optax.sgd(0.1)), 3),
    "by family": optax.multi_transform(
        {"a": optax.sgd(0.1), "b": optax.sgd(0.2, momentum=0.5)}, dict(zip("zvmu", "abab"))
    ),
}


@pytest.mark.parametrize(
    ("optimiser", "why"),
    [
        *((o, r"not linear in weights and gradients \(.*\)") for o in ELEMENTWISE.values()),
        *((o, r"not linear in weights and gradients \(`\w+` is not\)") for o in RAW_NORM.values()),
        *((o, "numbers depend on the number of neurons") for o in COUNTING.values()),
    ],
    ids=[*ELEMENTWISE, *RAW_NORM, *COUNTING],
)
def test_optimisers_that_are_not_exact_are_refused_on_a_reduction(optimiser, why):
    """However late they start to move; the message says what was found in their program."""
    with pytest.raises(ValueError, match=rf"`optimiser`.*{why}.*Descent\(clip=…\), Normalised"):
        run(method=lrnn.Training(optimiser), epochs=1)


@pytest.mark.parametrize("optimiser", EXACT.values(), ids=EXACT)
def test_linear_optimisers_are_accepted_on_a_reduction(optimiser):
    lrnn.Training(optimiser).fits(lrnn.networks.weight_space(RED))


@pytest.mark.parametrize("model", [NET, RED], ids=["network", "reduction"])
def test_line_searches_are_refused(model):
    with pytest.raises(ValueError, match="`optimiser` searches along a line"):
        run(model, method=lrnn.Training(optax.lbfgs()), epochs=1)


def test_settings_of_a_linear_optimiser_may_be_traced():
    curves = jax.vmap(lambda lr: run(method=lrnn.Training(optax.sgd(lr)), epochs=3))
    learned = curves(jnp.array([0.1, 0.2]))
    assert gap(learned.gram[1], run(method=lrnn.Descent(0.2), epochs=3).gram) < ROUNDING


@pytest.mark.parametrize("model", [NET, RED], ids=["network", "reduction"])
def test_an_optimiser_may_ask_for_the_loss_and_its_gradient(model):
    """Θ ← Θ − η L g: descent whose rate is η times the loss before the step."""

    def update(slope, memory, weights=None, *, value, grad):
        del weights
        return jax.tree.map(lambda g: -0.1 * value * g, grad), memory

    plain = optax.sgd(1.0)
    asks = optax.GradientTransformationExtraArgs(plain.init, update)
    curve = run(model, method=lrnn.Training(asks), epochs=3)
    expected = model
    for loss in curve.loss[:3]:
        expected = run(expected, method=lrnn.Descent(0.1 * loss), epochs=1).model
    assert gap(curve.gram[-1], expected.overlaps.gram) < ROUNDING


@pytest.mark.parametrize("frozen", [(), ("m",)], ids=str)
def test_adam_on_a_network_is_the_usual_loop(frozen):
    """On {"z", "v", "m", "u"} with the gradients s ∂L/∂Θ."""
    net = lrnn.LowRankRNN(*THETA.T, dt=0.1, frozen=frozen)
    optimiser = optax.adam(0.01)
    curve = run(net, method=lrnn.Training(optimiser))

    def loss(weights):
        return TASK.loss(lrnn.LowRankRNN(**weights, dt=0.1))

    @jax.jit
    def step(weights, memory):
        value, slope = jax.value_and_grad(loss)(weights)
        slope = {f: 0.0 * g if f in frozen else 12 * g for f, g in slope.items()}
        with jax.numpy_dtype_promotion("standard"):
            update, memory = optimiser.update(slope, memory)
        return optax.apply_updates(weights, update), memory, value

    weights = {f: getattr(net, f) for f in "zvmu"}
    memory, losses = optimiser.init(weights), []
    for _ in range(EPOCHS):
        weights, memory, value = step(weights, memory)
        losses.append(value)
    assert gap(curve.loss[:-1], jnp.array(losses)) < ROUNDING
    for family in "zvmu":
        assert gap(getattr(curve.model, family), weights[family]) < ROUNDING
        change = gap(getattr(curve.model, family), getattr(net, family))
        assert change == 0 if family in frozen else change > 0.01


def test_sgd_is_descent():
    a = run(method=lrnn.Training(optax.sgd(0.1, momentum=0.5)))
    b = run(method=lrnn.Descent(0.1, momentum=0.5))
    assert float(a.distance(b).max) < ROUNDING


def test_direct_descent_moves_visible_overlaps_alone():
    curve = run(method=lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly()), epochs=3)
    gram, s = RED.overlaps.gram, RED.overlaps.S
    for epoch in range(4):
        assert gap(curve.gram[epoch, :2, 2:], s) < ROUNDING
        assert gap(curve.gram[epoch, :2, :2], gram[:2, :2]) == 0
        assert gap(curve.gram[epoch, 2:, 2:], gram[2:, 2:]) == 0
        s = s - 0.1 * jax.grad(lambda s: TASK.loss(RED.with_gram(gram.at[:2, 2:].set(s))))(s)
    frozen = lrnn.ReducedRNN(RED.overlaps, dt=0.1, frozen=("m",))
    with pytest.raises(ValueError, match="frozen"):
        run(frozen, method=lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly()))


# --- precision --------------------------------------------------------------------------------

PRECISE = lrnn.Flow(0.1)
SINGLE = {
    "descent": lrnn.Descent(0.1, momentum=0.5, weight_decay=1e-2, clip=0.3, rates={"m": 0.5}),
    "muon": lrnn.Muon(0.02, weight_decay=0.1),
    "sgd": lrnn.Training(optax.sgd(0.1, momentum=0.5)),
    "flow": lrnn.Flow(0.1, rtol=1e-5, atol=1e-6),
    "isospectral": lrnn.Flow(0.1, solver=lrnn.learning.Isospectral(), rtol=1e-4, atol=1e-5),
}


@pytest.mark.parametrize(
    ("model", "method"),
    [(RED, method) for method in SINGLE.values()] + [(NET, SINGLE["descent"])],
    ids=[*SINGLE, "network"],
)
def test_single_precision_works_everywhere(model, method):
    """float32 in, float32 out. Twelve epochs cost 2e-6 of Q; adaptive flows their tolerance."""
    single = jax.tree.map(lambda x: x.astype(jnp.float32), model)
    curve = run(single, method=method)
    exact = run(model, method=PRECISE if isinstance(method, lrnn.Flow) else method)
    assert curve.loss.dtype == curve.gram.dtype == curve.model.dtype == jnp.float32
    assert exact.gram.dtype == jnp.float64
    tolerance = 1e-3 if isinstance(method, lrnn.Flow) else 1e-5
    assert 0 < gap(curve.gram.astype(float), exact.gram) < tolerance
    assert gap(exact.gram[-1], exact.gram[0]) > 10 * tolerance


@pytest.mark.slow
def test_a_million_epochs_run_and_keep_a_hundred_records():
    curve = run(epochs=1_000_000, record=10_000, method=lrnn.Descent(1e-3))
    assert curve.loss.shape == (101,)
    assert curve.epochs[-1] == 1_000_000
    assert curve.loss[-1] < 1e-6 * curve.loss[0]
    assert curve.gram.nbytes == 101 * 16 * 8
