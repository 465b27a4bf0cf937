"""Weights that move in every step of a trial."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component
from lrnn_jax._readable import of_part
from lrnn_jax.networks import AbstractRNN, AbstractSpace, Feedback, Weights
from lrnn_jax.rules._base import AbstractRule, Backward, EpochLoss
from lrnn_jax.rules._gradient import Gradient
from lrnn_jax.rules._offline import AbstractOffline, Run, moving_space, of_outputs, sources
from lrnn_jax.tasks import AbstractObjective

Update = Callable[[Weights, Weights, Any, Any], tuple[Weights, Any]]


def _for_each_weight(function: Callable[[Array], Array], influence: Any) -> Any:
    """A linear function of states, applied to ∂h/∂θ for every weight θ."""

    def one(x: Float[Array, "trial state ..."]) -> Array:
        columns = jnp.moveaxis(x.reshape(*x.shape[:2], -1), -1, 0)
        return jnp.moveaxis(jax.vmap(function)(columns), 0, -1).reshape(x.shape)

    return jax.tree.map(one, influence)


def _carried(
    network: AbstractRNN, fixed: Feedback, way: Backward, h: Array, x: Array
) -> Callable[[Array], Array]:
    """What a change of states is a step later, as far as the rule knows: 𝒥ᵀ."""
    if not way.carried:
        return lambda change: (1 - network.dt.astype(network.dtype)) * change
    if way.carried == "v":
        return lambda change: jax.jvp(lambda h: network.step(h, x), (h,), (change,))[1]
    back = network.backward.carry
    assert back is not None
    transposed = jax.linear_transpose(lambda a: back(network, fixed.c, fixed.g, h, x, a), h)
    return lambda change: transposed(change)[0]


def through_trial(
    rule: "Online",
    space: AbstractSpace,
    loss: EpochLoss,
    weights: Weights,
    memory: Any,
    update: Update,
) -> tuple[Float[Array, ""], Weights, Any]:
    """The loss before the trial, the weights after it, and the update's memory."""
    neurons, way, task = space.neurons, rule.way, loss.objective
    x = jnp.moveaxis(jnp.asarray(task.inputs(loss.batch), neurons.network.dtype), 1, 0)  # pyright: ignore
    value = loss(neurons.model(weights))

    def start(point: Any) -> Array:
        return neurons.model_at(point).starts(x.shape[1])

    def errors(outputs: Array) -> Array:
        def score(y: Array) -> Array:
            return task.score(jnp.moveaxis(y, 0, 1), loss.batch)  # pyright: ignore

        return jax.grad(score)(outputs)

    def step(carry: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[tuple[Any, ...], None]:
        weights, memory, h, influence, outputs = carry
        x, t = now
        point = neurons.point(weights)
        network = neurons.model_at(point)
        influence = _for_each_weight(_carried(network, neurons.fixed, way, h, x), influence)
        direct = jax.jacfwd(lambda point: neurons.model_at(point).step(h, x))(point)
        influence = jax.tree.map(jnp.add, influence, direct)
        new = network.step(h, x)
        y, pull = jax.vjp(lambda point: neurons.model_at(point).readout(new), point)
        outputs = outputs.at[t].set(y)
        e = errors(outputs)[t]
        signal = sources(Run(network, x, h, new, e), neurons.fixed, way)
        slope = jax.tree.map(
            lambda own, through: own + jnp.tensordot(signal, through, 2), pull(e)[0], influence
        )
        weights, memory = update(weights, space.direction(weights, slope), memory, value)
        return (weights, memory, new, influence, outputs), None

    point = neurons.point(weights)
    begin = start(point)
    nothing = jax.eval_shape(lambda: neurons.model_at(point).readout(begin))
    outputs = jnp.zeros((len(x), *nothing.shape), nothing.dtype)
    carry = weights, memory, begin, jax.jacfwd(start)(point), outputs
    (weights, memory, *_), _ = jax.lax.scan(step, carry, (x, jnp.arange(len(x))))
    return value, weights, memory


class Online(AbstractRule):
    """Another rule, whose weights move in every step of a trial: real-time recurrent learning.

        p_{t+1} = 𝒥ᵀ p_t + ∂ step(h_t, x_t)/∂Θ,      Θ_{t+1} = Θ_t − η s (p_{t+1}ᵀ F e_t + …)

    The influence p = ∂h/∂Θ goes forward in time with the states, along the weights of the moment:
    of `Gradient` the exact one (RTRL), of `RFLO` and `EProp` what each neuron keeps, and of
    `FeedbackAlignment` with `time` what C and G carry. `…` is the read-out's own gradient. A method
    takes one update a step, its momentum and clipping too; its schedule counts trials. For small η
    a trial's updates add up to that of the rule itself. Overlaps are exact, at any step size.

    The influence of N neurons takes N²(d_out + 2r + d_in) numbers a trial: a reduction has k.
    Losses are sums over steps, each of which needs its own output alone; recorded is the loss
    before each trial.

    Arguments:
        rule: `Gradient()`, `RFLO(…)`, `EProp()`, `FeedbackAlignment(…)`.

    Errors: ValueError for a rule that perturbs, is cut short or late; for methods that take no step
    inside a trial (`Flow`); and for objectives without errors of outputs.

    Source: Williams & Zipser 1989 (RTRL); Murray 2019; on overlaps: ours.

    >>> at_once = lrnn.Descent(0.05, rule=lrnn.Online(lrnn.Gradient()))
    >>> both = [lrnn.learn(model, task, at_once, epochs=5) for model in (net, reduction)]
    >>> bool(both[0].distance(both[1]).max < 1e-12)
    True
    """

    rule: AbstractRule
    of_losses = False
    no_flow = "it moves weights within a trial: give the rule itself, which small steps add up to"
    inside = staticmethod(through_trial)
    feedback_of = of_part("rule", "feedback_of")

    def __check_init__(self) -> None:
        such_as = "Gradient(), RFLO(…), EProp() or FeedbackAlignment(…)"
        component(self.rule, (Gradient, AbstractOffline), "rule", such_as)
        if self.way.window is not None:
            raise ValueError(
                f"`rule` of Online carries what weights do to states forward in time, without end, "
                f"as {such_as}; got a {type(self.rule).__name__}."
            )

    @property
    def way(self) -> Backward:
        """How errors reach neurons, and what carries influences."""
        assert self.rule.backward is not None
        return self.rule.backward

    def space(self, model: AbstractRNN) -> AbstractSpace:
        return moving_space(self.rule, self.way, model)

    def check(self, objective: AbstractObjective) -> None:
        of_outputs(self, objective)

    def init(self, space: AbstractSpace) -> None:
        return None

    def direction(
        self, space: AbstractSpace, loss: EpochLoss, weights: Weights, memory: None
    ) -> tuple[Float[Array, ""], Weights, None]:
        raise ValueError(
            "`rule` is Online, which moves weights within a trial and has no direction of a whole "
            "one: give the rule that is online, such as Gradient()."
        )
