"""Overlaps of loading vectors: the Gram matrix, what losses see of it, what learning conserves."""

from lrnn_jax.overlaps._coupling import Coupling, coupling
from lrnn_jax.overlaps._draw import random_overlaps
from lrnn_jax.overlaps._geometry import (
    check_gram,
    gram_rank,
    is_realisable,
    range_projector,
    reachable_interval,
    root,
)
from lrnn_jax.overlaps._invariants import (
    AbstractMatrixModel,
    Invariants,
    MatrixInvariant,
    conserved_weights,
    invariants,
    invariants_of,
)
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel, Overlaps, from_vector, one_set, stack
from lrnn_jax.overlaps._reachable import (
    ReachableDimensions,
    markov_parameters,
    reachable_dimensions,
)
from lrnn_jax.overlaps._roles import Roles, UnknownOverlap
from lrnn_jax.overlaps._symmetries import flat_direction, flat_range, regauged, transposed
from lrnn_jax.overlaps._twins import degenerate_twin
from lrnn_jax.overlaps._visibility import Visibility, visible, visible_mask
