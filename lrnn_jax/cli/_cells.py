"""What a sweep file can run: learning, with every choice by name, or an experiment."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from lrnn_jax.experiments import REGISTRY, Experiment, get

STATIC = ("n", "rank", "steps", "epochs", "record", "keep", "task", "method", "model")
"""Fields of `learning` that decide shapes or branches."""
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


def learning(
    base: int,
    *,
    model: Literal["reduced", "full", "both"] = "reduced",
    n: int = 100,
    rank: int = 1,
    dt: float = 0.05,
    task: Literal["exponential", "oscillating"] = "exponential",
    steps: int = 400,
    rate: float = 0.2,
    frequency: float = 2.0,
    amplitude: float = 1.0,
    method: Literal["descent", "momentum", "normalised", "muon", "adam", "flow"] = "descent",
    lr: float = 5e-3,
    momentum: float = 0.9,
    epochs: int = 2000,
    record: int = 0,
    keep: Literal["summary", "curve"] = "summary",
    criterion: float = 1e-3,
    seed: int = 0,
) -> dict[str, Any]:
    """A normalised network, or its exact reduction, learns a filter.

    `model = "both"` compares the two: `gap` is max |ΔQ| over epochs and overlaps. The initial
    network depends on `base`, the sweep's seed, and on `seed` alone, so that cells with the same
    seed start alike. `record` keeps every n-th epoch (0: every one); `criterion` is the loss of
    which the first epoch below is noted.
    """
    import jax.random as jr
    import optax

    import lrnn_jax as lrnn
    from lrnn_jax.sweeps import Labelled, summarise

    net = lrnn.LowRankRNN.normalised(n, rank, dt=dt, key=jr.fold_in(jr.key(base), seed))
    tasks = {
        "exponential": lambda: lrnn.ExponentialFilter(rate, dt, steps, amplitude),
        "oscillating": lambda: lrnn.OscillatingFilter(rate, frequency, dt, steps, amplitude),
    }
    methods = {
        "descent": lambda: lrnn.Descent(lr),
        "momentum": lambda: lrnn.Descent(lr, momentum=momentum),
        "normalised": lambda: lrnn.NormalisedDescent(lr),
        "muon": lambda: lrnn.Muon(lr, momentum=momentum),
        "adam": lambda: lrnn.Training(optax.adam(lr)),
        "flow": lambda: lrnn.Flow(lr),
    }
    models = {"reduced": [lrnn.reduce(net)], "full": [net], "both": [lrnn.reduce(net), net]}
    every = record or 1
    curves = [
        lrnn.learn(m, tasks[task](), methods[method](), epochs=epochs, record=every, throw=False)
        for m in models[model]
    ]
    kept = curves[-1] if keep == "curve" else summarise(curves[-1], criterion)
    out: dict[str, Any] = {"learned": kept} if model == "both" else {"": kept}
    if model == "both":
        gap = curves[0].distance(curves[1]).max
        out["gap"] = Labelled(gap, long_name="largest |ΔQ| of network and theory", units="1")
    return out


def experiment_cell(experiment: Experiment, preset: str) -> Callable[..., dict[str, Any]]:
    """A function of an experiment's fields that returns its numbers and whether its claims hold."""
    default = experiment.quick if preset == "quick" else experiment.full

    def run(**fields: Any) -> dict[str, Any]:
        report = experiment(dataclasses.replace(default, **fields))
        out: dict[str, Any] = {}
        _numbers("", report.values, out)
        return out | {"claims_hold": all(claim.holds for claim in report.claims)}

    run.__qualname__ = f"{experiment.name} ({preset})"
    return run


def _numbers(name: str, values: Any, out: dict[str, Any]) -> None:
    if isinstance(values, dict):
        for key, value in values.items():
            _numbers(f"{name}_{key}" if name else key, value, out)
    elif isinstance(values, (bool, int, float)):
        out[name] = float(values)


def fields_of(run: str) -> dict[str, tuple[Any, Any]]:
    """What can be set or swept, by name: (type, default).

    Errors: ValueError, with suggestions, for an unknown name.
    """
    if run == "learning":
        found = inspect.signature(learning).parameters.values()
        return {p.name: (p.annotation, p.default) for p in found if p.name != "base"}
    if run not in REGISTRY:
        known = ", ".join(("learning", *REGISTRY))
        try:
            get(run)
        except ValueError as error:
            raise ValueError(f"`run` names what is swept: {known}. {error}") from None
    return {f.name: (f.type, f.default) for f in dataclasses.fields(get(run).full)}


def check_value(name: str, value: Any, kind: Any) -> Any:
    """The value in its field's type.

    Errors: ValueError saying what was expected and what came.
    """
    if get_origin(kind) is Literal:
        return one_of(name, value, get_args(kind))
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if (
        kind in (int, bool, str)
        and isinstance(value, kind)
        and isinstance(value, bool) == (kind is bool)
    ):
        return value
    if kind in (int, float, bool, str):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise ValueError(f"`{name}` is {words[kind]}; got {value!r}.")
    return tuple(value) if isinstance(value, list) else value


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """The value, if it is one of those allowed.

    Errors: ValueError listing them.
    """
    if value in allowed:
        return value
    raise ValueError(f"`{name}` is one of {', '.join(map(str, allowed))}; got {value!r}.")
