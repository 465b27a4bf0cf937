"""The open-loop twin: imitate a controller on what it saw, without acting."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import as_float
from lrnn_jax.environments._closed_loop import ClosedLoop
from lrnn_jax.networks import AbstractRNN
from lrnn_jax.tasks import AbstractTask, Trials, check_channels, check_same_dt

Demonstration = tuple[Float[Array, "trial time inputs"], Float[Array, "trial time outputs"]]


class Demonstrations(AbstractTask):
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
    """

    teacher: AbstractRNN
    loop: ClosedLoop

    def __init__(self, teacher: AbstractRNN, loop: ClosedLoop):
        loop.check(teacher)
        if loop.batch is None:
            raise ValueError("Demonstrations are sampled: give the loop a `batch` (of trials).")
        self.teacher, self.loop = teacher, loop

    @property
    def dt(self) -> Float[Array, ""]:
        return self.teacher.dt

    @property
    def stochastic(self) -> bool:
        return True

    def check(self, model: AbstractRNN) -> None:
        check_channels(self, model, self.teacher.inputs, self.teacher.outputs)
        check_same_dt(self, self.teacher.dt, model)

    def sample(self, key: PRNGKeyArray) -> Demonstration:
        """What the teacher saw and did in the trials of one epoch."""
        draws = self.loop.sample(key)
        assert draws is not None
        seen = jnp.moveaxis(self.loop.simulate(self.teacher, draws).observations, 0, 1)
        return seen, self.teacher.rollout(seen)

    def weight(self, batch: Demonstration) -> Float[Array, ""]:
        """The number of trials."""
        return as_float(batch[0].shape[0])

    def inputs(self, batch: Demonstration) -> Float[Array, "trial time inputs"]:
        return batch[0]

    def score(
        self, output: Float[Array, "trial time outputs"], batch: Demonstration
    ) -> Float[Array, ""]:
        return jnp.mean(jnp.sum((output - batch[1].astype(output.dtype)) ** 2, axis=-1))

    def loss(self, model: AbstractRNN, batch: Demonstration) -> Float[Array, ""]:
        """L on the demonstrations of one epoch."""
        return self.score(self.output(model, batch), batch)

    def trials(self, batch: Demonstration) -> Trials:
        """What was seen and done as trials, scored throughout."""
        return Trials(*batch, jnp.ones(batch[0].shape[:2], batch[0].dtype))


class LoopLoss(eqx.Module):
    """A model's loss in a closed loop on fixed trials, for `learn(watch=LoopLoss(loop, trials))`.

    Arguments:
        loop: the closed loop.
        trials: initial states or `LoopTrials` to test on; None: the exact expectation.
    """

    loop: ClosedLoop
    trials: Float[Array, "trial start"] | None = None

    def __call__(self, model: AbstractRNN) -> Float[Array, ""]:
        return self.loop.loss(model, self.trials)
