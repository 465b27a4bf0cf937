"""Inference: what learning curves determine of overlaps, what they cannot, and estimates."""

from lrnn_jax.inference._images import Images, Symmetry, images
from lrnn_jax.inference._ranks import Ranks, exact_ranks
from lrnn_jax.overlaps import flat_direction, flat_range
