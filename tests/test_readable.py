"""What is printed: components as the call that makes them, curves in words and in figures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib as mpl
import numpy as np
import optax
import pytest
from matplotlib.colors import to_hex

import lrnn_jax as lrnn
from lrnn_jax import environments, figures, networks
from lrnn_jax.learning import ProgressBar, Slowed
from lrnn_jax.sweeps import summarise

mpl.use("Agg")
NET = lrnn.LowRankRNN.normalised(8, 1, dt=0.1, key=jr.key(0))
TASK = lrnn.ExponentialFilter(rate=0.2, dt=0.1, steps=8, evaluation=lrnn.Evaluation.ROLLOUT)

SHOWN = {
    "ExponentialFilter(rate=0.2, dt=0.05, steps=400)": lrnn.ExponentialFilter(0.2, 0.05, 400),
    "OscillatingFilter(rate=0.2, frequency=2, dt=0.05, steps=9, amplitude=0.5, label_noise=0.1)": (
        lrnn.OscillatingFilter(0.2, 2.0, 0.05, 9, 0.5, label_noise=0.1)
    ),
    "ImpulseResponse(target=float64[5, 1, 1], dt=0.1)": lrnn.ImpulseResponse(np.ones(5), dt=0.1),
    "WhiteNoise(filter=ExponentialFilter(rate=0.2, dt=0.1, steps=8, "
    "evaluation=Evaluation.ROLLOUT), batch=2)": lrnn.WhiteNoise(TASK, batch=2),
    "FlipFlop(dt=0.1, steps=60, batch=2, wait=(1.0, 2.0))": lrnn.FlipFlop(0.1, 60, 2, (1.0, 2.0)),
    "KIntegrator(k=3, dt=0.1, start=UniformStart(half_width=1))": lrnn.KIntegrator(3, dt=0.1),
    "Pendulum(noise=float64[2, 2], start=UniformStart(half_width=0.5))": (
        lrnn.environments.Pendulum(noise=0.2)
    ),
    "ClosedLoop(plant=KIntegrator(start=UniformStart(half_width=1)), horizon=5, batch=3)": (
        lrnn.ClosedLoop(lrnn.KIntegrator(), 5, 3)
    ),
    "Pendulum(start=GaussianStart(factor=1))": environments.Pendulum(
        start=environments.GaussianStart(1.0)
    ),
    "Descent(lr=0.1)": lrnn.Descent(0.1),
    "Descent(lr=0.1, momentum=0.9, nesterov=True, rates={'m': 0.5})": lrnn.Descent(
        0.1, 0.9, True, rates={"m": 0.5}
    ),
    "Descent(lr=schedule)": lrnn.Descent(optax.cosine_decay_schedule(0.1, 9)),
    "Descent(lr=0.1, rule=VisibleOnly())": lrnn.Descent(0.1, rule=lrnn.rules.VisibleOnly()),
    "Flow(lr=0.1, rtol=1e-06)": lrnn.Flow(0.1, rtol=1e-6),
    "Muon(lr=0.1)": lrnn.Muon(0.1),
    "Training(optimiser=GradientTransformationExtraArgs)": lrnn.Training(optax.adam(0.1)),
    "Slowed(method=Descent(lr=0.1), below=0.1, factor=2)": Slowed(lrnn.Descent(0.1), 0.1, 2.0),
    "ReducedRNN(overlaps=Overlaps(gram=float64[4, 4], roles=Roles()), dt=0.1, frozen=('m',))": (
        lrnn.ReducedRNN(NET.overlaps, dt=0.1, frozen=("m",))
    ),
    "OddActivation(function=tanh)": lrnn.OddActivation(jnp.tanh),
    "GaussHermite()": networks.GaussHermite(),
    "ThroughReduction()": lrnn.ThroughReduction(),
}


@pytest.mark.parametrize("text", SHOWN)
def test_components_are_shown_as_the_call_that_makes_them(text):
    assert repr(SHOWN[text]) == text == str(SHOWN[text])


def test_networks_show_their_arrays_by_shape():
    assert repr(NET) == (
        "LowRankRNN(z=float64[8, 1], v=float64[8, 1], m=float64[8, 1], u=float64[8, 1], scale=8, "
        "dt=0.1)"
    )
    bent = {"activation": lrnn.Erf(), "readout": lrnn.Identity()}
    text = repr(lrnn.ReducedRNN(NET.overlaps, dt=0.1, **bent))
    assert text.endswith("dt=0.1, activation=Erf(), readout=Identity())")


def test_what_is_traced_or_in_single_precision_is_shown_too():
    seen = []
    jax.vmap(lambda lr: [seen.append(repr(lrnn.Descent(lr))), lr][1])(jnp.ones(2))
    assert seen == ["Descent(lr=float64[])"]
    single = lrnn.Descent(jnp.float32(0.1), momentum=jnp.float32(0.9))
    assert repr(single) == "Descent(lr=0.1, momentum=0.9)"
    muon = lrnn.Muon(0.1, momentum=jnp.float32(0.95))
    assert repr(muon) == "Muon(lr=0.1)"
    assert repr(jax.tree.map(lambda a: None, lrnn.KIntegrator()))


class Yours(lrnn.tasks.AbstractResponse):
    """A component of somebody's own."""

    size: jax.Array
    name: str = "here"

    def samples(self, steps):
        return self.size


