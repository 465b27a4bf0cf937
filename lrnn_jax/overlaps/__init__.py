"""Overlaps of loading vectors: the Gram matrix, what losses see of it, what learning conserves."""

from lrnn_jax.overlaps._coupling import Coupling as Coupling
from lrnn_jax.overlaps._coupling import coupling as coupling
from lrnn_jax.overlaps._draw import random_overlaps as random_overlaps
from lrnn_jax.overlaps._geometry import check_gram as check_gram
from lrnn_jax.overlaps._geometry import gram_rank as gram_rank
from lrnn_jax.overlaps._geometry import is_realisable as is_realisable
from lrnn_jax.overlaps._geometry import range_projector as range_projector
from lrnn_jax.overlaps._geometry import reachable_interval as reachable_interval
from lrnn_jax.overlaps._geometry import root as root
from lrnn_jax.overlaps._invariants import Invariants as Invariants
from lrnn_jax.overlaps._invariants import conserved_weights as conserved_weights
from lrnn_jax.overlaps._invariants import invariants as invariants
from lrnn_jax.overlaps._invariants import invariants_of as invariants_of
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel as AbstractOverlapModel
from lrnn_jax.overlaps._overlaps import Overlaps as Overlaps
from lrnn_jax.overlaps._overlaps import from_vector as from_vector
from lrnn_jax.overlaps._overlaps import stack as stack
from lrnn_jax.overlaps._reachable import ReachableDimensions as ReachableDimensions
from lrnn_jax.overlaps._reachable import markov_parameters as markov_parameters
from lrnn_jax.overlaps._reachable import reachable_dimensions as reachable_dimensions
from lrnn_jax.overlaps._roles import Roles as Roles
from lrnn_jax.overlaps._roles import UnknownOverlap as UnknownOverlap
from lrnn_jax.overlaps._twins import degenerate_twin as degenerate_twin
from lrnn_jax.overlaps._visibility import Visibility as Visibility
from lrnn_jax.overlaps._visibility import visible as visible
