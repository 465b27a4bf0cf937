"""Recorded or generated trials as a task."""

import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lrnn_jax._checks import as_dt, component, number, shown, whole
from lrnn_jax.tasks._base import AbstractTrialTask, Trials
from lrnn_jax.tasks._criteria import AbstractCriterion, Squared

Each = ArrayLike | Sequence[ArrayLike]


class TrialSet(AbstractTrialTask):
    """Trials of your own, recorded or generated, as a task.

        L = Σ mask ℓ(y, y*) / Σ mask      over the trials of an epoch and their steps

    Trials may differ in length: the shorter ones are padded, and not scored there.

        task = TrialSet(inputs, target, dt=0.1, batch=32)                # y like `target`
        task = TrialSet(inputs, choice, dt=0.1, loss=CrossEntropy(3))    # `choice`: class numbers

    Arguments:
        inputs: x, one array (time, inputs) a trial, or all in one, shape (trial, time, inputs);
            with one input, the last axis may be missing.
        target: y*, likewise (see the criterion for what else it takes).
        dt: Euler step in membrane time constants, in (0, 1]; the network's.
        mask: what each step counts, ≥ 0, likewise, shape (time,) a trial; None: 1 everywhere.
        batch: trials drawn in each epoch, none of them twice; None: all of them in every epoch.
        loss: ℓ, `Squared()` or `CrossEntropy(classes)`.
        held_out: share of the trials, the last ones, that learning does not see; their loss is
            recorded in `curve.held_out`. Shuffle trials that have an order.

    Errors: ValueError, naming the trial, for arrays that do not fit each other or hold what is not
    finite, a mask that scores nothing, a batch larger than the trials that are left.

    Source: ours.

    >>> x = np.array(jr.normal(key, (64, 50)))
    >>> data = lrnn.TrialSet(x, np.cumsum(x, 1) * 0.1, dt=0.1, batch=16, held_out=0.25)
    >>> learned = lrnn.learn(reduction, data, descent, epochs=5, key=key)
    >>> learned.held_out.shape
    (6,)
    """

    dt: Float[Array, ""]
    data: Trials
    held_out: Trials | None
    batch: int | None = eqx.field(static=True)
    criterion: AbstractCriterion

    def __init__(
        self,
        inputs: Each,
        target: Each,
        *,
        dt: ArrayLike,
        mask: Each | None = None,
        batch: int | None = None,
        loss: AbstractCriterion = Squared(),
        held_out: float = 0.0,
    ):
        component(loss, AbstractCriterion, "loss", "Squared(), or CrossEntropy(classes)")
        x = _trials(inputs, "inputs", _channels)
        y = _trials(target, "target", loss.target)
        ones = [np.ones(len(trial)) for trial in x]
        m = ones if mask is None else _trials(mask, "mask", np.asarray)
        _check(x, y, m)
        length = max(map(len, x))
        every = Trials(*(jnp.asarray(np.stack([_padded(a, length) for a in z])) for z in (x, y, m)))
        out = float(number(held_out, "held_out", 0, 1, open_end=True))
        kept = len(x) - round(out * len(x))
        self.data = jax.tree.map(lambda a: a[:kept], every)
        self.held_out = None if kept == len(x) else jax.tree.map(lambda a: a[kept:], every)
        self.dt = as_dt(dt)
        self.batch = None if batch is None else whole(batch, "batch", most=kept)
        self.criterion = loss
        for part in (self.data, self.held_out):
            if part is not None and not np.asarray(part.mask).any():
                raise ValueError("`mask` is zero in all trials: nothing would be scored.")

    @classmethod
    def load(cls, source: Any, **options: Any) -> "TrialSet":
        """The same from arrays with names: an `xarray.Dataset`, or an `.npz` file.

        Arguments:
            source: a dataset, mapping, or path of a file with `inputs`, `target`, perhaps `mask`
                and `dt`.
            options: as for the class; they take precedence.

        Errors: ValueError naming what is missing.
        """
        if isinstance(source, (str, os.PathLike)):
            with np.load(source, allow_pickle=False) as file:
                return cls.load(dict(file), **options)
        names = [str(name) for name in source]
        if missing := {"inputs", "target"} - {*names}:
            raise ValueError(
                f"`source` needs arrays named inputs and target (perhaps mask and dt); it lacks "
                f"{' and '.join(sorted(missing))} and has {', '.join(names) or 'none'}."
            )
        named = ("inputs", "target", "mask", "dt")
        found: dict[str, Any] = {name: np.asarray(source[name]) for name in named if name in names}
        return cls(**found | options)

    @property
    def channels(self) -> tuple[int, int]:
        """(inputs, outputs) of the trials."""
        return self.data.inputs.shape[-1], self.data.target.shape[-1]

    @property
    def steps(self) -> int:
        """T, the number of steps of the longest trial."""
        return self.data.inputs.shape[1]

    def sample(self, key: PRNGKeyArray) -> Trials | None:
        """Some of the trials, none twice; None where every epoch takes all of them."""
        if self.batch is None:
            return None
        chosen = jr.choice(key, len(self.data.mask), (self.batch,), replace=False)
        return jax.tree.map(lambda a: a[chosen], self.data)


def _trials(given: Each, name: str, form: Any) -> list[np.ndarray]:
    """One finite array a trial, with time first."""
    try:
        trials = [np.asarray(trial) for trial in given]  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, ValueError):
        trials = []
    if not trials:
        raise ValueError(f"`{name}` must hold trials, one array each; got {shown(given)}.")
    for i, trial in enumerate(trials):
        real = trial.dtype.kind in "fiub"
        if not real or trial.ndim not in (1, 2) or 0 in trial.shape or not np.isfinite(trial).all():
            raise ValueError(
                f"`{name}` holds one array of finite real numbers a trial, shape (time, channels) "
                f"or (time,); trial {i} is of {trial.dtype}, shape {trial.shape}"
                f"{'' if not real or np.isfinite(trial).all() else ', and not finite everywhere'}."
            )
    return [np.asarray(form(trial), float) for trial in trials]


def _channels(trial: np.ndarray) -> np.ndarray:
    return trial[:, None] if trial.ndim == 1 else trial


def _check(x: list[np.ndarray], y: list[np.ndarray], m: list[np.ndarray]) -> None:
    """Raise ValueError unless inputs, targets and masks are those of the same trials."""
    if not len(x) == len(y) == len(m):
        raise ValueError(
            f"`inputs`, `target` and `mask` hold the same trials; got {len(x)}, {len(y)} and "
            f"{len(m)} of them."
        )
    for i, (a, b, c) in enumerate(zip(x, y, m)):
        channels = a.shape[1] == x[0].shape[1] and b.shape[1:] == y[0].shape[1:]
        if not len(a) == len(b) == len(c) or c.ndim != 1 or not channels or (c < 0).any():
            raise ValueError(
                f"Trials have as many steps in `inputs` as in `target` and `mask`, the channels of "
                f"the first trial, and a mask ≥ 0 of shape (time,); trial {i} has inputs "
                f"{a.shape}, target {b.shape}, mask {c.shape}."
            )


def _padded(a: np.ndarray, length: int) -> np.ndarray:
    """A trial with zeros after its end."""
    return np.pad(a, [(0, length - len(a))] + [(0, 0)] * (a.ndim - 1))
