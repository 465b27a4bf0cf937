"""Figures: arrays in, Axes out. The only place that imports matplotlib."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnn_jax.figures._fixed_points import plot_branches, plot_fixed_points
from lrnn_jax.figures._inference import plot_drift, plot_intervals, plot_precision
from lrnn_jax.figures._live import live
from lrnn_jax.figures._networks import (
    plot_eigenvalue_plane,
    plot_gram,
    plot_kurtosis,
    plot_singular_values,
)
from lrnn_jax.figures._panels import (
    FIRST,
    METHODS,
    SECOND,
    draw_learning,
    label_ends,
    make_room,
    mark_epochs,
    plot_coupling,
    plot_eigenvalues,
    plot_gap,
    plot_lines,
    plot_loss,
    plot_methods,
    plot_order,
    plot_overlaps,
    plot_response,
    shade_phases,
)
from lrnn_jax.figures._style import (
    COLUMN,
    DASHES,
    GREYS,
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
