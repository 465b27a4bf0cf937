"""Dense recurrent networks."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from lrnn_jax._checks import as_dt, names, number, real_array, same_dtype
from lrnn_jax._types import Input, Numbers, Output, State, is_traced
from lrnn_jax.networks._activation import (
    READOUT,
    AbstractActivation,
    Identity,
    as_activation,
    read_out,
)
from lrnn_jax.networks._backward import THROUGH_MATRIX
from lrnn_jax.networks._base import (
    AbstractRNN,
    Simulation,
    plus_bias,
    read_in_step,
    scan_states,
)
from lrnn_jax.networks._constraints import as_masks, as_signs, kept, non_negative
from lrnn_jax.overlaps import AbstractMatrixModel, MatrixInvariant

WEIGHTS = ("w", "w_in", "w_out")


def power_of_rates(network: "DenseRNN", states: State) -> Numbers:
    """‖h‖², of states that are rates."""
    return jnp.sum(states**2, axis=-1)


class AbstractDenseRNN(AbstractRNN, AbstractMatrixModel):
    """A network with an unconstrained recurrent weight matrix.

    Arguments:
        w: W, recurrent weights, shape (N, N).
        w_in: W_in, input weights, shape (N, d_in).
        w_out: W_out, read-out weights, shape (d_out, N).
        b: biases, shape (N,); None: none, and none are learned.
        h0: h_0, the state that every trial starts from, shape (N,), learned likewise; None: 0.
        c: bias of the read-out, shape (d_out,), learned likewise; None: none.
        masks: which synapses there are, by array ({"w": mask}; True, or 1): others are 0 and stay
            0 while learning.
        signs: 1 or −1 a neuron, shape (N,), of all entries of its column of W, kept while learning
            (Dale's law); None: free.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ.
        readout: ψ of the read-out y_t = W_out ψ(h_{t+1}) + c; None: as the class says.
        frozen: arrays that do not learn, among "w", "w_in", "w_out", "b", "h0", "c".

    Errors: ValueError for arrays that do not fit each other, entries that are not finite, dt
    outside (0, 1], an unknown name in `frozen`, or weights against masks or signs.

    Class variable:
        of_currents: whether h are currents, of which W sums φ(h), and φ(h) is read out; else h are
            rates themselves.

    >>> isinstance(dense, networks.AbstractDenseRNN), dense.w.shape, dense.w_out.shape
    (True, (3, 3), (1, 3))
    """

    w: Float[Array, "n n"]
    w_in: Float[Array, "n inputs"]
    w_out: Float[Array, "outputs n"]
    b: Float[Array, " n"] | None
    h0: Float[Array, " n"] | None
    c: Float[Array, " outputs"] | None
    masks: dict[str, Bool[Array, "to n"]]
    signs: Int[Array, " n"] | None
    dt: Float[Array, ""]
    activation: AbstractActivation
    readout_activation: AbstractActivation = eqx.field(metadata=READOUT)
    frozen: tuple[str, ...] = eqx.field(static=True)
    of_currents: ClassVar[bool]
    simulation = Simulation(scan_states, read_in_step)
    backward = THROUGH_MATRIX

    def __init__(
        self,
        w: ArrayLike,
        w_in: ArrayLike,
        w_out: ArrayLike,
        b: ArrayLike | None = None,
        *,
        h0: ArrayLike | None = None,
        c: ArrayLike | None = None,
        masks: Mapping[str, ArrayLike] | None = None,
        signs: ArrayLike | None = None,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        readout: AbstractActivation | None = None,
        frozen: tuple[str, ...] = (),
    ):
        arrays = [real_array(x, f) for f, x in zip(WEIGHTS, (w, w_in, w_out))]
        more = {"b": b, "h0": h0, "c": c}
        arrays += [None if x is None else real_array(x, f) for f, x in more.items()]
        self.w, self.w_in, self.w_out, self.b, self.h0, self.c = same_dtype(*arrays)
        shapes = {name: getattr(self, name).shape for name in WEIGHTS}
        n, inputs, outputs = shapes["w"][:1], shapes["w_in"][1:], shapes["w_out"][:1]
        wanted = {"w": n + n, "w_in": n + inputs, "w_out": outputs + n}
        if shapes != wanted or any(len(s) != 2 or 0 in s for s in shapes.values()):
            raise ValueError(
                f"A dense network of N neurons takes w (N, N), w_in (N, inputs) and w_out "
                f"(outputs, N); got {', '.join(f'{k} {v}' for k, v in shapes.items())}."
            )
        for name, each, size in (("b", self.b, n), ("h0", self.h0, n), ("c", self.c, outputs)):
            if each is not None and each.shape != size:
                of = "outputs" if name == "c" else "neurons"
                raise ValueError(
                    f"`{name}` holds one number for each of {size[0]} {of}; got {each.shape}."
                )
        self.masks = as_masks(masks, {name: getattr(self, name) for name in WEIGHTS})
        self.signs = as_signs(signs, n[0])
        if self.signs is not None:
            rule = "has the sign of the neuron (`signs`) in each column"
            kept(self.w, non_negative(self.w, self.signs[None]), "w", rule, "abs(w) * signs")
        self.dt = as_dt(dt)
        self.activation = as_activation(activation)
        default = self.activation if self.of_currents else Identity()
        self.readout_activation = read_out(self.activation, default if readout is None else readout)
        self.frozen = names(frozen, "frozen", self.weights)

    @property
    def constrain(self) -> Any:
        return keep_synapses if self.masks or self.signs is not None else None

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of all arrays of weights, frozen ones too."""
        more = {"b": self.b, "h0": self.h0, "c": self.c}
        return (*WEIGHTS, *(name for name, array in more.items() if array is not None))

    @property
    def inputs(self) -> int:
        return self.w_in.shape[1]

    @property
    def outputs(self) -> int:
        return self.w_out.shape[0]

    @property
    def state_size(self) -> int:
        return self.w.shape[0]

    @property
    def biased(self) -> bool:
        return self.b is not None or self.h0 is not None

    @property
    def dtype(self) -> jnp.dtype:
        return self.w.dtype

    @property
    def initial_state(self) -> Float[Array, " n"]:
        return jnp.zeros(self.state_size, self.dtype) if self.h0 is None else self.h0

    def matrix_invariant(self, rates: Mapping[str, float]) -> MatrixInvariant:
        if is_traced(rates):
            raise ValueError("`rates` decide what is conserved: pass them untraced.")
        names(tuple(rates), "rates", self.weights)
        moving = [name for name in self.weights if name != "c"]
        d = {name: float(number(rates.get(name, 1.0), f"rates[{name!r}]", 0)) for name in moving}
        still = [name for name, rate in d.items() if not rate or name in self.frozen]
        linear = self.activation.linear and self.constrain is None
        safe = {name: 1.0 if name in still else rate for name, rate in d.items()}
        k = (self.w @ self.w.T - self.w.T @ self.w) / safe["w"] + self.w_in @ self.w_in.T / safe[
            "w_in"
        ]
        k = k - self.w_out.T @ self.w_out / safe["w_out"]
        for name, vector in (("b", self.b), ("h0", self.h0)):
            k = k if vector is None else k + vector[:, None] * vector[None] / safe[name]
        why = "conserved, the output is unchanged by W → GWG⁻¹, and every array learns"
        if not linear:
            why = "lost, φ is not linear, or masks and signs hold single neurons"
        elif still:
            why = f"lost, frozen arrays ({', '.join(still)})"
        return MatrixInvariant(k, linear and not still, f"K: {why}")

    def drive(self, rates: State, x: Input) -> State:
        """W r + W_in x + b."""
        return plus_bias(recurrent_drive(self.w, rates) + x @ self.w_in.T, self.b)

    def readout(self, state: State) -> Output:
        return plus_bias(self.readout_activation(state) @ self.w_out.T, self.c)


def keep_synapses(network: AbstractDenseRNN) -> AbstractDenseRNN:
    """The nearest network without absent synapses, and with signs as they must be."""
    weights = {name: getattr(network, name) for name in WEIGHTS}
    weights |= {name: jnp.where(m, weights[name], 0) for name, m in network.masks.items()}
    if network.signs is not None:
        weights["w"] = non_negative(weights["w"], network.signs[None])
    return eqx.tree_at(lambda net: [getattr(net, f) for f in WEIGHTS], network, [*weights.values()])


class DenseRNN(AbstractDenseRNN):
    """A dense network of rates; with dt = 1 and Tanh, `torch.nn.RNN` followed by `nn.Linear`.

        h_{t+1} = (1 − dt) h_t + dt φ(W h_t + W_in x_t + b),      y_t = W_out h_{t+1} + c

    (PyTorch's W = weight_hh_l0, W_in = weight_ih_l0, b = bias_ih_l0 + bias_hh_l0, and the linear
    layer's weight and bias are W_out and c.)

    Arguments, errors: as for `AbstractDenseRNN`.

    Source: [CL] eq. 1 (dense controllers).

    >>> w = np.array(jr.normal(key, (20, 20))) / 20**0.5
    >>> vanilla = lrnn.DenseRNN(w, np.ones((20, 1)), np.ones((1, 20)), dt=1, activation=lrnn.Tanh())
    >>> vanilla.rollout(jnp.ones((50, 1))).shape
    (50, 1)
    """

    of_currents = False
    simulation = Simulation(scan_states, read_in_step, power=power_of_rates)
    __init__ = AbstractDenseRNN.__init__  # as type checkers would make one of the fields

    def step(self, state: State, x: Input) -> State:
        dt = self.dt.astype(self.dtype)
        return (1 - dt) * state + dt * self.activation(self.drive(state, x))


class CurrentRNN(AbstractDenseRNN):
    """A dense network of currents; `factorise` makes it a `LowRankRNN`, exactly for any φ.

        h_{t+1} = (1 − dt) h_t + dt (W φ(h_t) + W_in x_t + b),      y_t = W_out φ(h_{t+1}) + c

    Arguments, errors: as for `AbstractDenseRNN`.

    Source: Sompolinsky, Crisanti & Sommers 1988.

    >>> net3 = lrnn.CurrentRNN(np.eye(3) / 2, np.ones((3, 1)), np.ones((1, 3)), dt=0.1)
    >>> net3.rollout(jnp.ones((50, 1))).shape
    (50, 1)
    """

    of_currents = True
    __init__ = AbstractDenseRNN.__init__

    def step(self, state: State, x: Input) -> State:
        dt = self.dt.astype(self.dtype)
        return (1 - dt) * state + dt * self.drive(self.activation(state), x)


@jax.custom_jvp
def recurrent_drive(w: Float[Array, "n n"], state: Float[Array, "*batch n"]) -> Float[Array, "..."]:
    """W h of every trial, with a gradient that is fast inside of a loop over time.

    The gradient Σ δ hᵀ over trials is a product of two arrays with trials first. XLA's CPU product
    takes twice as long when it has to turn the first one as it goes (N = 100, 100 trials: 87 µs
    instead of 45 µs): here δ is turned before.

    >>> h = jnp.ones((4, 3))  # of four trials
    >>> bool(jnp.allclose(networks.recurrent_drive(dense.w, h), h @ dense.w.T))
    True
    """
    return state @ w.T


@recurrent_drive.defjvp
def _recurrent_drive_jvp(primals: Any, tangents: Any) -> Any:
    (w, state), (dw, dstate) = primals, tangents
    # the barrier keeps XLA from folding the turn back into the product
    turned = jax.lax.optimization_barrier(jnp.tensordot(dw, state, (1, -1)))
    return recurrent_drive(w, state), dstate @ w.T + jnp.moveaxis(turned, 0, -1)
