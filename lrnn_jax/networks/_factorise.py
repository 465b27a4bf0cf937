"""The best low-rank approximation of a dense network."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lrnn_jax._checks import component, number, whole
from lrnn_jax.networks._dense import AbstractDenseRNN
from lrnn_jax.networks._low_rank import LowRankRNN

FAMILIES = {"w": "vu", "w_in": "m", "w_out": "z", "b": "b", "h0": "h", "c": "c"}
"""What becomes of each array of weights, by its letters."""


class Factorisation(eqx.Module):
    """A low-rank network made from a dense one, and what was left out.

    Arguments:
        network: the low-rank network.
        singular_values: of the recurrent matrix, descending, shape (N,).
        rank: r, how many were kept.
        energy: share of Σσ² kept.
        discarded: Frobenius norm of W − UVᵀ/s over that of W.
        largest_discarded: spectral norm of what was discarded (the next singular value).

    >>> found = lrnn.factorise(dense, rank=1)
    >>> found.rank, round(found.energy, 6), round(found.discarded, 6)
    (1, 1.0, 0.0)
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
    network: AbstractDenseRNN,
    *,
    rank: int | None = None,
    energy: float | None = None,
    scale: float = 1.0,
    initial: AbstractDenseRNN | None = None,
) -> Factorisation:
    """The best low-rank approximation of a dense network, by singular value decomposition.

        W = A Σ Bᵀ  →  U = A_r (s Σ_r)^½,  V = B_r (s Σ_r)^½,  M = W_in,  Z = s W_outᵀ

    so that UVᵀ/s is the nearest matrix of rank r to W, and UᵀU = VᵀV. Biases and initial state stay
    as they are, what becomes of frozen weights is frozen, and at full rank nothing is lost (but
    masks and signs, which no low-rank matrix has).

    A `DenseRNN` that steps by dt = 1 is the `CurrentRNN` of a_{t+1} = W h_t + W_in x_t + b, as then
    h_t = φ(a_t): so vanilla RNNs, such as PyTorch's, factorise exactly too. With `initial`, what
    learning added, ΔW = W − W_0, is in W's place: trained networks are W_0 + low rank.

    Arguments:
        network: a `CurrentRNN`, or a `DenseRNN` that is linear or steps by dt = 1 from h_0 = 0.
        rank: r to keep; or
        energy: keep the fewest singular values whose Σσ² reaches this share, in (0, 1]
            (default 0.99 when no rank is given).
        scale: s of the result; with 1, M and Z are the given input and output weights.
        initial: the network before learning, of which W_0 is taken.

    Errors: ValueError when rank and energy are given, either is out of range, for another
    `DenseRNN` (it and a low-rank network apply φ at different places, and cannot be the same), and
    for an `initial` of another size.

    Source: ours; ΔW: Schuessler et al. 2020.

    >>> low = lrnn.factorise(dense, rank=1).network
    >>> x = jr.normal(key, (50, 1))
    >>> bool(jnp.allclose(low.rollout(x), dense.rollout(x)))
    True
    """
    check_factorisable(network)
    w = recurrent_change(network, initial)
    if rank is not None and energy is not None:
        raise ValueError("Give `rank` or `energy`, not both.")
    scale = float(number(scale, "scale", 0, open_start=True))
    a, sigma, bt = np.linalg.svd(w)
    size = np.linalg.norm(sigma)
    kept = np.cumsum((sigma / size) ** 2) if size else np.ones_like(sigma)
    share = number(0.99 if energy is None else energy, "energy", 0, 1, open_start=True)
    enough = min(int(np.searchsorted(kept, float(share) * (1 - 1e-12))) + 1, len(sigma))
    rank = whole(enough if rank is None else rank, "rank", most=len(sigma))
    half = np.sqrt(scale * sigma[:rank])
    return Factorisation(
        network=_with_vectors(network, a[:, :rank] * half, bt[:rank].T * half, scale),
        singular_values=sigma,
        rank=rank,
        energy=float(kept[rank - 1]),
        discarded=float(np.linalg.norm(sigma[rank:]) / (size or 1)),
        largest_discarded=float(sigma[rank:].max(initial=0)),
    )


def _with_vectors(network: Any, u: np.ndarray, v: np.ndarray, scale: float) -> LowRankRNN:
    """The network with UVᵀ/s in place of W."""
    return LowRankRNN(
        z=scale * np.asarray(network.w_out).T,
        v=v,
        m=network.w_in,
        u=u,
        scale=scale,
        b=network.b,
        h0=network.h0,
        c=network.c,
        dt=network.dt,
        activation=network.activation,
        readout=network.readout_activation if network.of_currents else None,
        frozen=tuple(f for name in network.frozen for f in FAMILIES[name]),
    )


def recurrent_change(
    network: AbstractDenseRNN, initial: AbstractDenseRNN | None
) -> Float[np.ndarray, "n n"]:
    """W, or ΔW = W − W_0.

    Errors: ValueError for networks of other kinds or sizes.

    >>> bool((networks.recurrent_change(dense, None) == dense.w).all())
    True
    """
    w = np.asarray(network.w)
    if initial is None:
        return w
    before = component(initial, type(network), "initial", f"a {type(network).__name__}").w
    if before.shape != w.shape:
        raise ValueError(
            f"`initial` is the network before learning, with weights of the same shape {w.shape}; "
            f"got {before.shape}."
        )
    return w - np.asarray(before)


def check_factorisable(network: AbstractDenseRNN) -> None:
    """Raise ValueError unless the network at full rank is a low-rank one.

    >>> networks.check_factorisable(dense)
    >>> bent_dense = lrnn.DenseRNN(dense.w, dense.w_in, dense.w_out, dt=0.1, activation=lrnn.Tanh())
    >>> networks.check_factorisable(bent_dense)
    Traceback (most recent call last):
        ...
    ValueError: A DenseRNN equals a low-rank network after factorising W only where ...
    """
    component(network, AbstractDenseRNN, "network", "CurrentRNN(w, w_in, w_out, dt=…)")
    if not (network.activation.linear or network.of_currents or _steps_by_one(network)):
        raise ValueError(
            f"A {type(network).__name__} equals a low-rank network after factorising W only where "
            f"φ is linear, or dt = 1 and it starts from h = 0: it applies φ to the input of a "
            f"neuron, a LowRankRNN to its activity. If yours sums W φ(h), make it a CurrentRNN."
        )


def _steps_by_one(network: AbstractDenseRNN) -> bool:
    """Whether h_t = φ(a_t) at all t, of the currents a_{t+1} = W h_t + W_in x_t + b, a_0 = 0."""
    rests = network.h0 is None and float(network.activation(jnp.zeros(()))) == 0
    return rests and float(network.dt) == 1 and network.readout_activation.linear
