"""From a network to its reduction."""

from jaxtyping import ArrayLike

from lrnn_jax._checks import component
from lrnn_jax.networks import (
    AbstractOverlapRNN,
    AbstractRNN,
    Feedback,
    LowRankRNN,
    as_feedback,
    overlaps_beside,
)
from lrnn_jax.overlaps import Overlaps
from lrnn_jax.reduced._base import AbstractReduction, LinearSystem
from lrnn_jax.reduced._reduced import ReducedRNN


def reduce(network: AbstractRNN, *, feedback: Feedback | ArrayLike | None = None) -> ReducedRNN:
    """The reduction of a network to its overlaps, Q = ΘᵀΘ/s.

    For linear φ its output is the network's for every input, and learning moves both alike,
    exactly. For nonlinear φ it is the Gaussian closure (see `ReducedRNN`), with the means of the
    vectors where φ is not odd or there are biases.

    Arguments:
        network: a `LowRankRNN`, a linear `MixtureRNN` (by its Q = Σ π_p Q_p), or a `ReducedRNN`,
            which stays what it is.
        feedback: fixed vectors of a learning rule, of which the overlaps are kept too (columns f,
            c, g): F, shape (N, outputs), or `networks.Feedback(f, c, g)`. Of a `LowRankRNN` only.

    Errors: TypeError for a network without loading vectors (factorise a dense one first);
    ValueError for nonlinear φ with neurons' weights 1/s that do not sum to 1, or with populations.

    Source: [LR] sec. 2.
    """
    component(network, AbstractRNN, "network", "LowRankRNN(…)")
    if not isinstance(network, AbstractOverlapRNN):
        raise TypeError(
            f"{type(network).__name__} has no loading vectors to reduce. For a trained dense "
            f"network use factorise(network, rank=…).network."
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
    """A linear reduction's latents as a linear system; None for any other network."""
    if isinstance(network, AbstractReduction) and network.is_linear_system:
        return network.system()
    return None


def simplest(network: AbstractRNN) -> AbstractRNN:
    """The smallest network with the same output for every input, exactly: a linear one's reduction.

    Others are returned as they are.
    """
    if isinstance(network, AbstractOverlapRNN) and network.linear:
        return _reduced(network, network.overlaps)
    return network
