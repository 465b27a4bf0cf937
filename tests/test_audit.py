"""The audit of closed loops: its protocol, what it measures, its page."""

import dataclasses
import json
import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import experiments
from lrnn_jax.cli import main
from lrnn_jax.experiments import AUDITS, HorizonsConfig, ManyPairsConfig, PairConfig, pair

SMALL = PairConfig(n=10, steps=12, batch=6, epochs=30)


@pytest.fixture(scope="module")
def report():
    return pair(SMALL)


def rolled_out(net, force, starts, steps):
    """States of the audit's loop, trial by trial: no action at the first step."""
    w, w_in, w_out = (np.asarray(x) for x in (net.w, net.w_in, net.w_out))
    out = []
    for x in np.asarray(starts):
        h, states = np.zeros(len(w)), []
        for t in range(steps):
            states.append(x)
            u = (w_out @ np.tanh(h))[0] if t else 0.0
            x = np.array([x[0] + x[1], x[1] + force * u])
            h = w @ np.tanh(h) + w_in[:, 0] * x[0]
        out.append(states)
    return np.array(out)


def test_the_loss_is_the_protocols():
    """Σ_t ‖x_t‖² over all steps, over their number, but for the first state, which is given."""
    config = dataclasses.replace(SMALL, force=0.5)
    net, loop = config.network(jr.key(1)), config.loop()
    net = eqx.tree_at(lambda n: (n.w, n.w_in, n.w_out), net, replace_fn=lambda w: 5 * w)
    starts = loop.sample(jr.key(2))
    assert float(abs(starts).max()) <= 2
    states = rolled_out(net, 0.5, starts, config.steps)
    theirs = (states**2).sum(axis=(1, 2)).mean() / config.steps
    given = (np.asarray(starts) ** 2).sum(axis=1).mean() / config.steps
    ours = config.per_loss * float(loop.loss(net, starts))
    assert ours == pytest.approx(theirs - given, rel=1e-12)


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_a_step_is_that_of_the_protocols_loss(clip):
    """SGD on f·L with rate η and clipping c is ours on L with ηf and c/f."""
    config = dataclasses.replace(SMALL, clip=clip, lr=0.3)
    net, loop, f = config.network(jr.key(1)), config.loop(), config.per_loss
    starts = loop.sample(jr.key(2))

    def loss(weights):
        model = eqx.tree_at(lambda n: (n.w, n.w_in, n.w_out), net, weights)
        return f * loop.loss(model, starts)

    gradient = jax.grad(loss)((net.w, net.w_in, net.w_out))
    norm = np.sqrt(sum((np.asarray(g) ** 2).sum() for g in gradient))
    factor = min(1.0, clip / norm) if clip else 1.0
    assert not clip or factor < 0.9
    batches = jnp.stack([starts, starts])
    after = lrnn.learn(net, loop, config.method(f), epochs=1, batches=batches).model
    for new, old, g in zip(
        (after.w, after.w_in, after.w_out), (net.w, net.w_in, net.w_out), gradient
    ):
        np.testing.assert_allclose(new - old, -0.3 * factor * g, rtol=1e-9, atol=1e-15)


def test_settings_differ_from_the_main_one_in_one_thing():
    settings = AUDITS["closed_loop"][1]
    main_one = dataclasses.asdict(settings["main"])
    assert len(settings) == 19
    assert (main_one["n"], main_one["steps"], main_one["batch"], main_one["lr"]) == (
        100, 50, 100, 0.01,
    )  # fmt: skip
    for name, setting in settings.items():
        changed = {k for k, v in dataclasses.asdict(setting).items() if v != main_one[k]}
        assert len(changed) == {"main": 0, "adam": 2, "tracking": 4}.get(name, 1), name


KINDS = [("tanh", "tracking"), ("rank 2", "path integration"), ("gru", "tracking")]


@pytest.mark.parametrize(("controller", "task"), KINDS)
def test_other_controllers_and_tasks_have_the_same_protocol(controller, task):
    """Sizes of weights; no control at the first step; the loss is the plant's cost over all."""
    config = dataclasses.replace(SMALL, n=400, controller=controller, task=task)
    net, loop = config.network(jr.key(0)), config.loop()
    named = jax.tree.leaves_with_path(eqx.filter(net, eqx.is_inexact_array))
    weights = {
        jax.tree_util.keystr(path): 20 * float(jnp.std(w)) for path, w in named if w.size > 1
    }
    assert len(weights) in (3, 4)
    for name, size in weights.items():  # of 400 numbers or more: 5 standard errors
        wanted = 0.1**0.5 if name in (".u", ".v") else 0.1
        assert size == pytest.approx(wanted, rel=5 / 800**0.5), name
    assert not net.biased
    trials = loop.sample(jr.key(1))
    run = loop.simulate(net, trials)
    assert not np.any(run.controls[0])
    signals = loop.plant.signals(trials, loop.horizon)
    cost = loop.plant.cost(run.states[1:], run.controls, signals)
    theirs = float(cost.sum(axis=0).mean()) / config.steps
    assert config.per_loss * float(loop.loss(net, trials)) == pytest.approx(theirs, rel=1e-9)


