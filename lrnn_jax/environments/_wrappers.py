"""Plants made of other plants: seen late, or pushed by a force that their state makes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, real_array, shape_of, shown, whole
from lrnn_jax._readable import of_part
from lrnn_jax._types import Numbers, State
from lrnn_jax.environments._base import AbstractPlant, Controls, Matrices, Seen, Start

_inner = partial(of_part, "plant")


class AbstractWrappedPlant(AbstractPlant):
    """Another plant, `plant`, but for what a class says."""

    plant: eqx.AbstractVar[AbstractPlant]

    dt, start, start_size = _inner("dt"), _inner("start"), _inner("start_size")
    controls, observations = _inner("controls"), _inner("observations")
    observation_noise = _inner("observation_noise")


class Late(NamedTuple):
    """Signals now, for the cost, and those of some steps ago, which are seen."""

    now: Any
    then: Any


class Delayed(AbstractWrappedPlant):
    """A plant that is observed d steps late.

        o_t = observe(x_{t−d}, s_{t−d}) + F_v v_t

    Before the trial it was where it starts: x_t = x_0 for t < 0, and signals were s_1. The state is
    (x_t, x_{t−1}, …, x_{t−d}); trials, costs and noise are those of the plant.

        ClosedLoop(Delayed(KIntegrator(2), 3), 50)

    Arguments:
        plant: any plant.
        steps: d ≥ 0, a time of d·dt.

    Errors: ValueError for d < 0, or what is no plant.

    Source: ours.

    >>> late = lrnn.Delayed(lrnn.KIntegrator(2, dt=0.1), 3)
    >>> late.state_size, float(lrnn.ClosedLoop(late, horizon=20).loss(reduction, None)) > 0
    (8, True)
    """

    plant: AbstractPlant
    steps: int = eqx.field(static=True)
    linear_within = _inner("linear_within")

    def __init__(self, plant: AbstractPlant, steps: int):
        self.plant = component(plant, AbstractPlant, "plant", "KIntegrator(2), a plant")
        self.steps = whole(steps, "steps", 0)

    @property
    def state_size(self) -> int:
        return self.plant.state_size * (1 + self.steps)

    @property
    def process_noise(self) -> Float[Array, "state noise"] | None:
        factor = self.plant.process_noise
        rest = self.state_size - self.plant.state_size
        return None if factor is None else jnp.pad(factor, ((0, rest), (0, 0)))

    @property
    def matrices(self) -> Matrices | None:
        if (inner := self.plant.matrices) is None:
            return None
        rest = self.state_size - len(inner.a)
        shift = jnp.eye(rest, self.state_size, dtype=inner.a.dtype)
        return Matrices(
            a=jnp.concatenate([jnp.pad(inner.a, ((0, 0), (0, rest))), shift]),
            b=jnp.pad(inner.b, ((0, rest), (0, 0))),
            c=jnp.pad(inner.c, ((0, 0), (rest, 0))),
            q=jnp.pad(inner.q, ((0, rest), (0, rest))),
            r=inner.r,
        )

    def initial(self, start: Start) -> State:
        return jnp.concatenate([self.plant.initial(start)] * (1 + self.steps), axis=-1)

    def signals(self, start: Start, steps: int) -> Late | None:
        now = self.plant.signals(start, steps)
        late = jnp.maximum(jnp.arange(steps) - self.steps, 0)
        return None if now is None else Late(now, jax.tree.map(lambda s: s[late], now))

    def step(self, x: State, u: Controls) -> State:
        n = self.plant.state_size
        return jnp.concatenate([self.plant.step(x[..., :n], u), x], axis=-1)[..., :-n]

    def observe(self, x: State, signal: Late | None) -> Seen:
        then = None if signal is None else signal.then
        return self.plant.observe(x[..., -self.plant.state_size :], then)

    def cost(self, x: State, u: Controls, signal: Late | None) -> Numbers:
        now = None if signal is None else signal.now
        return self.plant.cost(x[..., : self.plant.state_size], u, now)


class ForceField(AbstractWrappedPlant):
    """A plant on which a force acts beside the controls, made by its own state.

        x_{t+1} = step(x_t, u_t + f(x_t)),      f(x) = F x, or any function

    Controls cost what they cost without it. The field of Shadmehr & Mussa-Ivaldi turns a point's
    velocity by a right angle: with states (p_x, p_y, v_x, v_y),

        curl = 5 * np.array([[0, 0, 0, 1], [0, 0, -1, 0]])
        ClosedLoop(ForceField(TrackingPlant(clamp=None), curl), 100)

    Where the plant is late, too, the force feels the state as it is: `Delayed(ForceField(…), 3)`.

    Arguments:
        plant: any plant.
        force: F, shape (controls, state), in units of the controls; or f, a function of JAX arrays,
            (…, state) → (…, controls), the same object each time, or JAX compiles again. With a
            function the plant is not linear: loops are simulated.

    Errors: ValueError for a matrix of another shape or with entries that are not finite, a function
    that returns another shape, or what is no plant.

    Source: Shadmehr & Mussa-Ivaldi 1994; its place in the loop: ours.

    >>> spring = lrnn.ForceField(lrnn.KIntegrator(2, dt=0.1), np.array([[-1.0, 0.0]]))
    >>> print(spring.step(jnp.array([1.0, 0.0]), jnp.array([0.0])))
    [ 1.  -0.1]
    """

    plant: AbstractPlant
    matrix: Float[Array, "controls state"] | None
    function: Callable[[Any], Any] | None = eqx.field(static=True)

    def __init__(self, plant: AbstractPlant, force: ArrayLike | Callable[[Any], Any]):
        self.plant = component(plant, AbstractPlant, "plant", "KIntegrator(2), a plant")
        sizes = plant.controls, plant.state_size
        self.matrix = self.function = None
        if callable(force):
            self.function, got = force, shape_of(force, 3, plant.state_size)
            if got != (3, plant.controls):
                raise ValueError(
                    f"`force` must be a function (…, {sizes[1]}) → (…, {sizes[0]}) of JAX arrays, "
                    f"states to forces of this plant; got {shown(force)}, and {got} for an array "
                    f"of shape (3, {sizes[1]})."
                )
            return
        self.matrix = real_array(force, "force")
        if self.matrix.shape != sizes:
            raise ValueError(
                f"`force` must have shape (controls, state), {sizes} for this plant; got "
                f"{self.matrix.shape}."
            )

    state_size, process_noise = _inner("state_size"), _inner("process_noise")
    initial, signals = _inner("initial"), _inner("signals")
    observe, cost = _inner("observe"), _inner("cost")

    @property
    def linear_within(self) -> float | None:
        return None if self.matrix is None else self.plant.linear_within

    @property
    def matrices(self) -> Matrices | None:
        inner = self.plant.matrices
        if inner is None or self.matrix is None:
            return None
        return inner._replace(a=inner.a + inner.b @ self.matrix)

    def step(self, x: State, u: Controls) -> State:
        push = self.function(x) if self.matrix is None else x @ self.matrix.T  # pyright: ignore[reportOptionalCall]
        return self.plant.step(x, u + push)
