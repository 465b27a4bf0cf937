"""What activity costs, beside what a task asks for."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, number
from lrnn_jax._readable import of_part
from lrnn_jax.networks import AbstractRNN, as_network
from lrnn_jax.tasks._base import AbstractObjective, AbstractTask


class RateCost(AbstractObjective):
    """A task, and a cost of the network's activity.

        L + λ ⟨‖φ(h_t)‖²⟩/s,      ⟨ ⟩: mean over trials and the steps t = 1 … T, scored or not

    Linear reductions: λ ⟨κᵀRκ⟩, exact, so that R = [M U]ᵀ[M U]/s becomes visible
    (`measured_visible` shows it); closures: the average of φ² over N(μ_h, Δ); populations: that
    over nodes; a `DenseRNN`, whose rates are h: ‖h‖², with s = 1, as of all networks without a
    scale. Networks are simulated once, and all states of a trial are kept. A cost of weights, λ‖Θ‖²
    (L2), is `Descent(…, weight_decay=λ)`, and `optax.add_decayed_weights` for `Training`.

        task = RateCost(FlipFlop(0.1, 200, 32), 0.01)

    Trials are not shared out over devices, as the two means do not count them alike.

    Arguments:
        task: what is learned: trials, filters, minibatches of white noise.
        strength: λ ≥ 0, one number.

    Errors: ValueError for λ < 0, for what is no task, and for an exact expectation, which has no
    trials to be active in.

    Source: ours in overlaps; the cost: Sussillo et al. 2015, Yang et al. 2019.

    >>> costly = lrnn.RateCost(flips, 0.01)
    >>> batch = flips.sample(key)
    >>> bool(jnp.isclose(costly.loss(reduction, batch), costly.loss(net, batch)))
    True
    """

    task: AbstractTask
    strength: Float[Array, ""]
    of_outputs = False
    dt, stochastic, check = (of_part("task", name) for name in ("dt", "stochastic", "check"))

    def __init__(self, task: AbstractTask, strength: ArrayLike):
        self.task = component(task, AbstractTask, "task", "FlipFlop(dt, steps, batch)")
        self.strength = number(strength, "strength", 0)
        if not task.stochastic:
            eqx.filter_eval_shape(task.trials)

    @property
    def held_out(self) -> Any:
        """Data that the task holds out."""
        return self.task.held_out

    def sample(self, key: PRNGKeyArray) -> Any:
        """The task's data of one epoch."""
        return self.task.sample(key)

    def output(self, model: AbstractRNN, batch: Any = None) -> Float[Array, "trial time outputs_1"]:
        """y, and ‖φ(h)‖²/s as one channel more."""
        as_network(model, "model")
        states = model.states(self.task.inputs(batch))
        power = model.power(states)[..., None]
        return jnp.concatenate([model.readout(states), power], axis=-1)

    def loss(self, model: AbstractRNN, batch: Any = None) -> Float[Array, ""]:
        """L and the cost of activity, on the data of one epoch."""
        seen = self.output(model, batch)
        cost = self.strength.astype(seen.dtype) * jnp.mean(seen[..., -1])
        return self.task.score(seen[..., :-1], batch) + cost

    def weight(self, batch: Any) -> None:
        return None
