"""Stability of closed loops: spectrum, stages of learning, gains."""

from lrnn_jax.stability._gains import Landscape as Landscape
from lrnn_jax.stability._gains import effective_gains as effective_gains
from lrnn_jax.stability._gains import gain_landscape as gain_landscape
from lrnn_jax.stability._gains import lqr_gain as lqr_gain
from lrnn_jax.stability._spectrum import LoopMatrix as LoopMatrix
from lrnn_jax.stability._spectrum import leading as leading
from lrnn_jax.stability._spectrum import loop_matrix as loop_matrix
from lrnn_jax.stability._spectrum import outliers as outliers
from lrnn_jax.stability._spectrum import radius as radius
from lrnn_jax.stability._spectrum import spectrum as spectrum
from lrnn_jax.stability._spectrum import stability_epoch as stability_epoch
from lrnn_jax.stability._spectrum import track as track
from lrnn_jax.stability._stages import Stages as Stages
from lrnn_jax.stability._stages import Tradeoff as Tradeoff
from lrnn_jax.stability._stages import characteristic_polynomial as characteristic_polynomial
from lrnn_jax.stability._stages import leading_is_complex as leading_is_complex
from lrnn_jax.stability._stages import long_term_cost as long_term_cost
from lrnn_jax.stability._stages import short_term_cost as short_term_cost
from lrnn_jax.stability._stages import stage_one_eigenvalues as stage_one_eigenvalues
from lrnn_jax.stability._stages import stage_one_loss as stage_one_loss
from lrnn_jax.stability._stages import stages as stages
from lrnn_jax.stability._stages import third_eigenvalue as third_eigenvalue
