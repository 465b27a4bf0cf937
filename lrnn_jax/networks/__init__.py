"""Networks of N neurons: low-rank and dense, one contract."""

from lrnn_jax.networks._activation import (
    READOUT,
    AbstractActivation,
    Erf,
    Identity,
    OddActivation,
    ReLU,
    SmoothActivation,
    Softplus,
    Tanh,
    as_activation,
    gaussian_average,
    read_out,
)
from lrnn_jax.networks._base import (
    AbstractOverlapRNN,
    AbstractRNN,
    BackwardPath,
    Constant,
    Equilibria,
    Kappa,
    Simulation,
    as_network,
    at_rest,
    plus_bias,
    read_after,
    scan_states,
)
from lrnn_jax.networks._bulk import AbstractBulk, BulkLaw, RandomBulk, SparseMatrix
from lrnn_jax.networks._checkpointed import (
    AbstractRescheduledRNN,
    AbstractWrappedRNN,
    CheckpointedRNN,
    inner_power,
)
from lrnn_jax.networks._dense import AbstractDenseRNN, CurrentRNN, DenseRNN, recurrent_drive
from lrnn_jax.networks._erf import erf
from lrnn_jax.networks._factorise import (
    Factorisation,
    check_factorisable,
    factorise,
    recurrent_change,
)
from lrnn_jax.networks._feedback import Feedback, as_feedback, overlaps_beside
from lrnn_jax.networks._files import (
    ACTIVATIONS,
    describe,
    describe_file,
    load_network,
    save_network,
)
from lrnn_jax.networks._loadings import LoadingLaw
from lrnn_jax.networks._low_rank import LowRankRNN
from lrnn_jax.networks._quadrature import AbstractQuadrature, GaussHermite, Sobol, gauss_hermite
from lrnn_jax.networks._space import (
    AbstractSpace,
    LeafSpace,
    Loss,
    ReadoutSpace,
    Weights,
    check_rates,
    column_rates,
    weight_space,
    with_readout,
)
from lrnn_jax.networks._statistics import Gaussianity, gaussianity, share_outside_span
from lrnn_jax.networks._through import overlaps_through
from lrnn_jax.networks._vector_space import VectorSpace
from lrnn_jax.networks._vectors import square_root, vectors_with_overlaps
