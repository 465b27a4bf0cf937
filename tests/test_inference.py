"""What learning curves determine of overlaps: symmetries, exact ranks, estimates."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.inference import Columns, Ring, system
from lrnn_jax.overlaps import (
    flat_direction,
    flat_range,
    is_realisable,
    random_overlaps,
    regauged,
    transposed,
)

ROUNDING = 1e-12
TASK = lrnn.ExponentialFilter(0.2, 0.05, 40)
LOOP = lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=0.3), 12)
DESCENT = lrnn.Descent(5e-3)


def frozen(*families):
    return lrnn.Descent(5e-3, rates=dict.fromkeys(families, 0.0))


def drawn(seed=0, rank=1, inputs=1, outputs=1):
    std = 0.4 if rank == 1 else 0.2
    return random_overlaps(rank, inputs, outputs, std=std, key=jr.key(seed))


@jax.jit
def losses(gram, lr, rates):
    """Losses on the filter task and in the loop, at 30 epochs each: Q' = (1 − ηDΓ) Q (1 − ηΓD)."""
    roles = lrnn.overlaps.Roles(1, gram.shape[0] // 2 - 1, 1)

    def curve(objective, dt):
        def loss(q):
            return objective.loss(lrnn.ReducedRNN(lrnn.Overlaps(q, roles), dt=dt))

        def step(q, _):
            value, slope = jax.value_and_grad(loss)(q)
            turn = jnp.eye(len(q)) - lr * (slope + slope.T) * rates[None, :]
            return turn.T @ q @ turn, value

        return jax.lax.scan(step, gram, length=30)[1]

    return jnp.stack([curve(TASK, 0.05), curve(LOOP, 0.3)])


slopes = jax.jit(jax.jacfwd(losses))


def gap(q, other, rates=1.0):
    """Largest relative difference of the two loss curves, on task and loop."""
    d = jnp.broadcast_to(jnp.asarray(rates), q.gram.shape[:1])
    a, b = (losses(x.gram, 5e-3, d) for x in (q, other))
    return np.max(np.abs(a - b) / a, axis=1)


# --- symmetries -------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2])
def test_images_have_the_curve_of_the_network(rank):
    q = drawn(3, rank)
    found = inference.images(q, DESCENT)
    assert len(found.names) == len(found.overlaps.gram) == 2 ** (rank + 1)
    assert found.names[0] == "itself"
    assert jnp.array_equal(found.overlaps.gram[0], q.gram)
    grams = np.asarray(found.overlaps.gram)
    apart = np.abs(grams[:, None] - grams).max((2, 3))
    assert np.all(apart + np.eye(len(apart)) > 1e-3)
    for gram in found.overlaps.gram[1:]:
        assert max(gap(q, lrnn.Overlaps(gram, q.roles))) < ROUNDING


def test_rotations_are_seen_by_no_curve_and_other_gauges_are():
    q, angle = drawn(3, 2), 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert max(gap(q, regauged(q, turn))) < ROUNDING
    other = regauged(q, np.array([[1.0, 0.3], [0.0, 2.0]]))
    assert jnp.allclose(losses(other.gram, 0.0, jnp.ones(6)), losses(q.gram, 0.0, jnp.ones(6)))
    assert min(gap(q, other)) > 1e-4
    still = jnp.array([1.0, 0, 0, 1, 0, 0])  # only z and m learn: lengths of u and v do not count
    assert max(gap(q, other, still)) < ROUNDING


def test_a_frozen_column_breaks_transposition():
    q = drawn(1)
    still = jnp.array([1.0, 1, 0, 1])
    assert max(gap(q, transposed(q))) < ROUNDING
    assert max(gap(q, transposed(q), still)) > 1e-3
    found = inference.images(q, frozen("m"))
    assert not found.holds("transposition")
    assert len(found.names) == 2
    back = transposed(transposed(q))
    assert jnp.array_equal(back.gram, q.gram)
    assert (transposed(q)["mm"], transposed(q)["zu"]) == (q["zz"], q["vm"])
    two = transposed(drawn(1, 2, 3, 1))
    assert (two.roles.inputs, two.roles.outputs) == (1, 3)


NULL = {
    "all": ((), ()),
    "zm": (("scale", "flat"), ("flat",)),
    "uv": (("gauge u → u", "flat"), ("flat",)),
    "mu": (("zz", "zv", "vv"), ("zz", "zv", "vv")),
    "zv": (("mm", "mu", "uu"), ("mm", "mu", "uu")),
    "m": ((), ()),
}


@pytest.mark.parametrize("still", NULL)
def test_null_directions_change_no_curve(still):
    """By finite differences of curves: quadratic in the step along a direction that is straight."""
    families = () if still == "all" else tuple(still)
    q = drawn(2)
    for see, expected in zip((False, True), NULL[still]):
        found = inference.images(q, frozen(*families), see_overlaps=see)
        assert found.null_names == expected
        assert found.null.shape == (len(expected), 4, 4)
    rates = jnp.array([float(f not in families) for f in "zvmu"])
    found = inference.images(q, frozen(*families))
    curve = slopes(q.gram, 5e-3, rates)
    size = float(jnp.abs(curve).max())
    for direction in found.null:
        assert jnp.abs(jnp.tensordot(curve, direction, 2)).max() < 1e-12 * size
    flat = jnp.tensordot(curve, flat_direction(q, dict.fromkeys(families, 0.0)), 2)
    assert (jnp.abs(flat).max() < 1e-12 * size) == (still not in ("all", "m"))


@pytest.mark.parametrize(
    ("model", "method", "see", "broken"),
    [
        (drawn(), DESCENT, True, "signs rotation gauge transposition scale P R flat"),
        (drawn(0, 1, 2), lrnn.Flow(1e-3), False, "rotation gauge transposition scale P R"),
        (drawn(0, 2), frozen("v1"), False, "rotation gauge transposition scale P R flat"),
        (drawn(0, 1), frozen("u", "v", "z", "m"), True, "signs rotation gauge transposition scale"),
    ],
)
def test_what_breaks_which_symmetry(model, method, see, broken):
    found = inference.images(model, method, see_overlaps=see)
    assert {s.name for s in found.symmetries if not s.holds} == set(broken.split())
    assert all(s.why for s in found.symmetries)


def test_a_nonlinear_network_has_its_signs_and_its_gauge_only():
    net = lrnn.LowRankRNN.normalised(8, dt=0.1, key=jr.key(0), activation=lrnn.Erf())
    found = inference.images(net, DESCENT)
    assert [s.name for s in found.symmetries if s.holds] == ["signs"]
    with pytest.raises(ValueError, match="`overlaps` must be those of a linear network"):
        flat_direction(net)


def test_flow_is_blind_to_the_flat_direction_and_descent_sees_it_at_order_eta():
    q = drawn(1)
    ends = [float(0.5 * end) for end in flat_range(q)]
    twins = [lrnn.Overlaps(q.gram + e * flat_direction(q), q.roles) for e in ends]
    flows = [
        lrnn.learn(lrnn.ReducedRNN(t, dt=0.05), TASK, lrnn.Flow(5e-2), epochs=20) for t in twins
    ]
    assert jnp.abs(flows[0].loss - flows[1].loss).max() < 1e-8  # rtol 1e-9 of Flow
    step = (ends[1] - ends[0]) * flat_direction(q)
    moved = flows[1].gram - flows[0].gram - step[None]
    assert jnp.abs(moved).max() < 1e-8
    apart = []
    for lr, epoch in ((8e-2, 14), (4e-2, 28)):  # the same η × epochs
        late = [losses(t.gram, lr, jnp.ones(4))[0, epoch] for t in twins]
        apart.append(abs(float(late[1] - late[0])))
    assert 1.7 < apart[0] / apart[1] < 2.3
    assert apart[1] > 1e-7


def test_the_range_of_the_flat_direction_is_that_of_the_cone():
    grams = jax.vmap(lambda key: random_overlaps(key=key).gram)(jr.split(jr.key(0), 30))
    q = lrnn.Overlaps(np.asarray(grams) + 0.01 * np.eye(4), drawn().roles)
    low, high = flat_range(q)
    assert jnp.all((low < 0) & (high > 0))
    for end, inside in ((low, 0.99), (high, 0.99)):
        along = np.asarray(end)[:, None, None] * np.asarray(flat_direction(q))
        assert jnp.all(is_realisable(q.gram + inside * along))
        assert not jnp.any(is_realisable(q.gram + along / inside))
    assert 1.2 < float(jnp.median(high - low)) < 1.8
    only = dict.fromkeys("zv", 0.0)
    assert jnp.all(flat_range(q, only)[1] == jnp.inf)


# --- exact ranks ------------------------------------------------------------------------------


def ranks(method, epochs, objective=TASK, unknown=(), channels=(1, 1, 1)):
    q = random_overlaps(*channels, std=0.1, key=jr.key(0))
    return inference.exact_ranks(objective, method, q, epochs=epochs, unknown=unknown)


TABLE = {
    "descent": (DESCENT, TASK, (), [3, 6, 9, 10], (10, 9), [4, 8, 9, 10]),
    "η unknown": (DESCENT, TASK, ("lr",), [3, 6, 9, 11], (11, 10), [4, 8, 10, 11]),
    "affine": (DESCENT, TASK, ("lr", "gain", "offset"), [4, 7, 10, 13], (13, 12), [4, 8, 10, 11]),
    "momentum": (
        lrnn.Descent(5e-3, momentum=0.9), TASK, ("lr",), [3, 6, 9, 11], (11, 10), [4, 8, 10, 11],
    ),
    "flow": (lrnn.Flow(5e-3), TASK, (), [3, 6, 9, 9], (9, 8), [4, 8, 9, 9]),
    "flow, η": (lrnn.Flow(5e-3), TASK, ("lr",), [3, 6, 9, 10], (10, 9), [4, 8, 10, 10]),
    "frozen m": (frozen("m"), TASK, (), [3, 6, 9, 10], (10, 9), [4, 8, 9, 10]),
    "frozen m, η": (frozen("m"), TASK, ("lr",), [3, 6, 9, 11], (11, 10), [4, 8, 10, 11]),
    "recurrent": (frozen("z", "m"), TASK, (), [3, 5, 7, 8], (8, 7), [4, 7, 9, 9]),
    "recurrent, η": (frozen("z", "m"), TASK, ("lr",), [3, 5, 7, 9], (9, 8), [4, 7, 10, 10]),
    "frozen m, u": (frozen("m", "u"), TASK, (), [3, 6, 7, 7], (7, 6), [4, 7, 7, 7]),
    "read-out": (frozen("m", "u", "v"), TASK, (), [3, 5, 6, 6], (5, 4), [4, 6, 7, 7]),
    "loop": (DESCENT, LOOP, (), [3, 6, 9, 10], (10, 9), [4, 8, 9, 10]),
    "loop, flow": (lrnn.Flow(5e-3), LOOP, (), [3, 6, 9, 9], (9, 8), [4, 8, 9, 9]),
}  # fmt: skip


FAST = ("η unknown", "flow", "recurrent, η", "read-out", "loop")


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=() if row in FAST else pytest.mark.slow) for row in TABLE]
)
def test_exact_ranks_of_rank_one(row):
    method, objective, unknown, outputs, (most, reached), visible = TABLE[row]
    found = ranks(method, reached + 2, objective, unknown)
    assert found.outputs[:4].tolist() == outputs
    assert found.visible[:4].tolist() == visible
    assert found.loss[-3:].tolist() == [most] * 3
    assert found.loss[: reached + 1].tolist() == list(range(1, most + 1))
    assert len(found.parameters) == 10 + len(unknown)


