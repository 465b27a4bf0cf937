"""Several runs as one self-contained page: claims, tables, configs, figures embedded."""

import base64
import html
import json
from pathlib import Path
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block;
        overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left;
         vertical-align: top; }
img { max-width: 100%; } .no { color: #b2182b; font-weight: bold; } summary { cursor: pointer; }
"""


def page(folders: list[Path]) -> str:
    """One HTML page of finished runs; figures are embedded, nothing is loaded from elsewhere.

    Arguments:
        folders: as `lrnn-jax run` leaves them, with config.json, report.md and figure.png.

    Errors: ValueError naming a folder that is no run, and what is missing.
    """
    parts = [_run(folder) for folder in folders]
    links = [
        f'<li><a href="#run{i}">{html.escape(str(folder))}</a>: {_verdict(folder)}</li>'
        for i, folder in enumerate(folders)
    ]
    body = [f'<section id="run{i}">{part}</section>' for i, part in enumerate(parts)]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>lrnn_jax: {len(folders)} runs</title><style>{STYLE}</style></head><body>",
            f"<h1>lrnn_jax: {len(folders)} runs</h1><ul>",
            *links,
            "</ul>",
            *body,
            "</body></html>\n",
        ]
    )


def _run(folder: Path) -> str:
    missing = [n for n in ("config.json", "report.md", "figure.png") if not (folder / n).is_file()]
    if missing:
        raise ValueError(
            f"{folder} is not the folder of a finished run: it has no {', '.join(missing)}. "
            f"Give folders that `lrnn-jax run NAME --out DIR` wrote."
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    picture = base64.b64encode((folder / "figure.png").read_bytes()).decode()
    name = html.escape(str(config.get("experiment", folder.name)))
    return "\n".join(
        [
            _from_markdown((folder / "report.md").read_text(encoding="utf-8")),
            f'<img alt="figure of {name}" src="data:image/png;base64,{picture}">',
            "<details><summary>configuration</summary>",
            _table([["field", "value"], *_flat(config)]),
            "</details>",
        ]
    )


def _verdict(folder: Path) -> str:
    """How many of a run's claims hold."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    yes, no = text.count("| yes |\n"), text.count("| **no** |\n")
    return f'<span class="{"no" if no else "yes"}">{yes} of {yes + no} claims hold</span>'


def _flat(config: dict[str, Any]) -> list[list[str]]:
    rows = []
    for key, value in config.items():
        if isinstance(value, dict):
            rows += [[name, str(x)] for name, x in value.items()]
        else:
            rows.append([key, str(value)])
    return rows


def _from_markdown(text: str) -> str:
    """Headings and tables of a report; the figure, which is embedded, is left out."""
    out, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            plain = line.strip().strip("|").replace("\\|", "\0")
            rows.append([cell.strip().replace("\0", "|") for cell in plain.split(" | ")])
            continue
        if rows:
            out.append(_table([row for row in rows if set("".join(row)) != {"-"}]))
            rows = []
        if line.startswith("# "):
            out.append(f"<h2>{html.escape(line[2:])}</h2>")
        elif line and not line.startswith("!"):
            out.append(f"<p>{html.escape(line)}</p>")
    return "\n".join(out)


def _table(rows: list[list[str]]) -> str:
    def cell(text: str, kind: str) -> str:
        if text == "**no**":
            return f'<{kind} class="no">no</{kind}>'
        return f"<{kind}>{html.escape(text)}</{kind}>"

    head, *body = rows
    lines = ["".join(cell(text, "th") for text in head)]
    lines += ["".join(cell(text, "td") for text in row) for row in body]
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
