"""From a network to its reduction and back."""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import as_float
from lrnn_jax._types import is_traced
from lrnn_jax.networks import AbstractRNN, LowRankRNN
from lrnn_jax.overlaps import Overlaps, is_realisable, reachable, visible
from lrnn_jax.reduced._reduced import ReducedRNN

Twin = TypeVar("Twin", Overlaps, ReducedRNN, LowRankRNN)


def reduce(network: AbstractRNN) -> ReducedRNN:
    """The reduction of a network to its overlaps, Q = ΘᵀΘ/s.

    For linear φ its output is the network's for every input, and learning moves both alike,
    exactly. For nonlinear φ it is the Gaussian closure (see `ReducedRNN`), with the means of the
    vectors where φ is not odd or there are biases.

    Arguments:
        network: a `LowRankRNN`; a `ReducedRNN` is returned as it is.

    Errors: TypeError for a network without loading vectors (factorise a dense one first);
    ValueError for nonlinear φ with neurons' weights 1/s that do not sum to 1.

    Source: [LR] sec. 2.
    """
    if isinstance(network, ReducedRNN):
        return network
    if not isinstance(network, LowRankRNN):
        raise TypeError(
            f"{type(network).__name__} has no loading vectors to reduce. For a trained dense "
            f"network use factorise(network, rank=…).network."
        )
    if not network.activation.linear and not is_traced(network.scale):
        weight = float(jnp.sum(1 / jnp.broadcast_to(network.scale, (network.state_size,))))
        if abs(weight - 1) > 1e-4:
            raise ValueError(
                f"The closure of a nonlinear network averages over neurons: it takes the scaling "
                f"s = N = {network.state_size}, with loadings of order 1; got s = {network.scale}."
            )
    return ReducedRNN(
        network.overlaps, dt=network.dt, activation=network.activation, frozen=network.frozen
    )


def degenerate_twin(model: Twin, **values: ArrayLike) -> Twin:
    """A network that computes the same and learns differently: new invisible overlaps only.

    For `Overlaps` and reductions, the named entries of Q are replaced. A `LowRankRNN` gets the
    loading vectors nearest to its own that have the new Q (optimal transport between Gaussians):

        Θ' = Θ Q^{-½} (Q^½ Q' Q^½)^½ Q^{-½}

    Arguments:
        model: overlaps, a reduction, or a network with independent loading vectors.
        values: new values by name, e.g. `uu=2.048, mu=0.8`; the other overlaps stay.

    Errors: UnknownOverlap for a wrong name; ValueError for an overlap that the output depends on,
    and for values that no vectors have, naming the interval that each could reach with the others
    as they are.

    Source: ours; the use of such twins: [LR] fig. 2.
    """
    overlaps = model if isinstance(model, Overlaps) else model.overlaps
    roles, sees = overlaps.roles, visible(model)
    for name in values:
        if sees.mask[roles.entry(name)]:
            raise ValueError(
                f"`{name}` is loss-visible, and a twin keeps all of those. "
                f"Invisible here: {', '.join(sees.invisible)}."
            )
    gram = overlaps.gram
    for name, value in values.items():
        i, j = roles.entry(name)
        value = as_float(value).astype(gram.dtype)
        gram = gram.at[..., i, j].set(value).at[..., j, i].set(value)
    if not is_traced(gram) and not np.asarray(is_realisable(gram)).all():
        raise ValueError(_unreachable(overlaps, gram, values))
    twin = Overlaps(gram, roles)
    if isinstance(model, Overlaps):
        return twin
    if isinstance(model, ReducedRNN):
        return model.with_gram(gram)
    centre = jnp.zeros_like(model.vectors)
    if roles.means:  # visible, so the same in both: move the vectors about their means
        centre = jnp.broadcast_to(overlaps.mean, centre.shape).at[:, -1].set(0)
    free = slice(0, roles.right)
    old, new = (Overlaps(q, roles).covariance[free, free] for q in (overlaps.gram, gram))
    theta = (model.vectors - centre)[:, free]
    moved = _transport(theta, old, new) + centre[:, free]
    return model.with_vectors(moved)


def _transport(
    theta: Float[Array, "n k"], old: Float[Array, "k k"], new: Float[Array, "k k"]
) -> Float[Array, "n k"]:
    """Θ R with RᵀQR = Q', R symmetric: the nearest vectors with the new Gram matrix."""
    values, vectors = jnp.linalg.eigh(old)
    if not is_traced(values) and values[0] < 1e-10 * values[-1]:
        raise ValueError(
            "The loading vectors are linearly dependent, so they cannot be turned into vectors "
            "with the new overlaps. Use LowRankRNN.with_overlaps(degenerate_twin(net.overlaps, …))."
        )
    half = (vectors * jnp.sqrt(values)[None]) @ vectors.T
    inverse = (vectors / jnp.sqrt(values)[None]) @ vectors.T
    values, vectors = jnp.linalg.eigh(half @ new @ half)
    square_root = (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T
    return theta @ (inverse @ square_root @ inverse)


def _unreachable(overlaps: Overlaps, gram: Array, values: dict[str, ArrayLike]) -> str:
    """Why the values cannot be had, and which can."""
    asked = ", ".join(f"{name} = {float(np.max(value)):g}" for name, value in values.items())
    lines = [f"No vectors keep the visible overlaps and have {asked}."]
    if gram.ndim != 2:
        return lines[0] + " (At least one member of the batch.)"
    for name in values:
        i, j = overlaps.roles.entry(name)
        others = [n for n in values if n != name]
        held = f"with {', '.join(others)} as asked" if others else "with the others unchanged"
        interval = reachable(gram, i, j)
        if interval is None:
            lines.append(f"No value of {name} is reachable {held}.")
        else:
            low, high = (f"{x:.6g}" for x in interval)
            lines.append(f"{name} can reach [{low}, {high}] {held}.")
    return " ".join(lines)
