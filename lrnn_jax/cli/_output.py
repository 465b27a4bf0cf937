"""What a run leaves behind: a folder with config, data, figure and report; and what is printed."""

import contextlib
import dataclasses
import json
import platform
import subprocess
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lrnn_jax
from lrnn_jax.cli._place import fill_place, new_folder
from lrnn_jax.figures import save
from lrnn_jax.learning import LearningCurve

Table = tuple[list[str], list[list[str]]]


def describe(report: Any) -> dict[str, Any]:
    """What report.json holds, but for paths: config, numbers, claims, timings, notes, table."""
    found = {
        "experiment": report.experiment.name,
        "config": dataclasses.asdict(report.config),
        **provenance(),
        **report.values,
        "claims": [claim._asdict() for claim in report.claims],
        "seconds": {name: timing._asdict() for name, timing in report.seconds.items()},
        "notes": report.notes,
        "table": report.table,
    }
    # JSON by the book: numbers that are not finite become null
    return json.loads(json.dumps(found, default=str), parse_constant=lambda _: None)


def write(
    report: Any, found: dict[str, Any], place: Path, data_format: str = "zarr"
) -> dict[str, str]:
    """Put config.json, data, figure.png, figure.pdf, report.json and report.md into a folder, all
    at once.

    Arguments:
        report, found: of a finished run, and what `describe` says of it.
        place: made if it is not there; what an earlier run left in it goes.
        data_format: "zarr" or "netcdf".

    Returns: the paths, which report.json holds too.

    Errors: ValueError when the folder cannot be written, or holds anything else.
    """
    names = {"folder": "", "figure": "figure.png", "report": "report.md"}
    names["data"] = "data.nc" if data_format == "netcdf" else "data.zarr"
    paths = {key: str((place / name).resolve()) for key, name in names.items()}

    def fill(folder: Path) -> None:
        kept = {key: found[key] for key in ("experiment", "config", *provenance())}
        (folder / "config.json").write_text(json.dumps(kept, indent=2) + "\n")
        _write_data(report, folder / names["data"])
        save(report.draw(), folder)
        (folder / "report.json").write_text(json.dumps(found | paths) + "\n")
        (folder / "report.md").write_text(markdown(found))

    fill_place(place, fill)
    return paths


def save_curves(curves: Iterable[LearningCurve], place: Path) -> str:
    """Save the curves of an interrupted run, members of batched ones one by one, as 1.npz, 2.npz, …
    in a new folder.

    Returns: where, in words.
    """
    members = [
        jax.tree.map(lambda x, i=i: x[i], curve)
        for curve in curves
        for i in np.ndindex(*curve.loss.shape[:-1])
    ]
    if not members:
        return "nothing was computed yet"
    saved = 0
    try:
        folder = new_folder(place)
        for curve in members:
            with contextlib.suppress(ValueError):  # networks that no file can hold
                curve.save(folder / f"{saved + 1}.npz")
                saved += 1
    except OSError as error:
        return f"what was computed could not be kept: {error}"
    return f"{saved} learning curve(s) are kept in {folder.resolve()} (LearningCurve.load)"


def _write_data(report: Any, path: Path) -> None:
    dataset = report.to_xarray()
    config = json.dumps(dataclasses.asdict(report.config))
    dataset.attrs |= {"config": config, **provenance()}
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr's notes on its own string type and metadata
            dataset.to_zarr(path, mode="w", consolidated=False)
        return
    for name, variable in dataset.variables.items():
        if variable.dtype == bool:
            dataset[name] = variable.astype("int8")
    try:
        dataset.to_netcdf(path, engine="h5netcdf")
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"NetCDF needs an extra: pip install 'lrnn_jax[netcdf]' ({error})."
        ) from None


def provenance() -> dict[str, str]:
    """Versions, device, dtype and (in a checkout) the commit that a run was made with."""
    out = {
        "lrnn_jax": lrnn_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "dtype": str(jax.numpy.result_type(float)),
    }
    root = Path(lrnn_jax.__file__).resolve().parent.parent
    if (root / ".git").exists():
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
        )
        if found.returncode == 0:
            out["git_commit"] = found.stdout.strip()
    return out


def tables(found: dict[str, Any]) -> list[Table]:
    """What report.json holds, as tables: claims, the experiment's own, timings."""
    holds = {True: "yes", False: "**no**"}
    claims = [[c["text"], c["measured"], holds[c["holds"]]] for c in found["claims"]]
    seconds = [[n, f"{t['run']:.3f}", f"{t['compile']:.2f}"] for n, t in found["seconds"].items()]
    return [
        (["must show", "measured", "holds"], claims),
        found["table"],
        (["work", "seconds", "compiling before"], seconds),
    ]


def markdown(found: dict[str, Any]) -> str:
    """What report.json holds, as Markdown."""
    lines = [f"# {found['experiment']}", ""]
    for line in found["notes"]:
        lines += [line, ""]
    for header, rows in tables(found):
        for row in [header, ["---"] * len(header), *rows]:
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        lines.append("")
    return "\n".join([*lines, "![figure](figure.png)", ""])


def text(found: dict[str, Any]) -> str:
    """What report.json holds, for a terminal."""
    parts = ["\n".join(found["notes"])] if found["notes"] else []
    parts += [_aligned(*table) for table in tables(found)[1:] if table[1]]
    parts += [
        f"{'yes' if claim['holds'] else 'NO '}  {claim['text']}\n     {claim['measured']}"
        for claim in found["claims"]
    ]
    names = [name for name in ("figure", "data", "report") if name in found]
    parts.append("\n".join(f"{name:6}  {found[name]}" for name in names))
    return "\n\n".join(parts)


def _aligned(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["─" * w for w in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in lines)
