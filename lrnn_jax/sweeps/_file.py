"""Sweep files: a table of what is run, of what stays, and of what varies."""

import contextlib
import dataclasses
import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np

from lrnn_jax._checks import component, function, whole, whole_or_none
from lrnn_jax.sweeps._folder import as_path
from lrnn_jax.sweeps._grid import LARGEST, Design, grid, hint, one_of, sampled, zipped
from lrnn_jax.sweeps._learning import LABELS, STATIC, Learning, Real, Whole
from lrnn_jax.sweeps._sweep import Sweep

TABLES = ("sweep", "fixed", "axes", "zip", "sample")
HEAD = ("run", "seed", "chunk", "preset")
RANGE = ("from", "to", "count", "spacing")
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclasses.dataclass(frozen=True)
class Runnable:
    """Something that a sweep file can run, by name.

    Arguments:
        run: called with a config and the sweep's seed; returns what `Sweep` takes from a cell.
        presets: configs by name, the default first: frozen dataclasses, whose fields are what can
            be fixed or swept.
        check: raises ValueError for a config that `run` would refuse; called before anything runs,
            with the smallest and largest values of each axis.
        static: fields that decide shapes or branches.
        labels: (long name, units) by field.
        traced: False for what runs on the host, cell by cell, and has its seed among its fields.

    >>> presets = {"default": experiments.FilterConfig()}
    >>> sweeps.Runnable(lambda config, seed: {"lr": config.lr}, presets).static
    ()
    """

    run: Any
    presets: Any
    check: Any = lambda config: None
    static: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    traced: bool = True

    def __post_init__(self) -> None:
        function(self.run, "run", "a config and a seed")
        function(self.check, "check", "a config")
        configs = self.presets.values() if isinstance(self.presets, Mapping) else ()
        if not configs or not all(dataclasses.is_dataclass(config) for config in configs):
            raise ValueError(
                f"`presets` are configs (dataclasses) by name, at least one; got {self.presets!r}."
            )


LEARNING = Runnable(Learning.run, {"full": Learning()}, Learning.check, STATIC, LABELS)


def read_sweep(path: Any, store: Any = None, *, runs: Mapping[str, Any] | None = None) -> Sweep:
    """The sweep that a file describes, checked.

        [sweep]  run = "learning", seed = 0, chunk, preset    what is run
        [fixed]  epochs = 2000                                fields that stay
        [axes]   lr = [0.01, 0.1]                             every combination
        [zip]                                                 the same, varying together
        [sample] count = 10, seed, method, lr = [0.01, 0.1]   drawn from ranges

    A value of an axis may also be {from, to, count, spacing = "linear" or "log"}.

    Arguments:
        path: a TOML file.
        store: folder for results, as for `Sweep`.
        runs: what else than "learning" can be run, by name.

    Errors: ValueError for what is wrong in the file, naming table and field, with suggestions.

    >>> text = '''
    ... [sweep]
    ... run = "learning"
    ... [fixed]
    ... epochs = 5
    ... [axes]
    ... lr = [0.01, 0.1]
    ... '''
    >>> with open("sweep.toml", "w") as file:
    ...     print(text, file=file)
    ...
    >>> sweeps.read_sweep("sweep.toml").design.size
    2
    """
    head, fixed, *varied = _tables(as_path(path, "path"))
    such_as = "{'mine': Runnable(run, {'full': Config()})}"
    component({} if runs is None else runs, Mapping, "runs", such_as)
    runnables = {"learning": LEARNING, **(runs or {})}
    for value in runnables.values():
        component(value, Runnable, "runs", such_as)
    with _table("sweep"):
        _known(head, HEAD, "field")
        name = one_of("run", head.get("run", "learning"), runnables)
        runnable = runnables[name]
        ignored = [key for key in ("chunk", "seed") if key in head and not runnable.traced]
        if ignored:
            raise ValueError(
                f"`{ignored[0]}`: {name!r} runs its cells one by one, each with the `seed` among "
                f"its own fields."
            )
        presets = runnable.presets
        default = presets[one_of("preset", head.get("preset", next(iter(presets))), presets)]
        seed = check_value("seed", head.get("seed", 0), int)
        chunk = whole_or_none(head.get("chunk"), "chunk", "what fits into memory")
    kinds = {field.name: field.type for field in dataclasses.fields(default)}
    with _table("fixed"):
        _known(fixed, kinds, "field")
        fixed = {key: check_value(key, value, kinds[key]) for key, value in fixed.items()}
    design = _design(varied, kinds)
    if twice := set(fixed) & set(design.columns):
        raise ValueError(f"Both fixed and swept: {', '.join(sorted(twice))}.")
    config = dataclasses.replace(default, **fixed)
    for cell in design.extremes():
        runnable.check(dataclasses.replace(config, **cell))
    return Sweep(
        design,
        functools.partial(_run_cell, runnable.run, config, seed),
        static=[field for field in runnable.static if field in design.columns],
        labels={key: text for key, text in runnable.labels.items() if key in design.columns},
        chunk=chunk,
        store=store,
        traced=runnable.traced,
        name=f"{name} {seed if runnable.traced else head.get('preset', next(iter(presets)))} "
        f"{sorted(fixed.items())}",
    )


