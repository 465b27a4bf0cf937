"""Write the table of benchmarks/README.md from pytest-benchmark's JSON.

Usage: python benchmarks/table.py RESULT.json
"""

import json
import sys
from pathlib import Path

README = Path(__file__).parent / "README.md"
START, END = "<!-- table -->", "<!-- end -->"


def rows(results):
    """One row a benchmark: what, sizes, time per network and epoch, compile time, error."""
    notes = [dict(b["extra_info"]) for b in results["benchmarks"]]
    ours = {n["work"]: n["us_per_epoch"] for n in notes if n.get("who") == "ours"}
    for note in sorted(notes, key=lambda n: (n["work"], n["rank"], n["steps"], n["n"], n["cells"])):
        ratio = note["us_per_epoch"] / ours[note["work"]] if note["work"] in ours else None
        yield [
            note["work"] + (f": {note['who']}" if "who" in note else ""),
            *(str(note[key]) for key in ("n", "steps", "rank", "cells")),
            f"{note['us_per_epoch']:.3g}",
            "" if ratio is None else f"{ratio:.3g}",
            f"{note['compile_s']:.1f}",
            f"{note['error']:.0e}" if "error" in note else "",
        ]


def table(results):
    """The table, and a line on the machine, as Markdown."""
    machine = results["machine_info"]
    head = [
        "work",
        "N",
        "T",
        "rank",
        "cells",
        "µs per network and epoch",
        "× ours",
        "compile s",
        "error",
    ]
    lines = [head, ["---"] * len(head), *rows(results)]
    cpu = machine["cpu"].get("brand_raw") or "unnamed CPU"
    about = (
        f"{cpu}, {machine['cores']} cores, Python {machine['python_version']}, "
        f"jax {machine['jax']}, float64; medians."
    )
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", about])


def main(path):
    """Replace the table in the README."""
    text = README.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    made = table(json.loads(Path(path).read_text()))
    README.write_text(f"{before}{START}\n{made}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1])
