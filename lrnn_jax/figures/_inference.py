"""What data say of overlaps: how well each is known, intervals, and drift under noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from lrnn_jax.figures._panels import label_ends
from lrnn_jax.figures._style import INVISIBLE, OTHERS, THEORY, VISIBLE

_KNOWN = LinearSegmentedColormap.from_list("known", [VISIBLE[0], VISIBLE[3], "#ffffff"])
"""Dark: known; white: not."""


def plot_precision(
    ax: Axes,
    epochs: np.ndarray,
    std: np.ndarray,
    symbols: Sequence[str],
    *,
    least: float = 1e-2,
    most: float = 1.0,
) -> Axes:
    """What learning reveals: the standard deviation of each combination, epoch by epoch.

    Arguments:
        epochs: at which is looked, shape (epoch,).
        std: from all data up to this epoch, shape (epoch, combination); infinite where nothing is
            known, which is drawn as `most`.
        symbols: LaTeX names of the combinations.
        least, most: ends of the logarithmic scale.

    >>> ax = plt.figure().add_subplot()
    >>> std = np.array([[np.inf, 1.0], [0.1, 0.5], [0.01, 0.2]])
    >>> figures.plot_precision(ax, np.array([0, 10, 20]), std, ["$mm$", "$vu$"]) is ax
    True
    """
    edges = np.arange(len(epochs) + 1) - 0.5
    rows = np.arange(len(symbols) + 1) - 0.5
    drawn = np.clip(std.T, least, most)
    norm = LogNorm(least, most)
    mesh = ax.pcolormesh(edges, rows, drawn, cmap=_KNOWN, norm=norm, rasterized=True)
    ticks = 5 if len(epochs) > 6 else len(epochs)
    shown = np.unique(np.linspace(0, len(epochs) - 1, ticks).astype(int))
    ax.set(xlabel="observed up to epoch", ylabel="overlap", ylim=(len(symbols) - 0.5, -0.5))
    ax.set_xticks(shown, [str(epochs[i]) for i in shown])
    ax.set_yticks(range(len(symbols)), symbols)
    place = ax.inset_axes((0.0, 1.05, 1.0, 0.05))
    ax.figure.colorbar(mesh, cax=place, location="top", label="standard deviation")
    return ax


def plot_intervals(
    ax: Axes,
    symbols: Sequence[str],
    intervals: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    weak: Sequence[bool] | None = None,
) -> Axes:
    """Intervals of combinations of overlaps, one a row; weak ones are open and grey.

    Arguments:
        symbols: LaTeX names.
        intervals: low and high ends, shape (combination, 2).
        truth: shape (combination,), where it is known.
        weak: which of them are known to little more than the prior.

    >>> ax = plt.figure().add_subplot()
    >>> ends = np.array([[0.1, 0.3], [-1.0, 1.0]])
    >>> figures.plot_intervals(ax, ["$vu$", "$zv$"], ends, np.array([0.2, 0.4])) is ax
    True
    """
    few = np.zeros(len(symbols), bool) if weak is None else np.asarray(weak)
    for chosen, colour, face, label in (
        (~few, VISIBLE[1], VISIBLE[1], None),
        (few, OTHERS[0], "white", "weak"),
    ):
        if chosen.any():
            rows, ends = np.flatnonzero(chosen), intervals[chosen]
            middle, half = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / 2
            look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 4}
            ax.errorbar(middle, rows, xerr=half, fmt="o", label=label, capsize=2, **look)
    if truth is not None:
        look = {"color": THEORY["color"], "markersize": 9, "markeredgewidth": 1.2}
        ax.plot(truth, np.arange(len(symbols)), "|", label="truth", **look)
    ax.axvline(0, color="0.85", linewidth=0.7, zorder=0)
    ax.set(xlabel="95 % interval", ylabel="overlap", ylim=(len(symbols) - 0.4, -0.6))
    ax.set_yticks(range(len(symbols)), symbols)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0.2)
    return ax


def plot_drift(
    ax: Axes,
    epochs: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    symbols: Sequence[str],
    *,
    runs: np.ndarray | None = None,
) -> Axes:
    """Drift of overlaps under noise: mean ± standard deviation by theory, dashed, over runs.

    Arguments:
        mean, std: by theory, shape (record, overlap).
        symbols: LaTeX names of the overlaps.
        runs: noisy ones, shape (run, record, overlap): their mean and a band.

    >>> ax = plt.figure().add_subplot()
    >>> mean, std = np.ones((3, 1)), 0.1 * np.arange(3.0)[:, None]
    >>> figures.plot_drift(ax, np.arange(3), mean, std, ["$uu$"]) is ax
    True
    """
    colours = [(INVISIBLE + VISIBLE)[i % 12] for i in range(len(symbols))]
    for i, colour in enumerate(colours):
        if runs is not None:
            here, spread = runs[:, :, i].mean(axis=0), runs[:, :, i].std(axis=0)
            ax.fill_between(epochs, here - spread, here + spread, color=colour, alpha=0.25, lw=0)
            ax.plot(epochs, here, color=colour)
        for sign in (0, -1, 1):
            look = {**THEORY, "linewidth": THEORY["linewidth"] * (1 if sign == 0 else 0.7)}
            look |= {} if runs is not None else {"color": colour}
            ax.plot(epochs, mean[:, i] + sign * std[:, i], **look)
    ax.set(xlabel="epoch", ylabel="overlap", xlim=(epochs[0], epochs[-1]))
    return label_ends(ax, mean[-1], symbols, colours)
