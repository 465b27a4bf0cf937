"""Dense linear networks from c·1 + low rank: the few neurons that learn as they do."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lrnn_jax._checks import component
from lrnn_jax._readable import AbstractReadable, of_part
from lrnn_jax._types import is_traced
from lrnn_jax.networks import (
    AbstractDenseRNN,
    AbstractSpace,
    Feedback,
    Weights,
    weight_space,
)
from lrnn_jax.reduced._few import AbstractFewSpace

NEURONS = {"w": (0, 1), "w_in": (0,), "w_out": (1,), "b": (0,), "h0": (0,), "c": ()}
"""Which axes of an array of weights are neurons."""
SAMPLE = 256
"""On how many neurons c is looked for."""


class CompressedDense(AbstractReadable):
    """A dense network, the few neurons that learn as it does, and the way back.

    Arguments:
        network: the small one.
        feedback: fixed vectors of a learning rule, for the small network.
        frame: O, orthonormal columns, shape (N, neurons of the small network).
        original: the network of N neurons, from W_0 = c·1 + low rank.
        shifted: whether c ≠ 0; the last neuron of the small network then carries it.

    >>> start = lrnn.DenseRNN(np.zeros((9, 9)), np.ones((9, 1)), np.arange(9.0)[None] / 9, dt=0.1)
    >>> small = lrnn.compress(start)
    >>> small.network.w.shape, small.lift(small.network).w.shape
    ((2, 2), (9, 9))
    """

    network: AbstractDenseRNN
    feedback: Feedback
    frame: Float[Array, "n few"]
    original: AbstractDenseRNN
    shifted: bool = eqx.field(static=True)

    def lift(self, network: AbstractDenseRNN) -> AbstractDenseRNN:
        """The network of N neurons when the small one is this.

            W = W_0 + O (ΔC − δ·1) Oᵀ + δ·1,    W_in = W_in,0 + O ΔM,    …

        with Δ the change of the small network, and δ that of c: of its last diagonal entry.

        Arguments:
            network: the small one, at any time of learning: `curve.model`.

        Errors: ValueError for another number of neurons or channels.
        """
        component(network, AbstractDenseRNN, "network", "curve.model of the compressed network")
        shapes, wanted = (
            {n: getattr(x, n).shape for n in x.weights} for x in (network, self.network)
        )
        if shapes != wanted:
            raise ValueError(
                f"`network` must be the compressed one, with weights of shapes {wanted}; got "
                f"{shapes}."
            )
        change = {name: getattr(network, name) - getattr(self.network, name) for name in wanted}
        shift = change["w"][-1, -1] if self.shifted else 0.0
        change["w"] = _plus_diagonal(change["w"], -shift)
        weights = {n: getattr(self.original, n) + self._turned(n, x) for n, x in change.items()}
        weights["w"] = _plus_diagonal(weights["w"], shift)
        return with_weights(self.original, weights)

    def _turned(self, name: str, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """A change of an array of the small network, as that of the large one."""
        for axis in NEURONS[name]:
            x = jnp.moveaxis(jnp.tensordot(self.frame, x, (1, axis)), 0, axis)
        return x


def _plus_diagonal(w: Float[Array, "n n"], shift: Any) -> Float[Array, "n n"]:
    """W + shift · 1."""
    place = jnp.arange(len(w))
    return w.at[place, place].add(shift)


def with_weights(network: AbstractDenseRNN, weights: dict[str, Any]) -> AbstractDenseRNN:
    """The same network with other arrays of weights, by name."""
    return eqx.tree_at(lambda net: [getattr(net, n) for n in weights], network, [*weights.values()])


def compress_dense(network: AbstractDenseRNN, fixed: Feedback) -> CompressedDense:
    """`compress` of a dense network, with fixed vectors of a rule.

    Errors: as for `compress`.
    """
    kind = type(network).__name__
    if not network.activation.linear or network.constrain is not None:
        raise ValueError(
            f"`network` must have linear φ, and neither masks nor signs, for few neurons to learn "
            f"as it does; got a {kind} with φ = {type(network.activation).__name__}: let it learn "
            f"by simulation."
        )
    if is_traced(network, fixed):
        raise ValueError(
            "`network` must be known for its rank to be: call compress or reduce outside of jit, "
            "vmap and grad, and trace the small network."
        )
    frame, shift = _frame(network, [np.asarray(x) for x in fixed if x is not None])
    return few_in_frame(network, fixed, frame, bool(shift))


def few_in_frame(
    network: AbstractDenseRNN, fixed: Feedback, frame: Float[np.ndarray, "n few"], shifted: bool
) -> CompressedDense:
    """The few neurons that an orthonormal frame makes of a network and of fixed vectors."""

    def projected(x: Any, axes: tuple[int, ...]) -> Float[Array, "..."]:
        x = np.asarray(x)
        for axis in axes:
            x = np.moveaxis(np.tensordot(frame, x, (0, axis)), 0, axis)
        return jnp.asarray(x)

    small = {n: projected(getattr(network, n), NEURONS[n]) for n in network.weights}
    few = Feedback(*(None if x is None else projected(x, (0,)) for x in fixed))
    return CompressedDense(with_weights(network, small), few, jnp.asarray(frame), network, shifted)


def _frame(
    network: AbstractDenseRNN, fixed: list[np.ndarray]
) -> tuple[Float[np.ndarray, "n few"], float]:
    """O and c: an orthonormal basis of what learning can move, and one direction beyond if c ≠ 0.

    Errors: ValueError where it has as many columns as there are neurons.
    """
    w, n = np.asarray(network.w), network.state_size
    beside = [np.asarray(network.w_in), np.asarray(network.w_out).T, *fixed]
    beside += [np.asarray(x)[:, None] for x in (network.b, network.h0) if x is not None]
    vectors = sum(x.shape[1] for x in beside)
    most = (n - 1) // 2
    shift, sides = 0.0, low_rank(w, most)
    if sides is None:
        step = -(-n // SAMPLE)
        shift = float(np.median(np.linalg.eigvals(w[::step, ::step]).real))
        sides = low_rank(w - shift * np.eye(n, dtype=w.dtype), most, float(np.abs(w).max()))
    if sides is None:
        raise ValueError(
            f"`network` has rank(W_0 − c) > {most}, so p = {vectors} + 2·rank ≥ N = {n}: fewer "
            f"neurons learn as it does only from W_0 = c·1 + low rank; let it learn by simulation."
        )
    frame = _orthonormal(np.concatenate([*beside, *sides], axis=1))
    if shift and frame.shape[1] < n:
        beyond = np.eye(n, dtype=w.dtype)[:, [np.argmin(np.sum(frame**2, axis=1))]]
        for _ in range(2):
            beyond = beyond - frame @ (frame.T @ beyond)
        frame = np.concatenate([frame, beyond / np.linalg.norm(beyond)], axis=1)
    if frame.shape[1] >= n:
        rank = sides[0].shape[1]
        raise ValueError(
            f"`network` has rank(W_0 − c) = {rank} with c = {shift:.4g}, so p = {frame.shape[1]} ≥ "
            f"N = {n}: the neurons that learn as it does would not be fewer; let it learn by "
            f"simulation."
        )
    return frame, shift


def low_rank(
    matrix: Float[np.ndarray, "n n"], most: int, size: float | None = None
) -> tuple[Float[np.ndarray, "n rank"], Float[np.ndarray, "n rank"]] | None:
    """Columns and rows that span those of a matrix, by elimination; None if more than `most`.

    What is left is below rounding, of entries of this `size` (default: the largest).
    """
    rest, columns, rows = np.array(matrix), [], []
    size = float(max(rest.max(), -rest.min())) if size is None else size
    few = 16 * np.sqrt(len(rest)) * np.finfo(rest.dtype).eps * size
    while True:
        place = max(rest.argmax(), rest.argmin(), key=lambda i: abs(rest.flat[i]))
        i, j = np.unravel_index(place, rest.shape)
        if abs(rest[i, j]) <= few:
            columns, rows = (
                np.reshape(a, (-1, len(rest))).astype(rest.dtype) for a in (columns, rows)
            )
            return columns.T, rows.T
        if len(columns) == most:
            return None
        columns.append(rest[:, j].copy())
        rows.append(rest[i].copy())
        rest -= np.outer(columns[-1], rows[-1] / rest[i, j])


def _orthonormal(vectors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n few"]:
    """An orthonormal basis of the span of vectors, whatever their lengths."""
    length = np.linalg.norm(vectors, axis=0)
    unit = (vectors / np.where(length > 0, length, 1)).astype(vectors.dtype)
    u, size, _ = np.linalg.svd(unit, full_matrices=False)
    few = max(unit.shape) * np.finfo(unit.dtype).eps * size[0]
    return u[:, size > few]


class CoreSpace(AbstractFewSpace):
    """A dense network as the few neurons that learn as it does: X are their arrays, M = 1.

    Only what commutes with rotations of the neurons, O W Oᵀ, is exact in it.

    >>> start = lrnn.DenseRNN(np.zeros((9, 9)), np.ones((9, 1)), np.arange(9.0)[None] / 9, dt=0.1)
    >>> space = reduced.CoreSpace(lrnn.compress(start))
    >>> space.network.state_size, space.lifted(space.start).state_size
    (2, 9)
    """

    core: CompressedDense
    vectors: AbstractSpace
    coefficients, realisable = True, True
    network, model_at = of_part("core", "network"), of_part("vectors", "model_at")

    def __init__(self, core: CompressedDense):
        self.core, self.vectors = core, weight_space(core.network, core.feedback)

    @property
    def roles(self) -> None:
        return None

    def lifted(self, weights: Weights) -> AbstractDenseRNN:
        """The network of N neurons."""
        network: Any = self.vectors.model(weights)
        return self.core.lift(network)

    def transform(self, weights: Weights) -> None:
        return None
