"""Panels that several experiments share: learning curves in, Axes out."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lrnn_jax.figures import METHODS, Axes, plot_gap, plot_loss, plot_overlaps
from lrnn_jax.learning import LearningCurve


def loss_panel(ax: Axes, curves: Mapping[str, LearningCurve], *, above: float = 0.0) -> Axes:
    """Losses over epochs, by method (the names of `figures.plot_loss`), as far down as `above`."""
    first = next(iter(curves.values()))
    losses = {name: np.asarray(curve.loss) for name, curve in curves.items()}
    return plot_loss(ax, np.asarray(first.epochs), losses, above=above)


def gap(a: LearningCurve, b: LearningCurve) -> np.ndarray:
    """Largest |ΔQ| of two curves at every epoch."""
    return np.abs(np.asarray(a.gram) - np.asarray(b.gram)).max(axis=(-2, -1))


def gap_panel(ax: Axes, curve: LearningCurve, others: Mapping[str, LearningCurve]) -> Axes:
    """Largest |ΔQ| over epochs of a curve and each of the others, which are named by labels."""
    gaps = {label: gap(curve, other) for label, other in others.items()}
    return plot_gap(ax, np.asarray(curve.epochs), gaps)


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


def block_norms(curve: LearningCurve) -> tuple[list[str], list[bool], np.ndarray]:
    """Blocks of Q by two families each, e.g. "vu": names, whether a loss sees any of it, and
    Frobenius norms, shape (record, block)."""
    overlaps, mask = curve.overlaps, curve.visibility.mask
    slices = overlaps.roles.slices
    pairs = [(a, b) for i, a in enumerate(slices) for b in [*slices][i:] if a != "o"]
    seen = [bool(np.asarray(mask)[slices[a], slices[b]].any()) for a, b in pairs]
    blocks = (np.asarray(overlaps.block(a, b)) for a, b in pairs)
    norms = [np.linalg.norm(block, axis=(-2, -1)) for block in blocks]
    return [a + b for a, b in pairs], seen, np.stack(norms, axis=-1)


def block_panel(ax: Axes, curve: LearningCurve, visible: bool) -> Axes:
    """Norms of the blocks of Q that a loss sees, or of those that it does not, over epochs; at any
    rank the same few lines."""
    names, seen, norms = block_norms(curve)
    chosen = np.array(seen) == visible
    symbols = [rf"${name.upper()}$" for name, shown in zip(names, chosen) if shown]
    epochs = np.asarray(curve.epochs)
    plot_overlaps(ax, epochs, None, norms[:, chosen], symbols, visible=visible)
    ax.set_ylabel(f"loss-{'visible' if visible else 'invisible'} blocks, norm")
    return ax


def responses(task: Any, **models: Any) -> dict[str, Any]:
    """The target of a filter, and the impulse responses of models by name, shape (time,); of the
    first channels."""
    outputs = {name: task.output(model) for name, model in models.items()}
    return {"target": task.samples[:, 0, 0]} | {name: y[0, :, 0] for name, y in outputs.items()}
