"""Fixed points: where they are, and what learning does to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lrnn_jax.figures._style import INVISIBLE, OTHERS, VISIBLE

_KINDS: dict[str, tuple[str, str, Any]] = {
    "stable": (VISIBLE[0], "full", {}),
    "saddle": (INVISIBLE[1], "left", {"markerfacecoloralt": "white"}),
    "repelling": (INVISIBLE[1], "none", {}),
}
"""Colour and filling of each kind of point."""
_ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.07, 1), "borderpad": 0.2}
_ABOVE |= {"handletextpad": 0.1, "columnspacing": 0.7}


def plot_fixed_points(
    ax: Axes,
    latents: np.ndarray,
    kinds: np.ndarray,
    *,
    axes: tuple[int, int] = (0, 1),
    other: np.ndarray | None = None,
    symbol: str = r"\kappa",
) -> Axes:
    """Fixed points in the space of latents: stable ones full, saddles half, repelling ones open.

    Arguments:
        latents: κ of each, shape (point, size); of one latent they lie on a line.
        kinds: "stable", "saddle" or "repelling", shape (point,).
        axes: which latents are drawn, where there are several.
        other: points to compare with, e.g. of a closure, shape (point, size): crosses.
        symbol: what latents are called, in LaTeX.

    >>> ax = plt.figure().add_subplot()
    >>> points, kinds = np.array([[-1.0], [0.0], [1.0]]), np.array(["stable", "saddle", "stable"])
    >>> figures.plot_fixed_points(ax, points, kinds) is ax
    True
    """
    size = latents.shape[1]
    for kind in _KINDS:
        chosen = kinds == kind
        if chosen.any():
            ax.plot(*_places(latents[chosen], axes), label=kind, **_look(kind, 7))
    if other is not None:
        look: dict[str, Any] = {"color": OTHERS[1], "markersize": 8, "linestyle": "none"}
        ax.plot(*_places(other, axes), "x", label="closure", **look)
    ax.set_xlabel(rf"${symbol}_{{{axes[0] + 1}}}$" if size > 1 else rf"${symbol}$")
    if size > 1:
        ax.set_ylabel(rf"${symbol}_{{{axes[1] + 1}}}$")
    else:
        ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        ax.set(ylim=(-1, 1), yticks=(), ylabel="fixed points")
    ax.margins(0.15)
    ax.legend(ncols=4, **_ABOVE)
    return ax


def plot_branches(
    ax: Axes,
    epochs: np.ndarray,
    latents: Sequence[np.ndarray],
    kinds: Sequence[np.ndarray],
    *,
    axis: int = 0,
    changes: Sequence[int] = (),
    symbol: str = r"\kappa",
) -> Axes:
    """One latent of every fixed point over learning; lines where their number or stability changes.

    Arguments:
        epochs: shape (record,).
        latents: κ of the points at each, shapes (point, size).
        kinds: "stable", "saddle" or "repelling", shapes (point,).
        axis: which latent.
        changes: epochs of changes, which the legend names.
        symbol: what latents are called, in LaTeX.

    >>> ax = plt.figure().add_subplot()
    >>> points, kinds = [np.array([[0.0]])] * 3, [np.array(["stable"])] * 3
    >>> figures.plot_branches(ax, np.arange(3), points, kinds).get_xlabel()
    'epoch'
    """
    epoch = np.repeat(epochs, [len(points) for points in latents])
    height = np.concatenate([points[:, axis] for points in latents])
    size = latents[0].shape[1]
    for name in _KINDS:
        chosen = np.concatenate(kinds) == name
        if chosen.any():
            ax.plot(epoch[chosen], height[chosen], label=name, **_look(name, 3.5))
    for i, change in enumerate(changes):
        label = f"change at {', '.join(map(str, changes[:4]))}{', …' * (len(changes) > 4)}"
        look: dict[str, Any] = {"color": OTHERS[2], "linestyle": ":", "linewidth": 0.9}
        ax.axvline(change, label=label if i == 0 else None, zorder=0, **look)
    ax.set(xlabel="epoch", xlim=(epochs[0], epochs[-1]))
    ax.set_ylabel(f"fixed points ${symbol}" + rf"_{{{axis + 1}}}$" * (size > 1) + "$" * (size == 1))
    ax.legend(ncols=3, **_ABOVE)
    return ax


def _places(latents: np.ndarray, axes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    if latents.shape[1] == 1:
        return latents[:, 0], np.zeros(len(latents))
    return latents[:, axes[0]], latents[:, axes[1]]


def _look(kind: str, size: float) -> dict[str, Any]:
    colour, filling, more = _KINDS[kind]
    look = {"color": colour, "fillstyle": filling, "markersize": size, "linestyle": "none"}
    return {"marker": "o", "markeredgewidth": 0.8, **look, **more}
