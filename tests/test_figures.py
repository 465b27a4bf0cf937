"""Figures draw what they are given, leave the session's settings alone and are labelled."""

import io
import itertools

import matplotlib as mpl

mpl.use("Agg")

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import pytest

import lrnn_jax as lrnn
from lrnn_jax import figures

EPOCHS = np.arange(5)
CURVE = np.linspace(1.0, 0.1, 5)
PANELS = {
    "loss": lambda ax: figures.plot_loss(ax, EPOCHS, {"full": CURVE, "reduced": CURVE}),
    "loss in own words": lambda ax: figures.plot_loss(
        ax, EPOCHS, {"full": CURVE, "reduced": CURVE}, labels={"reduced": "theory of mine"}
    ),
    "overlaps": lambda ax: figures.plot_overlaps(
        ax, EPOCHS, np.ones((5, 2)), np.ones((5, 2)), ["$a$", "$b$"], visible=False
    ),
    "precision": lambda ax: figures.plot_precision(
        ax, EPOCHS, np.where(np.eye(5, 2) > 0, np.inf, 0.1), ["$a$", "$b$"]
    ),
    "intervals": lambda ax: figures.plot_intervals(
        ax, ["$a$", "$b$"], np.array([[0, 1], [1, 3]]), np.ones(2), weak=[False, True]
    ),
    "drift": lambda ax: figures.plot_drift(
        ax, EPOCHS, np.ones((5, 2)), np.ones((5, 2)), ["$a$", "$b$"], runs=np.ones((3, 5, 2))
    ),
    "gap": lambda ax: figures.plot_gap(ax, EPOCHS, {"a": np.zeros(5)}),
    "order": lambda ax: figures.plot_order(ax, CURVE, CURVE),
    "methods": lambda ax: figures.plot_methods(ax, EPOCHS, {"adam": CURVE}, "drift", above=0.5),
    "response": lambda ax: figures.plot_response(ax, CURVE[::-1], {"target": CURVE}),
    "gram": lambda ax: figures.plot_gram(ax, np.eye(4), {"z": 1, "v": 2, "u": 1}),
    "kurtosis": lambda ax: figures.plot_kurtosis(ax, np.array([0.1, 99.0]), {"z": 1, "v": 1}, 50),
    "singular values": lambda ax: figures.plot_singular_values(ax, CURVE, 2, 0.5),
    "plane": lambda ax: figures.plot_eigenvalue_plane(ax, CURVE * 1j, 1.0),
    "fixed points": lambda ax: figures.plot_fixed_points(
        ax, np.zeros((1, 1)), np.array(["stable"])
    ),
    "branches": lambda ax: figures.plot_branches(
        ax, EPOCHS[:2], [np.zeros((1, 2))] * 2, [np.array(["saddle"])] * 2, changes=[1]
    ),
    "eigenvalues": lambda ax: figures.plot_eigenvalues(ax, EPOCHS, np.ones((5, 2)) * 1j, (1j,)),
}


DT = 0.1
FILTER = lrnn.ExponentialFilter(0.2, DT, 40)
TASKS = {
    "filter": FILTER,
    "noisy filter": lrnn.OscillatingFilter(0.2, 2.0, DT, 40, label_noise=0.1),
    "white noise": lrnn.WhiteNoise(FILTER, batch=2),
    "flip-flop": lrnn.FlipFlop(DT, 80, 5, (1.0, 2.0)),
    "decision making": lrnn.DecisionMaking(DT, 4),
    "teacher": lrnn.TeacherStudent(
        lrnn.LowRankRNN.normalised(8, 1, 2, 3, dt=DT, key=jr.key(0)), 20, batch=4
    ),
}


def test_live_figures_redraw_their_lines_and_nothing_else():
    def drawn(curve):
        with figures.style():
            figure, ax = plt.subplots(figsize=(figures.COLUMN, 2.0), dpi=100)
            ax.plot(CURVE, linestyle="--")
            (line,) = ax.plot(EPOCHS, curve)
            ax.set(ylim=(0, 2), yscale="symlog", ylabel="loss")
            plt.close(figure)
        return figure, line

    def pixels(png):
        return np.round(255 * plt.imread(io.BytesIO(png))).astype(int)

    figure, line = drawn(CURVE)
    redraw = figures.live(figure, line)
    for curve in (CURVE, CURVE**2, 1 + CURVE, CURVE):  # the last: nothing is left of the others
        whole = io.BytesIO()
        drawn(curve)[0].savefig(whole, format="png", dpi=100)
        assert np.abs(pixels(redraw(curve)) - pixels(whole.getvalue())).max() <= 3
    with pytest.raises(ValueError, match="1 lines move, but 2 curves"):
        redraw(CURVE, CURVE)
    with pytest.raises(ValueError, match="at least one line"):
        figures.live(figure)
    with pytest.raises(ValueError, match="not drawn in this figure"):
        figures.live(figure, drawn(CURVE)[1])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_trials_of_any_task_are_drawn(task):
    trials = task.trials(task.sample(jr.key(0)))
    figure = figures.draw_trials(trials, task.dt, trials.target)
    shown = figure.axes
    assert len(shown) == min(3, len(trials.inputs))
    inputs, outputs = trials.inputs.shape[2], trials.target.shape[2]
    for i, ax in enumerate(shown):
        lines = [np.asarray(line.get_ydata()) for line in ax.lines]
        assert len(lines) == inputs + 2 * outputs
        assert np.array_equal(lines[0], np.asarray(trials.inputs[i, :, 0]))
        assert np.array_equal(lines[-1], np.asarray(trials.target[i, :, -1]))
        shaded = sum(patch.get_width() for patch in ax.patches)
        assert abs(shaded - DT * float(trials.mask[i].sum())) < 1e-9
    figure.canvas.draw()
    plt.close(figure)
    with pytest.raises(ValueError, match="shape of the targets"):
        figures.draw_trials(trials, task.dt, trials.target[:, 1:])


