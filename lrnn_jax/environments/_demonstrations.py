"""The open-loop twin: imitate a controller on what it saw, without acting."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import component, one_key
from lrnn_jax._readable import of_part
from lrnn_jax.environments._closed_loop import Batch, ClosedLoop
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.tasks import AbstractTrialTask, Trials


class Demonstrations(AbstractTrialTask):
    """Imitate a teacher on the observations that the teacher met while it controlled the plant.

        L = Σ_t ⟨‖y_t − y*_t‖²⟩ / T,      y*: the teacher's control after the observation o_t

    ⟨ ⟩: mean over trials. The student's own control has no effect: the loop is open. For
    white-noise observations use `TeacherStudent`. `learn(watch=LoopLoss(loop, trials))` follows how
    the student would do in the loop.

    Arguments:
        teacher: a trained controller, full or reduced.
        loop: the closed loop that it controls; its `batch` is the number of trials per epoch.

    Errors: ValueError for a loop without `batch`, or a teacher that does not fit it.

    Source: [CL] fig. 2 (open-loop student); the teacher's own trajectories: ours.

    >>> trials = lrnn.ClosedLoop(loop.plant, horizon=20, batch=8)
    >>> imitate = environments.Demonstrations(net, trials)
    >>> float(imitate.loss(net, imitate.sample(key)))
    0.0
    """

    teacher: AbstractRNN
    loop: ClosedLoop
    dt, steps = of_part("teacher", "dt"), of_part("loop", "horizon")

    def __init__(self, teacher: AbstractRNN, loop: ClosedLoop):
        component(loop, ClosedLoop, "loop", "ClosedLoop(plant, horizon, batch)")
        loop.check(as_network(teacher, "teacher"))
        if loop.batch is None:
            raise ValueError("Demonstrations are sampled: give the `loop` a `batch` (of trials).")
        self.teacher, self.loop = teacher, loop

    @property
    def batch(self) -> int:
        assert self.loop.batch is not None
        return self.loop.batch

    @property
    def channels(self) -> tuple[int, int]:
        return self.teacher.inputs, self.teacher.outputs

    def sample(self, key: PRNGKeyArray) -> Trials:
        """What the teacher saw and did in the trials of one epoch, scored throughout."""
        draws = self.loop.sample(one_key(key))
        assert draws is not None
        seen = jnp.moveaxis(self.loop.simulate(self.teacher, draws).observations, 0, 1)
        return Trials(seen, self.teacher.rollout(seen), jnp.ones(seen.shape[:2], seen.dtype))


class LoopLoss(eqx.Module):
    """A model's loss in a closed loop on fixed trials, for `learn(watch=LoopLoss(loop, trials))`.

    Arguments:
        loop: the closed loop.
        trials: initial states or `LoopTrials` to test on; None: the exact expectation.

    >>> watch = environments.LoopLoss(loop)
    >>> watched = lrnn.learn(reduction, task, descent, epochs=5, watch=watch)
    >>> watched.watched.shape
    (6,)
    """

    loop: ClosedLoop
    trials: Batch | None = None

    def __check_init__(self) -> None:
        component(self.loop, ClosedLoop, "loop", "ClosedLoop(plant, horizon)")
        self.loop.check_trials(self.trials, "trials")

    def __call__(self, model: AbstractRNN) -> Float[Array, ""]:
        return self.loop.loss(model, self.trials)