def test_a_class_of_your_own_is_shown_likewise():
    assert repr(Yours(jnp.array(2.0), "there")) == "Yours(size=2, name='there')"


# --- curves ----------------------------------------------------------------------------------


def learned(model=lrnn.reduce(NET), method=lrnn.Descent(0.1), epochs=6, task=TASK, **options):
    return lrnn.learn(model, task, method, epochs=epochs, **options)


def test_a_curve_is_told_in_words():
    curve = learned()
    head, *lines = str(curve).splitlines()
    loss = curve.loss
    assert head == (f"LearningCurve of a ReducedRNN, 6 epochs: loss {loss[0]:.4g} → {loss[-1]:.4g}")
    text = " ".join(" ".join(lines).split())
    for name in curve.overlaps.names:
        assert f"{name} {curve[name][0]:.3g} → {curve[name][-1]:.3g}" in text
    visible, invisible = text.split("invisible")
    assert "vu" in visible
    assert "zz" in invisible
    assert max(map(len, lines)) <= 100
    assert repr(curve) == str(curve)


def test_outcomes_in_words():
    diverged = learned(method=lrnn.Descent(30.0), epochs=50, throw=False)
    last = float(diverged.loss[int(diverged.stopped)])
    assert f"{last:.4g}, diverged at epoch {int(diverged.stopped)}" in str(diverged)
    event = learned(method=lrnn.Flow(0.1, stop_at_loss=0.7), epochs=30)
    assert f"ended at epoch {int(event.stopped)}, where the loss was as small" in str(event)
    dense = lrnn.DenseRNN(np.eye(3) / 2, np.ones((3, 1)), np.ones((1, 3)), dt=0.1)
    assert str(learned(dense, lrnn.Descent(1e-3))).count("\n") == 0
    wide = lrnn.LowRankRNN.normalised(8, 3, dt=0.1, key=jr.key(0))
    assert "and 4 more" in str(learned(lrnn.reduce(wide), epochs=1))
    batch = jax.vmap(lambda lr: learned(method=lrnn.Descent(lr)))(jnp.ones(2))
    assert str(batch) == "LearningCurve of a ReducedRNN, loss float64[2, 7]"


def test_a_summary_is_plain_numbers():
    curve = learned()
    found = curve.summary()
    assert {k: found[k] for k in ("model", "epochs", "result", "stopped")} == {
        "model": "ReducedRNN", "epochs": 6, "result": "successful", "stopped": -1,
    }  # fmt: skip
    assert (found["initial_loss"], found["final_loss"]) == (curve.loss[0], curve.loss[-1])
    assert all(found[name] == curve[name][-1] for name in curve.overlaps.names)
    assert {type(value) for value in found.values()} == {int, float, str}


CURVE = learned(epochs=1)


def plateau(loss, epochs=None):
    """The longest wait by looking at all pairs."""
    epochs = np.arange(len(loss)) if epochs is None else epochs
    lowest = np.minimum.accumulate(np.where(np.isfinite(loss), loss, np.inf))
    fall, waits = lowest[0] - lowest[-1], []
    for a in range(len(loss)):
        wanted = lowest[a] - 0.05 * fall
        if fall > 0 and wanted >= lowest[-1] + 0.1 * fall:
            waits.append(epochs[np.flatnonzero(lowest <= wanted)[0]] - epochs[a])
    return max(waits, default=np.nan)


