"""Panels about one network: overlaps, loadings and weights, readable at any rank."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lrnn_jax.figures._style import INVISIBLE, OTHERS, THEORY, VISIBLE

_OPEN: dict[str, Any] = {"markerfacecolor": "white", "markersize": 3, "linestyle": "none"}


def plot_gram(ax: Axes, gram: np.ndarray, sizes: Mapping[str, int]) -> Axes:
    """A Gram matrix as the cosines between vectors, Q_ab/√(Q_aa Q_bb), by families.

    Arguments:
        gram: Q, shape (k, k).
        sizes: number of columns of each family, by its letter.

    >>> ax = plt.figure().add_subplot()
    >>> sizes = {"z": 1, "v": 1, "m": 1, "u": 1}
    >>> figures.plot_gram(ax, np.asarray(net.overlaps.gram), sizes) is ax
    True
    """
    norms = np.sqrt(np.maximum(np.diagonal(gram), 1e-300))
    look: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
    image = ax.imshow(gram / np.outer(norms, norms), **look)
    middles = _families(ax, sizes)
    ax.set_yticks(middles, [*sizes])
    for edge in np.cumsum([*sizes.values()])[:-1]:
        ax.axhline(edge - 0.5, color="0.4", linewidth=0.5)
    ax.set(xlabel="loading vectors", ylabel="loading vectors")
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.05, 1)), ticks=(-1, 0, 1))
    bar.set_label("cosine", fontsize=7)
    return ax


def plot_kurtosis(ax: Axes, kurtosis: np.ndarray, sizes: Mapping[str, int], neurons: int) -> Axes:
    """Excess kurtosis of each vector, and what a Gaussian sample has (two standard deviations).

    Arguments:
        kurtosis: shape (vector,).
        sizes: number of columns of each family, by its letter.
        neurons: N.

    >>> ax = plt.figure().add_subplot()
    >>> kurtosis = np.asarray(lrnn.gaussianity(net).kurtosis)
    >>> figures.plot_kurtosis(ax, kurtosis, {"z": 1, "v": 1, "m": 1, "u": 1}, neurons=40) is ax
    True
    """
    chance = 2 * np.sqrt(24 / neurons)
    ax.axhspan(-chance, chance, color="0.9", linewidth=0, label="Gaussian sample")
    ax.plot(np.arange(len(kurtosis)), kurtosis, "o", color=INVISIBLE[1], markersize=3.5)
    _families(ax, sizes)
    ax.set(xlabel="loading vectors", ylabel="excess kurtosis", xlim=(-0.7, len(kurtosis) - 0.3))
    if np.abs(kurtosis).max(initial=0) > 20:
        ax.set_yscale("symlog", linthresh=1)
    ax.margins(y=0.25)
    ax.legend()
    return ax


def _families(ax: Axes, sizes: Mapping[str, int]) -> np.ndarray:
    """Letters at the middles of families along x, lines between them; the middles."""
    ends = np.cumsum([*sizes.values()])
    middles = ends - np.array([*sizes.values()]) / 2 - 0.5
    ax.set_xticks(middles, [*sizes])
    for edge in ends[:-1]:
        ax.axvline(edge - 0.5, color="0.4", linewidth=0.5)
    return middles


def plot_singular_values(
    ax: Axes,
    values: np.ndarray,
    kept: int,
    threshold: float | None = None,
    names: tuple[str, str] = ("kept", "discarded"),
) -> Axes:
    """Singular values in descending order: kept ones filled, discarded ones open.

    Arguments:
        values: shape (value,).
        kept: how many.
        names: what is said of kept and of other ones.
        threshold: of a random matrix, drawn as a line.

    >>> ax = plt.figure().add_subplot()
    >>> figures.plot_singular_values(ax, np.array([3.0, 1.0, 0.1]), kept=2) is ax
    True
    """
    shown = np.maximum(values, 1e-17 * (values.max(initial=0) or 1))
    number = 1 + np.arange(len(values))
    if kept:
        look = {"color": VISIBLE[0], "markersize": 3.5, "linestyle": "none"}
        ax.loglog(number[:kept], shown[:kept], "o", label=names[0], **look)
    if kept < len(values):
        ax.loglog(number[kept:], shown[kept:], "o", color=OTHERS[0], label=names[1], **_OPEN)
    if threshold is not None:
        ax.axhline(threshold, label="edge of a random bulk", **THEORY)
    low = max(shown.min(), 1e-4 * shown.max())
    ax.set(xlabel="number", ylabel="singular value of $W$", ylim=(0.02 * low, 2 * shown.max()))
    ax.legend(loc="lower left")
    return ax


def plot_eigenvalue_plane(ax: Axes, values: np.ndarray, radius: float) -> Axes:
    """Eigenvalues of one matrix in the complex plane.

    Arguments:
        values: complex, shape (eigenvalue,).
        radius: of a random matrix of the same norm, drawn as a circle; the line Re λ = 1 is where
            small activity starts to grow where φ'(0) = 1.

    >>> ax = plt.figure().add_subplot()
    >>> figures.plot_eigenvalue_plane(ax, np.array([0.5 + 0.5j, 0.5 - 0.5j]), 1.0) is ax
    True
    """
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(radius * np.cos(angle), radius * np.sin(angle), label="random, same norm", **THEORY)
    ax.axvline(1, color=INVISIBLE[1], linewidth=0.9, linestyle=":", label=r"Re $\lambda = 1$")
    ax.plot(np.real(values), np.imag(values), "o", color=VISIBLE[1], markersize=2.5)
    ax.set(xlabel=r"Re $\lambda(W)$", ylabel=r"Im $\lambda(W)$")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, columnspacing=0.8)
    return ax
