"""Observations out of a csv file."""

import csv
import os
import re
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from lrnn_jax._checks import component, flag, whole
from lrnn_jax.inference._channels import AbstractChannel, Loss, Outputs, Visible
from lrnn_jax.inference._observations import Observations

VISIBLE = ("zm", "zu", "vm", "vu")
READ = re.compile(r"epoch|session|zm|zu|vm|vu|loss|correct|trials|noise|y\d+")
"""Names of columns that are read; others may hold anything."""


def read_observations(
    path: str | os.PathLike,
    *,
    noise: ArrayLike | None = None,
    log: bool = False,
    per_session: int = 1,
) -> Observations:
    """Observations from a csv file with one row an epoch (or session) that was looked at.

    A column "epoch", rising from 0 on, or "session", rising, of which the first is before learning;
    and beside it one of

        zm, zu, vm, vu          visible overlaps (`Visible`)
        loss                    the loss (`Loss`)
        correct, trials         successes among trials (`Successes`); they have their own noise
        y0, y20, y40, …         outputs at these steps, evenly spaced (`Outputs`)

    and, for all but successes, perhaps a column "noise": σ of that row. Other columns are not read.

    Arguments:
        path: of the file.
        noise: σ where there is no such column.
        log: whether to take the logarithm of losses; σ is then relative.
        per_session: epochs from one session to the next. Where nobody knows, take some and leave
            the rate to be found: steps are small where no session changes much.

    Errors: ValueError for a file without these columns, cells of them that are not numbers,
    noise that is neither in the file nor given, `per_session` of a file of epochs.

    Source: ours.

    >>> rows = np.array([[0, 1.0], [10, 0.5], [20, 0.25]])
    >>> np.savetxt("mouse.csv", rows, delimiter=",", header="epoch,loss", comments="")
    >>> found = inference.read_observations("mouse.csv", noise=0.05, log=True)
    >>> found.channel, found.epochs
    (Loss(log=True), (0, 10, 20))
    """
    columns, log = _columns(path), flag(log, "log")
    epochs = _epochs(columns, whole(per_session, "per_session"), path)
    if {"correct", "trials"} <= columns.keys():
        counts = columns["correct"], columns["trials"]
        return Observations.binomial(*counts, epochs=epochs)
    channel, values = _seen(columns, log, path)
    sigma: Any = columns.get("noise", noise)
    if sigma is None:
        raise ValueError(f"`noise` must be given, since {path} has no column noise.")
    return Observations(channel, values, epochs=epochs, noise=sigma)


def _columns(path: Any) -> dict[str, np.ndarray]:
    """Numbers by the names of columns, NaN in those that are not read."""
    component(path, (str, os.PathLike), "path", '"mouse.csv"')
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path}.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head, *rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
        assert rows
        assert {len(row) for row in rows} == {len(head)}
        columns = {name.strip().lower(): cells for name, cells in zip(head, zip(*rows))}
        return {
            name: np.array([float(cell) if READ.fullmatch(name) else np.nan for cell in cells])
            for name, cells in columns.items()
        }
    except (ValueError, AssertionError):
        raise ValueError(
            f"{path} must be a csv file: one row of names, then rows of as many numbers."
        ) from None


def _epochs(columns: dict[str, np.ndarray], per_session: int, path: Any) -> np.ndarray:
    """At which epochs rows are."""
    name = "epoch" if "epoch" in columns else "session"
    if name not in columns:
        raise ValueError(
            f"{path} needs a column epoch, or session; it has {', '.join(columns) or 'none'}."
        )
    at = columns[name]
    if np.any(at != np.round(at)):
        raise ValueError(f"{path} has {name}s that are no whole numbers.")
    if name == "session":
        return (at - at[0]).astype(int) * per_session
    if per_session != 1:
        raise ValueError(f"`per_session` is for a file of sessions, but {path} has epochs.")
    return at.astype(int)


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
