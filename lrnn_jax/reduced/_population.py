"""The infinite-width limit without closure: deterministic nodes in place of random neurons."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import component, one_key, whole
from lrnn_jax.networks import (
    AbstractActivation,
    AbstractOverlapRNN,
    AbstractQuadrature,
    Identity,
    LoadingLaw,
    LowRankRNN,
    Sobol,
    as_activation,
)
from lrnn_jax.overlaps import AbstractOverlapModel, Overlaps, gram_rank, one_set, root
from lrnn_jax.reduced._base import AbstractReduction


def population(
    law: Overlaps | AbstractOverlapRNN | LoadingLaw,
    nodes: int = 192,
    *,
    dt: ArrayLike | None = None,
    activation: AbstractActivation | None = None,
    quadrature: AbstractQuadrature = Sobol(),
    key: PRNGKeyArray,
    frozen: tuple[str, ...] = (),
) -> LowRankRNN:
    """The N → ∞ limit of a network with random loadings, Gaussian or not, without closure.

    (1/N) Σ_i over random neurons becomes Σ_j w_j over nodes θ_j of a quadrature of the Gaussian law
    with Gram matrix Q_0 (and means μ, where it has them):

        θ_j = μ + A x_j,   AᵀA = Q_0 − μμᵀ,   x_j whitened: Σ_j w_j x_j x_jᵀ = 1, so Q(0) = Q_0

    The result is a `LowRankRNN` with a scale 1/w_j per node: it is trained by the same code as a
    network, and its overlaps follow those of an infinitely wide one, with an error that falls with
    the number of nodes (not with anything else: learning makes loadings non-Gaussian, which the
    nodes follow and the closure does not). A `LoadingLaw` maps its quadrature to loadings of any
    other law.

    Arguments:
        law: Q_0 of Gaussian loadings; or a network or mixture to take it, dt, φ, read-out and
            frozen columns from (a mixture of P populations gets nodes/P nodes in each); or a
            `LoadingLaw`.
        nodes: about how many.
        dt, activation, frozen: of the network; left out when a network is given.
        quadrature: `Sobol()` or `GaussHermite()`.
        key: scrambles the Sobol points.

    Errors: ValueError for a batch of overlaps, fewer nodes than rank(Q_0), a missing dt, or a
    network with signs, which is not Gaussian.

    Source: ours.

    >>> nodes = lrnn.population(bent, 64, key=key)
    >>> bool(jnp.allclose(nodes.overlaps.gram, bent.overlaps.gram))
    True
    """
    options = _options(law, dt, activation, frozen)
    nodes, key = whole(nodes, "nodes"), one_key(key)
    component(quadrature, AbstractQuadrature, "quadrature", "Sobol(), or GaussHermite()")
    if isinstance(law, LoadingLaw):
        return law.nodes(nodes, quadrature, key=key, **options)
    laws, shares = one_set(law.overlaps), np.ones(1)
    if isinstance(law, AbstractReduction):
        laws, shares = law.laws, np.ravel(np.asarray(law.shares))
    roles, k = laws.roles, laws.roles.size
    halved = options["activation"].odd and not roles.means
    pieces = []
    for gram, share in zip(laws.gram.reshape(-1, k, k), shares):
        key, now = jr.split(key)
        each = -(-nodes // len(shares))
        theta, w = _nodes(Overlaps(gram, roles), each, quadrature, halved, now)
        pieces.append((theta, 1 / (share * w)))
    theta, scale = (jnp.asarray(np.concatenate(a), laws.gram.dtype) for a in zip(*pieces))
    return LowRankRNN.from_stack(theta, roles, scale, **options)


def _options(
    law: Any, dt: ArrayLike | None, activation: AbstractActivation | None, frozen: tuple[str, ...]
) -> dict[str, Any]:
    """Options of `LowRankRNN`; where they are not given, those of the law if it is a network."""
    such_as = "Overlaps.from_gram(matrix), a network, or LoadingLaw(…)"
    component(law, (AbstractOverlapModel, LoadingLaw), "law", such_as)
    more: dict[str, Any] = {}
    if isinstance(law, AbstractOverlapRNN):
        if law.bulk is not None:
            raise ValueError(
                "`law`: over a bulk neurons are no independent draws, as each sees all others "
                "through its own row of J, so nodes cannot stand for them: use reduce(network, "
                "words=…) for linear φ, else the network itself."
            )
        if law.constrain is not None:
            raise ValueError(
                "`law`: a network with `signs` has no Gaussian loadings: write their law as "
                "LoadingLaw(draw, normal=…, uniform=…)."
            )
        dt = law.dt if dt is None else dt
        activation = law.activation if activation is None else activation
        more = {"readout": law.readout_activation, "c": law.c}
        frozen = frozen or law.frozen
    if dt is None:
        raise ValueError("Give `dt`, the Euler step, together with overlaps.")
    activation = Identity() if activation is None else as_activation(activation)
    return {"dt": dt, "activation": activation, "frozen": frozen, **more}


def _nodes(
    law: Overlaps, nodes: int, quadrature: AbstractQuadrature, odd: bool, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, "node k"], Float[np.ndarray, " node"]]:
    """Nodes θ_j and weights of the Gaussian law with these overlaps; a column of ones is kept."""
    covariance = law.covariance
    dimension = gram_rank(covariance)
    if nodes < dimension:
        raise ValueError(
            f"These overlaps span {dimension} dimensions: give at least as many nodes."
        )
    x, w = quadrature.points(nodes, dimension, odd=odd, key=key)
    values, vectors = np.linalg.eigh(x.T @ (w[:, None] * x))
    x = x @ (vectors / np.sqrt(values)) @ vectors.T
    return np.asarray(law.mean) + x @ np.asarray(root(covariance, dimension)), w
