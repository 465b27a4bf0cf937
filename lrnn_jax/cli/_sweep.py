"""`lrnn-jax sweep FILE.toml` and `lrnn-jax sweep status DIR`."""

import argparse
import difflib
import functools
import sys
import tomllib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrnn_jax.cli._cells import (
    LABELS,
    STATIC,
    check_value,
    experiment_cell,
    fields_of,
    learning,
    one_of,
)
from lrnn_jax.cli._setup import setup_jax
from lrnn_jax.experiments import get
from lrnn_jax.sweeps import (
    OUTCOMES,
    Design,
    Store,
    StoreError,
    Sweep,
    grid,
    readable,
    sampled,
    zipped,
)

EXAMPLE = """\
example of a sweep file:

  [sweep]
  run = "learning"          # or an experiment's name, e.g. "filter"
  seed = 0
  chunk = 256               # optional: cells at a time

  [fixed]                   # fields that stay
  epochs = 2000

  [axes]                    # every combination; [zip]: together; [sample]: drawn, with count
  lr = {from = 1e-3, to = 1e-2, count = 10, spacing = "log"}
  rate = [0.1, 0.2, 0.4]
  seed = {from = 0, to = 9, count = 10}
"""
KEYS = {
    "sweep": ("run", "seed", "chunk", "preset"),
    "range": ("from", "to", "count", "spacing"),
    "tables": ("sweep", "fixed", "axes", "zip", "sample"),
}


def sweep_command(rest: list[str]) -> int:
    """Run a sweep file, or report on a store; returns the exit code."""
    if rest[:1] == ["status"]:
        return _status(rest[1:])
    parser = argparse.ArgumentParser(
        "lrnn-jax sweep",
        description="Run a sweep file. `lrnn-jax sweep status DIR` reports on its store.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.toml")
    add("--store", type=Path, help="folder for results; default runs/NAME of the file")
    add("--resume", action="store_true", help="go on in a store that holds a part of this sweep")
    add("--check", action="store_true", help="validate, time one chunk, and stop")
    add("--devices", type=int, help="number of devices; on a CPU, threads of computation")
    add("--shard", metavar="i/n", help="compute the i-th of n parts, i = 0 … n−1 (job arrays)")
    add("--coordinator", metavar="HOST:PORT", help="of jax.distributed; with --process")
    add("--process", metavar="i/n", help="this is the i-th of n processes")
    add("--platform", choices=("cpu", "gpu", "tpu"), help="default: the best there is")
    add("--dtype", choices=("float64", "float32"), default="float64")
    add("--cache", type=Path, help="folder of compiled programs, used again by later runs")
    options = parser.parse_args(rest)
    store = options.store or Path("runs") / options.file.stem
    _set_up(options)
    sweep = read_sweep(options.file, store)
    devices = options.devices
    if options.check:
        print(_plan(sweep, devices), file=sys.stderr)
        return 0
    print(f"{sweep.design.size} cells", file=sys.stderr)
    shard = _part(options.shard, "--shard") if options.shard else None
    try:
        data = sweep.run(resume=options.resume, devices=devices, shard=shard)
    except (StoreError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    codes, counts = np.unique(data.result.values, return_counts=True)
    ended = {int(code): int(count) for code, count in zip(codes, counts)}
    print(f"{_endings(ended)}\nstore  {store.resolve()}")
    return 0


def _set_up(options: Any) -> None:
    """Platform, devices and processes, before any array is made."""
    if options.platform:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(options.platform, options.platform))
    setup_jax(options.dtype, options.cache, options.devices)
    if options.coordinator:
        number, count = _part(options.process or "", "--process")
        jax.distributed.initialize(options.coordinator, count, number)


def _part(text: str, name: str) -> tuple[int, int]:
    try:
        i, n = map(int, text.split("/"))
        assert 0 <= i < n
    except (ValueError, AssertionError):
        raise ValueError(f"{name} is i/n with 0 <= i < n, e.g. 0/8; got {text!r}.") from None
    return i, n


