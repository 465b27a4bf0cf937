"""The contract of every plant: what a controller acts on and observes."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import number, one_key, whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Numbers, State
from lrnn_jax.environments._starts import AbstractStart

Start = Float[Array, "*batch start"]
Controls = Float[Array, "*batch controls"]
Seen = Float[Array, "*batch seen"]
StartMoment = Float[Array, "start start"]


class Matrices(NamedTuple):
    """x_{t+1} = A x_t + B u_t, o_t = C x_t, with the cost xᵀQx + uᵀRu.

    >>> lrnn.KIntegrator(k=2, dt=0.1).matrices.a.tolist()
    [[1.0, 0.1], [0.0, 1.0]]
    """

    a: Float[Array, "state state"]
    b: Float[Array, "state controls"]
    c: Float[Array, "seen state"]
    q: Float[Array, "state state"]
    r: Float[Array, "controls controls"]


class AbstractPlant(AbstractReadable):
    """A system in discrete time that a network observes and controls.

        x_{t+1} = step(x_t, u_t) + F_w w_t,      o_t = observe(x_t, s_t) + F_v v_t

    with white process noise w, observation noise v and signals s_t (references) that are fixed by
    where a trial starts. The cost of a step is cost(x_{t+1}, u_t, s_{t+1}). All methods take
    leading axes (time, trials) before the last one.

    Class variable:
        matrices: A, B, C, Q, R of a plant that is linear, without signals, and starts from a linear
            function of `start`: expected losses are then exact, from second moments.

    >>> plant = lrnn.KIntegrator(k=2, dt=0.1)
    >>> x, u = jnp.array([1.0, 0.5]), jnp.array([2.0])
    >>> print(plant.step(x, u), plant.observe(x, None))
    [1.05 0.7 ] [1.]
    """

    matrices: ClassVar[Any] = None

    dt: eqx.AbstractVar[Float[Array, ""] | None]
    start: eqx.AbstractVar[AbstractStart]
    process_noise: eqx.AbstractVar[Float[Array, "state noise"] | None]
    observation_noise: eqx.AbstractVar[Float[Array, "seen seen"] | None]
    state_size: eqx.AbstractVar[int]
    """Number of state variables."""
    controls: eqx.AbstractVar[int]
    """Number of control inputs: the controller's outputs."""
    observations: eqx.AbstractVar[int]
    """Number of observed channels: the controller's inputs."""
    linear_within: eqx.AbstractVar[float | None]
    """Size of state variables up to which a trial, driven by a linear controller, is linear in what
    it starts from, and its cost quadratic; None for plants that are not linear."""

    @property
    @abstractmethod
    def start_size(self) -> int:
        """Numbers that fix a trial: the initial state, or what it and the signals depend on."""

    @abstractmethod
    def initial(self, start: Start) -> State:
        """x_0 of trials."""

    @abstractmethod
    def signals(self, start: Start, steps: int) -> Any:
        """s_1 … s_T of trials, time first; None where a plant has none."""

    @abstractmethod
    def step(self, x: State, u: Controls) -> State:
        """x_{t+1} without noise."""

    @abstractmethod
    def observe(self, x: State, signal: Any) -> Seen:
        """o_t without noise."""

    @abstractmethod
    def cost(self, x: State, u: Controls, signal: Any) -> Numbers:
        """Cost of the state x_{t+1} and of the control u_t that led there."""

    def start_moment(self, law: StartMoment | None = None) -> Float[Array, "state state"]:
        """⟨x_0 x_0ᵀ⟩ of a linear plant, from that of what trials start from (its law's)."""
        law = self.start.moment(self.start_size) if law is None else law
        unit = self.initial(jnp.eye(self.start_size, dtype=law.dtype))
        return unit.T @ law @ unit

    def sample(self, key: PRNGKeyArray, trials: int) -> Float[Array, "trial start"]:
        """Where some trials start, drawn from the law `start`."""
        return self.start.sample(one_key(key), whole(trials, "trials"), self.start_size)


class AbstractAutonomousPlant(AbstractPlant):
    """A plant without signals, fixed by its initial state.

    >>> plant = lrnn.KIntegrator(k=2)
    >>> isinstance(plant, environments.AbstractPlant), plant.signals(jnp.ones((4, 2)), 10)
    (True, None)
    >>> isinstance(environments.Pendulum(), environments.AbstractAutonomousPlant)
    True
    """

    @property
    def start_size(self) -> int:
        return self.state_size

    def initial(self, start: Start) -> State:
        return start

    def signals(self, start: Start, steps: int) -> None:
        return None


def as_plant_dt(dt: ArrayLike) -> Float[Array, ""]:
    """The time step of a plant, in membrane time constants, as an array.

    Errors: ValueError unless it is one positive number.
    """
    meaning = " is the plant's time step in membrane time constants and"
    return number(dt, "dt", 0, open_start=True, meaning=meaning)
