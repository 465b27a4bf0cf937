"""`infer`: overlaps from a csv file of what was seen of learning."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import jax.random as jr
import numpy as np

from lrnn_jax.environments import ClosedLoop, KIntegrator
from lrnn_jax.inference import Estimate, infer, read_observations
from lrnn_jax.learning import Descent, outcome
from lrnn_jax.overlaps import Overlaps, Roles
from lrnn_jax.reduced import ReducedRNN
from lrnn_jax.tasks import ExponentialFilter


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned, and how."""

    task: Literal["filter", "loop"] = "filter"
    """filter: become a leaky integrator; loop: control an integrator, in exact expectation."""
    dt: float = 0.05
    """Euler step [membrane time constants]."""
    steps: int = 400
    """Steps of a trial."""
    rate: float = 0.2
    """Decay rate of the filter."""
    order: int = 2
    """Order of the integrator in the loop: 2, a position and a velocity."""
    lr: float = 5e-3
    """Learning rate; where it is unknown, about its size."""
    momentum: float | None = None
    """Momentum."""
    frozen: tuple[str, ...] = ()
    """Vectors that do not learn, e.g. m u."""
    rank: int = 1
    """Pairs (u, v) of the network."""

    def parts(self) -> tuple[Any, Descent, ReducedRNN]:
        """Objective, method and model."""
        task: Any = ExponentialFilter(self.rate, self.dt, self.steps)
        if self.task == "loop":
            task = ClosedLoop(KIntegrator(self.order, dt=self.dt), self.steps)
        method = Descent(self.lr, self.momentum, rates=dict.fromkeys(self.frozen, 0.0))
        gram = np.eye(2 * self.rank + 2)
        model = ReducedRNN(Overlaps(gram, Roles(outputs=1, rank=self.rank, inputs=1)), dt=self.dt)
        return task, method, model


@dataclasses.dataclass(frozen=True)
class Assumed:
    """What is known of the data, and what is not."""

    noise: float | None = None
    """Standard deviation of the noise, where the file has no column of it."""
    log: bool = False
    """Take the logarithm of losses; the noise is then relative."""
    per_session: int = 1
    """Epochs from one session to the next, where the file has sessions."""
    unknown: tuple[str, ...] = ()
    """To be found too: lr, momentum, gain, offset, floor, span, noise."""
    starts: int = 20
    """Random starts."""
    seed: int = 0
    """Of the starts."""


def estimate(path: Path, learned: Learned, assumed: Assumed) -> Estimate:
    """The estimate from a file."""
    a = assumed
    data = read_observations(path, noise=a.noise, log=a.log, per_session=a.per_session)
    task, method, model = learned.parts()
    return infer(
        data, task, method, model=model, unknown=a.unknown, starts=a.starts, key=jr.key(a.seed)
    )


def as_json(found: Estimate) -> str:
    """What is said of an estimate, for programs."""
    return json.dumps(
        {
            "result": outcome(found.result),
            "chi2": float(found.chi2),
            "numbers": found.size,
            "starts_agreeing": found.starts_agreeing,
            "intervals": found.intervals(),
            "weak": found.weak,
            "flat_range": [float(end) for end in found.flat_range],
            "unknown": found.unknown,
            "noise_scale": float(found.scale),
            "images": found.images().names,
        }
    )
