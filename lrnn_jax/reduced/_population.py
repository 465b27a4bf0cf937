"""The infinite-width limit without closure: deterministic nodes in place of random neurons."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from itertools import product

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from lrnn_jax.networks import AbstractActivation, Identity, LowRankRNN
from lrnn_jax.overlaps import Overlaps, gram_rank, root
from lrnn_jax.reduced._mixture import MixtureRNN

Nodes = tuple[Float[np.ndarray, "node d"], Float[np.ndarray, " node"]]


class AbstractRule(eqx.Module):
    """A cubature or quasi-Monte-Carlo rule for the standard normal law in d dimensions."""

    @abstractmethod
    def points(self, nodes: int, dimension: int, *, odd: bool, key: PRNGKeyArray) -> Nodes:
        """Nodes and weights, Σ w = 1.

        Arguments:
            nodes: about how many.
            dimension: d.
            odd: for odd φ, x and −x do the same: one of each pair is enough.
            key: for rules that draw.
        """


class Sobol(AbstractRule):
    """Scrambled Sobol points, equally weighted; with their mirror images for φ that is not odd.

    For odd φ the mirror images do the same as the points and are left out.
    """

    def points(self, nodes: int, dimension: int, *, odd: bool, key: PRNGKeyArray) -> Nodes:
        from scipy.stats import norm, qmc  # takes most of a second to import

        seed = int(jr.randint(key, (), 0, 2**31 - 1))
        count = nodes if odd else -(-nodes // 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # counts that are no power of 2 are fine here
            uniform = qmc.Sobol(dimension, scramble=True, rng=seed).random(count)
        x = norm.ppf(np.clip(uniform, 1e-12, 1 - 1e-12))
        x = x if odd else np.concatenate([x, -x])
        return x, np.full(len(x), 1 / len(x))


class GaussHermite(AbstractRule):
    """Product of Gauss–Hermite rules, of the highest order that `nodes` allow; half of it if odd.

    Exact for polynomials up to degree 2·order − 1 in each variable; order^d nodes (half for odd φ).
    """

    def points(self, nodes: int, dimension: int, *, odd: bool, key: PRNGKeyArray) -> Nodes:
        del key
        limit = 2 * nodes if odd else nodes
        order = max(int(np.floor(limit ** (1 / dimension) + 1e-9)), 2)
        grid, weights = gauss_hermite((order,) * dimension)
        if not odd:
            return grid, weights
        first = [next((c for c in point if abs(c) > 1e-12), 0.0) for point in grid]
        keep = np.array(first) >= 0
        twice = np.where(np.array(first) > 0, 2.0, 1.0)
        return grid[keep], (weights * twice)[keep]


def gauss_hermite(orders: Sequence[int]) -> Nodes:
    """Product of Gauss–Hermite rules for the standard normal law, orders[j] nodes in direction j.

    Exact for polynomials up to degree 2·orders[j] − 1 in x_j; no direction: one node of weight 1.
    """
    rules = [np.polynomial.hermite_e.hermegauss(order) for order in orders]
    grid = np.array(list(product(*(x for x, _ in rules))))
    weights = [np.prod(ws) for ws in product(*(w / w.sum() for _, w in rules))]
    return grid, np.array(weights)


def population(
    overlaps: Overlaps | LowRankRNN | MixtureRNN,
    nodes: int = 192,
    *,
    dt: ArrayLike | None = None,
    activation: AbstractActivation | None = None,
    rule: AbstractRule | None = None,
    key: PRNGKeyArray,
    frozen: tuple[str, ...] = (),
) -> LowRankRNN:
    """The N → ∞ limit of a network with Gaussian loadings, without closure.

    (1/N) Σ_i over random neurons becomes Σ_j w_j over nodes θ_j of a rule for the Gaussian law with
    Gram matrix Q_0 (and means μ, where it has them):

        θ_j = μ + A x_j,   AᵀA = Q_0 − μμᵀ,   x_j whitened: Σ_j w_j x_j x_jᵀ = 1, so Q(0) = Q_0

    The result is a `LowRankRNN` with a scale 1/w_j per node: it is trained by the same code as a
    network, and its overlaps follow those of an infinitely wide one, with an error that falls with
    the number of nodes (not with anything else: learning makes loadings non-Gaussian, which the
    nodes follow and the closure does not).

    Arguments:
        overlaps: Q_0; or a network or mixture to take it, dt, φ and frozen columns from. A mixture
            of P populations gets nodes/P nodes in each.
        nodes: about how many.
        dt, activation, frozen: of the network; left out when a network is given.
        rule: `Sobol()` (default) or `GaussHermite()`.
        key: scrambles the Sobol points.

    Errors: ValueError for fewer nodes than rank(Q_0), or a missing dt.

    Source: ours.
    """
    weights = np.ones(1)
    if not isinstance(overlaps, Overlaps):
        network = overlaps
        overlaps, dt = network.overlaps, network.dt if dt is None else dt
        activation = network.activation if activation is None else activation
        frozen = frozen or network.frozen
        weights = np.asarray(network.weights) if isinstance(network, MixtureRNN) else weights
    if dt is None:
        raise ValueError("Give `dt`, the Euler step, together with overlaps.")
    activation = Identity() if activation is None else activation
    rule = Sobol() if rule is None else rule
    roles, k = overlaps.roles, overlaps.roles.size
    parts, shares = [], []
    for gram, weight in zip(overlaps.gram.reshape(-1, k, k), weights):
        key, now = jr.split(key)
        law, each = Overlaps(gram, roles), -(-nodes // len(weights))
        theta, w = _nodes(law, each, rule, activation.odd and not roles.means, now)
        parts.append(theta)
        shares.append(weight * w)
    theta = jnp.asarray(np.concatenate(parts), overlaps.gram.dtype)
    scale = jnp.asarray(1 / np.concatenate(shares), theta.dtype)
    options = {"dt": dt, "activation": activation, "frozen": frozen}
    return LowRankRNN.from_stack(theta, roles, scale, **options)


def _nodes(law: Overlaps, nodes: int, rule: AbstractRule, odd: bool, key: PRNGKeyArray) -> Nodes:
    """Nodes θ_j and weights of the Gaussian law with these overlaps; a column of ones is kept."""
    covariance = law.covariance
    dimension = gram_rank(covariance)
    if nodes < dimension:
        raise ValueError(
            f"These overlaps span {dimension} dimensions: give at least as many nodes."
        )
    x, w = rule.points(nodes, dimension, odd=odd, key=key)
    values, vectors = np.linalg.eigh(x.T @ (w[:, None] * x))
    x = x @ (vectors / np.sqrt(values)) @ vectors.T
    return np.asarray(law.mean) + x @ np.asarray(root(covariance, dimension)), w
