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
from lrnn_jax.figures import save
from lrnn_jax.learning import LearningCurve

Table = tuple[list[str], list[list[str]]]


def write(report: Any, folder: Path, data_format: str = "zarr") -> dict[str, Any]:
    """Write config.json, data, figure.png, figure.pdf, report.json and report.md into a folder.

    Arguments:
        report: of a finished run.
        folder: made if it is not there; files of the same names are replaced.
        data_format: "zarr" or "netcdf".

    Returns: what report.json holds: numbers, claims, timings, table and the paths "folder",
    "figure", "data", "report".

    Errors: ValueError when the folder cannot be written.
    """
    config = {"experiment": report.experiment.name, "config": dataclasses.asdict(report.config)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config | provenance(), indent=2) + "\n")
        data = _write_data(report, folder, data_format)
        figure = save(report.draw(), folder)
        paths = {"folder": folder, "figure": figure, "data": data, "report": folder / "report.md"}
        found = {
            **report.values,
            "claims": [claim._asdict() for claim in report.claims],
            "seconds": {name: timing._asdict() for name, timing in report.seconds.items()},
            "notes": report.experiment.notes(report.results),
            "table": report.table,
            **{name: str(path.resolve()) for name, path in paths.items()},
        }
        # JSON by the book: numbers that are not finite become null
        found = json.loads(json.dumps(config | found, default=str), parse_constant=lambda _: None)
        (folder / "report.json").write_text(json.dumps(found) + "\n")
        (folder / "report.md").write_text(markdown(found))
    except OSError as error:
        raise ValueError(
            f"Cannot write into {folder}: {error}. Choose a folder with --out."
        ) from None
    return found


def save_curves(curves: Iterable[LearningCurve], folder: Path) -> str:
    """Save the curves of an interrupted run, members of batched ones one by one, as 1.npz, 2.npz, …

    Returns: where, in words.
    """
    members = (
        jax.tree.map(lambda x, i=i: x[i], curve)
        for curve in curves
        for i in np.ndindex(*curve.loss.shape[:-1])
    )
    saved = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for curve in members:
            with contextlib.suppress(ValueError):  # networks that no file can hold
                curve.save(folder / f"{saved + 1}.npz")
                saved += 1
    except OSError as error:
        return f"what was computed could not be kept: {error}"
    if not saved:
        return "nothing was computed yet"
    return f"{saved} learning curve(s) are kept in {folder.resolve()} (LearningCurve.load)"


def _write_data(report: Any, folder: Path, data_format: str) -> Path:
    dataset = report.to_xarray()
    config = json.dumps(dataclasses.asdict(report.config))
    dataset.attrs |= {"config": config, **provenance()}
    if data_format == "netcdf":
        path = folder / "data.nc"
        for name, variable in dataset.variables.items():
            if variable.dtype == bool:
                dataset[name] = variable.astype("int8")
        try:
            dataset.to_netcdf(path, engine="h5netcdf")
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"NetCDF needs an extra: pip install 'lrnn_jax[netcdf]' ({error})."
            ) from None
        return path
    path = folder / "data.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's notes on its own string type and metadata
        dataset.to_zarr(path, mode="w", consolidated=False)
    return path


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
    parts.append("\n".join(f"{n:6}  {found[n]}" for n in ("figure", "data", "report")))
    return "\n\n".join(parts)


def _aligned(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["─" * w for w in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in lines)
