"""Probes that are designed by gradients through learning; observations out of csv files."""

import contextlib
import io
import json
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import inference, tasks
from lrnn_jax.cli import main
from lrnn_jax.inference import Loss, Outputs, Successes, Visible
from lrnn_jax.overlaps import random_overlaps

RATES, TURNS = np.array([0.1, 0.5, 2.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.5])
FILTER = tasks.MixedFilter(RATES, np.eye(4)[1], TURNS, dt=0.05, steps=60)
METHOD = lrnn.Descent(2e-2)
SEEN = {"epochs": range(0, 41, 5), "observe": Loss(), "noise": 0.01}
Q = random_overlaps(key=jr.key(1))
Q = lrnn.Overlaps(Q.gram + 0.5 * jnp.eye(4), Q.roles)
PAIR = Q, Q.replace(mm=Q["mm"] + 0.5, zz=Q["zz"] - 0.5)


def test_a_mixed_filter_is_the_sum_of_its_terms():
    """By NumPy; and one term is the filter of that name."""
    t, weights = 0.05 * np.arange(60), [1.0, -2.0, 0.5, 3.0]
    mixed = tasks.MixedFilter(RATES, np.array(weights), TURNS, dt=0.05, steps=60)
    terms = [a * np.exp(-c * t) * np.cos(w * t) for a, c, w in zip(weights, RATES, TURNS)]
    np.testing.assert_allclose(mixed.samples[:, 0, 0], np.sum(terms, axis=0), atol=1e-14)
    red = lrnn.ReducedRNN(Q, dt=0.05)
    one = lrnn.ExponentialFilter(0.5, 0.05, 60)
    np.testing.assert_allclose(FILTER.loss(red), one.loss(red), rtol=1e-12)
    with pytest.raises(ValueError, match="`amplitudes` must have shape"):
        tasks.MixedFilter(np.ones(1), np.ones(2), dt=0.05, steps=60)


@pytest.fixture(scope="module")
def probe():
    first, second = (lrnn.ReducedRNN(q, dt=0.05) for q in PAIR)
    return inference.separate(first, second, FILTER, METHOD, **SEEN, starts=2, key=jr.key(0))


@pytest.mark.slow
def test_a_designed_filter_tells_twins_apart(probe, tmp_path):
    """What it says holds for networks of neurons trained by autodiff, at the same energy."""
    energies = [np.sum(np.asarray(x.samples) ** 2) for x in (FILTER, probe.objective)]
    np.testing.assert_allclose(*energies, rtol=1e-9)
    nets = [lrnn.LowRankRNN.with_overlaps(q, 30, dt=0.05, key=jr.key(3)) for q in PAIR]

    def sigmas(task, method=METHOD, factor=1):
        seen = [lrnn.learn(n, task, method, epochs=40 * factor, record=5 * factor) for n in nets]
        return float(np.linalg.norm(np.asarray(seen[0].loss - seen[1].loss)) / 0.01)

    np.testing.assert_allclose(probe.value, sigmas(probe.objective), rtol=1e-8)
    np.testing.assert_allclose(probe.reference, sigmas(FILTER), rtol=1e-8)
    halved = sigmas(probe.objective, lrnn.Descent(1e-2), 2)
    np.testing.assert_allclose(probe.halved, halved, rtol=1e-8)
    assert probe.gain > 5
    assert probe.sound
    probe.save(tmp_path / "probe.npz")
    again = inference.Probe.load(tmp_path / "probe.npz")
    assert (again.value, again.rises) == (probe.value, probe.rises)
    assert jnp.array_equal(again.objective.amplitudes, probe.objective.amplitudes)


def test_a_probe_that_works_by_instability_is_flagged():
    worth = {"objective": FILTER, "value": 10.0, "reference": 1.0}
    assert inference.Probe(**worth, halved=9.0, rises=0).sound
    assert not inference.Probe(**worth, halved=9.0, rises=1).sound
    assert not inference.Probe(**worth, halved=1.0, rises=0).sound


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [inference.d_optimal, inference.e_optimal])
def test_an_optimal_filter_fixes_more(criterion):
    model, seen = lrnn.ReducedRNN(Q, dt=0.05), SEEN | {"observe": Visible()}
    found = inference.optimal_probe(
        model, FILTER, METHOD, **seen, directions=9, criterion=criterion, starts=2, key=jr.key(0)
    )
    known = inference.identifiable(found.objective, METHOD, model, **seen)
    values = 1 / known.directions[-1, :9]
    np.testing.assert_allclose(criterion(values), found.value, rtol=1e-6)
    assert found.gain > 1.5


# --- csv --------------------------------------------------------------------------------------

FILES = {
    "epoch,zm,zu,vm,vu,noise\n0,1,2,3,4,0.1\n4,5,6,7,8,0.2\n": (Visible(), (2, 4)),
    "epoch,loss\n0,1\n3,0.5\n": (Loss(log=True), (2, 1)),
    "Epoch, y10, y30\n\n0,1,2\n7,3,4\n": (Outputs(every=20, first=10), (2, 2)),
    "epoch,correct,trials\n0,5,10\n1,8,10\n": (Successes(), (2, 1)),
}


