"""Few neurons for many: what is exact for a network, at its N or at infinitely many."""

from dataclasses import replace
from typing import Any, overload

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, number
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractDenseRNN, Feedback, LowRankRNN, as_feedback
from lrnn_jax.reduced._dense import CompressedDense, compress_dense, few_in_frame
from lrnn_jax.reduced._few import fixed_of, network_of
from lrnn_jax.reduced._krylov import CoreBulk, beyond, check_forward, krylov_frame
from lrnn_jax.reduced._limits import WordLimit, limit_of_dense, limit_of_low_rank
from lrnn_jax.reduced._words import AbstractWords


class Compressed(AbstractReadable):
    """A low-rank network, the few neurons that learn as it does, and the way back.

    Arguments:
        network: the small one.
        feedback: fixed vectors of a learning rule, for the small network.
        frame: O with Θ = O R, shape (N, neurons of the small network).
        original: the network of N neurons.

    >>> small = lrnn.compress(net)
    >>> small.network.state_size, small.frame.shape
    (4, (40, 4))
    """

    network: LowRankRNN
    feedback: Feedback
    frame: Float[Array, "n few"]
    original: LowRankRNN

    def lift(self, network: LowRankRNN) -> LowRankRNN:
        """The network of N neurons when the small one is this: Θ = O R.

        Arguments:
            network: the small one, at any time of learning: `curve.model`.

        Errors: ValueError for another number of neurons or vectors.
        """
        component(network, LowRankRNN, "network", "curve.model of the compressed network")
        if network.vectors.shape != self.network.vectors.shape:
            raise ValueError(
                f"`network` must be the compressed one, with vectors of shape "
                f"{self.network.vectors.shape}; got {network.vectors.shape}."
            )
        lifted = self.original.with_vectors(self.frame @ network.vectors)
        return lifted if network.c is None else eqx.tree_at(lambda n: n.c, lifted, network.c)


@overload
def compress(
    network: LowRankRNN,
    feedback: Feedback | ArrayLike | None = None,
    *,
    steps: int | None = None,
    tolerance: ArrayLike = 0.0,
) -> Compressed: ...
@overload
def compress(
    network: AbstractDenseRNN,
    feedback: Feedback | ArrayLike | None = None,
    *,
    steps: int | None = None,
    tolerance: ArrayLike = 0.0,
) -> CompressedDense: ...
@overload
def compress(
    network: LowRankRNN | AbstractDenseRNN,
    feedback: Feedback | ArrayLike | None = None,
    *,
    words: AbstractWords | int,
) -> WordLimit: ...
def compress(
    network: LowRankRNN | AbstractDenseRNN,
    feedback: Feedback | ArrayLike | None = None,
    *,
    words: AbstractWords | int | None = None,
    steps: int | None = None,
    tolerance: ArrayLike = 0.0,
) -> Compressed | CompressedDense | WordLimit:
    """The few neurons whose learning is that of N neurons, exactly, at any step size.

        Θ⁺_0 = [Θ_0 | F | C | G] = O R (QR),      Θ_t = O R_t

    The network with loadings R and the same scale s, trained by the same code, has at all times the
    outputs and overlaps of the network with Θ: under every method and rule that commutes with
    rotations of the neurons (all but those that perturb, and Adam), for linear φ.

    A dense network has such neurons where W_0 = c·1 + L with L of low rank ρ: with O an orthonormal
    basis of what reads in and out and of the columns and rows of L, for all times,

        W = c·1 + O (C − c·1) Oᵀ,   W_in = O M,   W_out = Z Oᵀ,      (C, M, Z) of p neurons

    p = d_in + d_out + 2ρ (2 from W_0 = 0, with one channel), and one more that carries c ≠ 0, which
    weight decay changes; biases, initial state and fixed vectors of a rule, one each.

    Over a bulk gJ, and from any W_0 of full rank, there are none under the gradient, but

        words: for N → ∞ the network of words (`word_limit`), of all rules but those that perturb
        steps: at any N those of span{(gJ)^k [M U F C], k < T}, which rules never leave that send
            errors back by F and C alone (`RFLO`; `FeedbackAlignment` with `time`)

    Arguments:
        network: a linear `LowRankRNN`, or `DenseRNN` or `CurrentRNN`.
        feedback: fixed vectors of the rule: F, shape (N, outputs), or `Feedback(f, c, g)`.
        words: `Words(…)`, `Powers(…)`, or D, for the limit over a bulk; of a dense network from
            W_0 = gJ, taken for random.
        steps: T, the steps of a trial, for the few neurons that follow a bulk, or W_0 of full rank,
            forward in time. (Weight decay of a dense network shrinks W_0 in them, not in the lift.)
        tolerance: with `steps`: what powers of the matrix may lack; see `krylov_frame`.

    Returns: `Compressed`, `CompressedDense` or `WordLimit`, with `network` and `feedback`.

    Errors: ValueError for nonlinear φ, signs of neurons or masks, feedback of another shape, for a
    dense network with p ≥ N, one that is traced (its rank has to be known), both `words` and
    `steps`, `steps` without feedback; and those of `word_limit`.

    Source: ours.

    >>> small = lrnn.compress(net, np.ones((40, 1)))
    >>> rule = lrnn.RFLO(small.feedback)
    >>> curve = lrnn.learn(small.network, task, lrnn.Descent(0.02, rule=rule), epochs=20)
    >>> small.network.state_size, small.lift(curve.model).state_size
    (5, 40)
    """
    component(network, (LowRankRNN, AbstractDenseRNN), "network", "LowRankRNN(…), or DenseRNN(…)")
    fixed, tolerance = as_feedback(feedback, network), number(tolerance, "tolerance", 0)
    make: Any = _few_of_dense if isinstance(network, AbstractDenseRNN) else _few_of_low_rank
    if words is None:
        return make(network, fixed, steps, tolerance)
    if steps is None:
        limit: Any = limit_of_dense if isinstance(network, AbstractDenseRNN) else limit_of_low_rank
        return limit(network, fixed, words)
    raise ValueError(
        "`words` are of infinitely many neurons, and `steps` of the N of this network: give one of "
        "the two."
    )