def test_a_low_rank_controller_is_a_dense_one_and_a_gated_one_has_its_equations():
    config = dataclasses.replace(SMALL, controller="rank 5")
    net, loop = config.network(jr.key(3)), config.loop()
    dense = lrnn.DenseRNN(net.u @ net.v.T, net.m, net.z.T, dt=1.0, activation=lrnn.Tanh())
    starts = loop.sample(jr.key(2))
    assert float(loop.loss(net, starts)) == pytest.approx(float(loop.loss(dense, starts)), rel=1e-9)
    assert net.roles.rank == 5
    gated = dataclasses.replace(SMALL, controller="gru").network(jr.key(3))
    w, w_in = (30 * np.asarray(x) for x in (gated.cell.weight_hh, gated.cell.weight_ih))
    gated = experiments.GatedController(w, w_in, gated.w_out, dt=1.0)
    h, x = np.linspace(-1, 1, 10), np.array([0.7])
    reset, update = (
        1 / (1 + np.exp(-(w[rows] @ h + w_in[rows] @ x))) for rows in (slice(10), slice(10, 20))
    )
    new = np.tanh(w_in[20:] @ x + reset * (w[20:] @ h))
    expected = new + update * (h - new)
    np.testing.assert_allclose(gated.step(jnp.asarray(h), jnp.asarray(x)), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("controller", "task"), KINDS)
def test_pairs_of_other_controllers_and_tasks_learn(controller, task):
    steps = {"epochs": 60, "optimiser": "adam", "lr": 0.02}
    report = pair(dataclasses.replace(SMALL, controller=controller, task=task, **steps))
    losses = report.results.loss
    assert losses["closed"][-1] < losses["closed"][0] == losses["open"][0]
    assert np.isfinite(report.results.radius["open"]).all()
    assert float(report.results.open.loss[-1]) < float(report.results.open.loss[0])


def test_controllers_are_tried_over_all_horizons():
    """Losses by the audit's roll-out; the plant costs the same at every T and c."""
    small = HorizonsConfig(n=8, batch=5, epochs=12, trained=(5, 12), costs=(0.0, 1.0), steps=20)
    results = experiments.horizons(small).results
    assert results.loss.shape == (2, 2, 10)
    starts = small.pair(20, 0.0).plant().sample(jr.split(jr.key(0), 3)[1], 5)
    net = results.learned["T = 12, c = 1"].model
    states = rolled_out(net, 1.0, starts, 20)
    for place in (0, 4, 9):
        steps = int(results.tried[place])
        theirs = (states[:, 1:steps] ** 2).sum(axis=(1, 2)).mean() / steps
        assert results.loss[1, 1, place] == pytest.approx(theirs, rel=1e-9)
    values = lrnn.spectrum(net, small.pair(20, 0.0).plant())
    assert results.radius[1, 1] == pytest.approx(abs(values).max(), rel=1e-9)
    starts_alike = {float(curve.model.dt) for curve in results.learned.values()}
    assert starts_alike == {1.0}


@pytest.mark.slow
def test_many_pairs_are_pairs():
    """One of them by itself: its stages by `stages`, its student's loss in the loop by the loop."""
    config = ManyPairsConfig(n=50, epochs=99, feedbacks=3, rates=2, draws=2, lowest=0.05)
    results = experiments.many_pairs(config).results
    keys = jr.split(jr.split(jr.key(0))[0], 2)
    start = lrnn.reduce(experiments.low_rank_controller(50, key=keys[1]))
    start = start.with_gram(start.overlaps.with_entries(zm=0.2))
    loop, method = experiments.double_integrator(50, 2.0), lrnn.Descent(0.1, 0.0, clip=1.0)
    closed = lrnn.learn(start, loop, method, epochs=99)
    student = lrnn.TeacherStudent(closed.model, 50)
    opened = lrnn.learn(
        start, student, method, epochs=99, watch=lrnn.environments.LoopLoss(loop, None)
    )
    found = {name: values[1, 2, 1] for name, values in results.grid.items()}
    stages = lrnn.stages(closed, loop)
    assert found["stable"] == stages.stable > stages.oscillatory > 0
    assert found["student"] == lrnn.stages(opened, loop).stable
    losses = np.asarray(opened.watched)
    assert found["peak"] == pytest.approx(losses.max() / losses[0], rel=1e-6)
    assert found["gap"] == pytest.approx(losses[-1] / float(closed.loss[-1]), rel=1e-6)


