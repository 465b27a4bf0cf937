"""Figures of the experiments on nonlinear networks and the error of the closure."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from lrnn_jax.figures._panels import label_ends
from lrnn_jax.figures._style import INVISIBLE, OTHERS, SIMULATION, TEXT, THEORY, VISIBLE, letter

LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full network", {**SIMULATION, "color": VISIBLE[2]}),
    "closure": ("Gaussian closure", {"color": OTHERS[1], "linestyle": ":", "linewidth": 1.6}),
    "population": ("infinite width", THEORY),
}
"""How each theory is called and drawn."""


def _overlaps(ax: Axes, report: Any, seen: bool) -> None:
    curves = {name: report.curves[name] for name in LOOKS}
    overlaps = curves["full"].overlaps
    mask = [(name in report.values["visible"]) == seen for name in overlaps.names]
    colours, epochs = (VISIBLE if seen else INVISIBLE), np.asarray(curves["full"].epochs)
    picked = [colours[i % len(colours)] for i in range(sum(mask))]
    values = {name: np.asarray(c.overlaps.vector())[:, mask] for name, c in curves.items()}
    for i, colour in enumerate(picked):
        ax.plot(epochs, values["full"][:, i], **{**LOOKS["full"][1], "color": colour})
        for name in ("closure", "population"):
            ax.plot(epochs, values[name][:, i], **LOOKS[name][1])
    ax.set(xlabel="epoch", xlim=(epochs[0], epochs[-1]))
    ax.set_ylabel(f"loss-{'visible' if seen else 'invisible'} overlaps")
    symbols = [symbol for symbol, m in zip(overlaps.roles.latex, mask) if m]
    label_ends(ax, values["full"][-1], symbols, picked)


def _gaps(ax: Axes, report: Any) -> None:
    epochs = np.asarray(report.curves["full"].epochs)
    pairs = {
        "closure": ("closure", "finer", LOOKS["closure"][1]),
        "full network": ("full", "finer", LOOKS["full"][1]),
        "few nodes": ("population", "finer", THEORY),
    }
    for label, (a, b, look) in pairs.items():
        gap = np.asarray(report.curves[a].gram) - np.asarray(report.curves[b].gram)
        size = np.abs(gap).max(axis=(-2, -1))
        ax.plot(epochs, np.where(size > 1e-6, size, np.nan), label=label, **look)
    ax.set(xlabel="epoch", ylabel=r"largest $|\Delta Q|$ to many nodes", yscale="log")
    ax.set_xlim(epochs[0], epochs[-1])
    ax.legend(loc="lower right")


def _quantiles(ax: Axes, report: Any) -> None:
    """Quantiles of the loadings against those of the normal law, and histograms in an inset."""
    loadings = report.arrays["loadings"][1]
    ranks = norm.ppf((np.arange(len(loadings)) + 0.5) / len(loadings))
    ax.plot(ranks, ranks, **THEORY)
    pairs = ("z", INVISIBLE[1], "o"), ("v", INVISIBLE[3], "s"), ("m", VISIBLE[0], "^")
    for i, (name, colour, mark) in enumerate((*pairs, ("u", VISIBLE[2], "v"))):
        some = np.unique(np.linspace(0, len(ranks) - 1, 40).astype(int))
        ax.plot(ranks[some], loadings[some, i], mark, color=colour, markersize=2.5, label=name)
    ax.set(xlabel="normal quantile", ylabel="loading / its s.d.")
    ax.legend(handletextpad=0.1, loc="upper left")
    inset, edges = ax.inset_axes((0.58, 0.06, 0.42, 0.34)), np.linspace(-3.5, 3.5, 22)
    for i, (_, colour, _) in enumerate((*pairs, ("u", VISIBLE[2], "v"))):
        inset.stairs(
            *np.histogram(loadings[:, i], edges, density=True), color=colour, linewidth=0.7
        )
    inset.plot(edges, norm.pdf(edges), **{**THEORY, "linewidth": 0.8})
    inset.set(xticks=(), yticks=(), xlim=(-3.5, 3.5))


def flip_flop(report: Any) -> Figure:
    """Losses, overlaps, errors, and how Gaussian the loadings are."""
    figure, axes = plt.subplots(2, 3, figsize=(TEXT, 4.3))
    epochs = np.asarray(report.curves["full"].epochs)
    for name, (label, look) in LOOKS.items():
        axes[0, 0].plot(epochs, np.asarray(report.curves[name].loss), label=label, **look)
    axes[0, 0].set(xlabel="epoch", ylabel=r"loss $L$", yscale="log", xlim=(epochs[0], epochs[-1]))
    axes[0, 0].legend()
    _overlaps(axes[0, 1], report, True)
    _overlaps(axes[0, 2], report, False)
    _gaps(axes[1, 0], report)
    _quantiles(axes[1, 1], report)
    axes[1, 2].plot(
        epochs, report.arrays["joint_full"][1], label="full network", **LOOKS["full"][1]
    )
    chance = float(report.arrays["chance"][1])
    axes[1, 2].axhline(chance, color="0.6", linewidth=0.8, label="Gaussian sample")
    axes[1, 2].set(xlabel="epoch", ylabel="joint fourth cumulant", xlim=(epochs[0], epochs[-1]))
    axes[1, 2].legend()
    letter(axes)
    return figure


def optimisers(report: Any) -> Figure:
    """Losses, joint cumulants and closure errors of three optimisers."""
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "small": ("small steps", {**SIMULATION, "color": VISIBLE[2]}),
        "large": ("large steps", {"color": INVISIBLE[1], "linewidth": 1.6}),
        "adam": ("Adam", {"color": OTHERS[2], "linestyle": "-.", "linewidth": 1.6}),
    }
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 2.3))
    for name, (label, look) in looks.items():
        curve = report.curves[name]
        epochs = np.asarray(curve.epochs)
        axes[0].plot(epochs, np.asarray(curve.loss), label=label, **look)
        axes[1].plot(epochs, report.arrays[f"joint_{name}"][1], label=label, **look)
        axes[2].plot(epochs, 100 * report.arrays[f"gap_{name}"][1], label=label, **look)
    chance = float(report.arrays["chance"][1])
    axes[1].axhline(chance, color="0.6", linewidth=0.8)
    axes[1].text(epochs[-1], chance, "Gaussian sample", ha="right", va="bottom", fontsize=7)
    names = r"loss $L$", "joint fourth cumulant", "error of the closure (%)"
    for ax, name in zip(axes, names):
        ax.set(xlabel="epoch", ylabel=name)
    axes[0].set_yscale("log")
    axes[0].legend(loc="upper right")
    letter(axes)
    return figure
