"""What random data make of the gradient of a loss: its mean and covariance, given the overlaps."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lrnn_jax._checks import number, shown

NORMAL = 0.0
UNIFORM = -1.2
"""Excess kurtosis κ₄ of these laws."""


class AbstractGradientNoise(eqx.Module):
    """A loss as a random function of S, by what it is a sum of squares of.

    Fields:
        kurtosis: excess kurtosis κ₄ of the independent random numbers ξ, of variance 1.

    >>> noisy = lrnn.WhiteNoise(task, batch=8)
    >>> isinstance(noisy.gradient_noise(reduction), tasks.AbstractGradientNoise)
    True
    """

    kurtosis: eqx.AbstractVar[Float[Array, ""]]

    @abstractmethod
    def law(self, slope: Any) -> tuple[Float[Array, " s"], Float[Array, "s s"]]:
        """E g and C = Cov(g) of g = ∂L/∂S.

        Arguments:
            slope: the derivative of this by S, an axis of S last on each array.
        """


class LabelNoise(AbstractGradientNoise):
    """L = ‖e − σξ‖²:  E g = 2 e·∂e,  C = 4σ² ∂e·∂e.

    Arguments:
        error: e, any shape.
        std: σ.

    >>> noisy = lrnn.ExponentialFilter(0.2, 0.1, 20, label_noise=0.1)
    >>> noise = noisy.gradient_noise(reduction)
    >>> noise.error.shape, round(float(noise.std), 4)  # σ √dt
    ((20, 1, 1), 0.0316)
    """

    error: Float[Array, "..."]
    std: Float[Array, ""]
    kurtosis: Float[Array, ""]

    def law(self, slope: "LabelNoise") -> tuple[Float[Array, " s"], Float[Array, "s s"]]:
        along = slope.error.reshape(-1, slope.error.shape[-1])
        return 2 * self.error.ravel() @ along, (2 * self.std) ** 2 * along.T @ along


class StartNoise(AbstractGradientNoise):
    """L = mean over trials of ‖E ξ‖² = ξᵀMξ, M = EᵀE:

        E g_a = tr M_a,    C_ab = (2 tr(M_a M_b) + κ₄ Σ_i M_a,ii M_b,ii)/trials,    M_a = ∂M/∂S_a

    Arguments:
        matrix: E.
        trials: in a batch.

    >>> batches = lrnn.ClosedLoop(lrnn.KIntegrator(k=2, dt=0.1), horizon=20, batch=5)
    >>> noise = batches.gradient_noise(reduction)
    >>> noise.matrix.shape[1], float(noise.kurtosis)  # uniform starts of two variables
    (2, -1.2)
    """

    matrix: Float[Array, "any xi"]
    trials: Float[Array, ""]
    kurtosis: Float[Array, ""]

    def law(self, slope: "StartNoise") -> tuple[Float[Array, " s"], Float[Array, "s s"]]:
        half = jnp.einsum("ri,rjs->ijs", self.matrix, slope.matrix)
        m = half + jnp.swapaxes(half, 0, 1)
        own = jnp.einsum("iis->is", m)
        square = 2 * jnp.einsum("ijs,ijt->st", m, m) + self.kurtosis * own.T @ own
        return jnp.sum(own, axis=0), square / self.trials


class InputNoise(AbstractGradientNoise):
    """White-noise input of T steps: L = mean over trials of Σ_t ‖Σ_{j≤t} e_{t−j}ᵀ ξ_j‖² = ξᵀMξ.

    With C as for `StartNoise`. The entries of M are sums along diagonals of products of e,

        M_{T−1−p, T−1−q} = Σ_{n≤min(p,q)} e_{p−n} e_{q−n}ᵀ

    so that T² operations make them, not T³.

    Arguments:
        error: e, shape (time, inputs, outputs).
        trials: in a batch.

    >>> noise = lrnn.WhiteNoise(task, batch=8).gradient_noise(reduction)
    >>> noise.error.shape, float(noise.trials)
    ((50, 1, 1), 8.0)
    """

    error: Float[Array, "time inputs outputs"]
    trials: Float[Array, ""]
    kurtosis: Float[Array, ""]

    def law(self, slope: "InputNoise") -> tuple[Float[Array, " s"], Float[Array, "s s"]]:
        e, along, steps = self.error, slope.error, len(self.error)
        left = steps - jnp.arange(steps, dtype=e.dtype)
        mean = 2 * jnp.einsum("t,tio,tios->s", left, e, along)
        # diagonals d = q − p as columns: sums along them are sums down a column
        other = jnp.arange(steps)[:, None] + jnp.arange(1 - steps, steps)[None]
        there = (other >= 0) & (other < steps)

        def moved(x: Array) -> Array:
            at = x[jnp.clip(other, 0, steps - 1)]
            return jnp.where(there.reshape(*there.shape, *[1] * (x.ndim - 1)), at, 0)

        products = jnp.einsum("pios,pdjo->pdijs", along, moved(e))
        products = products + jnp.einsum("pio,pdjos->pdijs", e, moved(along))
        m = jnp.where(there[:, :, None, None, None], jnp.cumsum(products, axis=0), 0)
        own = jnp.einsum("piis->pis", m[:, steps - 1]).reshape(-1, m.shape[-1])
        flat = m.reshape(-1, m.shape[-1])
        return mean, (2 * flat.T @ flat + self.kurtosis * own.T @ own) / self.trials


def with_kurtosis(noise: AbstractGradientNoise, kurtosis: Any) -> AbstractGradientNoise:
    """The same with random numbers of another excess kurtosis.

    >>> noise = lrnn.WhiteNoise(task, batch=8).gradient_noise(reduction)
    >>> float(tasks.with_kurtosis(noise, tasks.UNIFORM).kurtosis)
    -1.2
    """
    value = jnp.asarray(kurtosis, noise.kurtosis.dtype)
    return eqx.tree_at(lambda noise: noise.kurtosis, noise, value)


def as_kurtosis(kurtosis: Any) -> Float[Array, ""] | None:
    """κ₄ ≥ −2, or None for that of what the objective draws.

    >>> float(tasks.as_kurtosis(-1.2)), tasks.as_kurtosis(None)
    (-1.2, None)
    """
    return None if kurtosis is None else number(kurtosis, "kurtosis", -2)


def check_gradient_noise(objective: Any, model: Any) -> None:
    """Raise ValueError, saying what would do, unless the noise of an objective's data is known.

    >>> tasks.check_gradient_noise(lrnn.WhiteNoise(task, batch=8), reduction)
    >>> tasks.check_gradient_noise(task, reduction)
    Traceback (most recent call last):
        ...
    ValueError: `task` must have label noise, e.g. label_noise=0.1.
    """
    if objective.gradient_noise is None:
        raise ValueError(
            f"`task` must be one whose noise of gradients is known: a filter task with label "
            f"noise, WhiteNoise or TeacherStudent with `batch`, or a ClosedLoop with `batch`; got "
            f"{shown(objective)}."
        )
    objective.gradient_noise(model)