def _run_cell(run: Callable[[Any, int], Any], config: Any, seed: int, /, **fields: Any) -> Any:
    return run(dataclasses.replace(config, **fields), seed)


def _tables(path: Path) -> list[dict[str, Any]]:
    """The tables of a file, those that it lacks empty."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable sweep file: {error}.") from None
    _known(content, TABLES, "table")
    for name, table in content.items():
        if not isinstance(table, dict):
            raise ValueError(f"[{name}] is a table, with a line for each field; got {table!r}.")
    return [content.get(name, {}) for name in TABLES]


@contextlib.contextmanager
def _table(name: str) -> Iterator[None]:
    """Say in which table something is wrong."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"[{name}] {error}") from None


def _design(tables: list[dict[str, Any]], kinds: Mapping[str, Any]) -> Design:
    """The design of [axes], [zip] and [sample]."""
    *listed, drawn = tables
    options = {key: drawn.pop(key) for key in ("count", "seed", "method") if key in drawn}
    parts = []
    for name, columns, combine in zip(TABLES[2:], listed, (grid, zipped)):
        with _table(name):
            _known(columns, kinds, "field")
            values = {key: _values(key, value, kinds[key]) for key, value in columns.items()}
            parts += [combine(**values)] if values else []
    with _table("sample"):
        _known(drawn, kinds, "field")
        if texts := [key for key in drawn if kinds[key] not in (int, float, Real, Whole)]:
            raise ValueError(f"`{texts[0]}` is no number: list its values in [axes] or [zip].")
        if drawn or options:
            sample = sampled(**{"count": 0, "seed": 0, **options}, **drawn)
            columns = {name: column.values for name, column in sample.columns.items()}
            wholes = {n: np.rint(x).astype(int) for n, x in columns.items() if _is_whole(kinds[n])}
            parts.append(zipped("sample", **columns | wholes))
    if not parts:
        raise ValueError("The file sweeps nothing: give [axes], [zip] or [sample].")
    return functools.reduce(lambda one, other: one * other, parts)


def _values(name: str, values: Any, kind: Any) -> list[Any]:
    """Values of an axis: a list, or {from, to, count, spacing}."""
    if isinstance(values, dict):
        _known(values, RANGE, f"field of the range of {name}")
        if missing := [key for key in RANGE[:3] if key not in values]:
            raise ValueError(f"The range of {name} needs {missing[0]!r}: {{from, to, count}}.")
        low, high = (check_value(f"{key} of {name}", values[key], float) for key in ("from", "to"))
        count = whole(values["count"], f"count of {name}", 1, LARGEST)
        spacing = one_of("spacing", values.get("spacing", "linear"), ("linear", "log"))
        if not np.isfinite(high - low) or (spacing == "log" and low * high <= 0):
            raise ValueError(
                f"The range of {name} is from {low} to {high}: give finite ends and, with "
                f"spacing 'log', two of one sign."
            )
        made = (np.geomspace if spacing == "log" else np.linspace)(low, high, count)
        values = (np.unique(np.rint(made)).astype(int) if _is_whole(kind) else made).tolist()
    if not isinstance(values, list):
        raise ValueError(f"The axis {name} is a list or {{from, to, count}}; got {values!r}.")
    if not values:
        raise ValueError(f"The axis {name!r} is empty: give it at least one value.")
    return [check_value(name, value, kind) for value in values]


def _is_whole(kind: Any) -> bool:
    return kind in (int, Whole)


def _known(names: Any, known: Any, what: str) -> None:
    for name in names:
        if name not in known:
            known_are = f"Known: {', '.join(known)}."
            raise ValueError(f"Unknown {what}: {name!r}.{hint(name, known)} {known_are}")


def check_value(name: str, value: Any, kind: Any) -> Any:
    """The value in its field's type.

    Errors: ValueError saying what was expected and what came.
    """
    kind = {Real: float, Whole: int}.get(kind, kind)
    if get_origin(kind) is Literal:
        return one_of(name, value, get_args(kind))
    if get_origin(kind) is tuple:
        kinds, many = get_args(kind), Ellipsis in get_args(kind)
        if not isinstance(value, list) or not (many or len(value) == len(kinds)):
            expected = "a list" if many else f"a list of {len(kinds)} values"
            raise ValueError(f"`{name}` is {expected}; got {value!r}.")
        each = kinds[:1] * len(value) if many else kinds
        return tuple(check_value(name, x, kind) for x, kind in zip(value, each))
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number and not abs(value) > 2**1023:
        return float(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind is int and isinstance(value, int) and number and abs(value) < 2**63:
        return value
    raise ValueError(f"`{name}` is {WORDS.get(kind, kind)}; got {value!r}.")
