"""Learning: exact steps, flow and training, one function and one result type for all."""

from lrnn_jax.learning._curve import OUTCOMES as OUTCOMES
from lrnn_jax.learning._curve import Distance as Distance
from lrnn_jax.learning._curve import LearningCurve as LearningCurve
from lrnn_jax.learning._curve import lift as lift
from lrnn_jax.learning._curve import outcome as outcome
from lrnn_jax.learning._curve import outcome_code as outcome_code
from lrnn_jax.learning._descent import AbstractMethod as AbstractMethod
from lrnn_jax.learning._descent import AbstractUpdate as AbstractUpdate
from lrnn_jax.learning._descent import Descent as Descent
from lrnn_jax.learning._descent import Muon as Muon
from lrnn_jax.learning._descent import NormalisedDescent as NormalisedDescent
from lrnn_jax.learning._direct import DirectDescent as DirectDescent
from lrnn_jax.learning._flow import Flow as Flow
from lrnn_jax.learning._isospectral import Isospectral as Isospectral
from lrnn_jax.learning._learn import learn as learn
from lrnn_jax.learning._training import Training as Training
