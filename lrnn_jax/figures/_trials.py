"""Trials of any task: what goes in, what should come out, and where that counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._style import COLUMN, OTHERS, SIMULATION, THEORY, VISIBLE, panels, style

STEPS: dict[str, Any] = {"linewidth": 1.0, "drawstyle": "steps-post"}
INPUTS = [{**STEPS, "color": OTHERS[0]}] + [
    {**STEPS, "color": "0.65", "linestyle": dashes} for dashes in ("-", (0, (1, 1)))
]
DASHES = (THEORY["linestyle"], (0, (1, 1)), (0, (5, 1, 1, 1)))


def plot_trial(
    ax: Axes,
    time: np.ndarray,
    inputs: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    output: np.ndarray | None = None,
) -> Axes:
    """One trial over time; the scored part is shaded.

    Arguments:
        time: in membrane time constants, shape (time,).
        inputs: shape (time, inputs).
        target: shape (time, outputs).
        mask: 1 where scored, shape (time,).
        output: a network's output, shape (time, outputs), or None.

    >>> ax = plt.figure().add_subplot()
    >>> t, (x, target, mask) = 0.1 * np.arange(60), (np.asarray(part[0]) for part in trials)
    >>> figures.plot_trial(ax, t, x, target, mask) is ax
    True
    """
    step = time[-1] - time[-2] if len(time) > 1 else 1.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask > 0, [0]])))
    ends = np.append(time, time[-1] + step)
    for start, end in edges.reshape(-1, 2):
        said = "scored" if start == edges.min() else None
        span = float(ends[start]), float(ends[end])
        ax.axvspan(*span, color="0.92", linewidth=0, zorder=-1, label=said)
    _channels(ax, time, inputs, "input", INPUTS)
    if output is not None:
        colours = [{**SIMULATION, "color": VISIBLE[2 - i]} for i in range(3)]
        _channels(ax, time, output, "output", colours)
    _channels(ax, time, target, "target", [{**THEORY, "linestyle": dashes} for dashes in DASHES])
    ax.set(xlim=(time[0], ends[-1]))
    return ax


def _channels(
    ax: Axes, time: np.ndarray, values: np.ndarray, name: str, looks: Sequence[dict[str, Any]]
) -> None:
    """A line for each channel, named by its number where there are several; looks recur."""
    several = values.shape[1] > 1
    for i, channel in enumerate(values.T):
        said = None if i >= len(looks) else f"{name} {i + 1}" if several else name
        ax.plot(time, channel, label=said, **looks[i % len(looks)])


def draw_trials(trials: Any, dt: Any, outputs: Any = None, *, count: int = 3) -> Figure:
    """The first trials of a task, one panel each.

    `draw_trials(task.trials(task.sample(key)), task.dt)`; add `net.rollout(trials.inputs)` to see
    what a network makes of them.

    Arguments:
        trials: as `task.trials` returns them.
        dt: Euler step in membrane time constants.
        outputs: of a network, shape (trial, time, outputs), or None.
        count: how many at most.

    Errors: ValueError for outputs of another shape than the targets.

    >>> figure = figures.draw_trials(trials, flips.dt, net.rollout(trials.inputs), count=2)
    >>> len(figure.axes)
    2
    """
    inputs, target, mask = (np.asarray(array) for array in trials)
    shown = min(count, len(inputs))
    if outputs is not None and np.shape(outputs) != target.shape:
        raise ValueError(
            f"`outputs` have the shape of the targets, {target.shape}; got {np.shape(outputs)}."
        )
    time = float(dt) * np.arange(inputs.shape[1])
    size: dict[str, Any] = {"height": 1.1 * shown + 0.4, "width": 1.5 * COLUMN}
    with style():
        figure, axes = panels(shown, 1, **size, sharex=True, squeeze=False)
        for i, ax in enumerate(axes[:, 0]):
            output = None if outputs is None else np.asarray(outputs[i])
            plot_trial(ax, time, inputs[i], target[i], mask[i], output)
        axes[0, 0].legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
        axes[-1, 0].set_xlabel(r"time ($\tau$)")
        figure.supylabel("input, output", fontsize=8)
    return figure
