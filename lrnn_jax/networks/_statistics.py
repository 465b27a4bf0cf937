"""How far loading vectors are from jointly Gaussian, and activity from their span."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import component, shaped
from lrnn_jax.networks._low_rank import LowRankRNN


class Gaussianity(eqx.Module):
    """Fourth cumulants of the loadings over neurons; zero for a jointly Gaussian law.

    Arguments:
        kurtosis: excess kurtosis of each vector, ⟨x⁴⟩/⟨x²⟩² − 3 about its mean, shape (k,).
        joint: norm ‖K‖ of the fourth cumulant of all vectors together,
            K_abcd = ⟨w_a w_b w_c w_d⟩ − δ_ab δ_cd − δ_ac δ_bd − δ_ad δ_bc, of whitened loadings
            w = Σ^{-½}(x − ⟨x⟩): it sees dependence that no single vector shows.
        chance: ‖K‖ that a Gaussian sample of as many neurons has, √(d(d+1)(d+2)(d+3)/N).
            Populations of nodes are no random sample: there `joint` itself counts.

    Source: ours ([LR] looks at each vector alone).

    >>> found = lrnn.gaussianity(net)
    >>> found.kurtosis.shape, found.joint.shape
    ((4,), ())
    """

    kurtosis: Float[Array, "*batch vector"]
    joint: Float[Array, "*batch"]
    chance: Float[Array, "*batch"]


def gaussianity(network: LowRankRNN) -> Gaussianity:
    """Whether the loading vectors, of independent columns, look jointly Gaussian.

    Neurons are weighted by 1/s. Source: ours.

    >>> found = lrnn.gaussianity(lrnn.LowRankRNN.normalised(2000, dt=0.1, key=key))
    >>> bool(found.joint < 2 * found.chance)
    True
    """
    component(network, LowRankRNN, "network", "LowRankRNN(z, v, m, u, dt=…)")
    theta = network.vectors[:, : network.roles.right]
    n, d = theta.shape
    weight = network.weighted(jnp.ones_like(theta))[:, :1]
    weight = weight / jnp.sum(weight)
    centred = theta - jnp.sum(weight * theta, axis=0, keepdims=True)
    covariance = (weight * centred).T @ centred
    fourth = jnp.sum(weight * centred**4, axis=0)
    kurtosis = fourth / jnp.diagonal(covariance) ** 2 - 3
    white = jnp.linalg.solve(jnp.linalg.cholesky(covariance), centred.T).T
    pairs = (white[:, :, None] * white[:, None, :]).reshape(n, d * d)
    eye = jnp.eye(d, dtype=theta.dtype)
    pairings = ("ab,cd->abcd", "ac,bd->abcd", "ad,bc->abcd")
    gaussian = sum(jnp.einsum(pairing, eye, eye) for pairing in pairings)
    cumulant = ((weight * pairs).T @ pairs).reshape(d, d, d, d) - gaussian
    chance = jnp.sqrt(jnp.asarray(d * (d + 1) * (d + 2) * (d + 3) / n, theta.dtype))
    return Gaussianity(kurtosis, jnp.sqrt(jnp.sum(cumulant**2)), chance)


def share_outside_span(network: LowRankRNN, states: Float[Array, "*batch n"]) -> Float[Array, ""]:
    """Share of the activity φ(h) that is no linear combination of the loading vectors.

        Σ ‖φ − Pφ‖² / Σ ‖φ‖²,     P: projection onto the span of Θ (over neurons, weights 1/s)

    Learning moves Z by φ(h): this part takes it out of the span of the vectors, where no Gaussian
    closure follows.

    Arguments: `network`, whose vectors span the space; `states` h, shape (..., N).

    Source: ours.

    >>> states = net.states(jr.normal(key, (50, 1)))
    >>> bool(networks.share_outside_span(net, states) < 1e-12)  # linear: all within
    True
    """
    component(network, LowRankRNN, "network", "LowRankRNN(z, v, m, u, dt=…)")
    theta, states = network.vectors, shaped(states, "states", "…", network.state_size)
    phi = network.activation(states).reshape(-1, theta.shape[0])
    root = jnp.sqrt(network.weighted(jnp.ones_like(theta))[:, 0])
    frame = jnp.linalg.qr(theta * root[:, None])[0]
    weighted = phi * root[None, :]
    total, inside = jnp.sum(weighted**2), jnp.sum((weighted @ frame) ** 2)
    return jnp.where(total > 0, 1 - inside / jnp.where(total > 0, total, 1.0), 0.0)
