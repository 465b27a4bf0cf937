"""Fixed vectors by which learning rules send errors back."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import real_array, shown
from lrnn_jax.networks._base import AbstractRNN
from lrnn_jax.overlaps import Overlaps


class Feedback(NamedTuple):
    """Fixed vectors that a learning rule has beside those of a network, as far as it has any.

    Fields:
        f: F, by which errors of outputs reach neurons in the place of Z, shape (N, outputs).
        c, g: C and G, shape (N, p): C Gᵀ carries errors back in time in the place of V Uᵀ.

    >>> fixed = networks.Feedback(f=jnp.ones((40, 1)))
    >>> lrnn.reduce(net, feedback=fixed).overlaps["zf"].shape
    ()
    """

    f: Any = None
    c: Any = None
    g: Any = None

    @property
    def columns(self) -> dict[str, int]:
        """How many columns of them there are, as `Roles` count them."""
        f, c = (0 if x is None else x.shape[1] for x in (self.f, self.c))
        return {"feedback": f, "through": c}

    def beside(self, theta: Float[Array, "n k"], means: bool) -> Float[Array, "n more"]:
        """[Θ | F | C | G]; a column of ones in Θ stays last."""
        there = [x.astype(theta.dtype) for x in self if x is not None]
        if not there:
            return theta
        end = theta.shape[1] - means
        return jnp.concatenate([theta[:, :end], *there, theta[:, end:]], axis=1)


def overlaps_beside(network: Any, fixed: Feedback) -> Overlaps:
    """Q of the vectors of a low-rank network and of fixed ones.

    >>> q = networks.overlaps_beside(net, networks.Feedback(f=jnp.ones((40, 1))))
    >>> bool(jnp.isclose(q["zf"], net.z.sum() / 40))
    True
    """
    theta = fixed.beside(network.vectors, network.roles.means)
    return Overlaps(theta.T @ network.weighted(theta), replace(network.roles, **fixed.columns))


def as_feedback(feedback: Feedback | ArrayLike | None, network: AbstractRNN) -> Feedback:
    """F, or F, C and G, as arrays that fit a network.

    Errors: ValueError for other shapes, or entries that are not finite.

    >>> networks.as_feedback(jnp.ones((40, 1)), net).f.shape
    (40, 1)
    """
    given = feedback if isinstance(feedback, Feedback) else Feedback(feedback)
    n, names = network.state_size, ("feedback", "feedback.c", "feedback.g")
    arrays = [None if x is None else real_array(x, name) for x, name in zip(given, names)]
    f, c, g = (x[:, None] if x is not None and x.ndim == 1 else x for x in arrays)
    if f is not None and f.shape != (n, network.outputs):
        raise ValueError(
            f"`feedback` has a row for each of the {n} neurons and a column for each output, shape "
            f"({n}, {network.outputs}); got {shown(f)}."
        )
    shapes = {None if x is None else x.shape for x in (c, g)}
    if len(shapes) > 1 or (c is not None and len(c) != n):
        raise ValueError(
            f"C and G of `feedback` come together, with a row for each of the {n} neurons and the "
            f"same number of columns; got {shown(c)} and {shown(g)}."
        )
    return Feedback(f, c, g)
