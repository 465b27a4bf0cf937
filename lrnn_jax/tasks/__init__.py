"""Open-loop tasks: objectives with a target output."""

from lrnn_jax.tasks._base import AbstractObjective as AbstractObjective
from lrnn_jax.tasks._base import AbstractTask as AbstractTask
from lrnn_jax.tasks._base import Evaluation as Evaluation
from lrnn_jax.tasks._base import Trials as Trials
from lrnn_jax.tasks._base import check_channels as check_channels
from lrnn_jax.tasks._base import check_same_dt as check_same_dt
from lrnn_jax.tasks._decision import DecisionMaking as DecisionMaking
from lrnn_jax.tasks._filter import AbstractFilter as AbstractFilter
from lrnn_jax.tasks._filter import ExponentialFilter as ExponentialFilter
from lrnn_jax.tasks._filter import ImpulseResponse as ImpulseResponse
from lrnn_jax.tasks._filter import OscillatingFilter as OscillatingFilter
from lrnn_jax.tasks._flip_flop import FlipFlop as FlipFlop
from lrnn_jax.tasks._response import AbstractResponse as AbstractResponse
from lrnn_jax.tasks._response import Generated as Generated
from lrnn_jax.tasks._response import Modes as Modes
from lrnn_jax.tasks._response import Samples as Samples
from lrnn_jax.tasks._response import choose_evaluation as choose_evaluation
from lrnn_jax.tasks._response import impulse_response as impulse_response
from lrnn_jax.tasks._response import power_sum as power_sum
from lrnn_jax.tasks._trials import AbstractTrialTask as AbstractTrialTask
from lrnn_jax.tasks._visibility import Sensitivity as Sensitivity
from lrnn_jax.tasks._visibility import measured_visible as measured_visible
from lrnn_jax.tasks._white_noise import AbstractWhiteNoise as AbstractWhiteNoise
from lrnn_jax.tasks._white_noise import TeacherStudent as TeacherStudent
from lrnn_jax.tasks._white_noise import WhiteNoise as WhiteNoise
