"""Single panels: arrays in, Axes out, no computing.

Each function draws into its first argument, `ax`, and returns it; epochs have the shape (record,).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from scipy.optimize import isotonic_regression

from lrnn_jax.figures._style import (
    INVISIBLE,
    OTHERS,
    SIMULATION,
    TEXT,
    THEORY,
    VISIBLE,
    panels,
    style,
)

_DOTTED: dict[str, Any] = {"color": OTHERS[1], "linestyle": ":", "linewidth": 1.6}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full network", {**SIMULATION, "color": VISIBLE[2]}),
    "reduced": ("exact theory", THEORY),
    "predicted": ("predicted descent", THEORY),
    "descent": ("descent", {"color": OTHERS[0], "linestyle": "--"}),
    "flow": ("gradient flow", _DOTTED),
    "direct": ("visible only", {"color": OTHERS[0], "linestyle": "-.", "linewidth": 1.2}),
    "expected": ("expected loss", _DOTTED),
    "closure": ("Gaussian closure", _DOTTED),
    "population": ("infinite width", THEORY),
    "before": ("before learning", {"color": OTHERS[0], "linestyle": "-.", "linewidth": 1.2}),
    "after": ("after learning", {**SIMULATION, "color": VISIBLE[2]}),
    "target": ("target", THEORY),
    "small": ("small steps", {**SIMULATION, "color": VISIBLE[2]}),
    "large": ("large steps", {"color": INVISIBLE[1], "linewidth": 1.6}),
    "adam": ("Adam", {"color": OTHERS[2], "linestyle": "-.", "linewidth": 1.6}),
}
"""How each learning method, and each response, is called and drawn."""
FIRST: dict[str, Any] = {**SIMULATION, "color": VISIBLE[2]}
"""The first of two compared networks."""
SECOND: dict[str, Any] = {**SIMULATION, "color": INVISIBLE[3]}
"""The second one."""


def plot_lines(
    ax: Axes,
    x: Any,
    lines: Sequence[tuple[str | None, Any, dict[str, Any]]],
    *,
    above: float | None = None,
) -> Axes:
    """Several lines over one x.

    Arguments:
        x: shape (point,).
        lines: (label or None, values of shape (point,), how they are drawn).
        above: the axis is logarithmic, and only what is above this is drawn.

    >>> ax = plt.figure().add_subplot()
    >>> t = np.linspace(0, 1, 5)
    >>> figures.plot_lines(ax, t, [("line", t, {"color": "C0"}), (None, t**2, {})]) is ax
    True
    """
    for label, y, look in lines:
        shown = y if above is None else np.where(np.asarray(y) > above, y, np.nan)
        ax.plot(x, shown, label=label, **look)
    ax.set(xlim=(x[0], x[-1]), yscale="linear" if above is None else "log")
    if any(label for label, _, _ in lines):
        ax.legend()
    return ax


def plot_methods(
    ax: Axes,
    epochs: Any,
    values: Mapping[str, Any],
    label: str,
    *,
    above: float | None = None,
    legend: bool = True,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Something over epochs by learning method.

    Arguments:
        values: by name in `METHODS`, or by a label of one's own, shape (record,).
        labels: other words for names in `METHODS`, drawn as these are.
        label: what it is.
        above: as in `plot_lines`.
        legend: name the methods.

    >>> ax = plt.figure().add_subplot()
    >>> losses = {"full": np.asarray(curve.loss), "mine": 2 * np.asarray(curve.loss)}
    >>> figures.plot_methods(ax, np.asarray(curve.epochs), losses, "loss").get_ylabel()
    'loss'
    """
    said = labels or {}
    looks = [(name, *METHODS.get(name, (name, {})), y) for name, y in values.items()]
    lines = [(said.get(key, name) if legend else None, y, look) for key, name, look, y in looks]
    plot_lines(ax, epochs, lines, above=above).set(xlabel="epoch", ylabel=label)
    return ax