def test_lines_have_the_words_that_were_given_and_channels_their_numbers():
    figure, axes = plt.subplots(2)
    said = {"reduced": "theory of mine"}
    figures.plot_loss(axes[0], EPOCHS, {"full": CURVE, "reduced": CURVE}, labels=said)
    two = np.ones((5, 2))
    figures.plot_trial(axes[1], DT * EPOCHS, two[:, :1], two, np.ones(5))
    words = [[text.get_text() for text in ax.legend().get_texts()] for ax in axes]
    assert words[0] == ["full network", "theory of mine"]
    assert words[1] == ["scored", "input", "target 1", "target 2"]
    plt.close(figure)


def test_intervals_and_precisions_show_the_numbers_that_they_were_given():
    figure, (left, right) = plt.subplots(1, 2)
    ends = np.array([[0.0, 1.0], [1.0, 4.0]])
    figures.plot_intervals(left, ["$a$", "$b$"], ends, np.array([0.5, 2.0]), weak=[False, True])
    drawn = [bar.lines[0].get_xdata().tolist() for bar in left.containers]
    assert drawn == [[0.5], [2.5]]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "truth",
        "weak",
    ]
    std = np.array([[np.inf, 0.5], [1e-5, 0.1]])
    figures.plot_precision(right, np.array([0, 9]), std, ["$a$", "$b$"], least=1e-2, most=1.0)
    (mesh,) = right.collections
    assert np.array_equal(np.asarray(mesh.get_array()), [[1.0, 1e-2], [0.5, 0.1]])
    plt.close(figure)


@pytest.mark.parametrize("draw", PANELS.values(), ids=PANELS.keys())
def test_panel_returns_its_axes_labelled(draw):
    before = mpl.rcParams.copy()
    with figures.style():
        figure, ax = plt.subplots()
        assert draw(ax) is ax
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        figure.canvas.draw()
        plt.close(figure)
    assert mpl.rcParams == before


def test_theory_is_told_from_simulation_without_colour():
    with figures.style():
        figure, ax = plt.subplots()
        PANELS["loss"](ax)
        simulation, theory = ax.get_lines()
        assert simulation.get_linestyle() != theory.get_linestyle()
        assert simulation.get_linewidth() > 2 * theory.get_linewidth()
        plt.close(figure)


@pytest.mark.parametrize(
    "heights", [(1.0, 1.0, 1.01, 0.0), (0.0, 1.0, 1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0)]
)
def test_names_at_line_ends_stand_beside_the_axis_without_overlap(heights):
    with figures.style():
        figure, ax = plt.subplots(figsize=(2.3, 2))
        names = list("abcdef")[: len(heights)]
        ax.plot(np.tile(heights, (2, 1)))
        figures.label_ends(ax, np.array(heights), names, ["k"] * len(names))
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in ax.texts]
        in_order = np.argsort(heights, kind="stable")
        assert [text.get_text() for text in ax.texts] == [names[i] for i in in_order]
        gaps = [high.y0 - low.y0 for low, high in itertools.pairwise(boxes)]
        assert min(gaps) > 0.5 * boxes[0].height
        middles = [(box.y0 + box.y1) / 2 for box in boxes]
        assert ax.bbox.y0 - 2 <= middles[0]
        assert middles[-1] <= ax.bbox.y1 + 2
        if heights.count(min(heights)) == 1:  # what has room stands where its line ends
            assert abs(middles[0] - ax.transData.transform((0, min(heights)))[1]) < 2
        plt.close(figure)


def test_epochs_are_marked_below_the_legend_that_names_them():
    with figures.style():
        figure, ax = plt.subplots()
        PANELS["loss"](ax)
        figures.mark_epochs(ax, {"first": (1, "k"), "never": (-1, "r"), "second": (3, "b")})
        assert [text.get_text() for text in ax.get_legend().get_texts()][2:] == ["first", "second"]
        for line, epoch in zip(ax.lines[2:], (1, 3), strict=True):
            assert list(line.get_xdata()) == [epoch, epoch]
            assert max(line.get_ydata()) == 0.5
        plt.close(figure)
