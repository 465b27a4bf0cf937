"""Figures: arrays in, Axes out. The only place that imports matplotlib."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._live import live
from lrnn_jax.figures._loops import LOOPS, mark_epochs, plot_landscape, plot_paths
from lrnn_jax.figures._memory import (
    FIRST,
    SECOND,
    plot_accuracy,
    plot_drift,
    plot_leftover,
    shade_phases,
)
from lrnn_jax.figures._panels import (
    METHODS,
    label_ends,
    plot_coupling,
    plot_eigenvalues,
    plot_gap,
    plot_lines,
    plot_loss,
    plot_methods,
    plot_order,
    plot_overlaps,
    plot_quantiles,
    plot_response,
)
from lrnn_jax.figures._style import (
    COLUMN,
    DASHES,
    INVISIBLE,
    OTHERS,
    SIMULATION,
    TEXT,
    THEORY,
    VISIBLE,
    letter,
    panels,
    save,
    shades,
    style,
)
from lrnn_jax.figures._sweeps import draw_sweep, plot_heatmap, plot_phases
from lrnn_jax.figures._trials import draw_trials, plot_trial
