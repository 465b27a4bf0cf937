"""What a session waits for: first calls and later ones, with JAX as it is and after `setup_jax`.

    python benchmarks/sessions.py [--rounds 3] [--only NAME …]

Each number is the median over fresh processes. "Alone": JAX in float64, nothing else. "Set up":
`lrnn.setup_jax()` with an empty cache folder. "Next": the session after that one, which finds its
compiled programs there. Seconds of wall time; nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from compare import END, ROWS, START

FLOAT64 = 'jax.config.update("jax_enable_x64", True)\n'
WAYS = {"alone": START, "set up": START.replace(FLOAT64, "") + "lrnn.setup_jax()\n"}
WAYS["next"] = WAYS["set up"]
MAIN_JOB = "main job, whole process"


def process(command: list[str], home: str) -> tuple[str, float]:
    """What a process prints that keeps its programs in a folder, and its seconds."""
    env = os.environ | {"XDG_CACHE_HOME": home}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=home, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout, time.perf_counter() - start


def once(row: str) -> list[float]:
    """First and later calls in sessions of each way, one after another."""
    found = []
    with tempfile.TemporaryDirectory() as home:
        if row == MAIN_JOB:
            command = ["-m", "lrnn_jax", "--out", f"{home}/run", "--json"]
            return [process([*command, "--no-cache"], home)[1]] + [
                process(command, home)[1] for _ in range(2)
            ]
        for start in WAYS.values():
            told, _ = process(["-c", start + ROWS[row] + END], home)
            seen = json.loads(told.splitlines()[-1])
            found += [seen["compile"] + seen["run"], seen["run"]]
    return found


def main() -> None:
    """Prints a table, a row at a time."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="parts of rows' names")
    given = parser.parse_args()
    heads = ["work", "first call (s): alone", "set up", "next", "later calls (s): alone", "set up"]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for row in (*ROWS, MAIN_JOB):
        if given.only and not any(part in row for part in given.only):
            continue
        seen = [statistics.median(x) for x in zip(*(once(row) for _ in range(given.rounds)))]
        if row == MAIN_JOB:
            cells = [*seen, "", ""]
        else:
            alone, later, first, fused, again, _ = seen
            cells = [alone, first, again, later, fused]
        shown = (f"{x:.3g}" if isinstance(x, float) else x for x in cells)
        print(f"| {row} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