def read_sweep(path: Path, store: Path | None) -> Sweep:
    """The sweep that a file describes, checked.

    Errors: ValueError for what is wrong in it, with suggestions.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is not a readable sweep file: {error}.") from None
    _known(content, KEYS["tables"], "table")
    head = content.get("sweep", {})
    _known(head, KEYS["sweep"], "field of [sweep]")
    run, preset = head.get("run", "learning"), head.get("preset", "full")
    fields = fields_of(run)
    fixed = content.get("fixed", {})
    _known(fixed, tuple(fields), "field of [fixed]")
    fixed = {name: check_value(name, value, fields[name][0]) for name, value in fixed.items()}
    design = _design(content, fields)
    if both := set(fixed) & set(design.columns):
        raise ValueError(f"Both fixed and swept: {', '.join(sorted(both))}.")
    seed_of_sweep = check_value("seed", head.get("seed", 0), int)
    chunk = head.get("chunk")
    if run == "learning":
        static = [name for name in STATIC if name in design.columns]
        function = functools.partial(learning, seed_of_sweep, **fixed)
        function.__qualname__ = f"learning {seed_of_sweep} {sorted(fixed.items())}"  # pyright: ignore
        named = {name: text for name, text in LABELS.items() if name in design.columns}
        options = {"static": static, "chunk": chunk, "store": store, "labels": named}
        return Sweep(design, function, **options)
    if ignored := [name for name in ("chunk", "seed") if name in head]:
        raise ValueError(
            f"[sweep] {' and '.join(ignored)}: experiments run one by one, each with the `seed` "
            f"among its own fields."
        )
    one_of("preset", preset, ("full", "quick"))
    function = functools.partial(experiment_cell(get(run), preset), **fixed)
    function.__qualname__ = f"{run} {preset} {sorted(fixed.items())}"  # pyright: ignore
    return Sweep(design, function, store=store, traced=False)


def _design(content: dict[str, Any], fields: dict[str, Any]) -> Design:
    parts = []
    for table in ("axes", "zip"):
        columns = dict(content.get(table, {}))
        _known(columns, tuple(fields), f"field of [{table}]")
        values = {name: _values(name, v, fields[name][0]) for name, v in columns.items()}
        if values:
            parts.append(grid(**values) if table == "axes" else zipped(**values))
    if drawn := dict(content.get("sample", {})):
        options = {n: drawn.pop(n) for n in ("count", "seed", "method") if n in drawn}
        _known(drawn, tuple(fields), "field of [sample]")
        for name, v in drawn.items():
            if not isinstance(v, list) or len(v) not in (2, 3):
                raise ValueError(f"[sample] {name} is [low, high] or [low, high, 'log']; got {v}.")
            for end in v[:2]:
                check_value(name, end, float)
        ranges: dict[str, Any] = {n: (*map(float, v[:2]), *v[2:]) for n, v in drawn.items()}
        options: dict[str, Any] = {"seed": 0, "count": 0, **options}
        made = {
            name: column.values for name, column in sampled(**options, **ranges).columns.items()
        }
        whole = [name for name in made if fields[name][0] is int]
        rounded = {name: np.rint(np.asarray(made[name])).astype(int) for name in whole}
        parts.append(zipped("sample", **(made | rounded)))
    if not parts:
        raise ValueError("The file sweeps nothing: give [axes], [zip] or [sample].")
    design = parts[0]
    for part in parts[1:]:
        design *= part
    return design


def _values(name: str, values: Any, kind: Any) -> list[Any]:
    """Values of an axis: a list, or {from, to, count, spacing}."""
    if isinstance(values, dict):
        _known(values, KEYS["range"], f"field of the range of {name}")
        try:
            low, high, count = values["from"], values["to"], values["count"]
        except KeyError as error:
            raise ValueError(f"The range of {name} needs {error}: {{from, to, count}}.") from None
        spacing = one_of("spacing", values.get("spacing", "linear"), ("linear", "log"))
        spaced = np.geomspace if spacing == "log" else np.linspace
        made = spaced(low, high, count)
        values = np.unique(np.round(made)).astype(int).tolist() if kind is int else made.tolist()
    if not isinstance(values, list):
        raise ValueError(f"The axis {name} is a list or {{from, to, count}}; got {values!r}.")
    return [check_value(name, value, kind) for value in values]


def _known(table: dict[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in table:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"Unknown {what}: {name!r}.{hint} Known: {', '.join(names)}.")


def _plan(sweep: Sweep, devices: Any) -> str:
    """Cells, chunks, memory and time, one line a group."""
    plans = sweep.plan(devices=devices, measure=True)
    lines = [f"{sweep.design.size} cells, {len(plans)} program(s)"]
    for plan in plans[:10]:
        time = "" if plan.seconds is None else f", about {plan.seconds:.3g} s"
        lines.append(
            f"  {plan.statics or 'all'}: {plan.cells} cells, {plan.chunk} at a time in "
            f"{readable(plan.working_bytes)}; results {readable(plan.result_bytes)}{time}"
        )
    return "\n".join(lines + (["  …"] if len(plans) > 10 else []))


def _status(rest: list[str]) -> int:
    parser = argparse.ArgumentParser("lrnn-jax sweep status", description="What a store holds.")
    parser.add_argument("store", type=Path, metavar="DIR")
    parser.add_argument(
        "--verify", action="store_true", help="read all chunks and compare checksums"
    )
    options = parser.parse_args(rest)
    if not (options.store / "manifest.json").exists():
        raise ValueError(f"{options.store} holds no sweep: it has no manifest.json.")
    store = Store(options.store)
    manifest, done = store.manifest or {}, store.done()
    total = Design.from_json(manifest["design"]).size
    ended: dict[int, int] = {}
    for marker in done.values():
        for code, count in marker["outcomes"].items():
            ended[int(code)] = ended.get(int(code), 0) + count
    cells = sum(marker["cells"] for marker in done.values())
    held = store.held()
    print(f"{manifest['function']}\n{cells} of {total} cells, {len(done)} chunk(s), {held} in work")
    print(_endings(ended))
    messages = [text for marker in done.values() for text in marker["raised"].values()]
    for text in list(dict.fromkeys(messages))[:5]:
        print(f"  raised: {text}")
    if options.verify:
        damaged = store.damaged()
        print(f"damaged: {damaged or 'none'}")
        return 1 if damaged else 0
    return 0


def _endings(ended: dict[int, int]) -> str:
    names = [*OUTCOMES, "not run"]  # the last stands at −1
    return ", ".join(f"{count} {names[code]}" for code, count in sorted(ended.items()))
