"""Learning: exact steps, flow and training, one function and one result type for all."""

from lrnn_jax.learning._curve import Distance as Distance
from lrnn_jax.learning._curve import LearningCurve as LearningCurve
from lrnn_jax.learning._curve import lift as lift
from lrnn_jax.learning._curve import outcome as outcome
from lrnn_jax.learning._decoder import Decoding as Decoding
from lrnn_jax.learning._decoder import decode as decode
from lrnn_jax.learning._descent import AbstractMethod as AbstractMethod
from lrnn_jax.learning._descent import AbstractUpdate as AbstractUpdate
from lrnn_jax.learning._descent import Descent as Descent
from lrnn_jax.learning._descent import Muon as Muon
from lrnn_jax.learning._descent import NormalisedDescent as NormalisedDescent
from lrnn_jax.learning._direct import DirectDescent as DirectDescent
from lrnn_jax.learning._flow import Flow as Flow
from lrnn_jax.learning._isospectral import Isospectral as Isospectral
from lrnn_jax.learning._learn import learn as learn
from lrnn_jax.learning._noise import NoiseDrift as NoiseDrift
from lrnn_jax.learning._noise import noise_drift as noise_drift
from lrnn_jax.learning._sequence import Excursion as Excursion
from lrnn_jax.learning._sequence import Holonomy as Holonomy
from lrnn_jax.learning._sequence import Phase as Phase
from lrnn_jax.learning._sequence import excursion as excursion
from lrnn_jax.learning._sequence import holonomy as holonomy
from lrnn_jax.learning._sequence import join_curves as join_curves
from lrnn_jax.learning._sequence import learn_sequence as learn_sequence
from lrnn_jax.learning._slowed import Slowed as Slowed
from lrnn_jax.learning._training import Training as Training
