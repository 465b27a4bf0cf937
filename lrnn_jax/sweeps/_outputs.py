"""What a cell returns, as labelled variables; and summaries of learning curves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lrnn_jax._checks import component, flag, names, number, shown
from lrnn_jax._results import OUTCOMES as LEARNING_OUTCOMES
from lrnn_jax._results import RESULTS, outcome_code
from lrnn_jax.learning import LearningCurve

OUTCOMES = (*LEARNING_OUTCOMES, "raised")
"""How a cell can end: as learning does, or with an error that its function raised."""
DIVERGED, RAISED, NOT_RUN = OUTCOMES.index("diverged"), OUTCOMES.index("raised"), -1
LOSS_UNITS = "output² × membrane time constant"


class Labelled(eqx.Module):
    """An output of a sweep's function with names for its axes.

    Arguments:
        value: the array, or a number.
        dims: a name for each of its axes.
        labels: what stands at each position of an axis, by its name.
        long_name, units: for tables and plots.
        coordinate: this array gives the positions along its one axis (the same in every cell).

    >>> def run(x):
    ...     return {"y": sweeps.Labelled(x * jnp.arange(3), "time", units="1")}
    ...
    >>> lrnn.sweep({"x": [1.0, 2.0]}, run, progress=False).y.dims
    ('x', 'time')
    """

    value: Array
    dims: tuple[str, ...] = eqx.field(static=True)
    labels: dict[str, tuple[str, ...]] = eqx.field(static=True)
    long_name: str = eqx.field(static=True)
    units: str = eqx.field(static=True)
    coordinate: bool = eqx.field(static=True)

    def __init__(
        self,
        value: Any,
        *dims: Any,
        labels: Any = None,
        long_name: Any = "",
        units: Any = "",
        coordinate: Any = False,
    ):
        if not isinstance(value, jax.Array) and not _is_numeric(value):
            raise ValueError(f"`value` is an array of numbers; got {shown(value)}.")
        self.value = jnp.asarray(value)
        if len(names(dims, "dims")) != self.value.ndim:
            raise ValueError(
                f"`dims` names each axis of an array of shape {self.value.shape}; got {dims}."
            )
        self.coordinate = flag(coordinate, "coordinate")
        if coordinate and len(dims) != 1:
            raise ValueError(f"A `coordinate` has one axis; got {len(dims)}: {dims}.")
        sizes = dict(zip(dims, self.value.shape))
        self.labels = dict(component(labels or {}, Mapping, "labels", "{'overlap': ('zm', 'vu')}"))
        for dim, places in self.labels.items():
            if len(names(places, "labels")) != sizes.get(dim):
                raise ValueError(
                    f"`labels` has {len(places)} names for the axis {dim!r}; the array has "
                    f"{sizes.get(dim, 'no')} positions along it."
                )
        self.dims, self.long_name = dims, component(long_name, str, "long_name", "'loss'")
        self.units = component(units, str, "units", "'1'")


def _is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiubc"
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True)
class Spec:
    """Shape and labels of one variable of one cell, as JSON has them."""

    shape: Sequence[int]
    dtype: str
    dims: Sequence[str]
    labels: Mapping[str, Sequence[str]] | None
    long_name: str
    units: str
    coordinate: bool

    @classmethod
    def of(cls, variable: Labelled) -> "Spec":
        """The spec of a variable, traced or not."""
        v, shape, dtype = variable, variable.value.shape, str(variable.value.dtype)
        return cls(shape, dtype, v.dims, v.labels, v.long_name, v.units, v.coordinate)


def fill_of(dtype: str | np.dtype) -> Any:
    """What stands where there is no value: NaN; −1 for whole numbers; False."""
    kind = np.dtype(dtype).kind
    return np.nan if kind in "fc" else kind == "i" and -1


def variables(output: Any) -> dict[str, Labelled]:
    """The variables in what a sweep's function returned for one cell.

    A learning curve gives loss, overlaps, stopped and result over its recorded epochs. A mapping
    gives its entries: numbers, arrays, `Labelled` arrays; a learning curve in it gives variables
    with its name in front. Without any `RESULTS` among them, a cell counts as diverged when one of
    its floating-point numbers is not finite.

    Errors: TypeError for other outputs; ValueError for two outputs of one name, for one named
    "result" that is no `RESULTS`, and for axes of one name and different sizes; at run time for
    curves recorded at different epochs.
    """
    found: dict[str, Labelled] = {}
    codes: list[Array] = []
    _collect("", output, found, codes)
    if not codes:
        values = [variable.value for variable in found.values()]
        inexact = [x for x in values if jnp.issubdtype(x.dtype, jnp.inexact)]
        finite = jnp.array([jnp.all(jnp.isfinite(x)) for x in inexact], bool).all()
        codes = [jnp.where(finite, 0, DIVERGED).astype(int)]
    code = codes[0]
    for other in codes[1:]:
        code = jnp.where(code == 0, other, code)
    if "result" in found:
        raise ValueError("`result` is how a cell ended: give your output another name.")
    found["result"] = Labelled(code, long_name="outcome")
    sizes: dict[str, int] = {}
    for name, variable in found.items():
        for dim, size in zip(variable.dims, variable.value.shape):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(
                    f"The output {name!r} has {size} positions along {dim!r}, where others have "
                    f"{sizes[dim]}: give its axis another name."
                )
    return found


def check_names(specs: Mapping[str, Spec], taken: Collection[str]) -> None:
    """Raise ValueError for outputs, and axes of theirs, with the names of a sweep's."""
    dims = {dim for spec in specs.values() for dim in spec.dims}
    if clash := set(taken) & (set(specs) | dims):
        raise ValueError(f"Axes and outputs have the same names: {', '.join(sorted(clash))}.")


