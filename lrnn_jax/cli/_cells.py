"""Experiments as the cells of a sweep."""

from typing import Any

from lrnn_jax.experiments import Experiment
from lrnn_jax.sweeps import Runnable


def experiment_cell(experiment: Experiment) -> Runnable:
    """An experiment for sweep files: its cells return its numbers, and whether its claims hold."""

    def run(config: Any, seed: int) -> dict[str, Any]:
        report = experiment(config)
        numbers: dict[str, Any] = {}
        _collect("", report.values, numbers)
        return numbers | {"claims_hold": all(claim.holds for claim in report.claims)}

    return Runnable(run, {"full": experiment.full, "quick": experiment.quick}, traced=False)


def _collect(name: str, values: Any, numbers: dict[str, Any]) -> None:
    if isinstance(values, dict):
        for key, value in values.items():
            _collect(f"{name}_{key}" if name else key, value, numbers)
    elif isinstance(values, (bool, int, float)):
        numbers[name] = float(values)
