"""Inference at full size: starts that succeed, coverage of intervals, what is known in practice.

pytest -m slow -n 0 -s tests/test_inference_full_size.py
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference
from lrnn_jax.inference import Loss, Observations, Outputs, Visible
from lrnn_jax.overlaps import random_overlaps

pytestmark = pytest.mark.slow
TASK = lrnn.ExponentialFilter(0.2, 0.05, 400)
METHOD = lrnn.Descent(5e-3)
EPOCHS = range(0, 301, 10)
MODEL = lrnn.ReducedRNN(random_overlaps(key=jr.key(99)), dt=0.05)


def drawn(key, rank=1):
    """Well inside the cone."""
    q = random_overlaps(rank, std=0.4 if rank == 1 else 0.2, key=key)
    return lrnn.Overlaps(q.gram + 0.01 * jnp.eye(len(q.gram)), q.roles)


def curve_of(seed, channel):
    """What 500 neurons show, trained by autodiff."""
    net = lrnn.LowRankRNN.with_overlaps(drawn(jr.key(seed)), 500, dt=0.05, key=jr.key(seed))
    curve = lrnn.learn(
        net, TASK, METHOD, epochs=300, record=10, watch=lambda net: channel.look(TASK, net)
    )
    return np.asarray(curve.watched)


@pytest.mark.parametrize(("channel", "least"), [(Visible(), 9), (Outputs(40), 6)])
def test_starts_that_find_the_network(channel, least):
    """Without noise: of ten, to 1e-6 in nine combinations of one of its images."""
    for seed in (1, 2):
        seen = curve_of(seed, channel)
        data = Observations(channel, seen, epochs=EPOCHS, noise=1e-8)
        found = inference.infer(data, TASK, METHOD, model=MODEL, starts=10, key=jr.key(7))
        see = channel.kind == "visible"
        images = inference.images(drawn(jr.key(seed)), METHOD, see_overlaps=see).overlaps.vector()
        ends = np.asarray(found.fits.theta) @ np.asarray(found.combined.weights).T
        wanted = np.asarray(images @ found.combined.weights.T)
        errors = np.abs(ends[:, None] - wanted).max(-1).min(-1)
        print(f"\n{channel}, truth {seed}: {np.sort(errors)}")
        assert np.sum(errors < 1e-6) >= least


LOOP = lrnn.ClosedLoop(lrnn.KIntegrator(2, dt=0.3), 12)
SHORT = lrnn.ExponentialFilter(0.2, 0.25, 40)
COVERED = {
    "truth 1": (TASK, METHOD, 0.05, 1, 1),
    "truth 2": (TASK, METHOD, 0.05, 1, 2),
    "truth 3": (TASK, METHOD, 0.05, 1, 3),
    "rank 2": (SHORT, METHOD, 0.25, 2, 1),
    "loop": (LOOP, lrnn.Descent(5e-3, clip=1.0), 0.3, 1, 1),
}


@pytest.mark.parametrize("case", COVERED)
def test_intervals_cover_the_truth(case):
    """S at 1 % noise, 200 repetitions: every combination that is not weak in [.90, .99].

    Four random starts each; at rank 2, where all 21 entries are to be found, and in the loop, whose
    fits take longest, two around the truth: coverage is a matter of the best fit, not of search.
    """
    task, method, dt, rank, seed = COVERED[case]
    near = case in ("rank 2", "loop")
    repetitions, starts, noise = 200, 2 if near else 4, 0.01
    q = drawn(jr.key(seed), rank)
    net = lrnn.LowRankRNN.with_overlaps(q, 500, dt=dt, key=jr.key(seed))
    looks = Visible()
    s = inference.Setting(lrnn.reduce(net), task, method, looks, tuple(EPOCHS), 10, ())
    seen = lrnn.learn(
        net, task, method, epochs=300, record=10, watch=lambda net: looks.look(task, net)
    ).watched
    exact = np.asarray(seen).ravel()
    combined = inference.combinations(s)
    mean, std = inference.Prior().of(q.roles)
    sigma = jnp.full(exact.shape, noise)
    keys = jr.split(jr.key(5), (repetitions, starts))
    begin = np.asarray(jax.vmap(jax.vmap(lambda key: drawn(key, rank).vector()))(keys))
    begin = 0.9 * np.asarray(q.vector()) + 0.1 * begin if near else begin
    data = exact + noise * np.asarray(jr.normal(jr.key(6), (repetitions, len(exact))))
    many = jax.jit(jax.vmap(lambda d, x: inference.fit(s, d, sigma, mean, std, x)))
    hits, weak, cone, used = np.zeros(len(combined.names)), np.zeros(len(combined.names)), 0, 0
    w = np.asarray(combined.weights)
    spread = np.sqrt(np.diag(w @ np.diag(np.asarray(std) ** 2) @ w.T))
    for batch in np.split(np.arange(repetitions), 10):
        fits = many(data[batch], begin[batch])
        for row in range(len(batch)):
            cost = np.asarray(fits.cost[row])
            most = len(exact) + 4 * np.sqrt(2 * len(exact))
            if np.sum(cost < cost.min() + 1) < 2 or cost.min() > most:
                continue
            theta = fits.theta[row, int(np.argmin(cost))]
            inverse = np.linalg.inv(np.asarray(fits.root[row, int(np.argmin(cost))]))
            deviation = np.linalg.norm(w @ inverse, axis=1)
            hits += np.abs(w @ np.asarray(theta - q.vector())) < 1.96 * deviation
            weak += deviation > 0.05 * spread
            if rank == 1:
                low, high = inference.flat_range(lrnn.Overlaps(s.gram(theta), q.roles))
                off = float(q["mm"] - theta[6])
                cone += float(low) - 0.3 < off < float(high) + 0.3
            used += 1
    coverage, weak = hits / used, weak / used
    print(f"\n{case}: {used} resolved; flat within the cone's range {cone / used}")
    for name, share, w in zip(combined.names, coverage, weak):
        print(f"  {name} {share:.3f}" + f", weak in {w:.2f}" * bool(w))
    assert used >= 0.95 * repetitions
    strong = weak < 0.5
    assert np.sum(strong) >= 6
    assert np.all((coverage >= 0.90)[strong] & (coverage <= 0.99)[strong])


def by(rule=lrnn.Gradient(), **options):
    return lrnn.Descent(2e-3, rule=rule, **options)


def still(*families):
    return by(rates={f: float(f not in families) for f in "zvmu"})


KEY = jr.key(0)
WAYS = {
    "what learns": {
        "all": by(),
        "m frozen": still("m"),
        "read-out": still("v", "m", "u"),
        "recurrent": still("z", "m"),
        "momentum": by(momentum=0.9),
    },
    "rules": {
        "gradient": by(),
        "e-prop": by(lrnn.EProp()),
        "RFLO": by(lrnn.RFLO(key=KEY)),
        "feedback alignment": by(lrnn.FeedbackAlignment(key=KEY)),
        "window of 2": by(lrnn.Truncated(2)),
    },
}


@pytest.mark.parametrize(("ways", "times"), [("what learns", 10), ("rules", 4)])
def test_how_often_the_way_of_learning_is_told(ways, times):
    """Outputs at 1 %, η unknown, random starts. Rules are hard to tell: one that reads fewer
    overlaps fits as well, with fewer dimensions; it is never a richer one that is said."""
    found = inference.confusion(
        lrnn.ExponentialFilter(0.2, 0.25, 40), WAYS[ways],
        model=lrnn.ReducedRNN(random_overlaps(key=jr.key(1)), dt=0.25),
        epochs=range(0, 301, 15), observe=Outputs(4), noise=0.01, repetitions=times, key=jr.key(1),
    )  # fmt: skip
    print(f"\n{ways}: {found}")
    if ways == "what learns":
        assert found.right >= 0.95
    else:
        read = np.array([11, 10, 8, 10, 11])  # numbers that a curve fixes, η too
        true, said = np.nonzero(found.said[:, :-1])
        assert np.all(read[said] <= read[true])
        assert found.said[2, 2] == times


OTHERS = {
    "rank 2": (TASK, lrnn.Descent(5e-3), 0.05, 2, Visible(), 0.01),
    "loop": (LOOP, lrnn.Descent(5e-3, clip=1.0), 0.3, 1, Visible(), 0.01),
    "loss": (TASK, lrnn.Descent(5e-3), 0.05, 1, Loss(log=True), 0.01),
}


@pytest.mark.parametrize("case", OTHERS)
def test_fits_of_rank_two_of_loops_and_of_losses(case):
    """One noisy curve: which starts agree, and whether 4 sd hold the truth or one of its images."""
    task, method, dt, rank, channel, noise = OTHERS[case]
    std = 0.4 if rank == 1 else 0.2
    q = random_overlaps(rank, std=std, key=jr.key(1))
    q = lrnn.Overlaps(q.gram + 0.01 * jnp.eye(len(q.gram)), q.roles)
    net = lrnn.LowRankRNN.with_overlaps(q, 500, dt=dt, key=jr.key(2))
    seen = lrnn.learn(
        net, task, method, epochs=300, record=10, watch=lambda net: channel.look(task, net)
    ).watched
    clean = np.log(np.asarray(seen)) if case == "loss" else np.asarray(seen)
    noisy = clean + noise * np.asarray(jr.normal(jr.key(3), clean.shape))
    data = Observations(channel, noisy, epochs=EPOCHS, noise=noise)
    found = inference.infer(data, task, method, model=lrnn.reduce(net), key=jr.key(4))
    see = channel.kind == "visible"
    images = inference.images(q, method, see_overlaps=see).overlaps.vector()
    wanted = np.asarray(images @ found.combined.weights.T)
    errors = (np.asarray(found.values) - wanted) / np.asarray(found.std)
    best = np.abs(errors)[np.argmin(np.abs(errors).max(1))]
    print(f"\n{case}: {found}\nerrors in sd: {dict(zip(found.names, best.round(1)))}")
    print(np.sort(np.asarray(found.fits.cost)).round(2))
    assert float(found.chi2) < data.size + 4 * np.sqrt(2 * data.size)
    if see:
        assert found.starts_agreeing >= 2
        assert np.sum(best < 4) >= len(best) - 1


@pytest.mark.parametrize("observe", [Outputs(40), Loss()])
def test_an_optimal_filter_fixes_twice_as_much(observe):
    """The geometric mean of nine directions' deviations, at equal energy, by a filter that works
    without rises of the loss; also at half the step, where less is left of what steps tell."""
    rates, turns = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 0.2, 0.2]), np.array([0.0] * 5 + [0.5, 1.5])
    given = lrnn.tasks.MixedFilter(rates, np.eye(7)[1], turns, dt=0.05, steps=400)
    seen = {"epochs": range(0, 201, 5), "observe": observe, "noise": 0.01}
    gains = []
    for seed in (1, 2, 3):
        model = lrnn.ReducedRNN(drawn(jr.key(seed)), dt=0.05)
        found = inference.optimal_probe(
            model, given, METHOD, **seen, directions=9, starts=3, key=jr.key(0)
        )
        gains.append((found.gain, found.halved / found.reference))
        print(f"\n{observe}, network {seed}: gains {np.round(gains[-1], 2)}")
        assert found.rises == 0
    assert np.all(np.median(gains, axis=0) >= 2)
