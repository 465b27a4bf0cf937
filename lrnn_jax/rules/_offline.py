"""Rules that send errors of a whole trial back: one formula, of which the gradient is a case.

    a_{t+1} = F e_t + 𝒥 a_{t+2},      e_t = ∂L/∂y_t
    ΔΘ ∝ Σ_t (∂ step(h_t, x_t)/∂Θ)ᵀ a_{t+1},      ΔZ ∝ Σ_t (∂ readout(h_{t+1})/∂Z)ᵀ e_t

Rules differ in F, by which errors reach neurons, and in 𝒥, which carries them back in time. What a
weight makes of a signal at its neuron is local, the same in all of them, and exact for any φ.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax.networks import AbstractRNN, AbstractSpace, Feedback, Weights, weight_space
from lrnn_jax.reduced import AbstractReduction, as_neurons
from lrnn_jax.rules._base import AbstractRule, Backward, EpochLoss
from lrnn_jax.tasks import AbstractObjective, AbstractTask


class Run(NamedTuple):
    """A trial and its errors, time first.

    Fields:
        network: of neurons.
        x: inputs, shape (time, trial, inputs).
        before: h_0 … h_{T−1}, shape (time, trial, state).
        after: h_1 … h_T.
        error: ∂L/∂y, shape (time, trial, outputs).
    """

    network: AbstractRNN
    x: Array
    before: Array
    after: Array
    error: Array


def simulate(
    network: AbstractRNN, loss: EpochLoss, kicks: Array | None = None
) -> tuple[Float[Array, ""], Run]:
    """The loss, and the run of an epoch's trials; with kicks on h_1 … h_T where there are any."""
    task: Any = loss.objective
    x = jnp.moveaxis(jnp.asarray(task.inputs(loss.batch), network.dtype), 1, 0)
    start = network.starts(x.shape[1])
    after = network.simulation.states(network, x, start, kicks)

    def score(y: Array) -> Float[Array, ""]:
        return task.score(jnp.moveaxis(y, 0, 1), loss.batch)

    value, error = jax.value_and_grad(score)(network.readout(after))
    before = jnp.concatenate([start[None], after[:-1]])
    return value, Run(network, x, before, after, error)


def pulled(space: AbstractSpace, weights: Weights, run: Run, signals: Any) -> Weights:
    """What signals (a_0, a_1 … a_T) at neurons and errors of outputs make of the weights."""

    def steps(point: Any) -> Any:
        network = space.model_at(point)
        start = network.starts(run.x.shape[1])
        return start, network.step(run.before, run.x), network.readout(run.after)

    point = space.point(weights)
    first, others = signals
    (slope,) = jax.vjp(steps, point)[1]((first, others, run.error))
    return space.direction(weights, slope)


def sources(run: Run, fixed: Feedback, way: Backward) -> Array:
    """What errors of outputs are at neurons, F e_t."""
    network = run.network
    if way.source == "z":
        return jax.vjp(network.readout, run.after)[1](run.error)[0]
    drive = run.error @ network.backward.weighted(network, fixed.f).T
    return jax.vjp(network.readout_activation, run.after)[1](drive)[0]


def signals_of(run: Run, fixed: Feedback, way: Backward) -> tuple[Array, Array]:
    """a_0, shape (trial, state), and a_1 … a_T, shape (time, trial, state)."""
    if not way.carried:
        return _leaked(run, fixed, way)
    source = sources(run, fixed, way)
    steps, network = len(run.x), run.network

    def carry(h: Array, x: Array, a: Array) -> Array:
        if way.carried == "v":
            return jax.vjp(lambda h: network.step(h, x), h)[1](a)[0]
        assert network.backward.carry is not None
        return network.backward.carry(network, fixed.c, fixed.g, h, x, a)

    window = steps if way.window is None else way.window
    if window < steps and not way.chunks:
        return _slid(run, source, carry, window)
    # a cut chunk: h_t with t a multiple of the window passes nothing back to it
    kept = jnp.arange(1, steps + 1) % window != 0

    def back(later: Array, now: Any) -> tuple[Array, Array]:
        source, keep, h, x = now
        a = source + jnp.where(keep, later, 0)
        return carry(h, x, a), a

    zero = jnp.zeros_like(source[0])
    return jax.lax.scan(back, zero, (source, kept, run.before, run.x), reverse=True)


