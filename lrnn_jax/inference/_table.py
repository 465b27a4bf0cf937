"""Observations out of a csv file."""

import csv
import os
import re
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from lrnn_jax._checks import component, flag
from lrnn_jax.inference._channels import AbstractChannel, Loss, Outputs, Visible
from lrnn_jax.inference._observations import Observations

VISIBLE = ("zm", "zu", "vm", "vu")


def read_observations(
    path: str | os.PathLike, *, noise: ArrayLike | None = None, log: bool = False
) -> Observations:
    """Observations from a csv file with one row an epoch (or session) that was looked at.

    A column "epoch", rising from 0 on, and beside it one of

        zm, zu, vm, vu          visible overlaps (`Visible`)
        loss                    the loss (`Loss`)
        correct, trials         successes among trials (`Successes`); they have their own noise
        y0, y20, y40, …         outputs at these steps, evenly spaced (`Outputs`)

    and, for all but successes, perhaps a column "noise": σ of that row.

    Arguments:
        path: of the file.
        noise: σ where there is no such column.
        log: whether to take the logarithm of losses; σ is then relative.

    Errors: ValueError for a file without these columns, with cells that are not numbers, or for
    noise that is neither in the file nor given.

    Source: ours.

    >>> rows = np.array([[0, 1.0], [10, 0.5], [20, 0.25]])
    >>> np.savetxt("mouse.csv", rows, delimiter=",", header="epoch,loss", comments="")
    >>> found = inference.read_observations("mouse.csv", noise=0.05, log=True)
    >>> found.channel, found.epochs
    (Loss(log=True), (0, 10, 20))
    """
    columns, log = _columns(path), flag(log, "log")
    if "epoch" not in columns:
        raise ValueError(f"{path} needs a column epoch; it has {', '.join(columns) or 'none'}.")
    epochs = columns["epoch"]
    if np.any(epochs != np.round(epochs)):
        raise ValueError(f"{path} has epochs that are no whole numbers.")
    epochs = epochs.astype(int)
    if {"correct", "trials"} <= columns.keys():
        counts = columns["correct"], columns["trials"]
        return Observations.binomial(*counts, epochs=epochs)
    channel, values = _seen(columns, log, path)
    sigma: Any = columns.get("noise", noise)
    if sigma is None:
        raise ValueError(f"`noise` must be given, since {path} has no column noise.")
    return Observations(channel, values, epochs=epochs, noise=sigma)


def _columns(path: Any) -> dict[str, np.ndarray]:
    """Numbers by the names of columns."""
    component(path, (str, os.PathLike), "path", '"mouse.csv"')
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path}.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head, *rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
        cells = np.array([[float(cell) for cell in row] for row in rows], float)
        assert cells.shape == (len(rows), len(head))
        assert rows
    except (ValueError, AssertionError):
        raise ValueError(
            f"{path} must be a csv file: one row of names, then rows of as many numbers."
        ) from None
    return {name.strip().lower(): column for name, column in zip(head, cells.T)}


def _seen(
    columns: dict[str, np.ndarray], log: bool, path: Any
) -> tuple[AbstractChannel, np.ndarray]:
    """What the columns show."""
    if set(VISIBLE) <= columns.keys():
        return Visible(), np.stack([columns[name] for name in VISIBLE], axis=1)
    if "loss" in columns:
        if log and np.any(columns["loss"] <= 0):
            raise ValueError(
                f"{path} has losses that are not positive, and `log` takes logarithms."
            )
        return Loss(log=log), np.log(columns["loss"]) if log else columns["loss"]
    steps = sorted(int(name[1:]) for name in columns if re.fullmatch(r"y\d+", name))
    apart = set(np.diff(steps).tolist()) or {1}
    if not steps or len(apart) > 1:
        raise ValueError(
            f"{path} needs columns zm, zu, vm, vu; or loss; or correct, trials; or y0, y20, … of "
            f"evenly spaced steps; it has {', '.join(columns)}."
        )
    return Outputs(every=apart.pop(), first=steps[0]), np.stack(
        [columns[f"y{t}"] for t in steps], 1
    )
