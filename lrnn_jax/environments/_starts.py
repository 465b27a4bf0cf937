"""Laws of the initial state of a plant: where trials start."""

from abc import abstractmethod
from typing import ClassVar

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import real_array, shown
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import is_traced
from lrnn_jax.tasks import NORMAL, UNIFORM

NOISE = {"argument": "noise"}
"""What a plant's process noise was made of, for its repr."""


class AbstractStart(AbstractReadable):
    """A law of initial states, with the second moment that expected losses need.

    Class variables:
        kurtosis: excess kurtosis κ₄ of ξ where x_0 = Σ_0^½ ξ with independent ξ; None for others.

    >>> isinstance(environments.UniformStart(1.0), environments.AbstractStart)
    True
    >>> environments.UniformStart(1.0).moment(2).round(3).tolist()
    [[0.333, 0.0], [0.0, 0.333]]
    """

    kurtosis: ClassVar[float | None] = None

    @abstractmethod
    def check(self, size: int) -> None:
        """Raise ValueError unless the law fits states of this size."""

    @abstractmethod
    def sample(self, key: PRNGKeyArray, trials: int, size: int) -> Float[Array, "trial size"]:
        """Initial states of some trials."""

    @abstractmethod
    def moment(self, size: int) -> Float[Array, "size size"]:
        """Σ_0 = ⟨x_0 x_0ᵀ⟩."""


class UniformStart(AbstractStart):
    """Independent uniform components: x_i ~ U(−a_i, a_i), Σ_0 = diag(a²/3).

    Arguments:
        half_width: a ≥ 0, one for all components or one each, shape () or (state,).

    Errors: ValueError for a negative or infinite width.

    >>> start = environments.UniformStart(np.array([1.0, 0.5]))
    >>> bool((abs(start.sample(key, 100, 2)) <= np.array([1.0, 0.5])).all())
    True
    """

    half_width: Float[Array, "*component"]
    kurtosis = UNIFORM

    def __init__(self, half_width: ArrayLike):
        self.half_width = _deviations(half_width, "half_width")

    def check(self, size: int) -> None:
        check_size(self.half_width, size, "half_width")

    def sample(self, key: PRNGKeyArray, trials: int, size: int) -> Float[Array, "trial size"]:
        width = jnp.broadcast_to(self.half_width, (1, size))
        return width * jr.uniform(key, (trials, size), width.dtype, -1.0, 1.0)

    def moment(self, size: int) -> Float[Array, "size size"]:
        return jnp.diag(jnp.broadcast_to(self.half_width**2 / 3, (size,)))


class GaussianStart(AbstractStart):
    """A normal law with mean zero: x_0 = F ξ, ξ ~ N(0, 1), Σ_0 = F Fᵀ.

    Arguments:
        factor: one standard deviation for all components, one each, shape (state,), or F, shape
            (state, state).

    Errors: ValueError for a negative or infinite standard deviation.

    >>> environments.GaussianStart(0.5).moment(2).tolist()
    [[0.25, 0.0], [0.0, 0.25]]
    """

    factor: Float[Array, "*shape"]
    kurtosis = NORMAL

    def __init__(self, factor: ArrayLike):
        self.factor = noise_factor(factor, "factor")

    def check(self, size: int) -> None:
        check_size(self.factor, size, "factor")

    def sample(self, key: PRNGKeyArray, trials: int, size: int) -> Float[Array, "trial size"]:
        return jr.normal(key, (trials, size), self.factor.dtype) @ as_matrix(self.factor, size).T

    def moment(self, size: int) -> Float[Array, "size size"]:
        factor = as_matrix(self.factor, size)
        return factor @ factor.T