def stairs(*waits):
    """Losses that fall by a unit after each of these waits."""
    return np.repeat(np.arange(len(waits), 0, -1.0), waits)


LOSSES = {
    "one step": stairs(5, 9),
    "three": stairs(3, 20, 7, 100),  # the last is no plateau: it does not end
    "noise": stairs(30, 50, 10) + 0.01 * np.random.default_rng(0).normal(size=90),
    "exponential": np.exp(-0.1 * np.arange(60)),
    "never falls": np.arange(1.0, 9.0),
    "ends early": np.append(stairs(4, 8, 2), [np.nan] * 5),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_length_of_plateaus(loss):

    epochs = 3 * np.arange(len(loss))
    arrays = jnp.asarray(loss), jnp.asarray(epochs)
    curve = eqx.tree_at(lambda c: (c.loss, c.epochs), CURVE, arrays)
    assert np.array_equal(float(curve.plateau), plateau(loss, epochs), equal_nan=True)


def test_plateaus_by_hand_and_in_sweeps():
    assert plateau(stairs(3, 20, 7, 100)) == 20
    assert plateau(np.arange(1.0, 9.0)) is np.nan
    curve = learned()
    assert float(summarise(curve)["plateau"].value) == float(curve.plateau) > 0
    batch = jax.vmap(lambda lr: summarise(learned(method=lrnn.Descent(lr)))["plateau"].value)
    assert batch(jnp.array([0.1, 0.2])).shape == (2,)


def test_a_curve_is_drawn_visible_in_blue_and_invisible_in_red():
    curve = learned()
    figure = curve.plot()
    loss, visible, invisible = figure.axes
    assert np.array_equal(loss.lines[0].get_ydata(), curve.loss)
    assert loss.get_yscale() == "log"
    for ax, colours, names in (
        (visible, figures.VISIBLE, curve.visibility.visible),
        (invisible, figures.INVISIBLE, curve.visibility.invisible),
    ):
        assert [to_hex(line.get_color()) in colours for line in ax.lines] == [True] * len(names)
        for line, name in zip(ax.lines, names):
            assert np.array_equal(line.get_ydata(), curve[name])
    figure.canvas.draw()


def test_curves_without_overlaps_or_end_are_drawn_too():
    dense = lrnn.DenseRNN(np.eye(3) / 2, np.ones((3, 1)), np.ones((1, 3)), dt=0.1)
    assert len(learned(dense, lrnn.Descent(1e-3)).plot().axes) == 1
    diverged = learned(method=lrnn.Descent(30.0), epochs=50, throw=False)
    figure = diverged.plot()
    assert figure.axes[0].get_xlim()[1] < 50
    figure.canvas.draw()
    trials = jr.normal(jr.key(0), (2, 5, 6, 1))
    held_out = learned(NET, task=lrnn.TrialSet(*trials, dt=0.1, held_out=0.4))
    texts = [text.get_text() for text in held_out.plot().axes[0].get_legend().get_texts()]
    assert texts == ["loss", "held out"]
    for curve in (diverged, held_out):
        mpl.pyplot.close("all")
        assert curve.plot() is not None


def test_losses_have_labels_of_ones_own():
    epochs, y = np.arange(3), np.array([3.0, 2.0, 1.0])
    with figures.style():
        _, ax = figures.panels(1, 1, height=2.0)
        figures.plot_loss(ax, epochs, {"reduced": y, "mine": 2 * y, "yours": 3 * y})
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["exact theory", "mine", "yours"]
    assert len({to_hex(line.get_color()) for line in ax.lines}) == 3


def test_a_bar_shows_the_loss_and_is_silent_off_a_terminal(capsys, monkeypatch):
    learned(progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    learned(progress=True)
    learned(progress=False)
    bar = capsys.readouterr().err
    assert "learning: 100%" in bar
    assert "6/6" in bar
    assert "loss " in bar
    lrnn.learn_sequence(lrnn.reduce(NET), [(TASK, lrnn.Descent(0.1), 6)] * 2, progress=True)
    assert capsys.readouterr().err.count("100%") >= 2
    assert ProgressBar().what == ""


def test_a_distance_says_its_numbers_and_where_they_are():
    far = learned().distance(learned(method=lrnn.Descent(0.2)))
    name = far.names[int(np.argmax(far.overlaps))]
    assert repr(far) == f"Distance: |ΔQ| ≤ {far.max:.3g} ({name}), |ΔL| ≤ {far.loss:.3g}"
