"""Stability: spectrum, stages of learning and gains of closed loops; fixed points."""

from lrnn_jax.stability._fixed_points import (
    FixedPointHistory,
    FixedPoints,
    fixed_points,
    fixed_points_of_learning,
)
from lrnn_jax.stability._gains import Landscape, effective_gains, gain_landscape, lqr_gain
from lrnn_jax.stability._spectrum import (
    LoopMatrix,
    leading,
    leading_is_complex,
    loop_matrix,
    outliers,
    radius,
    spectrum,
    stability_epoch,
    track,
)
from lrnn_jax.stability._stages import (
    Stages,
    Tradeoff,
    characteristic_polynomial,
    long_term_cost,
    short_term_cost,
    stage_one_eigenvalues,
    stage_one_loss,
    stages,
    third_eigenvalue,
)
