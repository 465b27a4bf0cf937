"""`lrnn-jax sweep FILE.toml` and `lrnn-jax sweep status DIR`."""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrnn_jax import sweeps
from lrnn_jax._checks import whole
from lrnn_jax._setup import setup_jax
from lrnn_jax.cli._cluster import RESUME, join_processes, stop_signals
from lrnn_jax.experiments import REGISTRY, Experiment

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

exit codes: 0 done (a shard: its own part), 1 failed, 2 wrong input, 75 stopped by SIGTERM or
SIGUSR1 after the chunks in work, or cells are missing (status --complete): go on with --resume,
130 interrupted. Under srun, mpirun or an indexed Kubernetes job of several processes, each finds
the others and takes its share, unless --shard says which.
"""


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
    add("--coordinator", metavar="HOST:PORT", help="of jax.distributed, where it is not found")
    add("--process", metavar="i/n", help="with --coordinator: the i-th of n processes")
    add("--platform", choices=("cpu", "gpu", "tpu"), help="default: the best there is")
    add("--dtype", choices=("float64", "float32"), default="float64")
    add("--cache", type=Path, help="folder of compiled programs, used again by later runs")
    options = parser.parse_args(rest)
    store = options.store or Path("runs") / options.file.stem
    shard = share_of(options.shard, "--shard") if options.shard else None
    _set_up(options, shard is not None)
    experiments = {name: _cell(experiment) for name, experiment in REGISTRY.items()}
    sweep = sweeps.read_sweep(options.file, store, runs=experiments)
    devices = options.devices
    if options.check:
        print(_plan(sweep, devices), file=sys.stderr)
        return 0
    print(f"{sweep.design.size} cells", file=sys.stderr)
    kept = f"; what is complete is kept in {store}: --resume"
    try:
        with stop_signals() as stop:
            data = sweep.run(resume=options.resume, devices=devices, shard=shard, stop=stop)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept) from None
    except sweeps.Stopped:
        print(f"stopped{kept}", file=sys.stderr)
        return RESUME
    codes, counts = np.unique(data.result.values, return_counts=True)
    ended = {int(code): int(count) for code, count in zip(codes, counts)}
    print(f"{_endings(ended)}\nstore  {store.resolve()}")
    return 0


def _cell(experiment: Experiment) -> sweeps.Runnable:
    """An experiment for sweep files: its cells return its numbers, and whether its claims hold."""

    def run(config: Any, seed: int) -> dict[str, Any]:
        report = experiment(config)
        leaves = jax.tree.leaves_with_path(report.values, is_leaf=lambda x: not isinstance(x, dict))
        numbers = {
            jax.tree_util.keystr(path, simple=True, separator="_"): float(x)
            for path, x in leaves
            if isinstance(x, (bool, int, float))
        }
        return numbers | {"claims_hold": all(claim.holds for claim in report.claims)}

    return sweeps.Runnable(run, {"full": experiment.full, "quick": experiment.quick}, traced=False)


def _set_up(options: Any, alone: bool) -> None:
    """Platform, devices and processes, before any array is made."""
    if options.platform:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(options.platform, options.platform))
    devices = None if options.devices is None else whole(options.devices, "--devices")
    setup_jax(options.dtype, cache=options.cache or False, devices=devices)
    if (options.coordinator is None) != (options.process is None):
        raise ValueError("--coordinator and --process go together: give both.")
    part = share_of(options.process, "--process") if options.process else None
    join_processes(options.coordinator, part, alone)


def share_of(text: str, name: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise ValueError(f"{name} is i/n with 0 <= i < n, e.g. 0/8; got {text!r}.")
    return int(i), int(n)


def _plan(sweep: sweeps.Sweep, devices: Any) -> str:
    """Cells, chunks, memory and time, one line a group."""
    plans = sweep.plan(devices=devices, measure=True)
    lines = [f"{sweep.design.size} cells, {len(plans)} program(s)"]
    for plan in plans[:10]:
        time = "" if plan.seconds is None else f", about {plan.seconds:.3g} s"
        lines.append(
            f"  {plan.statics or 'all'}: {plan.cells} cells, {plan.chunk} at a time in "
            f"{sweeps.readable(plan.working_bytes)}; "
            f"results {sweeps.readable(plan.result_bytes)}{time}"
        )
    return "\n".join(lines + (["  …"] if len(plans) > 10 else []))


def _status(rest: list[str]) -> int:
    parser = argparse.ArgumentParser("lrnn-jax sweep status", description="What a store holds.")
    add = parser.add_argument
    add("store", type=Path, metavar="DIR")
    add("--verify", action="store_true", help="read all chunks and compare checksums")
    add("--complete", action="store_true", help="exit with 75 while cells are missing")
    options = parser.parse_args(rest)
    store = sweeps.Store(options.store)
    manifest, done = store.manifest, store.done()
    if manifest is None:
        raise ValueError(f"{options.store} holds no sweep: it has no manifest.json.")
    total = sweeps.Design.from_json(manifest["design"]).size
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
        if damaged:
            return 1
    return RESUME if options.complete and cells < total else 0


def _endings(ended: dict[int, int]) -> str:
    names = [*sweeps.OUTCOMES, "not run"]  # the last stands at −1
    return ", ".join(f"{count} {names[code]}" for code, count in sorted(ended.items()))