def _slid(run: Run, source: Array, carry: Any, window: int) -> tuple[Array, Array]:
    """Each error sent back over `window` states, all errors at once."""
    zero = jnp.zeros_like(source[:1])

    def further(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        total, packets = state
        moved = jnp.concatenate([carry(run.before, run.x, packets[1:]), zero])
        return (total + moved, moved), None

    packets = jnp.concatenate([zero, source])  # on h_0 … h_T
    (total, _), _ = jax.lax.scan(further, (packets, packets), length=window - 1)
    return total[0], total[1:]


def _leaked(run: Run, fixed: Feedback, way: Backward) -> tuple[Array, Array]:
    """𝒥 = 1 − dt: the same as traces of what is presynaptic, forward in time."""
    network = run.network
    leak = 1 - network.dt.astype(network.dtype)

    def filtered(x: Array) -> Array:
        def back(later: Array, now: Array) -> tuple[Array, Array]:
            now = now + leak * later
            return now, now

        return jax.lax.scan(back, jnp.zeros_like(x[0]), x, reverse=True)[1]

    if network.readout_activation.linear:  # outputs are fewer than neurons
        a = sources(run._replace(error=filtered(run.error)), fixed, way)
    else:
        a = filtered(sources(run, fixed, way))
    return leak * a[0], a


def moving_space(rule: AbstractRule, way: Backward, model: AbstractRNN) -> AbstractSpace:
    """What moves in a network; of a reduction, in the few neurons that learn as it does.

    Errors: ValueError, with the reason, for a model that the rule is not for.
    """
    if isinstance(model, AbstractReduction):
        lacks_c = way.carried == "c" and not model.roles.through
        if rule.feedback is not None and (lacks_c or not model.roles.feedback):
            raise ValueError(
                f"`feedback` of {type(rule).__name__} has no overlaps in this reduction: make it "
                f"by reduce(network, feedback=…), or give the rule a `key`, for feedback that is "
                f"orthogonal to all vectors."
            )
        return as_neurons(model, way.source == "f", way.carried == "c")
    if way.carried == "c" and model.backward.carry is None:
        raise ValueError(
            f"`time` puts fixed weights in the place of the recurrent ones of a LowRankRNN, "
            f"DenseRNN or CurrentRNN, and a {type(model).__name__} does not say which these "
            f"are: leave `time` out."
        )
    return weight_space(model, rule.feedback_of(model))


def of_outputs(rule: AbstractRule, objective: AbstractObjective) -> None:
    """Raise ValueError for an objective without errors of outputs."""
    if isinstance(objective, AbstractTask):
        return
    raise ValueError(
        f"{type(rule).__name__} needs the errors of outputs, ∂L/∂y, which a "
        f"{type(objective).__name__} does not have, as its loss is no function of a task's "
        f"outputs: use Gradient(), or WeightPerturbation(sigma), which takes the loss alone."
    )


class AbstractOffline(AbstractRule):
    """A rule that sends the errors of outputs back after the trial, in its own way.

    >>> [isinstance(rule, rules.AbstractOffline) for rule in (lrnn.EProp(), lrnn.Gradient())]
    [True, False]
    """

    of_losses = False

    @property
    @abstractmethod
    def backward(self) -> Backward:
        """How errors go back."""

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return moving_space(self, self.backward, model)

    def check(self, objective: AbstractObjective) -> None:
        of_outputs(self, objective)

    def init(self, space: AbstractSpace) -> None:
        return None

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        neurons, way = space.neurons, self.backward
        value, run = simulate(neurons.model(weights), loss)
        if way.window is not None and way.window > len(run.x):
            raise ValueError(
                f"`window` of Truncated is at most the {len(run.x)} steps of a trial; got "
                f"{way.window}."
            )
        signals = signals_of(run, neurons.fixed, way)
        return value, pulled(neurons, weights, run, signals), None
