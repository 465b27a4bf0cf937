"""Configs: dataclasses whose fields know their bounds, and what several experiments share."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import jax.random as jr
import numpy as np

from lrnn_jax.networks import LowRankRNN
from lrnn_jax.overlaps import degenerate_twin


def within(default: Any, low: float, high: float | Callable[[Any], float]) -> Any:
    """A field of a config: a number, or a tuple of numbers, that must lie between bounds.

    Arguments:
        default: its value.
        low, high: the bounds; the higher one may be a function of the config.
    """
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class AbstractConfig:
    """What an experiment is run with.

    Errors: ValueError naming the field that is not `within` its bounds.
    """

    def __post_init__(self) -> None:
        for bounded in (f for f in fields(self) if f.metadata):
            value, low, high = getattr(self, bounded.name), *bounded.metadata.values()
            high, numbers = high(self) if callable(high) else high, np.ravel(value)
            if not (numbers.size and low <= numbers.min() and numbers.max() <= high):
                raise ValueError(
                    f"`{bounded.name}` must lie between {low:g} and {high:g}; got {value}."
                )

    @property
    def pace(self) -> dict[str, Any]:
        """Options of `learn`: how long, what is kept of it and how many devices share it."""
        names = [f.name for f in fields(self) if f.name in ("epochs", "record", "devices")]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class AbstractFilterConfig(AbstractConfig):
    """A linear low-rank network that learns filters."""

    n: int = within(500, 4, 1e6)
    """N, neurons."""
    dt: float = within(0.05, 1e-9, 1)
    """Euler step [membrane time constants]."""
    steps: int = within(400, 2, 1e6)
    """T, steps of the impulse response."""
    lr: float = within(5e-3, 0, 1e3)
    """η, learning rate of gradient descent (the network's own is N η)."""
    epochs: int = within(2000, 2, 1e8)
    """Parameter updates."""
    seed: int = 0
    """Random seed of the initial network, and of noise where there is any."""

    def network(self, *, n: int | None = None, rank: int = 1) -> LowRankRNN:
        """The network at epoch 0, also of another size than `n`."""
        return LowRankRNN.normalised(n or self.n, rank, dt=self.dt, key=jr.key(self.seed))


@dataclass(frozen=True)
class AbstractTwinConfig(AbstractFilterConfig):
    """A network with the same visible overlaps as the normalised one, and other invisible ones."""

    uu: float = 2.048
    """UᵀU/N of the second network (about 1 in the first)."""
    mu: float = 0.8
    """MᵀU/N of the second network (about 0 in the first)."""

    def twin(self, n: int | None = None) -> LowRankRNN:
        """The second network at epoch 0, also of another size than `n`."""
        return degenerate_twin(self.network(n=n), uu=self.uu, mu=self.mu)


@dataclass(frozen=True)
class AbstractLoopConfig(AbstractConfig):
    """A controller that learns in closed loop."""

    n: int = within(100, 2, 1e6)
    """N, neurons."""
    steps: int = within(50, 3, 1e5)
    """T, steps of a trial."""
    batch: int = within(100, 1, 1e6)
    """Trials per epoch."""
    lr: float = within(0.01, 0, 1e3)
    """η, learning rate."""
    epochs: int = within(1000, 2, 1e7)
    """Parameter updates."""
    seed: int = 0
    """Random seed of the initial network and of the trials."""
