"""One look for all figures: paper-column sizes, colours that survive colour blindness and grey."""

import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

COLUMN = 3.4
"""Width of one paper column, inches."""
TEXT = 7.0
"""Width of two paper columns, inches."""

VISIBLE = ("#08306b", "#2171b5", "#4fa3d1", "#7fb8dc", "#08519c", "#6baed6")
"""Blues, dark to light: loss-visible overlaps."""
INVISIBLE = ("#67000d", "#b2182b", "#ef3b2c", "#e7693f", "#f08a63", "#f4a582")
"""Reds, dark to light: loss-invisible overlaps."""
THEORY: dict[str, Any] = {"color": "#1a1a1a", "linestyle": (0, (3, 2)), "linewidth": 1.0}
"""Theory: thin, dark, dashed, drawn over simulation."""
SIMULATION: dict[str, Any] = {
    "linewidth": 2.6,
    "alpha": 0.85,
    "solid_capstyle": "round",
    "zorder": 1.9,
}
"""Simulation: thick and light, below all else."""
OTHERS = ("#7a7a7a", "#d95f02", "#1b7837")
"""Comparisons: grey, orange, green (distinct in lightness too)."""
GREYS = LinearSegmentedColormap.from_list("greys", ["#ffffff", "#9a9a9a"])
"""Colours of a background."""
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)))
"""Line styles of lines that colour alone should not tell apart."""

_RC: dict[Any, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": cycler(color=[*VISIBLE[:2], *INVISIBLE[1:3], *OTHERS]),
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.4,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """The package's look, inside a `with` block; the session's own settings are left alone.

    >>> with figures.style():
    ...     figure = curve.plot()
    ...
    >>> len(figure.axes)
    3
    """
    with mpl.rc_context(_RC):
        yield
        interactive = mpl.is_interactive()
    # notebooks switch this on with the first figure, which may have been the one inside
    mpl.interactive(interactive)


def letter(axes: Any) -> None:
    """Name the panels of a figure a, b, c, …

    >>> figure, axes = figures.panels(1, 2, height=2.0)
    >>> figures.letter(axes)
    """
    for name, ax in zip(string.ascii_lowercase, np.ravel(axes)):
        ax.set_title(name, fontweight="bold")


def shades(n: int) -> list[Any]:
    """Colours of n values of one quantity, dark to light.

    >>> len(figures.shades(3))
    3
    """
    return list(plt.get_cmap("viridis")(np.linspace(0, 0.85, n)))


def panels(
    rows: int, columns: int, *, height: float, width: float = TEXT, **options: Any
) -> tuple[Figure, Any]:
    """A figure of a size in inches, and its panels as `plt.subplots` gives them.

    >>> figure, axes = figures.panels(1, 2, height=2.0)
    >>> axes.shape, figure.get_size_inches().tolist()
    ((2,), [7.0, 2.0])
    """
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def save(figure: Figure, folder: Path) -> Path:
    """Save a figure as figure.png and figure.pdf in a folder, and close it; the PNG's path.

    >>> from pathlib import Path
    >>> figures.save(curve.plot(), Path(".")).name
    'figure.png'
    """
    for suffix in ("png", "pdf"):
        figure.savefig(folder / f"figure.{suffix}")
    plt.close(figure)
    return folder / "figure.png"