def _collect(name: str, output: Any, found: dict[str, Labelled], codes: list[Array]) -> None:
    if isinstance(output, RESULTS):
        codes.append(outcome_code(output))
    elif isinstance(output, LearningCurve):
        _collect(name, _curve(output), found, codes)
    elif isinstance(output, Mapping):
        for key, value in output.items():
            joined = name and key and not (isinstance(value, Labelled) and value.coordinate)
            _collect(f"{name}_{key}" if joined else str(key) or name, value, found, codes)
    elif isinstance(output, Labelled):
        name = name or "value"
        found[name] = _merged(name, found[name], output) if name in found else output
    elif isinstance(output, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        name = name or "value"
        dims = (f"{name}_{axis}" for axis in range(np.ndim(output)))
        _collect(name, Labelled(output, *dims), found, codes)
    else:
        raise TypeError(
            f"A sweep's function returns a learning curve, an array, or a mapping of names to "
            f"these; got {type(output).__name__}" + (f" for {name!r}." if name else ".")
        )


def _merged(name: str, known: Labelled, output: Labelled) -> Labelled:
    """The positions along an axis that two outputs share, checked to be the same."""
    if not (known.coordinate and output.coordinate):
        raise ValueError(f"Two outputs are called {name!r}: give one of them another name.")
    if known.value.shape != output.value.shape:
        raise ValueError(
            f"Two outputs give {name!r} in different lengths, {known.value.shape} and "
            f"{output.value.shape}: record both curves at the same epochs."
        )
    message = f"Two outputs of a cell differ in {name!r}: record both curves at the same epochs."
    value = eqx.error_if(known.value, jnp.any(known.value != output.value), message)
    return eqx.tree_at(lambda labelled: labelled.value, known, value)


def _curve(curve: LearningCurve) -> dict[str, Any]:
    """Loss and overlaps of a curve over its recorded epochs."""
    return {
        "epoch": Labelled(curve.epochs, "epoch", long_name="parameter updates", coordinate=True),
        "loss": Labelled(curve.loss, "epoch", long_name="loss", units=LOSS_UNITS),
        **_ending(curve),
        **_overlaps("overlaps", curve, slice(None), "epoch"),
    }


def _ending(curve: LearningCurve) -> dict[str, Any]:
    stopped = Labelled(curve.stopped, long_name="epoch of an early end, −1 for none")
    return {"stopped": stopped, "result": curve.result}


def _overlaps(name: str, curve: LearningCurve, epochs: Any, *dims: str) -> dict[str, Labelled]:
    """The overlaps of a curve that has any, at some of its epochs."""
    if not curve.gram.size:
        return {}
    vector, labels = curve.overlaps.vector()[epochs], {"overlap": curve.overlaps.names}
    about = {"labels": labels, "long_name": "overlap of loading vectors", "units": "1"}
    return {name: Labelled(vector, *dims, "overlap", **about)}


def summarise(
    curve: Any, criterion: Any = None, rates: dict[str, float] | None = None
) -> dict[str, Any]:
    """A few numbers in place of a curve: for sweeps too large to keep every epoch.

    Arguments:
        curve: of one run, recorded at its ends at least.
        criterion: a loss; gives `epochs_to_criterion`, the first recorded epoch with a loss below
            it (NaN: never).
        rates: multipliers the run was made with, as for `LearningCurve.invariant_drift`.

    Returns: variables for a sweep: `final_loss`, `final_overlaps`, `invariant_drift` (largest
    change between first and last epoch of what gradient flow conserves), `plateau` (the curve's),
    `stopped`, `result` and, with a criterion, `epochs_to_criterion`.

    >>> found = sweeps.summarise(curve, criterion=0.1)
    >>> bool(found["final_loss"].value == curve.loss[-1])
    True
    """
    component(curve, LearningCurve, "curve", "what `learn` returns")
    if curve.loss.ndim != 1:
        raise ValueError(f"`curve` is of one run; got losses of shape {curve.loss.shape}.")
    dtype, below = curve.loss.dtype, None
    if criterion is not None:
        below = curve.loss < number(criterion, "criterion").astype(dtype)
    out: dict[str, Any] = {
        "final_loss": Labelled(curve.loss[-1], long_name="final loss", units=LOSS_UNITS),
        "plateau": Labelled(curve.plateau, long_name="longest plateau", units="parameter updates"),
        **_ending(curve),
        **_overlaps("final_overlaps", curve, -1),
    }
    if curve.gram.size:
        ends = eqx.tree_at(lambda c: c.gram, curve, curve.gram[jnp.array([0, -1])])
        drift = ends.invariant_drift(rates)[-1]
        long_name = "largest change of a conserved quantity"
        out["invariant_drift"] = Labelled(drift, long_name=long_name, units="1")
    if below is not None:
        first = curve.epochs[jnp.argmax(below)].astype(dtype)
        reached = jnp.where(jnp.any(below), first, jnp.nan)
        out["epochs_to_criterion"] = Labelled(reached, long_name="parameter updates to criterion")
    return out
