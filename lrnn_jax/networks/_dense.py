"""Dense recurrent networks, and their best low-rank approximation."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_dt, component, names, number, real_array, same_dtype, whole
from lrnn_jax.networks._activation import AbstractActivation, Identity, as_activation
from lrnn_jax.networks._base import AbstractRNN, Simulation, at_rest, read_in_step, scan_states
from lrnn_jax.networks._low_rank import LowRankRNN

WEIGHTS = ("w", "w_in", "w_out")
FAMILIES = {"w": ("v", "u"), "w_in": ("m",), "w_out": ("z",), "b": ("b",)}
"""The loading vectors that become of each array of weights."""


class DenseRNN(AbstractRNN):
    """A network with an unconstrained recurrent weight matrix.

        h_{t+1} = (1 − dt) h_t + dt φ(W h_t + W_in x_t + b),      y_t = W_out h_{t+1}

    Arguments:
        w: W, recurrent weights, shape (N, N).
        w_in: W_in, input weights, shape (N, d_in).
        w_out: W_out, read-out weights, shape (d_out, N).
        b: biases, shape (N,); None: none, and none are learned.
        dt: Euler step in membrane time constants, in (0, 1].
        activation: φ.
        frozen: arrays that do not learn, among "w", "w_in", "w_out", "b".

    Errors: ValueError for arrays that do not fit each other, entries that are not finite, dt
    outside (0, 1], or an unknown name in `frozen`.

    Source: [CL] eq. 1 (dense controllers).
    """

    w: Float[Array, "n n"]
    w_in: Float[Array, "n inputs"]
    w_out: Float[Array, "outputs n"]
    b: Float[Array, " n"] | None
    dt: Float[Array, ""]
    activation: AbstractActivation
    frozen: tuple[str, ...] = eqx.field(static=True)
    simulation = Simulation(scan_states, read_in_step)
    initial_state = at_rest

    def __init__(
        self,
        w: ArrayLike,
        w_in: ArrayLike,
        w_out: ArrayLike,
        b: ArrayLike | None = None,
        *,
        dt: ArrayLike,
        activation: AbstractActivation = Identity(),
        frozen: tuple[str, ...] = (),
    ):
        arrays = (real_array(x, f) for f, x in zip(WEIGHTS, (w, w_in, w_out)))
        b = None if b is None else real_array(b, "b")
        self.w, self.w_in, self.w_out, self.b = same_dtype(*arrays, b)
        shapes = {name: getattr(self, name).shape for name in WEIGHTS}
        n, inputs, outputs = shapes["w"][:1], shapes["w_in"][1:], shapes["w_out"][:1]
        wanted = {"w": n + n, "w_in": n + inputs, "w_out": outputs + n}
        if shapes != wanted or any(len(s) != 2 or 0 in s for s in shapes.values()):
            raise ValueError(
                f"A dense network of N neurons takes w (N, N), w_in (N, inputs) and w_out "
                f"(outputs, N); got {', '.join(f'{k} {v}' for k, v in shapes.items())}."
            )
        if self.b is not None and self.b.shape != n:
            raise ValueError(f"`b` holds one bias for each of {n[0]} neurons; got {self.b.shape}.")
        self.dt = as_dt(dt)
        self.activation = as_activation(activation)
        self.frozen = names(frozen, "frozen", self.weights)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of all arrays of weights, frozen ones too."""
        return WEIGHTS if self.b is None else (*WEIGHTS, "b")

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
        return self.b is not None

    @property
    def dtype(self) -> jnp.dtype:
        return self.w.dtype

    def step(
        self, state: Float[Array, "*batch n"], x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch n"]:
        dt = self.dt.astype(self.dtype)
        drive = recurrent_drive(self.w, state) + x @ self.w_in.T
        if self.b is not None:
            drive = drive + self.b.reshape(*[1] * (drive.ndim - 1), -1)
        return (1 - dt) * state + dt * self.activation(drive)

    def readout(self, state: Float[Array, "*batch n"]) -> Float[Array, "*batch outputs"]:
        return state @ self.w_out.T


@jax.custom_jvp
def recurrent_drive(w: Float[Array, "n n"], state: Float[Array, "*batch n"]) -> Float[Array, "..."]:
    """W h of every trial, with a gradient that is fast inside of a loop over time.

    The gradient Σ δ hᵀ over trials is a product of two arrays with trials first. XLA's CPU product
    takes twice as long when it has to turn the first one as it goes (N = 100, 100 trials: 87 µs
    instead of 45 µs): here δ is turned before.
    """
    return state @ w.T


@recurrent_drive.defjvp
def _recurrent_drive_jvp(primals: Any, tangents: Any) -> Any:
    (w, state), (dw, dstate) = primals, tangents
    # the barrier keeps XLA from folding the turn back into the product
    turned = jax.lax.optimization_barrier(jnp.tensordot(dw, state, (1, -1)))
    return recurrent_drive(w, state), dstate @ w.T + jnp.moveaxis(turned, 0, -1)


class Factorisation(eqx.Module):
    """A low-rank network made from a dense one, and what was left out.

    Arguments:
        network: the low-rank network.
        singular_values: of the recurrent matrix, descending, shape (N,).
        rank: r, how many were kept.
        energy: share of Σσ² kept.
        discarded: Frobenius norm of W − UVᵀ/s over that of W.
        largest_discarded: spectral norm of what was discarded (the next singular value).
    """

    network: LowRankRNN
    singular_values: Float[np.ndarray, " n"]
    rank: int = eqx.field(static=True)
    energy: float = eqx.field(static=True)
    discarded: float = eqx.field(static=True)
    largest_discarded: float = eqx.field(static=True)

    def __str__(self) -> str:
        return (
            f"rank {self.rank} of {len(self.singular_values)}: {self.energy:.6%} of Σσ² kept; "
            f"discarded ‖W − UVᵀ/s‖/‖W‖ = {self.discarded:.3g}, "
            f"largest discarded singular value {self.largest_discarded:.3g}"
        )


def factorise(
    network: DenseRNN, *, rank: int | None = None, energy: float | None = None, scale: float = 1.0
) -> Factorisation:
    """The best low-rank approximation of a linear dense network, by singular value decomposition.

        W = A Σ Bᵀ  →  U = A_r (s Σ_r)^½,  V = B_r (s Σ_r)^½,  M = W_in,  Z = s W_outᵀ

    so that UVᵀ/s is the nearest matrix of rank r to W, and UᵀU = VᵀV. Biases stay as they are, and
    what becomes of frozen weights is frozen.

    Arguments:
        network: a linear `DenseRNN`.
        rank: r to keep; or
        energy: keep the fewest singular values whose Σσ² reaches this share, in (0, 1]
            (default 0.99 when no rank is given).
        scale: s of the result; with 1, M and Z are the given input and output weights.

    Errors: ValueError when both are given, either is out of range, or φ is not linear (then the
    dense and the low-rank network apply φ at different places and cannot be the same).

    Source: ours.
    """
    component(network, DenseRNN, "network", "DenseRNN(w, w_in, w_out, dt=…)")
    if not network.activation.linear:
        raise ValueError(
            "Only a linear dense network equals a low-rank one after factorising W: with another "
            "φ, the dense network applies it to the input of a neuron, the low-rank one to its "
            "activity. Build a LowRankRNN from loading vectors instead."
        )
    if rank is not None and energy is not None:
        raise ValueError("Give `rank` or `energy`, not both.")
    scale = float(number(scale, "scale", 0, open_start=True))
    a, sigma, bt = np.linalg.svd(np.asarray(network.w))
    size = np.linalg.norm(sigma)
    kept = np.cumsum((sigma / size) ** 2) if size else np.ones_like(sigma)
    if rank is None:
        share = number(0.99 if energy is None else energy, "energy", 0, 1, open_start=True)
        rank = min(int(np.searchsorted(kept, float(share) * (1 - 1e-12))) + 1, len(sigma))
    rank = whole(rank, "rank", most=len(sigma))
    half = np.sqrt(scale * sigma[:rank])
    low_rank = LowRankRNN(
        z=scale * np.asarray(network.w_out).T,
        v=bt[:rank].T * half,
        m=network.w_in,
        u=a[:, :rank] * half,
        scale=scale,
        b=network.b,
        dt=network.dt,
        frozen=tuple(f for name in network.frozen for f in FAMILIES[name]),
    )
    return Factorisation(
        network=low_rank,
        singular_values=sigma,
        rank=rank,
        energy=float(kept[rank - 1]),
        discarded=float(np.linalg.norm(sigma[rank:]) / (size or 1)),
        largest_discarded=float(sigma[rank]) if rank < len(sigma) else 0.0,
    )