@pytest.mark.parametrize(
    ("channels", "method", "unknown", "outputs", "visible"),
    [
        ((1, 2, 1), DESCENT, ("lr",), [5, 10, 15, 16], [6, 12, 15, 16]),
        ((1, 2, 1), lrnn.Flow(5e-3), (), [5, 10, 14, 14], [6, 12, 14, 14]),
        ((2, 1, 1), DESCENT, (), [5, 10, 15, 20], [9, 18, 20, 21]),
        ((2, 1, 1), lrnn.Flow(5e-3), (), [5, 10, 15, 19], [9, 18, 20, 20]),
        ((3, 1, 1), DESCENT, (), [7, 14, 21, 28, 33], [16, 32, 35, 36]),
    ],
)
def test_exact_ranks_of_more_columns(channels, method, unknown, outputs, visible):
    found = ranks(method, len(outputs), TASK, unknown, channels)
    assert found.outputs[: len(outputs)].tolist() == outputs
    assert found.outputs[-1] == outputs[-1]
    assert found.visible[: len(visible)].tolist() == visible


def test_rank_two_in_a_loop():
    found = ranks(DESCENT, 4, LOOP, (), (2, 1, 1))
    assert found.outputs.tolist() == [5, 10, 15, 20, 20]
    assert found.visible.tolist() == [9, 18, 20, 21, 21]


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TASK, LOOP])
def test_the_loss_alone_of_rank_two(objective):
    found = ranks(DESCENT, 20, objective, (), (2, 1, 1))
    assert found.loss.tolist() == [*range(1, 21), 20]


