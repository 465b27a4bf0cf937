"""Infinitely many neurons over a random bulk: networks of words."""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_dt, component, flag, number, shown, whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import is_traced
from lrnn_jax.networks import (
    AbstractDenseRNN,
    BulkLaw,
    Feedback,
    LowRankRNN,
    RandomBulk,
    overlaps_beside,
    square_root,
)
from lrnn_jax.overlaps import Overlaps, one_set
from lrnn_jax.reduced._few import fixed_of, network_of
from lrnn_jax.reduced._reduced import ReducedRNN
from lrnn_jax.reduced._words import (
    STEPS,
    AbstractWords,
    WordBulk,
    Words,
    as_words,
    check_memory,
    chosen,
    count_words,
    tables,
)


class WordLimit(AbstractReadable):
    """What infinitely many neurons over a random bulk are: a network of words.

    Arguments:
        network: it.
        feedback: fixed vectors of a learning rule, for this network.

    >>> limit = lrnn.compress(over, words=5)  # of a network with a bulk
    >>> limit.network.state_size
    252
    """

    network: Any
    feedback: Feedback


def sized(words: AbstractWords, law: BulkLaw, dt: Any) -> tuple[AbstractWords, Any]:
    """Words of a definite length, and their error; None where g is traced.

    Errors: ValueError where no length can be chosen.
    """
    if is_traced(law.g, dt):
        if words.length is None:
            raise ValueError("`words` need a length inside jit, vmap and grad: give Words(8).")
        return words, None
    known = BulkLaw(float(law.g), law.symmetric)
    length, error = chosen(words, known, float(dt))
    return words.up_to(length), error


def say_few(words: AbstractWords, g: Any, error: Any) -> None:
    """A warning where the error is above the tolerance."""
    if error is not None and error > words.tolerance:
        warnings.warn(
            f"Words up to length {words.length} are few for a bulk of g = {float(g):.3g}: the last "
            f"two lengths add about {error:.2g}, above the tolerance {words.tolerance:g}; take "
            f"longer ones, or such as Words({words.length}, tolerance=…).",
            stacklevel=5,
        )


def word_limit(
    overlaps: Overlaps,
    g: ArrayLike,
    words: AbstractWords | int,
    *,
    dt: ArrayLike,
    symmetric: bool = False,
    like: Any = None,
) -> WordLimit:
    """Infinitely many neurons with these overlaps over a random bulk, as a network of words.

        W = g J + (1/s) U Vᵀ   →   g c ⊗ 1 + U Vᵀ,      Θ_0 = Ω ⊗ R,   RᵀR = Q_0

    of k (2^{D+1} − 1) neurons, with c as in `Words`: each number of a word is one neuron. It learns
    by the same code as any network, and `curve.gram` is Q of both, up to O(1/√N) of the network and
    the truncation of words. The vectors must not depend on J at the start.

    Arguments:
        overlaps: Q_0, with fixed vectors of a rule where there are such (columns f, c, g).
        g: strength of the bulk, as in `RandomBulk`.
        words: `Words(…)`, `Powers(…)`, or D.
        dt: Euler step.
        symmetric: whether J = Jᵀ.
        like: a network, or reduction, to take the read-out, its bias and frozen columns from.

    Errors: ValueError for means (nonlinear φ), g < 0, words whose length cannot be chosen, and
    words that would not fit into the memory. A warning where the error estimated for the last two
    lengths is above the tolerance.

    Source: ours.

    >>> limit = reduced.word_limit(net.overlaps, 0.5, 6, dt=0.1)
    >>> curve = lrnn.learn(limit.network, task, descent, epochs=20)
    >>> bool(jnp.allclose(curve.gram[0], net.overlaps.gram))
    True
    """
    q, dt = one_set(overlaps), as_dt(dt)
    if q.roles.means:
        raise ValueError("`overlaps` with means are of nonlinear φ, and words are for linear φ.")
    law = BulkLaw(number(g, "g", 0), flag(symmetric, "symmetric"))
    words, error = sized(as_words(words), law, dt)
    assert words.length is not None
    alphabet, k = words.alphabet(law.symmetric), q.roles.size
    size = count_words(words.length, alphabet) * k
    each = 2 * (words.steps or STEPS) + 16 * k
    check_memory(words.length, alphabet, q.gram.dtype.itemsize * size * each)
    say_few(words, law.g, error)
    start = ReducedRNN(q.own, dt=dt) if like is None else like
    loadings = jnp.zeros((size, k), q.gram.dtype).at[:k].set(square_root(q.gram))
    bulk = WordBulk(law.g, words, k, law.symmetric, error)
    network = network_of(loadings, q.roles, jnp.ones((), q.gram.dtype), start, bulk)
    return WordLimit(network, fixed_of(loadings, q.roles))


def limit_of_low_rank(network: LowRankRNN, fixed: Feedback, words: Any) -> WordLimit:
    """`word_limit` of a network with a bulk.

    Errors: ValueError, with the reason, for a network that has none.
    """
    if network.bulk is None:
        raise ValueError(
            "`words` are for networks over a random bulk, LowRankRNN(…, bulk=RandomBulk(…)): leave "
            "them out, as without one the overlaps alone are exact."
        )
    if not network.linear:
        raise ValueError(
            f"`network` has φ = {type(network.activation).__name__} over a bulk, whose limit is no "
            f"network but a self-consistent Gaussian process in time, which is not here: let it "
            f"learn by simulation."
        )
    if network.scale.ndim:
        raise ValueError("`network` over a bulk has one scale for its limit, not one a neuron.")
    law = network.bulk.law()
    words = as_words(Words() if words is None else words)
    q = overlaps_beside(network, fixed)
    return word_limit(q, law.g, words, dt=network.dt, symmetric=law.symmetric, like=network)


