"""What became slower between two commits: time, compile time and memory, pair by pair.

    python benchmarks/compare.py OLD [NEW] [--pairs 5] [--only NAME …]

Both are checked out beside each other. Every row is run in a fresh process of the one, then of the
other, so many times; ratios are those of neighbours, new over old: median, lowest and highest. A
row counts as slower where its median is above 1.03 and no pair says otherwise. NEW is what is
committed (HEAD) by default. Default compiler flags, float64; nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HOUSE = Path(__file__).parent.parent
LIMIT = 1.03
"""Ratio from which on a row is slower."""

START = """
import json, resource, sys, time
first = time.perf_counter()
import jax, jax.numpy as jnp, jax.random as jr, numpy as np
jax.config.update("jax_enable_x64", True)
import lrnn_jax as lrnn
imported = time.perf_counter() - first
"""
END = """
def call():
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start

first, later = call(), sorted(call() for _ in range(7))[3]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"run": later, "compile": first - later, "import": imported, "MB": peak}))
"""
NETWORK = "net = lrnn.LowRankRNN.normalised(500, dt=0.05, key=jr.key(0))\n"
FILTER = "task = lrnn.ExponentialFilter(0.2, 0.05, 400)\n"
LOOP = """
rng = np.random.default_rng(0)
z, m = rng.uniform(-0.1, 0.1, (2, 100, 1))
v, u = rng.normal(size=(2, 100, 1)) / 10
net = lrnn.LowRankRNN(z, v, m, u, scale=1.0, dt=1.0, frozen=("m",))
loop = lrnn.ClosedLoop(lrnn.KIntegrator(2), 50)
"""
ROWS = {
    "network of 500 neurons, 200 epochs": NETWORK
    + FILTER
    + "run = lambda: lrnn.learn(net, task, lrnn.Descent(5e-3), epochs=200).loss",
    "its ten overlaps, 20 000 epochs": NETWORK
    + FILTER
    + "model = lrnn.reduce(net)\n"
    + "run = lambda: lrnn.learn(model, task, lrnn.Descent(5e-3), epochs=20_000).loss",
    "a rank more, 20 000 epochs": """
net = lrnn.LowRankRNN.normalised(500, rank=2, dt=0.05, key=jr.key(0))
task = lrnn.OscillatingFilter(0.3, 2.0, 0.05, 400)
model = lrnn.reduce(net)
run = lambda: lrnn.learn(model, task, lrnn.Descent(5e-3), epochs=20_000).loss
""",
    "gradient flow, 20 000 epochs": NETWORK
    + FILTER
    + "model = lrnn.reduce(net)\n"
    + "run = lambda: lrnn.learn(model, task, lrnn.Flow(5e-3), epochs=20_000).loss",
    "loop, overlaps, 2000 epochs": LOOP
    + "model = lrnn.reduce(net)\n"
    + "method = lrnn.Descent(0.01, clip=1.0)\n"
    + "run = lambda: lrnn.learn(model, loop, method, epochs=2000).loss",
    "erf network of 1000, flip-flop, 3 epochs": """
net = lrnn.LowRankRNN.normalised(1000, dt=0.025, key=jr.key(0), activation=lrnn.Erf())
task = lrnn.FlipFlop(steps=400, dt=0.025, batch=10)
run = lambda: lrnn.learn(net, task, lrnn.Descent(5e-3), epochs=3, key=jr.key(1)).loss
""",
    "sweep of 2000 cells, 200 epochs": FILTER
    + """
q = lrnn.reduce(lrnn.LowRankRNN.normalised(500, dt=0.05, key=jr.key(0)))
def cell(lr):
    method = lrnn.Descent(lr)
    return lrnn.learn(q, task, method, epochs=200, record=200, throw=False).loss[-1]
rates = {"lr": np.linspace(1e-3, 5e-3, 2000)}
run = lambda: [x.values for x in lrnn.sweep(rates, cell, progress=False).data_vars.values()]
""",
}
"""What is timed: code that makes `run`."""
MAIN_JOB = "main job, whole process, nothing kept"


def measured(row: str, place: Path) -> dict[str, float] | None:
    """One process in a checkout; None where its names are others."""
    env = os.environ | {"PYTHONPATH": str(place)}
    with tempfile.TemporaryDirectory() as folder:
        if row == MAIN_JOB:
            out = ["--out", f"{folder}/run", "--json"]
            code = "import sys, resource, subprocess, time, json; start = time.perf_counter();"
            code += (
                f"subprocess.run([sys.executable, '-m', 'lrnn_jax', 'run', 'filter', *{out!r}], "
            )
            code += "check=True, capture_output=True); spent = time.perf_counter() - start;"
            code += "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024;"
            code += "print(json.dumps({'run': spent, 'MB': peak}))"
            env["XDG_CACHE_HOME"] = folder
        else:
            code = START + ROWS[row] + END
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
        )
    if done.returncode:
        print(f"{place.name}: {row}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def compared(row: str, places: tuple[Path, Path], pairs: int) -> bool:
    """Prints a row for each number; whether one became larger."""
    found = [[measured(row, place) for place in places] for _ in range(pairs)]
    grown = False
    for name in ("run", "compile", "import", "MB"):
        both = [(a[name], b[name]) for a, b in found if a and b and name in a and name in b]
        if not both:
            continue
        ratios = sorted(b / a for a, b in both)
        middle = statistics.median(ratios)
        slower = middle > LIMIT and ratios[0] > 1
        grown |= slower
        old, new = (statistics.median(side) for side in zip(*both))
        unit = "MB" if name == "MB" else "s"
        print(
            f"{row:42}{name:8}{old:10.4g}{new:10.4g} {unit:3}{middle:7.3f}"
            f"  {ratios[0]:.3f} … {ratios[-1]:.3f}{'  SLOWER' * slower}",
            flush=True,
        )
    return grown


def main() -> int:
    """Returns 1 where something became slower."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default="HEAD")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="parts of rows' names")
    given = parser.parse_args()
    rows = [r for r in (*ROWS, MAIN_JOB) if not given.only or any(o in r for o in given.only)]
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder) / "old", Path(folder) / "new"
        for place, commit in zip(places, (given.old, given.new)):
            where = [
                "git",
                "-C",
                str(HOUSE),
                "worktree",
                "add",
                "-q",
                "--detach",
                str(place),
                commit,
            ]
            subprocess.run(where, check=True)
        try:
            print(f"{'':50}{'old':>10}{'new':>10}    new/old  lowest … highest")
            slower = [compared(row, places, given.pairs) for row in rows]
        finally:
            for place in places:
                undo = ["git", "-C", str(HOUSE), "worktree", "remove", "--force", str(place)]
                subprocess.run(undo, check=True)
    return int(any(slower))


if __name__ == "__main__":
    sys.exit(main())
