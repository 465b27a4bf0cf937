"""Figures: arrays in, Axes out. The only place that imports matplotlib."""

from matplotlib.axes import Axes as Axes
from matplotlib.figure import Figure as Figure

from lrnn_jax.figures._live import live as live
from lrnn_jax.figures._loops import LOOPS as LOOPS
from lrnn_jax.figures._loops import mark_epochs as mark_epochs
from lrnn_jax.figures._loops import plot_landscape as plot_landscape
from lrnn_jax.figures._loops import plot_paths as plot_paths
from lrnn_jax.figures._panels import label_ends as label_ends
from lrnn_jax.figures._panels import plot_coupling as plot_coupling
from lrnn_jax.figures._panels import plot_eigenvalues as plot_eigenvalues
from lrnn_jax.figures._panels import plot_gap as plot_gap
from lrnn_jax.figures._panels import plot_loss as plot_loss
from lrnn_jax.figures._panels import plot_order as plot_order
from lrnn_jax.figures._panels import plot_overlaps as plot_overlaps
from lrnn_jax.figures._panels import plot_response as plot_response
from lrnn_jax.figures._style import COLUMN as COLUMN
from lrnn_jax.figures._style import INVISIBLE as INVISIBLE
from lrnn_jax.figures._style import OTHERS as OTHERS
from lrnn_jax.figures._style import SIMULATION as SIMULATION
from lrnn_jax.figures._style import TEXT as TEXT
from lrnn_jax.figures._style import THEORY as THEORY
from lrnn_jax.figures._style import VISIBLE as VISIBLE
from lrnn_jax.figures._style import letter as letter
from lrnn_jax.figures._style import panels as panels
from lrnn_jax.figures._style import save as save
from lrnn_jax.figures._style import style as style
from lrnn_jax.figures._sweeps import draw_sweep as draw_sweep
from lrnn_jax.figures._sweeps import plot_heatmap as plot_heatmap
from lrnn_jax.figures._sweeps import plot_phases as plot_phases
from lrnn_jax.figures._trials import draw_trials as draw_trials
from lrnn_jax.figures._trials import plot_trial as plot_trial
