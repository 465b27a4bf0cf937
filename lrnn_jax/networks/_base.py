"""The contract of every network, full or reduced, and how its steps follow each other."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._checks import as_float, component, shaped
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Input, Inputs, Numbers, Output, Outputs, State, States
from lrnn_jax.networks._activation import AbstractActivation, Identity
from lrnn_jax.overlaps import AbstractOverlapModel, Roles

Kappa = Float[Array, " latent"]
Constant = Float[Array, " inputs"]
"""Of fixed points: the numbers κ, and the input that does not change."""


def sum_of_squares(network: "AbstractRNN", states: State) -> Numbers:
    """Σ_i φ(h_i)², of neurons whose rates are φ(h)."""
    return jnp.sum(network.activation(states) ** 2, axis=-1)


class Simulation(NamedTuple):
    """How a network's steps follow each other; time is the first axis of all arrays.

    A network that knows a faster way than one step after the other names it in `simulation`.

    Fields:
        states: (network, inputs, h_0, noise or None) → h_1 … h_T; the noise is added to each.
        outputs: (network, inputs, h_0, noise or None) → h_T, and y_0 … y_{T−1}.
        scan: `jax.lax.scan`, of a loop that others, such as a plant, have around the network.
        power: (network, states) → ‖rates‖²/s of each state (see `AbstractRNN.power`).

    >>> x, rest = jnp.ones((50, 1)), jnp.zeros(3)
    >>> dense.simulation.states(dense, x, rest, None).shape
    (50, 3)
    """

    states: Callable[..., Array]
    outputs: Callable[..., tuple[Array, Array]]
    scan: Callable[..., tuple[Any, Any]] = jax.lax.scan
    power: Callable[..., Array] = sum_of_squares


def scan_states(
    network: "AbstractRNN", inputs: Inputs, state: State, noise: States | None
) -> States:
    """States h_1 … h_T, one step after the other.

    >>> states = networks.scan_states(dense, jnp.ones((50, 1)), jnp.zeros(3), None)
    >>> states.shape
    (50, 3)
    """
    return _scan(network, inputs, state, noise, lambda h: h)[1]


def _scan(network: "AbstractRNN", inputs: Any, state: Any, noise: Any, see: Any) -> Any:
    """h_T, and what is seen of h_1 … h_T."""

    def body(h, now):
        x, kick = now
        h = network.step(h, x)
        h = h if kick is None else h + kick
        return h, see(h)

    return jax.lax.scan(body, state, (inputs, noise))


def read_after(
    network: "AbstractRNN", inputs: Inputs, state: State, noise: States | None
) -> tuple[State, Outputs]:
    """h_T and the outputs: one read-out of all states, as they lie in memory.

    >>> state, y = networks.read_after(dense, jnp.ones((50, 1)), jnp.zeros(3), None)
    >>> bool(jnp.allclose(y, dense.rollout(jnp.ones((50, 1)))))
    True
    """
    states = network.simulation.states(network, inputs, state, noise)
    return (states[-1] if len(states) else state), network.readout(states)


def read_in_step(
    network: "AbstractRNN", inputs: Inputs, state: State, noise: States | None
) -> tuple[State, Outputs]:
    """h_T and the outputs, each read out in its step: for wide states, which need not be kept."""
    return _scan(network, inputs, state, noise, network.readout)


def plus_bias(y: Float[Array, "*batch c"], bias: Float[Array, " c"] | None) -> Array:
    """y + bias, where there is one.

    >>> print(networks.plus_bias(jnp.zeros((2, 1)), jnp.ones(1)).ravel())
    [1. 1.]
    """
    return y if bias is None else y + bias.reshape(*[1] * (y.ndim - 1), -1)


at_rest: Any = property(lambda network: jnp.zeros(network.state_size, network.dtype))
"""The `initial_state` of networks that start from h_0 = 0."""


class Equilibria(NamedTuple):
    """A set of states that holds every fixed point h = step(h, x), by as few numbers κ as known.

    Fields:
        size: network → how many numbers κ has.
        state: (network, κ, x) → h.
        drift: (network, κ, x) → dκ/dt in membrane time constants; zero at a fixed point. What
            leaves the set decays to it by 1 − dt a step.

    >>> net.equilibria.size(net), dense.equilibria.size(dense)
    (1, 3)
    """

    size: Callable[..., int]
    state: Callable[..., Array]
    drift: Callable[..., Array]


def whole_state(network: "AbstractRNN", kappa: Kappa, x: Constant) -> Kappa:
    """h = κ: any state may be a fixed point."""
    return kappa


def drift_of_state(network: "AbstractRNN", kappa: Kappa, x: Constant) -> Kappa:
    """(step(h, x) − h)/dt."""
    return (network.step(kappa, x) - kappa) / network.dt.astype(network.dtype)


def normal_vectors(network: "AbstractRNN", columns: int, key: Any) -> Float[Array, "n columns"]:
    """Vectors of independent normal entries, FᵀF/s = 1 on average."""
    n = network.state_size
    weights = network.backward.weighted(network, jnp.ones((n, 1), network.dtype))
    return jr.normal(key, (n, columns), network.dtype) / jnp.sqrt(jnp.sum(weights))


class BackwardPath(NamedTuple):
    """What a learning rule may put in the place of a network's own backward pass.

    Fields:
        weighted: (network, F) → F as its sums over neurons count it: F/s of a low-rank network.
        rank: network → how many columns C and G have, where a rule draws them.
        carry: (network, C, G, h, x, a) → what a signal a on the state after a step is on the state
            h before it, with C Gᵀ in the place of the transposed recurrent weights; None where the
            class does not say.
        draw: (network, columns, key) → random vectors of the network's neurons.

    >>> net.backward.rank(net)
    1
    """

    weighted: Callable[..., Array]
    rank: Callable[..., int]
    carry: Callable[..., Array] | None
    draw: Callable[..., Array] = normal_vectors


class AbstractRNN(AbstractReadable):
    """A recurrent network in discrete (Euler) time: what tasks and learning need to know of it.

    A network has a state, a step h_t, x_t → h_{t+1} and a read-out y_t of the state *after* that
    step. All methods take leading axes (trials) before the last one.

    A network of your own defines what is abstract here, and no more: it is then simulated step by
    step, and its floating-point arrays learn, but for `dt`, what the activation holds and what
    `frozen` names (see `LeafSpace`).

    Class variables:
        simulation: how its steps follow each other.
        equilibria: where its fixed points lie.
        backward: what learning rules may put in the place of its backward pass.
        readout_activation: what the read-out applies to the state first.
        space: the `AbstractSpace` of what learning moves in it; None: its arrays.
        frozen: names of what does not learn; a field of most networks.
        c: bias of the read-out, shape (outputs,), where it has one.
        bulk: recurrent weights that do not learn, beside the low rank, where it has any.
        constrain: network → the nearest network that keeps its masks and signs, which every update
            ends with; None where all weights are free.
        mean_field: whether each of its neurons or latents stands for infinitely many neurons.
        roles: the columns of its overlaps, where it has any (`AbstractOverlapRNN`).

    >>> net.inputs, net.outputs, net.state_size
    (1, 1, 40)
    >>> x = jnp.ones((8, 50, 1))  # trials, time, inputs
    >>> net.rollout(x).shape, net.states(x).shape
    ((8, 50, 1), (8, 50, 40))
    """

    dt: eqx.AbstractVar[Float[Array, ""]]
    activation: eqx.AbstractVar[AbstractActivation]
    simulation: ClassVar[Simulation] = Simulation(scan_states, read_after)
    equilibria: ClassVar[Equilibria] = Equilibria(
        lambda network: network.state_size, whole_state, drift_of_state
    )
    backward: ClassVar[BackwardPath] = BackwardPath(
        lambda network, vectors: vectors, lambda network: network.state_size, None
    )
    readout_activation: ClassVar[Any] = Identity()
    space: ClassVar[Any] = None
    frozen: ClassVar[tuple[str, ...]] = ()
    c: ClassVar[Any] = None
    bulk: ClassVar[Any] = None
    constrain: ClassVar[Any] = None
    mean_field: ClassVar[bool] = False
    roles: ClassVar[Roles | None] = None

    @property
    @abstractmethod
    def inputs(self) -> int:
        """d_in, number of input channels."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """d_out, number of output channels."""

    @property
    @abstractmethod
    def state_size(self) -> int:
        """Number of state variables: N neurons, or a reduction's few latents."""

    @property
    @abstractmethod
    def dtype(self) -> jnp.dtype:
        """Floating dtype of the weights; inputs are cast to it."""

    @property
    @abstractmethod
    def biased(self) -> bool:
        """Whether anything but its inputs drives it: biases, or an initial state other than 0."""

    @property
    @abstractmethod
    def initial_state(self) -> Float[Array, " state"]:
        """h_0 of every trial; zeros for a network at rest."""

    @abstractmethod
    def step(self, state: State, x: Input) -> State:
        """The state one Euler step later."""

    @abstractmethod
    def readout(self, state: State) -> Output:
        """The output of a state."""

    @property
    def is_linear_system(self) -> bool:
        """Whether outputs are a linear function of the inputs: linear φ, no biases, h_0 = 0."""
        linear = self.activation.linear and self.readout_activation.linear
        return linear and not self.biased and self.c is None

    def starts(self, *trials: int) -> Float[Array, "*trial state"]:
        """h_0 of some trials."""
        return jnp.broadcast_to(self.initial_state, (*trials, self.state_size))

    def power(self, states: State) -> Numbers:
        """‖rates‖²/s of states: (1/s) Σ_i φ(h_i)², with s = 1 where a network has no scale.

        The rates of a `DenseRNN` are h itself. Reductions: κᵀRκ for linear φ, the average of φ² in
        the closure for others.
        """
        return self.simulation.power(self, states)

    def states(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*start state"] | None = None,
        noise: Float[Array, "*batch time state"] | None = None,
    ) -> Float[Array, "*batch time state"]:
        """States h_1 … h_T driven by x_0 … x_{T-1}.

        Arguments:
            inputs: x, shape (..., time, inputs).
            state: h_0, shape (..., state), or (state,) for all trials; `initial_state` if left out.
            noise: added to h_1 … h_T, and so to all that follows, shape (..., time, state).

        Errors: ValueError when the input channels do not fit.
        """
        return _all_states(self, *self._time_first(inputs, state, noise))

    def rollout(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*start state"] | None = None,
        noise: Float[Array, "*batch time state"] | None = None,
    ) -> Float[Array, "*batch time outputs"]:
        """Outputs y_0 … y_{T-1} driven by x_0 … x_{T-1}; y_t is read out after step t.

        Arguments and errors: as for `states`.
        """
        return _all_outputs(self, *self._time_first(inputs, state, noise))

    def _time_first(
        self,
        inputs: Float[Array, "*batch time inputs"],
        state: Float[Array, "*start state"] | None,
        noise: Float[Array, "*batch time state"] | None,
    ) -> tuple[Array, Array, Array | None]:
        """Arguments as users give them, checked, completed and with time first."""
        inputs = shaped(inputs, "inputs", "…", "time", "inputs").astype(self.dtype)
        if inputs.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} has {self.inputs} input channel(s), the input array "
                f"{inputs.shape[-1]} (the last axis of `inputs`, shape {inputs.shape})."
            )
        *trials, steps = inputs.shape[:-1]
        if state is None:
            state = self.starts(*trials)
        else:
            state = self._state(state, (*trials, self.state_size))
        if noise is not None:
            noise = shaped(noise, "noise", *trials, steps, self.state_size).astype(self.dtype)
            noise = jnp.moveaxis(noise, -2, 0)
        return jnp.moveaxis(inputs, -2, 0), state, noise

    def _state(self, state: Any, shape: tuple[int, ...]) -> Float[Array, "*trial state"]:
        """h_0 as a user gives it; one state may serve all trials."""
        state = as_float(state, "state").astype(self.dtype)
        try:
            assert state.shape[-1:] == shape[-1:]
            return jnp.broadcast_to(state, np.broadcast_shapes(state.shape, shape))
        except (AssertionError, ValueError):
            raise ValueError(
                f"`state` must have shape {shape[-1:]}, or one such state a trial, {shape}; got "
                f"{state.shape}."
            ) from None