def _few_of_dense(
    network: AbstractDenseRNN, fixed: Feedback, steps: int | None, tolerance: ArrayLike
) -> CompressedDense:
    """`compress` at the network's own N."""
    if steps is None:
        return compress_dense(network, fixed)
    return _core_of_dense(network, fixed, steps, tolerance)


def _few_of_low_rank(
    network: LowRankRNN, fixed: Feedback, steps: int | None, tolerance: ArrayLike
) -> Compressed:
    """`compress` at the network's own N."""
    if not network.linear:
        raise ValueError(
            f"φ = {type(network.activation).__name__} acts on each neuron by itself, so fewer "
            f"neurons cannot stand for them: use population(network)."
        )
    if steps is not None:
        return _core_of_low_rank(network, fixed, steps, tolerance)
    network.check_reducible()
    own = network.scale.astype(network.dtype)
    by_neuron = jnp.sqrt(own)[:, None] if own.ndim else jnp.ones((1, 1), own.dtype)
    frame, loadings = jnp.linalg.qr(fixed.beside(network.vectors, False) / by_neuron)
    roles = replace(network.roles, **fixed.columns)
    small = network_of(loadings, roles, jnp.ones((), own.dtype) if own.ndim else own, network)
    return Compressed(small, fixed_of(loadings, roles), frame * by_neuron, network)


def _core_of_low_rank(
    network: LowRankRNN, fixed: Feedback, steps: int, tolerance: ArrayLike
) -> Compressed:
    """The neurons that follow a bulk forward in time, and those that read out beyond them.

    Errors: ValueError for a network without bulk, one that is traced, or where p ≥ N.
    """
    check_forward(fixed)
    bulk, n = network.bulk, network.state_size
    if bulk is None or network.scale.ndim:
        raise ValueError(
            "`steps` are for a network over a bulk with one scale: leave them out, as the overlaps "
            "of one without close by themselves."
        )
    _check_known(network, fixed)
    theta = fixed.beside(network.vectors, False)
    roles = replace(network.roles, **fixed.columns)
    columns = {f: np.asarray(theta)[:, part] for f, part in roles.slices.items()}
    driven = np.concatenate([x for f, x in columns.items() if f in "mubhfc"], axis=1)
    reading = np.concatenate([x for f, x in columns.items() if f in "zvg"], axis=1)

    def product(x: Any) -> Any:
        return np.asarray(bulk.product(jnp.asarray(x.T))).T

    options = {"steps": steps, "tolerance": tolerance}
    frame = krylov_frame(product, driven, dt=float(network.dt), **options)
    frame = np.concatenate([frame, beyond(frame, reading)], axis=1)
    _check_fewer(frame, n)
    loadings = jnp.asarray(frame.T @ np.asarray(theta))
    core = CoreBulk(frame.T @ product(frame))
    small = network_of(loadings, roles, network.scale.astype(network.dtype), network, core)
    return Compressed(small, fixed_of(loadings, roles), jnp.asarray(frame), network)


def _core_of_dense(
    network: AbstractDenseRNN, fixed: Feedback, steps: int, tolerance: ArrayLike
) -> CompressedDense:
    """The neurons that follow any W_0 forward in time; errors as for `_core_of_low_rank`."""
    check_forward(fixed)
    if not network.activation.linear or network.constrain is not None:
        raise ValueError(
            f"`network` must have linear φ, and neither masks nor signs, for few neurons to learn "
            f"as it does; got φ = {type(network.activation).__name__}."
        )
    _check_known(network, fixed)
    driven = [network.w_in, *(x[:, None] for x in (network.b, network.h0) if x is not None)]
    driven = np.concatenate([np.asarray(x) for x in (*driven, *fixed[:2]) if x is not None], axis=1)
    w = np.asarray(network.w)
    options = {"steps": steps, "tolerance": tolerance}
    frame = krylov_frame(lambda x: w @ x, driven, dt=float(network.dt), **options)
    _check_fewer(frame, network.state_size)
    return few_in_frame(network, fixed, frame, False)


def _check_known(network: Any, fixed: Feedback) -> None:
    if is_traced(network, fixed):
        raise ValueError(
            "`network` must be known for what its matrix reaches: call compress outside of jit, "
            "vmap and grad, and trace the small network."
        )


def _check_fewer(frame: Float[np.ndarray, "n p"], n: int) -> None:
    if frame.shape[1] >= n:
        raise ValueError(
            f"`steps` reach p = {frame.shape[1]} ≥ N = {n} neurons, so the few would not be fewer: "
            f"give a tolerance, such as 1e-6, or let the network learn by simulation."
        )
