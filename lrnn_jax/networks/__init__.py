"""Networks of N neurons: low-rank and dense, one contract."""

from lrnn_jax.networks._activation import AbstractActivation as AbstractActivation
from lrnn_jax.networks._activation import Erf as Erf
from lrnn_jax.networks._activation import Identity as Identity
from lrnn_jax.networks._activation import OddActivation as OddActivation
from lrnn_jax.networks._activation import ReLU as ReLU
from lrnn_jax.networks._activation import SmoothActivation as SmoothActivation
from lrnn_jax.networks._activation import Softplus as Softplus
from lrnn_jax.networks._activation import Tanh as Tanh
from lrnn_jax.networks._activation import gaussian_average as gaussian_average
from lrnn_jax.networks._base import AbstractRNN as AbstractRNN
from lrnn_jax.networks._base import describe as describe
from lrnn_jax.networks._base import scan_states as scan_states
from lrnn_jax.networks._checkpointed import Checkpointed as Checkpointed
from lrnn_jax.networks._checkpointed import in_blocks as in_blocks
from lrnn_jax.networks._dense import DenseRNN as DenseRNN
from lrnn_jax.networks._dense import Factorisation as Factorisation
from lrnn_jax.networks._dense import factorise as factorise
from lrnn_jax.networks._files import load_network as load_network
from lrnn_jax.networks._init import vectors_with_overlaps as vectors_with_overlaps
from lrnn_jax.networks._low_rank import LowRankRNN as LowRankRNN
from lrnn_jax.networks._statistics import Gaussianity as Gaussianity
from lrnn_jax.networks._statistics import gaussianity as gaussianity
from lrnn_jax.networks._statistics import share_outside_span as share_outside_span