@eqx.filter_jit
def _all_states(network: AbstractRNN, *run: Any) -> Array:
    """States in all trials, with time as the last axis but one; compiled once for each shape."""
    return jnp.moveaxis(network.simulation.states(network, *run), 0, -2)


@eqx.filter_jit
def _all_outputs(network: AbstractRNN, *run: Any) -> Array:
    """Outputs likewise."""
    return jnp.moveaxis(network.simulation.outputs(network, *run)[1], 0, -2)


def as_network(network: Any, name: str = "network") -> AbstractRNN:
    """The network itself, or reduction; ValueError for anything else.

    >>> networks.as_network(net) is net
    True
    >>> networks.as_network(net.overlaps)
    Traceback (most recent call last):
        ...
    ValueError: `network` must be such as a network or a reduction; got an Overlaps.
    """
    return component(network, AbstractRNN, name, "a network or a reduction")


class AbstractOverlapRNN(AbstractRNN, AbstractOverlapModel):
    """A network with overlaps: of loading vectors, or a reduction to them.

    >>> [isinstance(x, networks.AbstractOverlapRNN) for x in (net, reduction, dense)]
    [True, True, False]
    """

    frozen: eqx.AbstractVar[tuple[str, ...]]
    c: eqx.AbstractVar[Float[Array, " outputs"] | None]
    roles: eqx.AbstractVar[Roles]

    @abstractmethod
    def check_reducible(self) -> None:
        """Raise ValueError unless its Q alone makes a reduction: exact, or the Gaussian closure."""

    @property
    def frozen_vectors(self) -> tuple[str, ...]:
        """Names of loading vectors among `frozen`: not that of the read-out bias."""
        return tuple(name for name in self.frozen if name != "c" or self.c is None)

    @property
    def linear(self) -> bool:
        return self.activation.linear
