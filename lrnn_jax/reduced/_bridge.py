"""From a network to its reduction."""

from typing import overload

from jaxtyping import ArrayLike

from lrnn_jax._checks import component
from lrnn_jax.networks import (
    AbstractDenseRNN,
    AbstractOverlapRNN,
    AbstractRNN,
    Feedback,
    LowRankRNN,
    as_feedback,
    overlaps_beside,
)
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.reduced._base import AbstractReduction, LinearSystem
from lrnn_jax.reduced._compress import compress
from lrnn_jax.reduced._limits import limit_of_low_rank
from lrnn_jax.reduced._reduced import ReducedRNN
from lrnn_jax.reduced._words import AbstractWords


@overload
def reduce(
    network: AbstractDenseRNN, *, words: AbstractWords | int | None = None
) -> AbstractDenseRNN: ...
@overload
def reduce(network: LowRankRNN, *, words: AbstractWords | int) -> LowRankRNN: ...
@overload
def reduce(network: AbstractRNN, *, feedback: Feedback | ArrayLike | None = None) -> ReducedRNN: ...
def reduce(
    network: AbstractRNN,
    *,
    feedback: Feedback | ArrayLike | None = None,
    words: AbstractWords | int | None = None,
) -> ReducedRNN | LowRankRNN | AbstractDenseRNN:
    """The reduction of a network to its overlaps, Q = ΘᵀΘ/s; of a dense one, to a few neurons.

    For linear φ its output is the network's for every input, and learning moves both alike,
    exactly. For nonlinear φ it is the Gaussian closure (see `ReducedRNN`), with the means of the
    vectors where φ is not odd or there are biases.

    A linear dense network becomes one of the same class with p < N neurons that learns as it does,
    exactly, where W_0 is c·1 + low rank (see `compress`).

    A linear network over a random bulk becomes a network of words, the limit of infinitely many
    neurons, which learns by the same code (see `word_limit`); a dense one from W_0 = gJ likewise,
    where `words` are given.

    Arguments:
        network: a `LowRankRNN`, a linear `MixtureRNN` (by its Q = Σ π_p Q_p), or a `ReducedRNN`,
            which stays what it is; or a linear `DenseRNN` or `CurrentRNN`.
        feedback: fixed vectors of a learning rule, of which the overlaps are kept too (columns f,
            c, g): F, shape (N, outputs), or `networks.Feedback(f, c, g)`. Of a `LowRankRNN` only.
        words: over a bulk: which words stand for it, `Words(…)`, `Powers(…)`, or D, those up to
            this length; None: as long as the tolerance of `Words()` asks for.

    Errors: TypeError for another network without loading vectors; ValueError for nonlinear φ with
    neurons' weights 1/s that do not sum to 1, or with populations; for dense networks those of
    `compress`, and for their `feedback`, which `compress` returns too; over a bulk those of
    `word_limit`, for nonlinear φ, and for `words` without a bulk.

    Source: [LR] sec. 2.

    >>> reduction = lrnn.reduce(net)
    >>> x = jr.normal(key, (50, 1))
    >>> bool(jnp.allclose(reduction.rollout(x), net.rollout(x)))
    True
    """
    component(network, AbstractRNN, "network", "LowRankRNN(…)")
    over = network.bulk is not None or words is not None
    if feedback is not None and (over or isinstance(network, AbstractDenseRNN)):
        raise ValueError(
            "`feedback` of a dense network, or over a bulk, becomes that of its few neurons: use "
            "compress(network, feedback, …), which returns both."
        )
    if isinstance(network, AbstractDenseRNN):
        return (compress(network) if words is None else compress(network, words=words)).network
    if over:
        such_as = "a LowRankRNN over a bulk, which `words` are for"
        low_rank = component(network, LowRankRNN, "network", such_as)
        return limit_of_low_rank(low_rank, Feedback(), words).network
    if not isinstance(network, AbstractOverlapRNN):
        raise TypeError(
            f"{type(network).__name__} has no loading vectors to reduce: write it as a LowRankRNN "
            f"or a DenseRNN."
        )
    network.check_reducible()
    if feedback is None:
        return _reduced(network, network.overlaps)
    component(network, LowRankRNN, "network", "a LowRankRNN, whose neurons `feedback` is for")
    assert isinstance(network, LowRankRNN)
    return _reduced(network, overlaps_beside(network, as_feedback(feedback, network)))


def _reduced(network: AbstractOverlapRNN, overlaps: Overlaps) -> ReducedRNN:
    options = {"dt": network.dt, "activation": network.activation, "frozen": network.frozen}
    options |= {"readout": network.readout_activation, "c": network.c}
    return ReducedRNN(overlaps, **options)


def linear_system(network: AbstractRNN) -> LinearSystem | None:
    """A linear reduction's latents as a linear system; None for any other network.

    >>> system = reduced.linear_system(reduction)
    >>> bool(jnp.isclose(system.a[1, 1], 0.9 + 0.1 * net.overlaps["vu"]))
    True
    >>> print(reduced.linear_system(bent))
    None
    """
    if isinstance(network, AbstractReduction) and network.is_linear_system:
        return network.system()
    return None


def simplest(network: AbstractRNN) -> AbstractRNN:
    """The smallest network with the same output for every input, exactly: a linear one's reduction.

    Others are returned as they are.

    >>> type(reduced.simplest(net)).__name__, reduced.simplest(bent) is bent
    ('ReducedRNN', True)
    """
    if isinstance(network, AbstractOverlapRNN) and network.linear and network.bulk is None:
        return _reduced(network, network.overlaps)
    return network
