"""The figures of the closed-loop experiments."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lrnn_jax.figures._panels import label_ends, plot_gap, plot_loss
from lrnn_jax.figures._style import INVISIBLE, OTHERS, SIMULATION, TEXT, THEORY, VISIBLE

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


def three_stages(report: Any) -> Figure:
    """Loss and its stages, exactness, overlaps, eigenvalues, formula of stage 1, many starts."""
    figure, axes = plt.subplots(2, 3, figsize=(TEXT, 4.3))
    curves, arrays, values = report.curves, report.arrays, report.values
    epochs = np.asarray(curves["full"].epochs)
    marks = {
        "complex pair": (values["stages"]["oscillatory"], INVISIBLE[1]),
        "stable": (values["stages"]["stable"], OTHERS[2]),
    }
    losses = {n: np.asarray(curves[n].loss) for n in ("full", "reduced")}
    plot_loss(axes[0, 0], epochs, losses)
    expected = np.asarray(curves["expected"].loss)
    line: dict[str, Any] = {"color": OTHERS[1], "linestyle": ":", "linewidth": 1.6}
    axes[0, 0].plot(epochs, expected, label="expected loss", **line)
    axes[0, 0].legend()
    mark_epochs(axes[0, 0], marks)
    gap = np.abs(np.asarray(curves["full"].gram) - np.asarray(curves["reduced"].gram))
    plot_gap(axes[0, 1], epochs, {"full − exact theory": gap.max(axis=(-2, -1))})
    names = ("zm", "zu", "vm", "vu")
    full, reduced = (np.stack([np.asarray(curves[n][o]) for o in names], 1) for n in losses)
    colours = VISIBLE[:4]
    for i, colour in enumerate(colours):
        axes[0, 2].plot(epochs, full[:, i], color=colour, **SIMULATION)
        axes[0, 2].plot(epochs, reduced[:, i], **THEORY)
    axes[0, 2].set(xlabel="epoch", ylabel="overlap", xlim=(0, epochs[-1]))
    label_ends(axes[0, 2], full[-1], [rf"$\sigma_{{{n}}}$" for n in names], colours)
    paths = arrays["eigenvalue_real"][1] + 1j * arrays["eigenvalue_imag"][1]
    plot_paths(axes[1, 0], paths, colours=[VISIBLE[1], VISIBLE[3], INVISIBLE[2], OTHERS[0]])
    axes[1, 0].set_aspect("equal", adjustable="datalim")
    ax = axes[1, 1]
    ax.plot(
        arrays["zm"][1], arrays["stage_one_loop"][1], label="loop", color=VISIBLE[2], **SIMULATION
    )
    ax.plot(arrays["zm"][1], arrays["stage_one_formula"][1], label="formula", **THEORY)
    ax.set(xlabel=r"$\sigma_{zm}$", ylabel=r"$\frac{1}{2}\sum_t\|x_t\|^2$, stage 1", yscale="log")
    ax.legend()
    for zm in arrays["many_zm"][1][:10]:
        axes[1, 2].plot(epochs, zm, color=VISIBLE[1], linewidth=0.8, alpha=0.7)
    axes[1, 2].axhline(0, color="0.6", linewidth=0.8, zorder=0)
    last = min(300, int(epochs[-1]))
    axes[1, 2].set(xlabel="epoch", ylabel=r"$\sigma_{zm}$, ten starts", xlim=(0, last))
    return figure


def tradeoff(report: Any) -> Figure:
    """Size of the leading eigenvalue under different objectives and episode lengths."""
    figure, axes = plt.subplots(1, 2, figsize=(TEXT * 0.75, 2.5), sharey=True)
    paths = report.arrays["path_real"][1] + 1j * report.arrays["path_imag"][1]
    names = report.values["objectives"]
    for ax, letter, title in zip(axes, "αT", ("long-term weight", "steps of an episode")):
        chosen = [i for i, name in enumerate(names) if name.startswith(letter)]
        shades = [plt.get_cmap("viridis")(x) for x in np.linspace(0, 0.85, len(chosen))]
        for order, (i, colour) in enumerate(zip(chosen, shades)):
            line = ("-", "--", "-.", ":", (0, (5, 1)))[order % 5]
            ax.plot(np.abs(paths[i]), color=colour, label=names[i], linestyle=line, linewidth=1.6)
        ax.axhline(1, color="0.6", linewidth=0.8, zorder=0)
        ax.set(xlabel="epoch from the start in stage 2", ylabel=r"$|\lambda_{1,2}|$")
        ax.set_xlim(0, paths.shape[1] - 1)
        ax.legend(title=title, title_fontsize=7, loc="lower left", labelspacing=0.15)
    return figure


def control_cost(report: Any) -> Figure:
    """Loss and gains for every price of control, theory over simulation."""
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 2.4))
    costs = report.values["costs"]
    shades = [plt.get_cmap("viridis")(x) for x in np.linspace(0, 0.85, len(costs))]
    gaps = []
    for beta, colour in zip(costs, shades):
        full, reduced = (report.curves[f"{n} {beta:g}"] for n in ("full", "reduced"))
        epochs = np.asarray(full.epochs)
        some = slice(None, None, max(1, len(epochs) // 60))  # batches make losses jump: show some
        label = rf"$\beta$ = {beta:g}"
        axes[0].plot(epochs[some], full.loss[some], color=colour, label=label, **SIMULATION)
        axes[0].plot(epochs[some], reduced.loss[some], **THEORY)
        axes[1].plot(epochs, full["zm"], color=colour, **SIMULATION)
        axes[1].plot(epochs, reduced["zm"], **THEORY)
        gaps.append(np.abs(np.asarray(full.gram) - np.asarray(reduced.gram)).max(axis=(-2, -1)))
    end = epochs[-1]
    axes[0].set(xlabel="epoch after stability", ylabel=r"loss $L$", yscale="log", xlim=(0, end))
    axes[1].set(xlabel="epoch after stability", ylabel=r"$\sigma_{zm}$", xlim=(0, end))
    axes[1].legend(*axes[0].get_legend_handles_labels(), loc="lower left", labelspacing=0.2)
    plot_gap(axes[2], epochs, {r"full − theory, worst $\beta$": np.max(gaps, axis=0)})
    return figure


def tracking(report: Any) -> Figure:
    """Loss by frequency in closed and open loop, and eigenvalues of W."""
    figure, axes = plt.subplots(1, 3, figsize=(TEXT, 2.5))
    arrays = report.arrays
    frequencies = arrays["frequency"][1]
    for ax, name in zip(axes, ("closed", "open")):
        if f"parts_{name}" not in arrays:
            ax.set_axis_off()
            continue
        epochs = np.asarray(report.curves[name].epochs)
        for i, frequency in enumerate(frequencies):
            line = arrays[f"parts_{name}"][1][:, i]
            style = ("-", "--", "-.", ":")[i % 4]
            ax.plot(epochs, line, style, color=VISIBLE[i], label=f"{frequency:g}")
        ax.axhline(1, color="0.8", linewidth=0.6, zorder=0)
        ax.set(xlabel="epoch", ylabel=f"loss by frequency, {name} loop", yscale="log")
        ax.set_xlim(0, epochs[-1])
        if name == "closed":
            ax.legend(title=r"frequency ($1/\tau$)", title_fontsize=7)
    ax = axes[2]
    values = arrays["eigenvalue_real"][1] + 1j * arrays["eigenvalue_imag"][1]
    for frequency in frequencies:
        for sign in (1, -1):
            ax.axhline(sign * 2 * np.pi * frequency, color="0.75", linewidth=0.7, zorder=0)
    ax.plot(values.real, values.imag, "o", color=VISIBLE[1], markersize=3)
    ax.set(xlabel=r"Re $\lambda(W)$", ylabel=r"Im $\lambda(W)$; lines: $\pm\omega$")
    return figure