@pytest.mark.parametrize("row", ["recurrent", "frozen m, u", "flow", "descent", "read-out"])
def test_what_is_not_seen_has_a_name(row):
    """The null space found by elimination is spanned by the symmetries that are known."""
    method, objective, unknown, *_ = TABLE[row]
    found = ranks(method, 10, objective, unknown)
    assert (found.unnamed["outputs"], found.unnamed["visible"]) == (0, 0)
    expected = inference.images(drawn(), method).null_names
    assert found.null["outputs"] == expected
    # the loss of a read-out that learns alone has two modes: one number less than its outputs
    assert found.unnamed["loss"] == (row == "read-out")


def test_momentum_leaves_the_flat_direction_of_one_column_a_side_unseen():
    method = lrnn.Descent(5e-3, momentum=0.9, rates={"z": 0.0, "m": 0.0, "u": 0.5})
    found = ranks(method, 5)
    assert found.null["outputs"] == ("scale", "flat")
    assert found.unnamed["outputs"] == 0


def test_rates_count_and_seeds_do_not():
    q = drawn()
    method = lrnn.Flow(5e-3, rates={"u": 0.5})
    found = [inference.exact_ranks(TASK, method, q, epochs=3, seed=s) for s in (0, 1)]
    assert found[0].null["visible"] == found[1].null["visible"] == ("flat",)
    assert found[0].outputs.tolist() == found[1].outputs.tolist() == [3, 6, 9, 9]


