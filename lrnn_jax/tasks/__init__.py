"""Open-loop tasks: objectives with a target output."""

from lrnn_jax.tasks._base import (
    AbstractObjective,
    AbstractTask,
    AbstractTrialTask,
    Evaluation,
    Trials,
    as_evaluation,
    check_fits,
    checked_batch,
)
from lrnn_jax.tasks._criteria import AbstractCriterion, CrossEntropy, Squared
from lrnn_jax.tasks._decision import DecisionMaking
from lrnn_jax.tasks._filter import (
    AbstractFilter,
    ExponentialFilter,
    ImpulseResponse,
    MixedFilter,
    OscillatingFilter,
)
from lrnn_jax.tasks._flip_flop import FlipFlop
from lrnn_jax.tasks._gradient_noise import (
    NORMAL,
    UNIFORM,
    AbstractGradientNoise,
    InputNoise,
    LabelNoise,
    StartNoise,
    as_kurtosis,
    check_gradient_noise,
    with_kurtosis,
)
from lrnn_jax.tasks._neurogym import from_neurogym
from lrnn_jax.tasks._private_noise import NoisyTrials, PrivateNoise
from lrnn_jax.tasks._rate_cost import RateCost
from lrnn_jax.tasks._response import (
    AbstractResponse,
    Generated,
    Modes,
    Samples,
    choose_evaluation,
    impulse_response,
)
from lrnn_jax.tasks._time_sums import power_sum
from lrnn_jax.tasks._trial_set import TrialSet
from lrnn_jax.tasks._visibility import Sensitivity, measured_visible
from lrnn_jax.tasks._white_noise import AbstractWhiteNoise, Pairs, TeacherStudent, WhiteNoise
