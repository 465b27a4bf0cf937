"""Figures of the experiments on degenerate networks and on memory of training."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._panels import label_ends, plot_lines
from lrnn_jax.figures._style import (
    INVISIBLE,
    SIMULATION,
    TEXT,
    THEORY,
    VISIBLE,
    letter,
)

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


def _split(report: Any, curve: Any) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Overlaps over epochs, their symbols, and which are loss-visible."""
    seen = np.array([name in report.values["visible"] for name in curve.overlaps.names])
    return np.asarray(curve.overlaps.vector()), list(curve.overlaps.roles.latex), seen


def _degeneracy(report: Any) -> Figure:
    figure, axes = plt.subplots(2, 3, figsize=(TEXT, 4.3))
    arrays = {name: values for name, (_, values, _) in report.arrays.items()}
    time, target = arrays["time"], ("target", arrays["target"], THEORY)
    for ax, when, title in (
        (axes[0, 0], "before", "response, epoch 0"),
        (axes[0, 2], "epoch", f"response, epoch {report.config.early}"),
    ):
        second = {**SECOND, "linewidth": 1.4} if when == "before" else SECOND
        lines = [
            ("network 1", arrays[f"output_first_{when}"], FIRST),
            ("network 2", arrays[f"output_second_{when}"], second),
        ]
        plot_lines(ax, time, [*lines, target]).set(xlabel=r"time ($\tau$)", ylabel=title)
    for name, look in (("first", FIRST), ("second", SECOND)):
        noisy = arrays[f"noisy_{name}"]
        axes[0, 1].fill_between(
            time, *np.percentile(noisy, [5, 95], axis=0), color=look["color"], alpha=0.35, lw=0
        )
        axes[0, 1].plot(time, noisy[0], color=look["color"], linewidth=0.9)
    axes[0, 1].plot(time, arrays["output_first_before"], **THEORY, label="no noise")
    axes[0, 1].set(xlabel=r"time ($\tau$)", ylabel="with hidden noise", xlim=(0, time[-1]))
    axes[0, 1].legend()
    epochs = np.asarray(report.curves["full"].epochs)
    lines = []
    for kind, label, look in (("", "network 1", FIRST), ("_twin", "network 2", SECOND)):
        loss = {n: np.asarray(report.curves[n + kind].loss) for n in ("full", "reduced")}
        lines.append((label, loss["full"], look))
        lines.append((None if kind else "theory", loss["reduced"], THEORY))
    plot_lines(axes[1, 0], epochs, lines, above=1e-14).set(xlabel="epoch", ylabel=r"loss $L$")
    for column, visible in ((1, True), (2, False)):
        _both_networks(axes[1, column], report, epochs, visible)
    letter(axes)
    return figure


def _both_networks(ax: Axes, report: Any, epochs: np.ndarray, visible: bool) -> None:
    """Overlaps of both networks: the first solid, the second dotted."""
    colours = VISIBLE if visible else INVISIBLE
    for kind, look in (("", "-"), ("_twin", ":")):
        values, symbols, seen = _split(report, report.curves["full" + kind])
        chosen = seen if visible else ~seen
        values, symbols = values[:, chosen], [s for s, c in zip(symbols, chosen) if c]
        for i in range(values.shape[1]):
            ax.plot(epochs, values[:, i], look, color=colours[i % len(colours)], linewidth=1.4)
        if kind:
            shown = [colours[i % len(colours)] for i in range(len(symbols))]
            ax.set_xlim(epochs[0], epochs[-1])
            label_ends(ax, values[-1], symbols, shown)
    kind = "visible" if visible else "invisible"
    ax.set(xlabel="epoch", ylabel=f"loss-{kind} overlaps (1: –, 2: ···)")


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


MEMORY: dict[str, Callable[[Any], Figure]] = {
    "degeneracy": _degeneracy,
}
"""The figures of this module by experiment."""
