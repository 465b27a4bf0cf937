"""Panels of closed loops: arrays in, Axes out, no computing."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from lrnn_jax.figures._style import OTHERS, VISIBLE

CLOSED: dict[str, Any] = {"color": VISIBLE[1], "linewidth": 1.6}
OPEN: dict[str, Any] = {"color": OTHERS[1], "linewidth": 1.6, "linestyle": (0, (4, 1.2))}
LOOPS = {"closed": ("closed loop", CLOSED), "open": ("open-loop student", OPEN)}
"""How a controller and its student are called and drawn."""
_GREYS = LinearSegmentedColormap.from_list("greys", ["#ffffff", "#9a9a9a"])


def plot_paths(ax: Axes, values: np.ndarray, *, colours: Any = None, circle: bool = True) -> Axes:
    """Paths of eigenvalues in the complex plane; open circles: start, dots: end.

    Arguments:
        ax: where to draw.
        values: complex, shape (record, eigenvalue).
        colours: one a path.
        circle: draw |λ| = 1.
    """
    if circle:
        angle = np.linspace(-np.pi, np.pi, 400)
        ax.plot(np.cos(angle), np.sin(angle), color="0.6", linewidth=0.8, zorder=0)
    colours = colours or [VISIBLE[1]] * values.shape[1]
    for path, colour in zip(values.T, colours):
        ax.plot(path.real, path.imag, color=colour, linewidth=1.2)
        ax.plot(path.real[0], path.imag[0], "o", color=colour, markersize=4, markerfacecolor="w")
        ax.plot(path.real[-1], path.imag[-1], "o", color=colour, markersize=4)
    ax.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    ax.set(xlabel=r"Re $\lambda$", ylabel=r"Im $\lambda$")
    return ax


def plot_landscape(
    ax: Axes,
    k1: np.ndarray,
    k2: np.ndarray,
    *,
    log_loss: np.ndarray,
    radius: np.ndarray,
    oscillatory: np.ndarray,
) -> Axes:
    """Loss of static gains in grey, with the edges of the stable and the oscillatory regions.

    Arguments:
        ax: where to draw.
        k1, k2: gains on position and velocity.
        log_loss, radius, oscillatory: ln L, largest |λ|, 1 where it is complex, shape (k1, k2).
    """
    shown = np.minimum(log_loss / np.log(10), 6)
    ax.pcolormesh(k1, k2, shown.T, cmap=_GREYS, shading="auto", rasterized=True)
    ax.contour(k1, k2, radius.T, levels=[1.0], colors="#1a1a1a", linewidths=1.0)
    edge = {"levels": [0.5], "colors": "#1a1a1a", "linewidths": 0.8, "linestyles": "dotted"}
    ax.contour(k1, k2, oscillatory.T, **edge)
    ax.set(xlabel="gain on position $k_1$", ylabel="gain on velocity $k_2$")
    return ax


def mark_epochs(ax: Axes, epochs: dict[str, tuple[int, str]]) -> Axes:
    """Thin vertical lines at epochs, named above the panel.

    Arguments:
        ax: with its lines drawn.
        epochs: by name: epoch and colour; negative ones are left out.
    """
    for name, (epoch, colour) in epochs.items():
        if epoch >= 0:
            ax.axvline(epoch, color=colour, linewidth=0.8, linestyle=":", zorder=0)
            ax.annotate(
                name, (epoch, 0.98), xycoords=("data", "axes fraction"), xytext=(3, 0),
                textcoords="offset points", color=colour, fontsize=6.5, va="top", rotation=90,
            )  # fmt: skip
    return ax
