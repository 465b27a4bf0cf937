"""Trials of any task: what goes in, what should come out, and where that counts."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._style import COLUMN, OTHERS, SIMULATION, THEORY, VISIBLE, panels, style


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
        ax.axvspan(float(ends[start]), float(ends[end]), color="0.92", linewidth=0, zorder=-1)
    look: dict[str, Any] = {"color": OTHERS[0], "linewidth": 1.0, "drawstyle": "steps-post"}
    ax.plot(time, inputs[:, 0], label="input", **look)
    ax.plot(time, inputs[:, 1:], **look)
    if output is not None:
        for i in range(output.shape[1]):
            colour = VISIBLE[2 - i % 3]
            label = "output" if i == 0 else None
            ax.plot(time, output[:, i], label=label, **{**SIMULATION, "color": colour})
    ax.plot(time, target[:, 0], label="target", **THEORY)
    ax.plot(time, target[:, 1:], **THEORY)
    ax.set(xlim=(time[0], ends[-1]))
    return ax


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
        axes[0, 0].legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        axes[-1, 0].set_xlabel(r"time ($\tau$)")
        figure.supylabel("input, output", fontsize=8)
    return figure
