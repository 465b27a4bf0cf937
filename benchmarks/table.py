"""Put the tables of README.md in place from pytest-benchmark's JSON, so that no number is typed.

python benchmarks/table.py RUN.json [RUN_WITH_DEFAULT_LOOPS.json]
python benchmarks/table.py --loops RUN_OF_TEST_LOOPS.json
"""

import json
import sys
from pathlib import Path

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end -->"
LOOPS, LOOPS_END = "<!-- loops -->", "<!-- end loops -->"


def main(path, default_path=None):
    """Replace the tables in the README."""
    run = json.loads(Path(path).read_text())
    default = json.loads(Path(default_path).read_text()) if default_path else None
    place(BEGIN, END, (peers(run), works(run, default), machine(run)))


def loops(path):
    """Replace the table of closed loops."""
    run = json.loads(Path(path).read_text())
    place(LOOPS, LOOPS_END, (works(run, None, "Closed loops"), machine(run)))


def place(begin, end, parts):
    """Put parts between two marks of the README."""
    made = "\n\n".join(part for part in parts if part)
    before, rest = README.read_text().split(begin)
    README.write_text(f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}")


def machine(run):
    """Where and what."""
    info = run["machine_info"]
    noted = [b["extra_info"] for b in run["benchmarks"]]
    kinds = ", ".join(sorted({n["device"] for n in noted}))
    dtypes = ", ".join(sorted({n["dtype"] for n in noted}))
    return (
        f"{info['cpu']['brand_raw']}, {info['cores']} cores; device {kinds}; {dtypes}; Python "
        f"{info['python_version']}, jax {info['jax']}"
        + (f", torch {info['torch']}" if info.get("torch") else "")
        + f"; {run['datetime'][:10]}."
    )


def peers(run):
    """Work that was done by several libraries: times, ratios to the fastest way here, agreement."""
    rows = [b["extra_info"] for b in run["benchmarks"] if "by" in b["extra_info"]]
    lines = []
    for work in dict.fromkeys(r["work"] for r in rows):
        group = [r for r in rows if r["work"] == work]
        first = group[0]["us_per_epoch"]
        for row in group:
            ratio = row["us_per_epoch"] / first
            cells = (
                f"{work}, N {row['n']}, T {row['steps']}",
                row["by"],
                time(row["us_per_epoch"]),
                time(row["best_us_per_epoch"]),
                f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}",
                f"{row['compile_s']:.1f}",
                f"{row['error']:.0e}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    head = "| work | by | time per epoch | best | × ours | compile (s) | max difference |\n"
    return "### Against other libraries\n\n" + head + "|" + " --- |" * 7 + "\n" + "\n".join(lines)


def works(run, default, title="Everything"):
    """Everything else."""
    slow = {b["name"]: b["extra_info"] for b in default["benchmarks"]} if default else {}
    lines = []
    for bench in run["benchmarks"]:
        row = bench["extra_info"]
        if "by" in row:
            continue
        many = row["cells"] > 1
        cells = [
            row["work"] + (f", {1 / row['us_per_epoch']:.2f} million/s" if many else ""),
            str(row.get("rank", "–")),
            str(row["n"]),
            str(row["steps"]),
            str(row["cells"]),
            time(row["us_per_epoch"]),
            time(row["best_us_per_epoch"]),
            f"{row['compile_s']:.1f}" if row["compile_s"] > 0.05 else "–",
            f"{row['error']:.0e}" if "error" in row else "–",
        ]
        if default:
            other = slow.get(bench["name"])
            cells.insert(7, time(other["us_per_epoch"]) if other else "–")
        lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    heads = ["work", "rank", "N", "T", "cells", "time per epoch", "best", "compile (s)", "error"]
    if default:
        heads.insert(7, "with XLA's default")
    head = "| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads) + "\n"
    return f"### {title}\n\n" + head + "\n".join(lines)


def time(microseconds):
    """In µs or ms with three digits."""
    if microseconds < 1000:
        return f"{microseconds:.3g} µs"
    return f"{microseconds / 1000:.3g} ms"


if __name__ == "__main__":
    loops(sys.argv[2]) if sys.argv[1] == "--loops" else main(*sys.argv[1:])
