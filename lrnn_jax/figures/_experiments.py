"""The figure of each experiment, from its report."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._memory import MEMORY
from lrnn_jax.figures._panels import (
    plot_eigenvalues,
    plot_gap,
    plot_loss,
    plot_overlaps,
    plot_response,
)
from lrnn_jax.figures._style import TEXT, letter, style


def draw(report: Any) -> Figure:
    """The figure of an experiment's report, in the package's style.

    Arguments:
        report: an `experiments.Report`.
    """
    with style():
        return _DRAWINGS[report.name](report)


def _losses(ax: Axes, report: Any, *names: str) -> None:
    epochs = np.asarray(report.curves[names[0]].epochs)
    plot_loss(ax, epochs, {n: np.asarray(report.curves[n].loss) for n in names})


def _overlap_panels(
    axes: tuple[Axes, Axes], report: Any, simulation: str | None, theory: str, seen: tuple[str, ...]
) -> None:
    """Visible overlaps in the first panel, invisible ones in the second."""
    curve = report.curves[theory]
    overlaps = curve.overlaps
    visible = np.array([name in seen for name in overlaps.names])
    epochs, after = np.asarray(curve.epochs), np.asarray(overlaps.vector())
    before = np.asarray(report.curves[simulation].overlaps.vector()) if simulation else None
    for ax, mask, title in (
        (axes[0], visible, "loss-visible overlaps"),
        (axes[1], ~visible, "loss-invisible overlaps"),
    ):
        symbols = [s for s, m in zip(overlaps.roles.latex, mask) if m]
        drawn = None if before is None else before[:, mask]
        plot_overlaps(ax, epochs, drawn, after[:, mask], symbols, visible=mask is visible)
        ax.set_ylabel(title)


def _responses(ax: Axes, report: Any) -> None:
    outputs = {k: report.arrays[f"output_{k}"][1] for k in ("target", "before", "after")}
    plot_response(ax, report.arrays["time"][1], outputs)


def _gap(report: Any, a: str, b: str) -> np.ndarray:
    difference = np.asarray(report.curves[a].gram) - np.asarray(report.curves[b].gram)
    return np.abs(difference).max(axis=(-2, -1))


def _oscillator(report: Any) -> Figure:
    figure, axes = plt.subplots(2, 3, figsize=(TEXT, 4.1))
    _responses(axes[0, 0], report)
    _losses(axes[0, 1], report, "full", "reduced")
    epochs = np.asarray(report.curves["full"].epochs)
    plot_gap(axes[0, 2], epochs, {"full − exact theory": _gap(report, "full", "reduced")})
    _overlap_panels(
        (axes[1, 0], axes[1, 1]), report, "full", "reduced", tuple(report.values["visible"])
    )
    values = report.arrays["eigenvalue_real"][1] + 1j * report.arrays["eigenvalue_imag"][1]
    wanted = complex(*report.values["target_eigenvalue"])
    plot_eigenvalues(axes[1, 2], epochs, values, (wanted, wanted.conjugate()))
    letter(axes)
    return figure


def _analysis(report: Any) -> Figure:
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 2.3))
    _losses(axes[0], report, *(name for name in ("flow", "descent") if name in report.curves))
    _overlap_panels((axes[1], axes[2]), report, None, "descent", tuple(report.values["visible"]))
    letter(axes)
    return figure


_DRAWINGS: dict[str, Callable[[Any], Figure]] = {
    "oscillator": _oscillator,
    "analyse": _analysis,
    **MEMORY,
}