def test_many_pairs_need_overlaps_that_networks_have():
    with pytest.raises(ValueError, match="take a smaller `width`"):
        experiments.many_pairs(ManyPairsConfig(n=40, width=0.25, feedbacks=3, draws=400))


def test_what_is_measured_is_of_the_loop(report):
    """Losses and radii by NumPy from the final networks."""
    results = report.results
    for name, curve in results.curves().items():
        net = curve.model
        w, w_in, w_out = (np.asarray(x) for x in (net.w, net.w_in, net.w_out))
        a, b, c = np.array([[1, 1], [0, 1]]), np.array([[0], [1]]), np.array([[1, 0]])
        loop = np.block([[a, b @ w_out], [w_in @ c @ a, w + w_in @ c @ b @ w_out]])
        values = np.linalg.eigvals(loop)
        assert results.radius[name][-1] == pytest.approx(abs(values).max(), rel=1e-9)
        assert results.real[name][-1] == pytest.approx(values[abs(values.imag) < 1e-9].real.max())
    assert results.loss["closed"][0] == results.loss["open"][0]  # the same weights
    assert results.first(np.array([True] * 4 + [False] + [True] * 26)) == 5
    assert results.first(np.array([True, False] * 15 + [True])) is None
    names = {verdict.name for verdict in report.claims}
    assert {"learned", "oscillates", "rise", "gap"} <= names
    assert report.draw().axes[0].get_ylabel() == "loss in the loop"


@pytest.mark.slow
def test_the_command_compares_settings(tmp_path, capsys, monkeypatch):
    """One page, claim by claim; a setting in which every run diverges is told, not dropped."""
    small = {
        "main": dataclasses.replace(SMALL, steps=50),
        "no clipping": dataclasses.replace(SMALL, steps=50, clip=0.0),
    }
    monkeypatch.setitem(AUDITS, "closed_loop", (pair, small))
    command = ["audit", "closed_loop", "--seeds", "2", "--out", str(tmp_path), "--json"]
    assert main([*command, "--settings", "all of them"]) == 2
    assert "`--settings` are some of 'main', 'no clipping'" in capsys.readouterr().err
    assert main(["audit", "open_loop"]) == 2
    assert "there is no audit 'open_loop'" in capsys.readouterr().err
    assert main(command) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["main"]["learned"]["share"]["value"] in {0, 0.5, 1}
    assert found["no clipping"]["learned"]["share"]["value"] == 0
    assert "2 of 2 runs failed" in said.err
    page = (tmp_path / "index.html").read_text()
    assert "<th>main</th><th>no-clipping</th>" in page
    assert page.count("data:image/png;base64,") == 2
    assert main([*command, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["main"]["learned"] == found["main"]["learned"]


def test_experiments_names_the_audit():
    assert experiments.pair.name == "pair"
    assert experiments.pair.claims[0].name == "learned"


def test_a_signal_in_the_last_run_of_a_setting_ends_the_audit(tmp_path, monkeypatch, capsys):
    """What is left are other settings, of which none begins; without a signal they do."""
    whole = experiments.coupling

    def run(config, recorder):
        if config.seed == 1:
            signal.raise_signal(signal.SIGTERM)
        return whole.run(config, recorder)

    run.__annotations__["return"] = whole.run.__annotations__["return"]
    stopped = dataclasses.replace(whole, run=run)
    monkeypatch.setitem(AUDITS, "twice", (stopped, {"one": whole.quick, "two": whole.quick}))
    command = ["audit", "twice", "--seeds", "2", "--out", str(tmp_path / "audit")]
    assert main(command) == 75
    assert (tmp_path / "audit/one/report.json").is_file()
    assert not (tmp_path / "audit/two.store").exists()
    shorter = [*command[:3], "1", "--out", str(tmp_path / "shorter")]
    assert main(shorter) == 0
    assert (tmp_path / "shorter/index.html").is_file()
    capsys.readouterr()
