"""Put the tables of README.md in place from pytest-benchmark's JSON, so that no number is typed.

python benchmarks/table.py RUN.json [MORE.json …] [--default RUN_WITH_DEFAULT_LOOPS.json]
"""

import json
import sys
from pathlib import Path

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end -->"


def main(paths, default_path=None):
    """Replace the tables in the README."""
    runs = [json.loads(Path(path).read_text()) for path in paths]
    default = json.loads(Path(default_path).read_text())["benchmarks"] if default_path else []
    slow = {bench["name"]: bench["extra_info"] for bench in default}
    benches = [bench for run in runs for bench in run["benchmarks"]]
    made = "\n\n".join(
        part for part in (peers(benches), works(benches, slow), machine(runs)) if part
    )
    before, rest = README.read_text().split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}")


def machine(runs):
    """Where and what."""
    info = runs[0]["machine_info"]
    noted = [bench["extra_info"] for run in runs for bench in run["benchmarks"]]
    kinds = ", ".join(sorted({n["device"] for n in noted}))
    torch = next((r["machine_info"]["torch"] for r in runs if "torch" in r["machine_info"]), None)
    return (
        f"{info['cpu']['brand_raw']}, {info['cores']} cores; device {kinds}; Python "
        f"{info['python_version']}, jax {info['jax']}"
        + (f", torch {torch}" if torch else "")
        + f"; {runs[0]['datetime'][:10]}."
    )


def sizes(row):
    """Rank, N, T and trials."""
    return [str(row.get(name, "–")) for name in ("rank", "n", "steps", "batch")]


def peers(benches):
    """Work that was done by several libraries: times, ratios to the fastest way here, agreement."""
    rows = [b["extra_info"] for b in benches if "by" in b["extra_info"]]
    lines = []
    for work in dict.fromkeys(r["work"] for r in rows):
        group = [r for r in rows if r["work"] == work]
        first = group[0]["us_per_epoch"]
        for row in sorted(group, key=lambda r: "PyTorch" in r["by"] or "SciPy" in r["by"]):
            ratio = row["us_per_epoch"] / first
            cells = [
                work,
                *sizes(row)[1:],
                row["by"],
                time(row["us_per_epoch"]),
                time(row["best_us_per_epoch"]),
                f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}",
                f"{row['compile_s']:.1f}" if row["compile_s"] > 0.05 else "–",
                f"{row['error']:.0e}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    heads = ["work", "N", "T", "trials", "by", "time per epoch", "best", "× ours", "compile (s)"]
    return table("Against other libraries", [*heads, "max difference"], lines)


def works(benches, slow):
    """Everything else, work by work."""
    lines = []
    rows = [b for b in benches if "by" not in b["extra_info"]]
    order = list(dict.fromkeys(b["extra_info"]["work"] for b in rows))
    for bench in sorted(rows, key=lambda b: order.index(b["extra_info"]["work"])):
        row, other = bench["extra_info"], slow.get(bench["name"])
        many = row["cells"] > 2
        cells = [
            row["work"] + (f", {1 / row['us_per_epoch']:.2f} million/s" if many else ""),
            *sizes(row),
            str(row["cells"]),
            row["dtype"].removeprefix("float"),
            time(row["us_per_epoch"]),
            time(row["best_us_per_epoch"]),
            time(other["us_per_epoch"]) if other else "–",
            f"{row['compile_s']:.1f}" if row["compile_s"] > 0.05 else "–",
            f"{row['error']:.0e}" if "error" in row else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    heads = ["work", "rank", "N", "T", "trials", "cells", "bits", "time per epoch", "best"]
    return table("Everything", [*heads, "XLA's default", "compile (s)", "error"], lines)


def table(title, heads, lines):
    """Markdown; nothing for a table without lines."""
    head = "| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads) + "\n"
    return f"### {title}\n\n{head}" + "\n".join(lines) if lines else ""


def time(microseconds):
    """In µs or ms with three digits."""
    if microseconds < 1000:
        return f"{microseconds:.3g} µs"
    return f"{microseconds / 1000:.3g} ms"


if __name__ == "__main__":
    given = sys.argv[1:]
    at = given.index("--default") if "--default" in given else len(given)
    main(given[:at], *given[at + 1 : at + 2])
