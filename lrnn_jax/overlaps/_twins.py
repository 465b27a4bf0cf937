"""Networks that compute the same and learn differently."""

from typing import TypeVar

import numpy as np
from jaxtyping import Array, ArrayLike

from lrnn_jax._checks import component
from lrnn_jax._types import is_traced
from lrnn_jax.overlaps._geometry import is_realisable, reachable_interval
from lrnn_jax.overlaps._overlaps import AbstractOverlapModel, Overlaps
from lrnn_jax.overlaps._visibility import visible

Twin = TypeVar("Twin", bound=AbstractOverlapModel)


def degenerate_twin(model: Twin, **values: ArrayLike) -> Twin:
    """A network that computes the same and learns differently: new invisible overlaps only.

    For `Overlaps` and reductions, the named entries of Q are replaced. A `LowRankRNN` gets the
    loading vectors nearest to its own that have the new Q (optimal transport between Gaussians):

        Θ' = Θ Q^{-½} (Q^½ Q' Q^½)^½ Q^{-½}

    Arguments:
        model: overlaps, a reduction, or a network with independent loading vectors.
        values: new values by name, e.g. `uu=2.048, mu=0.8`; the other overlaps stay.

    Errors: UnknownOverlap for a wrong name; ValueError for an overlap that the output depends on,
    for a mixture (make twins of its populations), and for values that no vectors have, naming the
    interval that each could reach with the others as they are.

    Source: ours; the use of such twins: [LR] fig. 2.

    >>> twin = lrnn.degenerate_twin(net, uu=2.0)
    >>> round(float(twin.overlaps["uu"]), 6)
    2.0
    >>> x = jr.normal(key, (50, 1))
    >>> bool(jnp.allclose(twin.rollout(x), net.rollout(x)))
    True
    """
    such_as = "a network, a reduction, or Overlaps"
    overlaps = component(model, AbstractOverlapModel, "model", such_as).overlaps
    sees = visible(model)
    for name in values:
        if sees.mask[overlaps.roles.entry(name)]:
            raise ValueError(
                f"`{name}` is loss-visible, and a twin keeps all of those. "
                f"Invisible here: {', '.join(sees.invisible)}."
            )
    gram = overlaps.with_entries(**values)
    if not is_traced(gram) and not np.asarray(is_realisable(gram)).all():
        raise ValueError(_unreachable(overlaps, gram, values))
    return model.moved_to(Overlaps(gram, overlaps.roles))


def _unreachable(overlaps: Overlaps, gram: Array, values: dict[str, ArrayLike]) -> str:
    """Why the values cannot be had, and which can."""
    asked = ", ".join(f"{name} = {float(np.max(value)):g}" for name, value in values.items())
    message = f"No vectors keep the visible overlaps and have {asked}."
    if gram.ndim != 2:
        return message + " (At least one member of the batch.)"
    for name in values:
        others = [n for n in values if n != name]
        held = f"with {', '.join(others)} as asked" if others else "with the others unchanged"
        interval = reachable_interval(gram, *overlaps.roles.entry(name))
        if interval is None:
            message += f" No value of {name} is reachable {held}."
        else:
            message += f" {name} can reach [{interval[0]:.6g}, {interval[1]:.6g}] {held}."
    return message
