"""What a sweep file runs unless it says otherwise: learning a filter, with every choice by name."""

import dataclasses
from typing import Any, Literal

import jax.random as jr
import optax
from jaxtyping import Array

from lrnn_jax._checks import as_dt, whole
from lrnn_jax.learning import Descent, Flow, Muon, NormalisedDescent, Training, learn
from lrnn_jax.networks import LowRankRNN
from lrnn_jax.reduced import reduce
from lrnn_jax.sweeps._outputs import Labelled, summarise
from lrnn_jax.tasks import ExponentialFilter, OscillatingFilter

Real = float | Array
Whole = int | Array
STATIC = ("n", "rank", "steps", "epochs", "record", "keep", "task", "method", "model")
"""Fields that decide shapes or branches."""
LABELS = {
    "lr": ("learning rate η", "1"),
    "rate": ("decay rate c*", "1 / membrane time constant"),
    "frequency": ("angular frequency ω*", "radians / membrane time constant"),
    "amplitude": ("amplitude a*", "1"),
    "dt": ("Euler step", "membrane time constants"),
    "n": ("neurons N", "1"),
    "rank": ("rank", "1"),
    "steps": ("steps T", "1"),
    "epochs": ("parameter updates", "1"),
    "momentum": ("momentum", "1"),
}
"""Long names and units for tables and plots."""


@dataclasses.dataclass(frozen=True)
class Learning:
    """A normalised network, or its exact reduction, learns a filter.

    `model = "both"` compares the two: `gap` is max |ΔQ| over epochs and overlaps. The initial
    network depends on the sweep's seed and on `seed` alone, so that cells with the same seed start
    alike. `record` keeps every n-th epoch (0: every one); `criterion` is the loss of which the
    first epoch below is noted.
    """

    model: Literal["reduced", "full", "both"] = "reduced"
    n: int = 100
    rank: int = 1
    dt: Real = 0.05
    task: Literal["exponential", "oscillating"] = "exponential"
    steps: int = 400
    rate: Real = 0.2
    frequency: Real = 2.0
    amplitude: Real = 1.0
    method: Literal["descent", "momentum", "normalised", "muon", "adam", "flow"] = "descent"
    lr: Real = 5e-3
    momentum: Real = 0.9
    epochs: int = 2000
    record: int = 0
    keep: Literal["summary", "curve"] = "summary"
    criterion: Real = 1e-3
    seed: Whole = 0

    def check(self) -> None:
        """Raise ValueError for a value that learning would refuse."""
        counts = {"n": 1, "rank": 1, "steps": 1, "epochs": 0, "record": 0}
        for name, least in counts.items():
            whole(getattr(self, name), name, least)
        if self.rank > self.n:
            raise ValueError(f"`rank` must be at most `n`; got {self.rank} of {self.n} neurons.")
        as_dt(self.dt)
        self._objective()
        self._method()

    def run(self, base: int) -> dict[str, Any]:
        """Summary or curve of the network that `base`, the sweep's seed, and `seed` stand for."""
        key = jr.fold_in(jr.key(base), self.seed)
        net = LowRankRNN.normalised(self.n, self.rank, dt=self.dt, key=key)
        models = {"reduced": [reduce(net)], "full": [net], "both": [reduce(net), net]}
        options = {"epochs": self.epochs, "record": self.record or 1, "throw": False}
        curves = [
            learn(model, self._objective(), self._method(), **options)
            for model in models[self.model]
        ]
        kept = curves[-1] if self.keep == "curve" else summarise(curves[-1], self.criterion)
        if self.model != "both":
            return {"": kept}
        gap = curves[0].distance(curves[1]).max
        long_name = "largest |ΔQ| of network and theory"
        return {"learned": kept, "gap": Labelled(gap, long_name=long_name, units="1")}

    def _objective(self) -> ExponentialFilter | OscillatingFilter:
        if self.task == "exponential":
            return ExponentialFilter(self.rate, self.dt, self.steps, self.amplitude)
        return OscillatingFilter(self.rate, self.frequency, self.dt, self.steps, self.amplitude)

    def _method(self) -> Any:
        methods = {
            "descent": lambda: Descent(self.lr),
            "momentum": lambda: Descent(self.lr, momentum=self.momentum),
            "normalised": lambda: NormalisedDescent(self.lr),
            "muon": lambda: Muon(self.lr, momentum=self.momentum),
            "adam": lambda: Training(optax.adam(self.lr)),
            "flow": lambda: Flow(self.lr),
        }
        return methods[self.method]()
