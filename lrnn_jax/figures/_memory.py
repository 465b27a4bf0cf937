"""Panels on memory of training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lrnn_jax.figures._style import INVISIBLE, SIMULATION, VISIBLE

FIRST: dict[str, Any] = {**SIMULATION, "color": VISIBLE[2]}
"""The first of two compared networks."""
SECOND: dict[str, Any] = {**SIMULATION, "color": INVISIBLE[3]}
"""The second one."""


def shade_phases(ax: Axes, bounds: Sequence[int], names: Sequence[str]) -> Axes:
    """Name the phases of a sequence of tasks above the panel, every other one shaded.

    Arguments:
        ax: with its lines drawn.
        bounds: epochs where phases begin, and the end of the last one.
        names: one a phase.
    """
    for i, name in enumerate(names):
        if i % 2:
            ax.axvspan(bounds[i], bounds[i + 1], color="0.92", zorder=-1, linewidth=0)
        middle = (bounds[i] + bounds[i + 1]) / 2
        ax.text(middle, 1.01, name, transform=ax.get_xaxis_transform(), ha="center", fontsize=7)
    return ax


def plot_drift(
    ax: Axes, symbols: Sequence[str], measured: np.ndarray, error: np.ndarray, theory: np.ndarray
) -> Axes:
    """Measured changes with error bars beside predicted ones, one a symbol.

    Arguments:
        ax: where to draw.
        symbols: LaTeX names of the overlaps.
        measured, error, theory: mean, standard error, prediction, shape (overlap,).
    """
    places = np.arange(len(symbols))
    ax.bar(places, measured, yerr=3 * error, color=VISIBLE[3], label="runs ± 3 s.e.m.", capsize=2)
    ax.plot(places, theory, "_", color="#1a1a1a", markersize=11, markeredgewidth=1.6)
    ax.plot([], [], "_", color="#1a1a1a", markersize=9, markeredgewidth=1.6, label="theory")
    ax.axhline(0, color="0.5", linewidth=0.6)
    ax.set_xticks(places, symbols, rotation=90)
    ax.set_ylabel("change under label noise")
    low, high = ax.get_ylim()
    ax.set_ylim(top=high + 0.25 * (high - low))  # room for the legend
    ax.legend(loc="upper right")
    return ax


def plot_leftover(ax: Axes, symbols: Sequence[str], leftovers: dict[str, np.ndarray]) -> Axes:
    """|change| that one cycle of tasks leaves in each overlap, on a logarithmic axis.

    Arguments:
        ax: where to draw.
        symbols: LaTeX names of the overlaps.
        leftovers: by label, shape (overlap,).
    """
    looks = (
        ("o", VISIBLE[2], "full"),
        ("o", VISIBLE[2], "none"),
        ("s", INVISIBLE[3], "full"),
        ("s", INVISIBLE[3], "none"),
    )
    places = np.arange(len(symbols))
    for (label, values), (marker, colour, fill) in zip(leftovers.items(), looks):
        ax.plot(
            places,
            np.maximum(np.abs(values), 1e-7),
            marker,
            color=colour,
            fillstyle=fill,  # pyright: ignore[reportArgumentType]
            markersize=5,
            label=label,
        )
    ax.set_yscale("log")
    ax.set_ylim(top=ax.get_ylim()[1] * 30)
    ax.set_xticks(places, symbols, rotation=90)
    ax.set_ylabel("|left over| after one cycle")
    ax.legend(ncols=2, columnspacing=0.8, handletextpad=0.1)
    return ax


def plot_accuracy(
    ax: Axes, stages: Sequence[str], accuracies: dict[str, tuple[np.ndarray, dict[str, Any]]]
) -> Axes:
    """Mean accuracy of decoders with standard deviations over splits, at several stages.

    Arguments:
        ax: where to draw.
        stages: names along the x axis.
        accuracies: by label, accuracies of shape (stage, split) and how they are drawn.
    """
    count = len(accuracies)
    for i, (label, (values, look)) in enumerate(accuracies.items()):
        places = np.arange(len(stages)) + 0.12 * (i - (count - 1) / 2)
        spread = values.std(axis=1)
        ax.errorbar(places, values.mean(axis=1), spread, capsize=2, label=label, **look)
    ax.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(stages)), [stage.replace(" ", "\n", 1) for stage in stages])
    ax.set(ylabel="test accuracy", ylim=(0, 1.08))
    ax.legend(loc="lower right")
    return ax
