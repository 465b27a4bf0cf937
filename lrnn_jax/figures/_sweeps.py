"""Sweeps over two parameters: heat maps, phase diagrams, small multiples over a third."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lrnn_jax.figures._style import COLUMN, TEXT, panels, style

PHASES = ("#08306b", "#d95f02", "#7fb8dc", "#1b7837", "#f4a582", "#7a7a7a", "#67000d")
MISSING = "#d9d9d9"


def plot_heatmap(
    ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, *, norm: Normalize | None = None
) -> Any:
    """A quantity over two parameters; cells without a value (diverged, not run) grey and hatched.

    Arguments:
        x, y: parameter values, shapes (columns,), (rows,); logarithmic axes where evenly spaced so.
        values: shape (rows, columns).
        norm: how values become colours; default linear from smallest to largest.

    Returns: the image, for a colour bar.

    >>> ax = plt.figure().add_subplot()
    >>> x, y = np.arange(3.0), np.arange(2.0)
    >>> image = figures.plot_heatmap(ax, x, y, np.ones((2, 3)))
    >>> type(image).__name__
    'QuadMesh'
    """
    ax.set_facecolor(MISSING)
    if np.isnan(values).any():
        ax.patch.set(hatch="////", edgecolor="#9a9a9a")
    edges = [_edges(v) for v in (x, y)]
    image = ax.pcolormesh(*edges, np.ma.masked_invalid(values), cmap="cividis", norm=norm)
    _scales(ax, x, y)
    return image


def plot_phases(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    *,
    present: Sequence[int] | None = None,
) -> Axes:
    """A phase diagram: which of several kinds each cell is of, with a legend of those that occur.

    Arguments:
        x, y: parameter values, shapes (columns,), (rows,).
        codes: whole numbers, shape (rows, columns); −1 for cells of no kind.
        names: of the codes 0, 1, ….
        present: the codes that have colours, in their order; default those that occur.

    >>> ax = plt.figure().add_subplot()
    >>> x, y = np.arange(3.0), np.arange(2.0)
    >>> codes = np.array([[0, 0, 1], [0, 1, 1]])
    >>> figures.plot_phases(ax, x, y, codes, ["learned", "diverged"]) is ax
    True
    """
    norm = Normalize(-0.5, len(PHASES) - 0.5)
    ax.set_facecolor(MISSING)
    if present is None:
        present = [int(code) for code in np.unique(codes) if code >= 0]
    ranks = np.ma.masked_where(codes < 0, np.searchsorted(present, codes) % len(PHASES))
    ax.pcolormesh(_edges(x), _edges(y), ranks, cmap=ListedColormap(PHASES), norm=norm)
    _scales(ax, x, y)
    handles = [
        Patch(color=PHASES[i % len(PHASES)], label=names[code].replace("_", " "))
        for i, code in enumerate(present)
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


def draw_sweep(
    data: Any, name: str, x: str, y: str, over: str | None = None, *, log: bool = False
) -> Figure:
    """A variable of a sweep over two of its axes, in small multiples over a third.

    `result` is drawn as a phase diagram, everything else as heat maps with one colour bar.

    Arguments:
        data: the sweep's dataset, with all other axes selected or averaged out.
        name: of the variable.
        x, y: axes of the design.
        over: an axis with one panel for each of its values.
        log: logarithmic colours.

    Errors: ValueError for a variable that has other axes.

    >>> cells = {"x": [1.0, 2.0], "y": [1.0, 2.0]}
    >>> data = lrnn.sweep(cells, lambda x, y: {"f": x * y}, progress=False)
    >>> figure = figures.draw_sweep(data, "f", "x", "y")
    """
    array = data[name]
    axes = [y, x] if over is None else [over, y, x]
    if set(array.dims) != set(axes):
        raise ValueError(
            f"{name!r} has the axes {array.dims}, but {axes} are drawn: select from the others, "
            f"e.g. data.isel(epoch=-1), or average over them."
        )
    values = np.asarray(array.transpose(*axes).values)
    multiples = values if over is not None else values[None]
    kinds = array.attrs.get("flag_meanings", "").split()
    finite = multiples[np.isfinite(multiples) & (multiples > (0 if log else -np.inf))]
    norm = (LogNorm if log else Normalize)(*(finite.min(), finite.max()) if finite.size else (0, 1))
    with style():
        columns = min(len(multiples), 3)
        rows = -(-len(multiples) // columns)
        width, height = (COLUMN, 2.6) if columns == 1 else (TEXT, 2.1)
        alike: dict[str, Any] = {"squeeze": False, "sharex": True, "sharey": True}
        figure, grid = panels(rows, columns, height=rows * height, width=width, **alike)
        image = None
        present = np.unique(multiples[multiples >= 0]).tolist() if kinds else []
        for ax, values in zip(grid.flat, multiples):
            if kinds:
                plot_phases(ax, data[x].values, data[y].values, values, kinds, present=present)
            else:
                image = plot_heatmap(ax, data[x].values, data[y].values, values, norm=norm)
        for ax in grid.flat[len(multiples) :]:
            ax.set_visible(False)
        if over is not None:
            for ax, value in zip(grid.flat, data[over].values):
                shown = f"{value:.3g}" if isinstance(value, float) else str(value)
                place = {"y": 1.12} if kinds else {}
                ax.set_title(f"{_title(data[over], over)} = {shown}", **place)
        figure.supxlabel(_title(data[x], x), fontsize=8)
        figure.supylabel(_title(data[y], y), fontsize=8)
        if image is not None:
            figure.colorbar(image, ax=grid, label=_title(array, name, "\n"), shrink=0.9)
    return figure


def _title(array: Any, name: str, gap: str = " ") -> str:
    units = array.attrs.get("units", "")
    suffix = f"{gap}({units})" if units not in ("", "1") else ""
    return array.attrs.get("long_name", name) + suffix


def _log(values: np.ndarray) -> bool:
    """Whether positive values are more evenly spaced in their logarithms."""
    if values.dtype.kind not in "fi" or len(values) < 3 or (values <= 0).any():
        return False
    spread = [np.ptp(np.diff(v)) / abs(np.mean(np.diff(v))) for v in (values, np.log(values))]
    return bool(spread[1] < spread[0])


def _edges(values: np.ndarray) -> np.ndarray:
    """Borders of the cells around parameter values; whole numbers around words."""
    if values.dtype.kind not in "fi" or len(values) == 1:
        return np.arange(len(values) + 1) - 0.5
    v = np.log(values) if _log(values) else values.astype(float)
    middle = (v[1:] + v[:-1]) / 2
    edges = np.concatenate([[2 * v[0] - middle[0]], middle, [2 * v[-1] - middle[-1]]])
    return np.exp(edges) if _log(values) else edges


def _scales(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    for values, axis, scale in ((x, ax.xaxis, ax.set_xscale), (y, ax.yaxis, ax.set_yscale)):
        if values.dtype.kind not in "fi" or len(values) == 1:
            axis.set_ticks(range(len(values)), [str(value) for value in values])
        elif _log(values):
            scale("log")
