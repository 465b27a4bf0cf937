"""Inference: what learning curves and recordings determine of overlaps, and what they cannot."""

from lrnn_jax.inference._channels import AbstractChannel, Loss, Outputs, Successes, Visible
from lrnn_jax.inference._combinations import Combinations, combinations
from lrnn_jax.inference._compare import Comparison, Confusion, compare, confusion
from lrnn_jax.inference._design import Probe, d_optimal, e_optimal, optimal_probe, separate
from lrnn_jax.inference._estimate import Estimate, Prior, covariance, infer
from lrnn_jax.inference._fit import Fits, fit
from lrnn_jax.inference._forecast import Forecast, predict
from lrnn_jax.inference._identifiable import Identifiability, identifiable
from lrnn_jax.inference._images import Images, Symmetry, images
from lrnn_jax.inference._modular import Jets, Ring
from lrnn_jax.inference._observations import Observations
from lrnn_jax.inference._predict import Setting
from lrnn_jax.inference._predictions import (
    Discriminability,
    Savings,
    crossing,
    discriminability,
    finite_size,
    savings,
)
from lrnn_jax.inference._ranks import Ranks, exact_ranks
from lrnn_jax.inference._recordings import Recorded, from_recordings
from lrnn_jax.inference._saved import AbstractSaved
from lrnn_jax.inference._starts import starting
from lrnn_jax.inference._systems import System, system
from lrnn_jax.inference._table import read_observations
from lrnn_jax.inference._written import Columns
from lrnn_jax.overlaps import flat_direction, flat_range
