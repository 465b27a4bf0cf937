"""What one step of a trial costs."""

from abc import abstractmethod
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lrnn_jax._checks import whole
from lrnn_jax._readable import AbstractReadable
from lrnn_jax._types import Numbers, Output


class AbstractCriterion(AbstractReadable):
    """ℓ(y, y*): what an output costs where a target is wanted.

    >>> isinstance(tasks.Squared(), tasks.AbstractCriterion)
    True
    """

    @abstractmethod
    def __call__(self, output: Output, target: Output) -> Numbers:
        """ℓ of every step."""

    @abstractmethod
    def target(self, given: np.ndarray) -> np.ndarray:
        """Targets (time, outputs) of one trial, as floating-point numbers, from what users give.

        Errors: ValueError, with the reason, for what is no target.
        """


class Squared(AbstractCriterion):
    """ℓ = ‖y − y*‖². Targets: shape (time, outputs), or (time,) for one output.

    >>> data = lrnn.TrialSet(np.ones((16, 20)), np.ones((16, 20)), dt=0.1, loss=tasks.Squared())
    >>> float(data.loss(net, data.sample(key))) > 0
    True
    """

    def __call__(self, output: Array, target: Array) -> Array:
        return jnp.sum((output - target) ** 2, axis=-1)

    def target(self, given: np.ndarray) -> np.ndarray:
        return given[:, None] if given.ndim == 1 else given


class CrossEntropy(AbstractCriterion):
    """ℓ = −Σ_c p_c ln softmax(y)_c of outputs y, one a class, and the wanted class.

    Targets: class numbers 0 … C − 1, shape (time,), or probabilities p, shape (time, C).

    Arguments:
        classes: C, at least 2.

    Errors: ValueError for fewer.

    >>> x, choice = np.ones((16, 20, 1)), np.ones((16, 20), int)
    >>> task = lrnn.TrialSet(x, choice, dt=0.1, loss=tasks.CrossEntropy(3))
    >>> wide = lrnn.LowRankRNN.normalised(40, dt=0.1, outputs=3, key=key)
    >>> float(task.loss(wide, task.sample(key))) > 0
    True
    """

    classes: int = eqx.field(converter=partial(whole, name="classes", least=2), static=True)

    def __call__(self, output: Array, target: Array) -> Array:
        return -jnp.sum(target * jax.nn.log_softmax(output, axis=-1), axis=-1)

    def target(self, given: np.ndarray) -> np.ndarray:
        if given.ndim != 1:
            return given
        numbers: Any = given.astype(int)
        if (numbers != given).any() or (numbers < 0).any() or (numbers >= self.classes).any():
            raise ValueError(
                f"`target` holds class numbers from 0 to {self.classes - 1}; got values from "
                f"{given.min()} to {given.max()}."
            )
        return np.eye(self.classes)[numbers]
