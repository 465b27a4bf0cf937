"""Data: what was seen, at which epochs, with which noise."""

import itertools
from collections.abc import Sequence
from math import gcd

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lrnn_jax._checks import component, real_array, shown, whole
from lrnn_jax.inference._channels import AbstractChannel, Successes
from lrnn_jax.inference._saved import AbstractSaved


def as_epochs(epochs: Sequence[int] | np.ndarray | Array, name: str = "epochs") -> tuple[int, ...]:
    """Rising whole numbers from 0 on.

    Errors: ValueError for anything else.
    """
    if isinstance(epochs, (str, bytes)) or not np.iterable(epochs):
        raise ValueError(f"`{name}` are whole numbers such as range(0, 100, 5); got {epochs!r}.")
    found = tuple(whole(epoch, name, 0) for epoch in epochs)
    if not found or any(b <= a for a, b in itertools.pairwise(found)):
        raise ValueError(
            f"`{name}` must rise from entry to entry, one for each row of data; got {shown(found)}."
        )
    return found


class Observations(AbstractSaved):
    """Data of one learning curve: values d_{e,i} with independent Gaussian noise.

        d_{e,i} = channel(Q_e)_i + σ_{e,i} ξ_{e,i},      ξ ~ N(0, 1)

    Epochs need not follow each other: what was not looked at is left out.

    Arguments:
        channel: what is seen: `Outputs`, `Loss`, `Visible` or `Successes`.
        values: d, shape (epoch, number), or (epoch,) where one epoch shows one number.
        epochs: which epochs these are, rising; 0 is before learning.
        noise: σ, positive, one number or of a shape that broadcasts to that of the values.

    Errors: ValueError for values that are not finite, epochs that do not rise or are not as many as
    the values, σ ≤ 0.

    >>> loss = curve.loss[jnp.array([0, 4, 10, 18])]
    >>> seen = inference.Observations(inference.Loss(), loss, epochs=(0, 4, 10, 18), noise=0.01)
    >>> seen.size, seen.stride
    (4, 2)
    >>> inference.Observations.binomial(np.array([5, 8]), 10, epochs=(0, 20)).values.ravel()
    Array([0.5, 0.8], dtype=float64)
    """

    channel: AbstractChannel
    values: Float[Array, "epoch number"]
    epochs: tuple[int, ...] = eqx.field(static=True)
    noise: Float[Array, "epoch number"]

    def __init__(
        self,
        channel: AbstractChannel,
        values: ArrayLike,
        *,
        epochs: Sequence[int] | np.ndarray | Array,
        noise: ArrayLike,
    ):
        self.channel = component(channel, AbstractChannel, "channel", "Outputs(every=20)")
        values = real_array(values, "values")
        if values.ndim == 0:
            raise ValueError(f"`values` has shape (epoch, number); got {shown(values)}.")
        values = values.reshape(len(values), -1)
        self.epochs = as_epochs(epochs)
        if len(self.epochs) != len(values):
            raise ValueError(
                f"`epochs` needs one entry for each row of `values`, {len(values)}; got "
                f"{len(self.epochs)}."
            )
        noise = real_array(noise, "noise", 0, open_start=True).astype(values.dtype)
        noise = noise[:, None] if noise.ndim == 1 and len(noise) == len(values) else noise
        if any(a not in (1, b) for a, b in zip(noise.shape[::-1], values.shape[::-1])) or (
            noise.ndim > 2
        ):
            raise ValueError(
                f"`noise` is one number or has the shape of `values`, {values.shape}; got "
                f"{shown(noise)}."
            )
        self.values, self.noise = values, jnp.broadcast_to(noise, values.shape)

    @classmethod
    def binomial(
        cls, correct: ArrayLike, trials: ArrayLike, *, epochs: Sequence[int] | np.ndarray | Array
    ) -> "Observations":
        """Counts of successes, one a session: shares c/n of `Successes`.

            σ² = p(1 − p)/n,      p = (c + 1)/(n + 2), which keeps σ above zero

        Arguments:
            correct: c, shape (session,).
            trials: n, one number or one a session; at least 1.
            epochs: of the sessions.

        Errors: ValueError for counts outside 0 … n.
        """
        n = real_array(trials, "trials", 1)
        c = real_array(correct, "correct", 0)
        if c.ndim != 1 or n.shape not in ((), c.shape):
            raise ValueError(
                f"`correct` has shape (session,), and `trials` too or is one number; got "
                f"{shown(c)} and {shown(n)}."
            )
        n = jnp.broadcast_to(n.astype(c.dtype), c.shape)
        if np.any(np.asarray(c > n)):
            raise ValueError("`correct` counts successes among `trials`: some are more than these.")
        p = (c + 1) / (n + 2)
        return cls(Successes(), c / n, epochs=epochs, noise=jnp.sqrt(p * (1 - p) / n))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.values.size

    @property
    def stride(self) -> int:
        """The largest step by which learning, recorded from epoch 0 on, meets all epochs."""
        return max(gcd(*self.epochs), 1)
