"""Panels that several experiments share: learning curves in, Axes out."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lrnn_jax.figures import METHODS, Axes, plot_gap, plot_loss, plot_overlaps
from lrnn_jax.learning import LearningCurve


def loss_panel(ax: Axes, *, above: float = 0.0, **curves: LearningCurve) -> Axes:
    """Losses over epochs, by method (the names of `figures.plot_loss`), as far down as `above`."""
    first = next(iter(curves.values()))
    losses = {name: np.asarray(curve.loss) for name, curve in curves.items()}
    return plot_loss(ax, np.asarray(first.epochs), losses, above=above)


def gap(a: LearningCurve, b: LearningCurve) -> np.ndarray:
    """Largest |ΔQ| of two curves at every epoch."""
    return np.abs(np.asarray(a.gram) - np.asarray(b.gram)).max(axis=(-2, -1))


def gap_panel(ax: Axes, pairs: Mapping[str, tuple[LearningCurve, LearningCurve]]) -> Axes:
    """Largest |ΔQ| over epochs of pairs of curves, by label."""
    epochs = np.asarray(next(iter(pairs.values()))[0].epochs)
    return plot_gap(ax, epochs, {label: gap(a, b) for label, (a, b) in pairs.items()})


def overlap_panels(
    axes: Iterable[Axes],
    *,
    theory: LearningCurve | None = None,
    simulation: LearningCurve | None = None,
    **others: LearningCurve,
) -> None:
    """Visible overlaps over epochs in the first panel, invisible ones in the second.

    Arguments:
        axes: two.
        theory: drawn dashed where there is a simulation too.
        simulation: drawn thick.
        others: drawn as what their names are in `figures.plot_methods`.
    """
    curve = simulation if theory is None else theory
    assert curve is not None
    overlaps, epochs = curve.overlaps, np.asarray(curve.epochs)
    mask = np.isin(overlaps.names, curve.visibility.visible)
    for ax, chosen, kind in zip(axes, (mask, ~mask), ("visible", "invisible")):
        for name, other in others.items():
            for values in np.asarray(other.overlaps.vector())[:, chosen].T:
                ax.plot(epochs, values, **METHODS[name][1])
        before, after = (
            None if c is None else np.asarray(c.overlaps.vector())[:, chosen]
            for c in (simulation, theory)
        )
        symbols = [s for s, m in zip(overlaps.roles.latex, chosen) if m]
        plot_overlaps(ax, epochs, before, after, symbols, visible=kind == "visible")
        ax.set_ylabel(f"loss-{kind} overlaps")


def responses(task: Any, **models: Any) -> dict[str, Any]:
    """The target of a filter, and the impulse responses of models by name, shape (time,); of the
    first channels."""
    outputs = {name: task.output(model) for name, model in models.items()}
    return {"target": task.samples[:, 0, 0]} | {name: y[0, :, 0] for name, y in outputs.items()}
