"""Figures: arrays in, Axes out. The only place that imports matplotlib."""

from lrnn_jax.figures._experiments import draw as draw
from lrnn_jax.figures._experiments import write as write
from lrnn_jax.figures._live import live as live
from lrnn_jax.figures._panels import label_ends as label_ends
from lrnn_jax.figures._panels import plot_coupling as plot_coupling
from lrnn_jax.figures._panels import plot_eigenvalues as plot_eigenvalues
from lrnn_jax.figures._panels import plot_gap as plot_gap
from lrnn_jax.figures._panels import plot_loss as plot_loss
from lrnn_jax.figures._panels import plot_order as plot_order
from lrnn_jax.figures._panels import plot_overlaps as plot_overlaps
from lrnn_jax.figures._panels import plot_response as plot_response
from lrnn_jax.figures._style import COLUMN as COLUMN
from lrnn_jax.figures._style import TEXT as TEXT
from lrnn_jax.figures._style import style as style
from lrnn_jax.figures._sweeps import draw_sweep as draw_sweep
from lrnn_jax.figures._sweeps import plot_heatmap as plot_heatmap
from lrnn_jax.figures._sweeps import plot_phases as plot_phases
from lrnn_jax.figures._trials import draw_trials as draw_trials
from lrnn_jax.figures._trials import plot_trial as plot_trial