@pytest.mark.parametrize("text", FILES)
def test_a_csv_says_what_was_seen(text, tmp_path):
    path = tmp_path / "mouse.csv"
    path.write_text(text)
    channel, shape = FILES[text]
    log = "loss" in text
    data = inference.read_observations(path, noise=0.5, log=log)
    assert repr(data.channel) == repr(channel)
    assert data.values.shape == shape
    if log:
        np.testing.assert_allclose(data.values[:, 0], np.log([1, 0.5]))
    if "noise" in text:
        np.testing.assert_allclose(data.noise[:, 0], [0.1, 0.2])


def test_sessions_are_so_many_epochs_apart(tmp_path):
    """Extra columns are no matter, and missed sessions are left out."""
    path = tmp_path / "mouse.csv"
    path.write_text("session,day,trials,correct\n3,Monday,10,5\n4,Tuesday,12,8\n7,,10,8\n")
    data = inference.read_observations(path, per_session=10)
    assert data.epochs == (0, 10, 40)
    assert repr(data.channel) == repr(Successes())
    np.testing.assert_allclose(data.values[:, 0], [0.5, 8 / 12, 0.8])
    assert inference.read_observations(path).epochs == (0, 1, 4)
    path.write_text("epoch,trials,correct\n0,10,5\n")
    with pytest.raises(ValueError, match=r"`per_session` is for a file of sessions"):
        inference.read_observations(path, per_session=10)


def test_the_sessions_of_the_notebook_are_read():
    """Sessions as an experimenter has them; the notebook says how they were made."""
    path = Path(__file__).parent.parent / "notebooks" / "sessions.csv"
    data = inference.read_observations(path, per_session=4)
    assert data.epochs == tuple(range(0, 96, 4))
    assert data.values[0, 0] < 0.65 < 0.9 < data.values[-1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss\n1\n", "needs a column epoch, or session; it has loss"),
        ("session,loss\n1.5,1\n", "sessions that are no whole numbers"),
        ("epoch,loss\n0,1\n", "`noise` must be given"),
        ("epoch,loss\n0,one\n", "must be a csv file: one row of names"),
        ("epoch,loss\n0,1,2\n", "must be a csv file: one row of names"),
        ("epoch,y0,y1,y5\n0,1,2,3\n", "evenly spaced steps; it has epoch, y0, y1, y5"),
        ("epoch,loss\n0.5,1\n", "epochs that are no whole numbers"),
        ("", "must be a csv file"),
    ],
)
def test_wrong_csv_files_are_refused(text, message, tmp_path, capsys):
    path = tmp_path / "mouse.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        inference.read_observations(path)
    assert main(["infer", str(path)]) == 2
    assert message.split(";")[0] in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_infers(tmp_path):
    q = random_overlaps(key=jr.key(1))
    curve = lrnn.learn(
        lrnn.ReducedRNN(q, dt=0.05), lrnn.ExponentialFilter(0.2, 0.05, 100), METHOD, epochs=60
    )
    rows = np.asarray(curve.gram)[::5, :2, 2:].reshape(-1, 4)
    table = np.c_[np.arange(0, 61, 5), rows]
    path, out = tmp_path / "mouse.csv", tmp_path / "estimate.npz"
    np.savetxt(path, table, delimiter=",", header="epoch,zm,zu,vm,vu", comments="")
    command = f"infer {path} --noise 1e-4 --steps 100 --lr 0.02 --starts 6 --json --out {out}"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(command.split()) == 0
    said = json.loads(printed.getvalue())
    low, high = said["intervals"]["vu"]
    assert low < float(q["vu"]) < high
    assert said["result"] == "successful"
    assert isinstance(inference.Estimate.load(out).overlaps, lrnn.Overlaps)


def test_a_step_at_which_the_given_filter_diverges_is_refused():
    key = jr.key(0)
    q = lrnn.overlaps.random_overlaps(key=key)
    one, other = (lrnn.ReducedRNN(q.replace(mu=x), dt=0.1) for x in (q["mu"], q["mu"] - 0.2))
    filters = tasks.MixedFilter(np.array([0.2, 1.0]), np.array([1.0, 0.0]), dt=0.1, steps=50)
    seen = {"epochs": range(0, 21, 5), "observe": inference.Visible(), "noise": 0.01, "key": key}
    with pytest.raises(ValueError, match=r"`method`: learning.*diverges.*smaller step"):
        inference.separate(one, other, filters, lrnn.Descent(5.0), **seen)
    with pytest.raises(ValueError, match=r"`method`: learning.*diverges.*smaller step"):
        inference.optimal_probe(one, filters, lrnn.Descent(5.0), directions=9, **seen)
