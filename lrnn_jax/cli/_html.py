"""Several runs as one self-contained page: claims, tables, configs, figures embedded."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

from lrnn_jax.cli._output import tables

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block;
        overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left;
         vertical-align: top; }
img { max-width: 100%; } .no { color: #b2182b; font-weight: bold; } summary { cursor: pointer; }
"""


FILES = ("config.json", "report.json", "figure.png")


def page(folders: Sequence[Path], compared: bool = False) -> str:
    """One HTML page of finished runs; figures are embedded, nothing is loaded from elsewhere.

    Arguments:
        folders: as `lrnn-jax run` leaves them, with config.json, report.json and figure.png.
        compared: begin with a table of claims by run; all are runs of one experiment.

    Errors: ValueError naming a folder that is no run, and what is missing.
    """
    parts = [_read(folder) for folder in folders]
    title = f"lrnn_jax: {len(folders)} runs"
    links = [
        f'<li><a href="#run{i}">{html.escape(str(folder))}</a>: {verdict}</li>'
        for i, (folder, (verdict, _)) in enumerate(zip(folders, parts))
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>",
            f"<ul>{''.join(links)}</ul>",
            _compared(folders) if compared else "",
            *(f'<section id="run{i}">{part}</section>' for i, (_, part) in enumerate(parts)),
            "</body></html>\n",
        ]
    )


def _read(folder: Path) -> tuple[str, str]:
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder} is not the folder of a finished run, it has no {', '.join(missing)}: give "
            f"folders that `lrnn-jax run NAME --out DIR` wrote."
        )
    try:
        return _run(folder)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds no run that can be read ({error}): run it again, or leave it out."
        ) from None


def _run(folder: Path) -> tuple[str, str]:
    """How many of a run's claims hold, and all about it."""
    config, found = (json.loads((folder / n).read_text(encoding="utf-8")) for n in FILES[:2])
    picture = base64.b64encode((folder / "figure.png").read_bytes()).decode()
    name = html.escape(found["experiment"])
    fields = {key: value for key, value in config.items() if key != "config"} | config["config"]
    holds = [claim["holds"] for claim in found["claims"]]
    about = [
        f"<h2>{name}</h2>",
        *(f"<p>{html.escape(line)}</p>" for line in found["notes"]),
        *(_table(*table) for table in tables(found)),
        f'<img alt="figure of {name}" src="data:image/png;base64,{picture}">',
        "<details><summary>configuration</summary>",
        _table(["field", "value"], [[key, str(value)] for key, value in fields.items()]),
        "</details>",
    ]
    kind = "yes" if all(holds) else "no"
    verdict = f'<span class="{kind}">{sum(holds)} of {len(holds)} claims hold</span>'
    return verdict, "\n".join(about)


def _compared(folders: Sequence[Path]) -> str:
    """Claim by claim, what each run measured; where it does not hold, that is said."""
    found = [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in folders]
    rows = [
        [claims[0]["text"], *("**no** " * (not c["holds"]) + c["measured"] for c in claims)]
        for claims in zip(*(one["claims"] for one in found), strict=True)
    ]
    return _table(["claim", *(folder.name for folder in folders)], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [_row(header, "th"), *(_row(row, "td") for row in rows)]
    return "<table>" + "\n".join(lines) + "</table>"


def _row(cells: list[str], kind: str) -> str:
    row = "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells)
    return f"<tr>{row}</tr>".replace("<td>**no**", '<td class="no">no')
