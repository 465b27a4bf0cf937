"""Draw time per epoch against N, T, trials and cells from pytest-benchmark's JSON.

python benchmarks/scaling.py RUN.json [MORE.json …]      writes benchmarks/scaling.png
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from lrnn_jax.figures import TEXT, letter, style

OUT = Path(__file__).parent / "scaling.png"
BLUE, RED, GREY, LIGHT, GREEN = "#08306b", "#b2182b", "#7a7a7a", "#4fa3d1", "#1b7837"
LINES = {
    # work: (label, colour, marker); shown where two sizes or more were timed
    "erf network, flip-flop": ("erf network", RED, "s"),
    "closed loop, dense tanh": ("dense tanh network in its loop", GREEN, "D"),
    "full network by rollout": ("linear network", BLUE, "o"),
    "closed loop, full network, trial by trial": ("linear network in its loop", LIGHT, "^"),
    "flip-flop, closure": ("closure", RED, "x"),
    "theory by rollout": ("theory, simulated", GREY, "v"),
    "theory by closed form": ("theory, closed form", BLUE, "+"),
}
BASE = {
    "erf network, flip-flop": (1000, 800, 10),
    "closed loop, dense tanh": (100, 50, 100),
    "full network by rollout": (500, 400, None),
    "closed loop, full network, trial by trial": (100, 50, 100),
    "flip-flop, closure": (1000, 800, 10),
    "theory by rollout": (500, 400, None),
    "theory by closed form": (500, 400, None),
}
AXES = ("n", "steps", "batch")
NAMES = (r"neurons $N$", r"steps $T$", "trials per epoch", "cells of a sweep")
SWEEP = "sweep of the closed form (vmap)"


def points(rows, work, axis):
    """Sizes along one axis, the others at their base, and milliseconds per epoch."""
    base, found = BASE[work], {}
    for row in rows:
        at = tuple(row.get(name) for name in AXES)
        others = [i for i in range(3) if i != axis]
        same = row["work"] == work and row.get("rank") in (1, None) and row["dtype"] == "float64"
        if same and all(at[i] == base[i] for i in others) and at[axis] is not None:
            found[at[axis]] = row["us_per_epoch"] / 1000
    return np.array(sorted(found.items())).reshape(-1, 2).T


def slope(x, y):
    """Exponent of a power law through the points, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def guide(ax, x, y, power, text):
    """A thin line with the theoretical slope, just above the points."""
    ends = np.array([x[0], x[-1]])
    line = 1.7 * y[-1] * (ends / ends[-1]) ** power
    ax.plot(ends, line, color="#1a1a1a", linewidth=0.7, linestyle=(0, (3, 2)))
    if text:
        ax.annotate(text, (ends[-1], line[-1]), (0, 2), textcoords="offset points", ha="right")


def main(paths):
    rows = [b["extra_info"] for p in paths for b in json.loads(Path(p).read_text())["benchmarks"]]
    with style():
        figure, axes = plt.subplots(1, 4, figsize=(TEXT, 2.5), sharey=False)
        for axis, ax in enumerate(axes[:3]):
            drawn = False
            for work, (label, colour, marker) in LINES.items():
                x, y = points(rows, work, axis)
                if len(x) < 2:
                    continue
                ax.plot(x, y, color=colour, marker=marker, markersize=4, label=label)
                print(f"{NAMES[axis]:30s} {work:45s} exponent {slope(x, y):.2f}")
                if "closed form" not in work and "closure" not in work:
                    power = 2 if "dense" in work and axis == 0 else 1
                    guide(ax, x, y, power, "slope 1" if not drawn else "")
                    drawn = True
        sweeps = sorted(
            (r["cells"], r["cells"] * r["us_per_epoch"] / 1000) for r in rows if r["work"] == SWEEP
        )
        if sweeps:
            x, y = np.array(sweeps).T
            axes[3].plot(x, y, color=BLUE, marker="+", markersize=4)
            guide(axes[3], x, y, 1, "")
            print(f"{NAMES[3]:30s} {SWEEP:45s} exponent {slope(x, y):.2f}")
        for ax, name in zip(axes, NAMES):
            ax.set(xscale="log", yscale="log", xlabel=name)
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.yaxis.set_major_locator(LogLocator(numticks=12))
        letter(axes)
        axes[0].set_ylabel("time per epoch (ms)")
        handles = {line.get_label(): line for ax in axes for line in ax.lines}
        shown = [label for label, _, _ in LINES.values() if label in handles]
        figure.legend([handles[s] for s in shown], shown, loc="outside upper center", ncols=4)
        figure.savefig(OUT)
    print(OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