def limit_of_dense(network: AbstractDenseRNN, fixed: Feedback, words: Any) -> WordLimit:
    """A dense network from W_0 = gJ with infinitely many neurons, as a dense network of words.

        W_0 → g c ⊗ 1,     W_in → Ω ⊗ R_in,   W_out → Ω ⊗ R_out,      RᵀR = [W_in W_outᵀ …]ᵀ[…]

    g = ‖W_0‖/√N (Frobenius).

    Errors: ValueError for nonlinear φ, masks or signs, a W_0 that does not look random, and words
    that would not fit into the memory.
    """
    if not network.activation.linear or network.constrain is not None:
        raise ValueError(
            f"`network` must have linear φ, and neither masks nor signs, for words to stand for "
            f"its neurons; got φ = {type(network.activation).__name__}."
        )
    law = RandomBulk(1.0, network.w).law()
    words, error = sized(as_words(words), law, network.dt)
    assert words.length is not None
    alphabet = words.alphabet(law.symmetric)
    columns = {"w_in": network.w_in, "w_out": network.w_out.T}
    columns |= {n: x[:, None] for n in ("b", "h0") if (x := getattr(network, n)) is not None}
    columns |= {n: x for n, x in fixed._asdict().items() if x is not None}
    vectors = jnp.concatenate([x.astype(network.dtype) for x in columns.values()], axis=1)
    k = vectors.shape[1]
    size = count_words(words.length, alphabet) * k
    each = 8 * size + 2 * (words.steps or STEPS)
    check_memory(words.length, alphabet, vectors.dtype.itemsize * size * each)
    say_few(words, law.g, error)
    root = square_root(vectors.T @ vectors)
    loadings = jnp.zeros((size, k), vectors.dtype).at[:k].set(root)
    edges = np.cumsum([x.shape[1] for x in columns.values()])[:-1]
    parts = dict(zip(columns, jnp.split(loadings, edges, axis=1)))
    few = Feedback(*(parts.get(name) for name in ("f", "c", "g")))
    arrays = {"w": law.g * dense_product(words, law.symmetric, k, vectors.dtype)}
    arrays |= {"w_in": parts["w_in"], "w_out": parts["w_out"].T}
    arrays |= {name: parts[name][:, 0] for name in ("b", "h0") if name in parts}
    small = eqx.tree_at(lambda n: [getattr(n, x) for x in arrays], network, [*arrays.values()])
    return WordLimit(small, few)


def dense_product(
    words: AbstractWords, symmetric: bool, copies: int, dtype: Any
) -> Float[Array, "n n"]:
    """c ⊗ 1 as a matrix."""
    assert words.length is not None
    (up, down), _ = tables(words.length, words.alphabet(symmetric))
    size = len(up)
    matrix = np.zeros((size, size + 1), dtype)
    matrix[np.arange(size), up] += 1
    matrix[np.arange(size), down] += 1
    return jnp.asarray(np.kron(matrix[:, :-1], np.eye(copies, dtype=dtype)))


class Truncation(NamedTuple):
    """What the last two lengths of words of a network contribute.

    Fields: outputs, largest change of its responses to unit impulses; gram, of its overlaps.

    >>> limit = reduced.word_limit(net.overlaps, 0.5, 6, dt=0.1)
    >>> found = reduced.truncation(limit.network, steps=50)
    >>> float(found.gram)  # no vector has learned yet
    0.0
    """

    outputs: Float[Array, ""]
    gram: Float[Array, ""]


def truncation(network: LowRankRNN, steps: int) -> Truncation:
    """What a word network, at any time of learning, would lose with its vectors cut at D − 2.

        max |y_t − y_t(D − 2)|,    max |Q − Q(D − 2)|

    A measure of the error against words of length D − 2; what is lost beyond D is smaller.

    Arguments:
        network: of words, such as `curve.model`.
        steps: of the responses.

    Errors: ValueError for another network, or words shorter than 2.

    Source: ours.

    >>> theory = lrnn.learn(lrnn.reduce(over, words=6), task, descent, epochs=20)
    >>> found = reduced.truncation(theory.model, steps=50)
    >>> bool(0 < found.outputs < 1e-2), bool(0 < found.gram < 1e-2)
    (True, True)
    """
    such_as = "curve.model of reduce(network, words=8)"
    bulk = component(network, LowRankRNN, "network", such_as).bulk
    if not isinstance(bulk, WordBulk) or bulk.length < 2:
        raise ValueError(
            f"`network` must be one of words of length 2 and more, {such_as}; got a bulk of "
            f"{shown(bulk)}."
        )
    steps = whole(steps, "steps")
    fewer = bulk.words.up_to(bulk.length - 2)
    size = count_words(bulk.length - 2, bulk.alphabet) * bulk.copies
    cut = WordBulk(bulk.g, fewer, bulk.copies, bulk.symmetric)
    options = {"dt": network.dt, "readout": network.readout_activation, "c": network.c}
    theta = network.vectors[:size]
    short = LowRankRNN.from_stack(theta, network.roles, network.scale, bulk=cut, **options)
    x = jnp.zeros((network.inputs, steps, network.inputs), network.dtype)
    each = jnp.arange(network.inputs)
    x = x.at[each, 0, each].set(1 / network.dt.astype(network.dtype))
    outputs = jnp.max(jnp.abs(network.rollout(x) - short.rollout(x)))
    gram = jnp.max(jnp.abs(network.overlaps.gram - short.overlaps.gram))
    return Truncation(outputs, gram)