class FixedStart(AbstractStart):
    """Given initial states, each as likely as the others: Σ_0 = Σ_p x_p x_pᵀ / P.

    Arguments:
        states: x_p, shape (points, state); one state of shape (state,) is one point.

    Errors: ValueError for entries that are not finite or no points.

    >>> start = environments.FixedStart(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> start.moment(2).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """

    states: Float[Array, "point size"]

    def __init__(self, states: ArrayLike):
        states = real_array(states, "states")
        self.states = states[None] if states.ndim == 1 else states
        if self.states.ndim != 2 or 0 in self.states.shape:
            raise ValueError(
                f"`states` holds initial states, shape (points, state); got {self.states.shape}."
            )

    def check(self, size: int) -> None:
        if self.states.shape[1] != size:
            raise ValueError(
                f"`states` has {self.states.shape[1]} component(s), the plant starts from {size}."
            )

    def sample(self, key: PRNGKeyArray, trials: int, size: int) -> Float[Array, "trial size"]:
        return self.states[jr.randint(key, (trials,), 0, self.states.shape[0])]

    def moment(self, size: int) -> Float[Array, "size size"]:
        return self.states.T @ self.states / self.states.shape[0]


class RandomPhases(AbstractStart):
    """Sinusoids with independent phases φ ~ U(−π, π): pairs cos φ, sin φ, so that Σ_0 = ½.

    A component of the first half holds a cosine, the same one of the second half its sine.

    >>> phases = environments.RandomPhases().sample(key, 8, 4)  # cos, cos, sin, sin
    >>> bool(jnp.allclose(phases[:, :2] ** 2 + phases[:, 2:] ** 2, 1.0))
    True
    """

    def check(self, size: int) -> None:
        if size % 2:
            raise ValueError(f"Phases come as pairs of numbers, but this plant starts from {size}.")

    def sample(self, key: PRNGKeyArray, trials: int, size: int) -> Float[Array, "trial size"]:
        phases = jr.uniform(key, (trials, size // 2), minval=-np.pi, maxval=np.pi)
        return jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)

    def moment(self, size: int) -> Float[Array, "size size"]:
        return jnp.eye(size) / 2


def as_start(start: AbstractStart | ArrayLike, size: int) -> AbstractStart:
    """A law for states of this size; a number or an array is the half-width of a uniform one."""
    if isinstance(start, AbstractStart):
        start.check(size)
        return start
    if callable(start):
        raise ValueError(
            f"`start` must be a law such as GaussianStart(1.0), or the half-width of a uniform "
            f"one; got {shown(start)}."
        )
    half_width = _deviations(start, "start")
    check_size(half_width, size, "start")
    return UniformStart(half_width)


def noise_factor(noise: ArrayLike, name: str) -> Array:
    """F with covariance F Fᵀ: a standard deviation, one each, or a matrix as it is."""
    noise = real_array(noise, name)
    if noise.ndim < 2:
        return _deviations(noise, name)
    if noise.ndim > 2 or noise.shape[0] != noise.shape[1]:
        raise ValueError(
            f"`{name}` is a standard deviation, one for each component, or a square matrix F "
            f"(covariance F Fᵀ); got shape {noise.shape}."
        )
    return noise


def as_matrix(factor: Float[Array, "..."], size: int) -> Float[Array, "size size"]:
    """A noise factor as a matrix."""
    return factor if factor.ndim == 2 else jnp.diag(jnp.broadcast_to(factor, (size,)))


def check_noise(noise: ArrayLike | None, size: int, name: str) -> Array | None:
    """The matrix F of a noise with covariance F Fᵀ; None where there is none.

    Errors: ValueError when it does not fit the size, or is negative.
    """
    if noise is None:
        return None
    factor = noise_factor(noise, name)
    check_size(factor, size, name)
    if not is_traced(factor) and not np.asarray(factor).any():
        return None
    return as_matrix(factor, size)


def _deviations(x: ArrayLike, name: str) -> Array:
    x = real_array(x, name, 0)
    if x.ndim > 1:
        raise ValueError(f"`{name}` is one number or one for each component; got shape {x.shape}.")
    return x


def check_size(x: Array, size: int, name: str) -> None:
    """Raise ValueError unless x is one number, or holds as many as there are components."""
    if x.ndim and x.shape[0] != size:
        raise ValueError(
            f"`{name}` has {x.shape[0]} component(s), but there are {size}: give one number, or "
            f"{size} of them."
        )