KEY = jr.key(0)
RULES = {
    "gradient": (lrnn.Gradient(), [3, 6, 9, 10], [4, 8, 9, 10], ()),
    "e-prop": (lrnn.EProp(), [3, 6, 9, 9], [4, 8, 9, 9], ("vv",)),
    "RFLO": (lrnn.RFLO(key=KEY), [3, 5, 7, 7], [4, 6, 7, 7], ("zv", "vv", "zz")),
    "feedback": (lrnn.FeedbackAlignment(key=KEY), [3, 5, 8, 9], [4, 6, 9, 9], ("zz",)),
    "feedback in time": (
        lrnn.FeedbackAlignment(key=KEY, time=True), [3, 5, 7, 7], [4, 6, 7, 7], ("zv", "vv", "zz"),
    ),
    "last update": (lrnn.Truncated(1), [3, 6, 9, 9], [4, 8, 9, 9], ("vv",)),
    "last three": (lrnn.Truncated(3), [3, 6, 9, 10], [4, 8, 10, 10], ()),
    "chunks": (lrnn.Truncated(2, chunks=True), [3, 6, 9, 10], [4, 8, 10, 10], ()),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_ranks_under_other_rules(name):
    """Those of derivatives in floating point, with so few and large steps that they show a gap."""
    rule, outputs, visible, unread = RULES[name]
    task, method = lrnn.ExponentialFilter(0.5, 0.5, 8), lrnn.Descent(0.3, rule=rule)
    q = random_overlaps(std=0.6, key=jr.key(3))
    found = inference.exact_ranks(task, method, q, epochs=3)
    assert (found.outputs.tolist(), found.visible.tolist()) == (outputs, visible)
    assert sorted(found.null["outputs"]) == sorted(unread)
    assert (found.unnamed["outputs"], found.unnamed["visible"]) == (0, 0)
    assert sorted(inference.images(q, method).null_names) == sorted(unread)

    def see(model):
        return task.output(model).ravel(), model.overlaps.S.ravel()

    def run(vector):
        gram = lrnn.overlaps.from_vector(vector, q.roles)
        model = lrnn.ReducedRNN(lrnn.Overlaps(gram, q.roles), dt=0.5)
        return lrnn.learn(model, task, method, epochs=3, watch=see, throw=False).watched

    for slopes, expected in zip(jax.jit(jax.jacfwd(run))(q.vector()), (outputs, visible)):
        for epoch, rank in enumerate(expected):
            values = np.linalg.svd(slopes[: epoch + 1].reshape(-1, 10), compute_uv=False)
            assert np.sum(values > 1e-8 * values[0]) == rank
            assert values[rank - 1] > 1e-5 * values[0]


@pytest.mark.parametrize(
    "name", ["e-prop", "RFLO", "feedback", "last update", "last three", "chunks"]
)
def test_what_rules_write_is_what_neurons_learn(name):
    """Θ A against a textbook on seven neurons, both modulo p: no rounding."""
    rule, p = RULES[name][0], 2**31 - 1
    roles = lrnn.overlaps.Roles(2, 2, 1, feedback=2 * (rule.backward.source == "f"))
    ring = Ring(1, 0, seed=1)
    task = system(lrnn.ExponentialFilter(0.5, 0.5, 40), lrnn.overlaps.Roles(2, 2, 1), ring)
    theta = ring.random(7, roles.size)
    found = theta @ Columns(task, theta.T @ theta, roles, ring).direction(rule.backward)

    def number(jets):
        return jets.c[:, :, 0, 0].astype(object)

    x = {f: number(theta)[:, at] for f, at in roles.slices.items()}
    dt, target = number(task.dt)[0, 0], [number(f) for f in task.target]
    window, steps = rule.backward.window or len(target), len(target)
    h = [x["m"]]
    for _ in target[1:]:
        h.append(((1 - dt) * h[-1] + dt * x["u"] @ (x["v"].T @ h[-1])) % p)
    e = [2 * (x["z"].T @ now - f) % p for now, f in zip(h, target)]
    a = []
    for t in range(steps):  # errors from t on, each sent back one step after the other
        last = steps if not rule.backward.chunks else (t // window + 1) * window
        last = last if rule.backward.chunks else t + window
        total = 0
        for s in range(t, min(last, steps)):
            sent = x[rule.backward.source] @ e[s]
            for _ in range(t, s):
                along = dt * x["v"] @ (x["u"].T @ sent) if rule.backward.carried else 0
                sent = ((1 - dt) * sent + along) % p
            total = total + sent
        a.append(total % p)
    later = range(steps - 1)
    expected = {
        "z": sum(h[t] @ e[t].T for t in range(steps)),
        "v": dt * sum(h[t] @ (a[t + 1].T @ x["u"]) for t in later),
        "m": a[0],
        "u": dt * sum(a[t + 1] @ (h[t].T @ x["v"]) for t in later),
    }
    for family, way in expected.items():
        assert np.all(number(found)[:, roles.slices[family]] == way % p), family


def test_rules_break_symmetries():
    rates = {"m": 0.0, "z": 0.0}
    fixed, own = (
        lrnn.Descent(0.1, rates=rates, rule=r) for r in (lrnn.RFLO(key=KEY), lrnn.EProp())
    )
    assert inference.images(drawn(), fixed).names == ("itself", "sign of v, u")
    assert not inference.images(drawn(), fixed).holds("scale")
    assert inference.images(drawn(), own).holds("scale")
    assert inference.images(drawn(), fixed).holds("P")
    assert not inference.images(drawn(), lrnn.Flow(0.1, rule=lrnn.EProp())).holds("flat")
    bent = lrnn.ReducedRNN(drawn(), dt=0.05, activation=lrnn.Erf())  # reads R without learning
    assert inference.images(bent, frozen("z", "v")).null_names == ()
    assert inference.images(bent, frozen("m", "u")).null_names == ("zz", "zv", "vv")
    scaled = [drawn(), drawn()]
    turn = np.diag([2.0, 1.0, 0.5, 1.0])
    scaled[1] = lrnn.Overlaps(turn @ scaled[0].gram @ turn, scaled[0].roles)
    for method, same in ((own, True), (fixed, False)):
        pair = [
            lrnn.learn(lrnn.ReducedRNN(q, dt=0.05), TASK, method, epochs=20).loss for q in scaled
        ]
        assert (np.max(np.abs(pair[0] / pair[1] - 1)) < ROUNDING) == same


def test_other_rules_have_ranks_in_flow_and_of_rank_two():
    flow = lrnn.Flow(5e-3, rule=lrnn.RFLO(key=KEY))
    assert ranks(flow, 4).visible.tolist() == [4, 6, 7, 7, 7]
    found = ranks(lrnn.Descent(5e-3, rule=lrnn.RFLO(key=KEY)), 6, TASK, ("lr",), (2, 2, 1))
    # S has 12 entries, R 10; zz, zv, vv, six of them, are never read
    assert (found.visible[0], found.visible[-1]) == (12, 12 + 10 + 1)
    assert found.unnamed["visible"] == 0


@pytest.mark.parametrize(
    ("objective", "method", "options", "message"),
    [
        (LOOP, lrnn.Descent(0.1, rule=lrnn.EProp()), {}, "EProp needs the errors of outputs"),
        (
            TASK,
            lrnn.Descent(0.1, rule=lrnn.WeightPerturbation(0.1, key=KEY)),
            {},
            "`method` must be such as Descent",
        ),
        (lrnn.FlipFlop(0.1, 60, 2), DESCENT, {}, "`objective` must be a filter task or a Closed"),
        (TASK, lrnn.Descent(0.1, clip=1.0), {}, "`method` must take polynomial steps"),
        (
            TASK,
            lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly()),
            {},
            "`method` must be such as Descent",
        ),
        (TASK, DESCENT, {"unknown": ("momentum",)}, "`method` has none"),
        (TASK, DESCENT, {"unknown": ("q",)}, "`unknown` takes names among"),
    ],
)
def test_what_has_no_exact_rank_is_refused(objective, method, options, message):
    with pytest.raises(ValueError, match=message):
        inference.exact_ranks(objective, method, drawn(), **{"epochs": 2} | options)
