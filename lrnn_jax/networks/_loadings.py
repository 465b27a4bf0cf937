"""Loadings of neurons that are drawn from any law, Gaussian or not."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray

from lrnn_jax._checks import component, function, one_key, whole
from lrnn_jax.networks._low_rank import LowRankRNN
from lrnn_jax.networks._quadrature import AbstractQuadrature


class LoadingLaw(eqx.Module):
    """The law of a neuron's loadings, as a map of normal and uniform numbers of its own.

        θ_i = draw(ξ_i, ω_i),      ξ_i ~ N(0, 1) each,   ω_i ~ U[0, 1) each, of neuron i

    `network` draws neurons from it; `population(law)` takes nodes of a quadrature in their place,
    for infinitely many. Populations, heavy tails, or signs (Dale's law):

        def draw(normal, uniform):  # 80 % excitatory, outgoing weights v of their sign
            signs = jnp.where(uniform[:, 0] < 0.8, 1, -1)
            z, v, m, u = normal.T
            return {"z": z, "v": signs * abs(v), "m": m, "u": abs(u), "signs": signs}

        law = LoadingLaw(draw, normal=4, uniform=1)

    (From a symmetric start, as zu = vm = 0 here, chance decides which way learning goes, at any N:
    start off it.)

    Arguments:
        draw: (ξ, shape (neuron, normal); ω, shape (neuron, uniform)) → the arrays of `LowRankRNN`,
            with one row a neuron, by name: z, v, m, u, and as needed b, h0, signs.
        normal, uniform: how many numbers of each kind a neuron has.

    Errors: ValueError for what is no function, and counts that are no whole numbers, or both 0.

    Source: Dubreuil et al. 2022, Beiran et al. 2021 (mixtures); signs: ours.

    >>> def draw(normal, uniform):  # u and v with heavier tails
    ...     z, v, m, u = normal.T
    ...     return {"z": z, "v": v**3, "m": m, "u": u**3}
    ...
    >>> law = networks.LoadingLaw(draw, normal=4)
    >>> law.network(100, dt=0.1, key=key).u.shape
    (100, 1)
    """

    draw: Callable[..., dict[str, Any]]
    normal: int = eqx.field(static=True)
    uniform: int = eqx.field(static=True)

    def __init__(self, draw: Callable[..., dict[str, Any]], *, normal: int, uniform: int = 0):
        self.draw = function(draw, "draw", "normal and uniform numbers of each neuron")
        self.normal = whole(normal, "normal", 0)
        self.uniform = whole(uniform, "uniform", 0 if self.normal else 1)

    def network(self, n: int, *, key: PRNGKeyArray, **options: Any) -> LowRankRNN:
        """N neurons drawn independently, with s = N.

        Arguments:
            n: N.
            key: draws them.
            options: of `LowRankRNN`, such as dt and activation.
        """
        n, keys = whole(n, "n"), jr.split(one_key(key))
        normal = jr.normal(keys[0], (n, self.normal))
        parts = self.loadings(normal, jr.uniform(keys[1], (n, self.uniform)))
        return LowRankRNN(**parts, **options)

    def nodes(
        self, count: int, quadrature: AbstractQuadrature, *, key: PRNGKeyArray, **options: Any
    ) -> LowRankRNN:
        """Nodes of a quadrature of ξ and ω in place of neurons, with s_j = 1/w_j.

        Arguments: about how many, the quadrature, what scrambles it, and options of `LowRankRNN`.
        """
        size = self.normal + self.uniform
        x, w = quadrature.points(whole(count, "count"), size, odd=False, key=one_key(key))
        x, w = jnp.asarray(x, float), jnp.asarray(w, float)
        parts = self.loadings(x[:, : self.normal], norm.cdf(x[:, self.normal :]))
        return LowRankRNN(**parts, scale=1 / w, **options)

    def loadings(
        self, normal: Float[Array, "n normal"], uniform: Float[Array, "n uniform"]
    ) -> dict[str, Any]:
        """What `draw` makes of numbers; ValueError for what is not arrays by name."""
        such_as = 'a function that returns {"z": z, "v": v, "m": m, "u": u}'
        return component(self.draw(normal, uniform), dict, "draw", such_as)