def plot_loss(
    ax: Axes,
    epochs: np.ndarray,
    losses: Mapping[str, np.ndarray],
    *,
    above: float = 0.0,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """`plot_methods` of losses: by method ("full", "reduced", …), or by labels of one's own.

    >>> ax = plt.figure().add_subplot()
    >>> losses = {"reduced": np.asarray(curve.loss)}
    >>> figures.plot_loss(ax, np.asarray(curve.epochs), losses).get_yscale()
    'log'
    """
    plot_methods(ax, epochs, losses, r"loss $L$", above=above, labels=labels)
    if len(losses) > 2:
        make_room(ax, below=0.45)
    return ax


def make_room(ax: Axes, *, below: float = 0.0, above: float = 0.0) -> Axes:
    """Widen the y axis by shares of its extent, for a legend below or above the lines.

    >>> ax = plt.figure().add_subplot()
    >>> bottom, top = ax.get_ylim()
    >>> bool(figures.make_room(ax, above=0.5).get_ylim()[1] > top)
    True
    """
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(ax.get_ylim())
    wider = [low - below * (high - low), high + above * (high - low)]
    ax.set_ylim(*scale.inverted().transform(wider))
    return ax


def plot_overlaps(
    ax: Axes,
    epochs: np.ndarray,
    simulation: np.ndarray | None,
    theory: np.ndarray | None,
    symbols: Sequence[str],
    *,
    visible: bool,
) -> Axes:
    """Overlaps over epochs, in blues (visible) or reds (invisible), named at their right ends.

    Arguments:
        simulation, theory: overlaps, shape (record, overlap); one may be None. Theory is dashed
            over simulation.
        symbols: LaTeX names of the overlaps.
        visible: which colours.

    >>> ax = plt.figure().add_subplot()
    >>> theory = np.stack([np.asarray(curve["zm"]), np.asarray(curve["vu"])], axis=1)
    >>> epochs, names = np.asarray(curve.epochs), ["zm", "vu"]
    >>> figures.plot_overlaps(ax, epochs, None, theory, names, visible=True) is ax
    True
    """
    colours = VISIBLE if visible else INVISIBLE
    colours = [colours[i % len(colours)] for i in range(len(symbols))]
    shown, look = (theory, {}) if simulation is None else (simulation, SIMULATION)
    assert shown is not None
    for values, colour in zip(shown.T, colours):
        ax.plot(epochs, values, color=colour, **look)
    if simulation is not None and theory is not None:
        ax.plot(epochs, theory, **THEORY)
    ax.set(xlabel="epoch", ylabel="overlap", xlim=(epochs[0], epochs[-1]))
    if len(symbols) <= 15:
        label_ends(ax, shown[-1], symbols, colours)
    return ax


def label_ends(
    ax: Axes, heights: np.ndarray, labels: Sequence[str], colours: Sequence[str]
) -> Axes:
    """Name lines at their right ends: as near as is possible within the axis without overlap.

    Arguments:
        heights, labels, colours: of the lines' ends, shape (line,).

    >>> ax = plt.figure().add_subplot()
    >>> lines = ax.plot([0, 1], [[0.0, 1.0], [0.1, 1.0]])
    >>> figures.label_ends(ax, np.array([0.1, 1.0]), ["$a$", "$b$"], ["C0", "C1"]) is ax
    True
    """
    low, high = ax.get_ylim()
    room = (high - low) * min(0.085, 1.0 / max(len(labels), 1))
    order, steps = np.argsort(heights, kind="stable"), room * np.arange(len(labels))
    places = isotonic_regression(np.asarray(heights, float)[order] - steps).x
    places = np.clip(places, low, high - steps[-1]) + steps
    look: dict[str, Any] = {"va": "center", "fontsize": 7, "annotation_clip": False}
    look |= {"xytext": (4, 0), "textcoords": "offset points"}
    for place, i in zip(places, order):
        ax.annotate(labels[int(i)], (ax.get_xlim()[1], place), color=colours[i], **look)
    return ax


def draw_learning(
    epochs: np.ndarray,
    losses: Mapping[str, np.ndarray],
    *,
    visible: tuple[np.ndarray, Sequence[str]] | None = None,
    invisible: tuple[np.ndarray, Sequence[str]] | None = None,
) -> Figure:
    """A learning curve: the loss, and the overlaps that it can and cannot depend on.

    Arguments:
        epochs: shape (record,).
        losses: by label, shape (record,).
        visible, invisible: overlaps, shape (record, overlap), and their LaTeX names; None: none.

    >>> losses = {"reduced": np.asarray(curve.loss)}
    >>> figure = figures.draw_learning(np.asarray(curve.epochs), losses)
    """
    kinds = {"visible": visible, "invisible": invisible}
    shown = {kind: x for kind, x in kinds.items() if x is not None and len(x[1])}
    last = max(int(epochs[-1]), int(epochs[0]) + 1)
    with style():
        width = (1 + len(shown)) * TEXT / 3
        figure, axes = panels(1, 1 + len(shown), height=2.2, width=width, squeeze=False)
        plot_loss(axes[0, 0], epochs, losses).set(xlim=(epochs[0], last))
        if len(losses) == 1:
            axes[0, 0].get_legend().remove()
        for ax, (kind, (values, symbols)) in zip(axes[0, 1:], shown.items()):
            plot_overlaps(ax, epochs, values, None, symbols, visible=kind == "visible")
            ax.set(xlim=(epochs[0], last), ylabel=f"{kind} overlaps")
    return figure


def plot_gap(ax: Axes, epochs: np.ndarray, gaps: Mapping[str, np.ndarray]) -> Axes:
    """Absolute differences by label over epochs, on a logarithmic axis; zeros at 1e-17.

    >>> ax = plt.figure().add_subplot()
    >>> truth = lrnn.learn(net, task, descent, epochs=20)
    >>> gap = np.asarray(abs(curve.loss - truth.loss))
    >>> figures.plot_gap(ax, np.asarray(curve.epochs), {"loss": gap}).get_yscale()
    'log'
    """
    looks = ({"color": VISIBLE[0]}, _DOTTED)
    drawn = {label: np.maximum(gap, 1e-17) for label, gap in gaps.items()}
    plot_lines(ax, epochs, [(*line, look) for line, look in zip(drawn.items(), looks)], above=0.0)
    ax.set(xlabel="epoch", ylabel=r"largest $|\Delta Q|$", ylim=(1e-17, 10))
    return ax


def plot_order(ax: Axes, rates: np.ndarray, gaps: np.ndarray, order: float = 1.0) -> Axes:
    """Largest differences of flow and descent against the learning rates η, both of shape
    (halving,), with the expected slope, `order`.

    >>> ax = plt.figure().add_subplot()
    >>> rates = np.array([0.1, 0.05, 0.025])
    >>> figures.plot_order(ax, rates, 0.3 * rates).get_xscale()
    'log'
    """
    ax.loglog(rates, gaps, "o", color=VISIBLE[1], markersize=5, label="measured")
    line = gaps[-1] * (rates / rates[-1]) ** order
    ax.loglog(rates, line, label=rf"$\propto\eta^{{{order:g}}}$", **THEORY)
    ax.set(xlabel=r"learning rate $\eta$", ylabel=r"largest $|Q_{\mathrm{flow}} - Q|$")
    ax.set_xticks(rates, [f"{rate:.2g}" for rate in rates], rotation=45)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def plot_response(ax: Axes, time: np.ndarray, outputs: Mapping[str, np.ndarray]) -> Axes:
    """Impulse responses "target", "before", "after" over time in membrane time constants, all of
    shape (time,).

    >>> ax = plt.figure().add_subplot()
    >>> t = 0.1 * np.arange(50)
    >>> y = np.asarray(tasks.impulse_response(net, 50))[:, 0, 0]
    >>> figures.plot_response(ax, t, {"target": np.exp(-0.2 * t), "before": y}) is ax
    True
    """
    shown = {name: outputs[name] for name in ("before", "after", "target") if name in outputs}
    plot_methods(ax, time, shown, "impulse response").set(xlabel=r"time ($\tau$)")
    return ax


def plot_eigenvalues(
    ax: Axes,
    epochs: np.ndarray,
    values: np.ndarray,
    targets: Sequence[complex] = (),
    *,
    symbol: str = r"\lambda(V^\top U/s)",
) -> Axes:
    """Paths of eigenvalues in the complex plane over learning; crosses mark the targets.

    Arguments:
        values: complex, shape (record, eigenvalue).
        targets: where they should end.
        symbol: what they are, in LaTeX.

    >>> ax = plt.figure().add_subplot()
    >>> values = np.array([[0.9 + 0.1j, 0.9 - 0.1j], [0.8 + 0.2j, 0.8 - 0.2j]])
    >>> figures.plot_eigenvalues(ax, np.arange(2), values, [0.7 + 0.3j]) is ax
    True
    """
    for path in values.T:
        ax.plot(path.real, path.imag, color=VISIBLE[1], linewidth=1.4)
        ax.plot(path.real[0], path.imag[0], "o", color=OTHERS[0], markersize=4)
        ax.plot(path.real[-1], path.imag[-1], "o", color=VISIBLE[0], markersize=5)
    for target in targets:
        ax.plot(target.real, target.imag, "x", color="#1a1a1a", markersize=8, markeredgewidth=1.4)
    ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    ax.set(xlabel=f"Re ${symbol}$", ylabel=f"Im ${symbol}$")
    marks = [("o", OTHERS[0], "epoch 0"), ("o", VISIBLE[0], f"epoch {epochs[-1]}")]
    marks += [("x", "#1a1a1a", "target")] * bool(targets)
    for mark, colour, label in marks:
        ax.plot([], [], mark, color=colour, markersize=5, label=label)
    ax.legend()
    return ax


def plot_coupling(
    ax: Axes,
    symbols: Sequence[str],
    entries: Sequence[Sequence[str]],
    visible: np.ndarray,
    *,
    text: bool = True,
) -> Axes:
    """Which overlaps multiply which loss gradient in which overlap's velocity, as a matrix.

    Rows are velocities (visible ones blue, invisible ones red), columns the gradients that do not
    vanish, those of the loss-visible overlaps.

    Arguments:
        symbols: LaTeX names of the overlaps.
        entries: what stands at (velocity, gradient), empty where nothing does.
        visible: loss-visible overlaps, shape (overlap,).
        text: write the entries into their fields (needs room).

    >>> ax = plt.figure().add_subplot()
    >>> q = lrnn.coupling(net.roles)
    >>> entries = [[q.entry(a, b) for b in q.names] for a in q.names]
    >>> figures.plot_coupling(ax, q.names, entries, q.drives) is ax
    True
    """
    columns = [int(i) for i in np.flatnonzero(visible)]
    shade = np.ones((len(symbols), len(columns), 3))
    for i in range(len(symbols)):
        for j, column in enumerate(columns):
            if entries[i][column]:
                shade[i, j] = (0.78, 0.86, 0.94) if visible[i] else (0.98, 0.82, 0.76)
                if text:
                    ax.text(j, i, entries[i][column], ha="center", va="center", fontsize=6)
    ax.imshow(shade, aspect="auto", interpolation="nearest")
    names = [rf"$\partial L/\partial${symbols[column]}" for column in columns]
    ax.set_xticks(range(len(columns)), names, rotation=90)
    ax.set_yticks(range(len(symbols)), [rf"d{s}/d$t$" for s in symbols])
    ax.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    ax.set_yticks(np.arange(-0.5, len(symbols)), minor=True)
    ax.grid(which="minor", color="0.85", linewidth=0.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    return ax


def mark_epochs(ax: Axes, epochs: dict[str, tuple[int, str]]) -> Axes:
    """Thin vertical lines at two epochs at most, given with a colour by name, in the legend;
    negative epochs are left out.

    >>> ax = plt.figure().add_subplot()
    >>> figures.mark_epochs(ax, {"stable": (10, "C0"), "never": (-1, "C1")}) is ax
    True
    """
    shown = {name: mark for name, mark in epochs.items() if mark[0] >= 0}
    for (name, (epoch, colour)), line in zip(shown.items(), (":", "-.")):
        ax.axvline(epoch, 0, 0.5, color=colour, linestyle=line, linewidth=0.9, label=name)
    ax.legend()
    return ax


def shade_phases(ax: Axes, bounds: Sequence[int], names: Sequence[str]) -> Axes:
    """Name the phases of a sequence of tasks above the panel, every other one shaded; `bounds` are
    the epochs where phases begin, and the end of the last one.

    >>> ax = plt.figure().add_subplot()
    >>> figures.shade_phases(ax, [0, 10, 20], ["A", "B"]) is ax
    True
    """
    for i, name in enumerate(names):
        if i % 2:
            ax.axvspan(bounds[i], bounds[i + 1], color="0.92", zorder=-1, linewidth=0)
        middle = (bounds[i] + bounds[i + 1]) / 2
        ax.text(middle, 1.01, name, transform=ax.get_xaxis_transform(), ha="center", fontsize=7)
    return ax
