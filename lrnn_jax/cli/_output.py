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


def write(report: Any, folder: Path, data_format: str = "zarr") -> dict[str, str]:
    """Write config.json, data, figure.png, figure.pdf and report.md into a folder.

    Arguments:
        report: of a finished run.
        folder: made if it is not there; files of the same names are replaced.
        data_format: "zarr" or "netcdf".

    Returns: paths by "folder", "figure", "data", "report".

    Errors: ValueError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config = {"experiment": report.name, "config": _plain(report.config), **provenance()}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        data = _write_data(report, folder, data_format)
        figure = save(report.draw(), folder)
        (folder / "report.md").write_text(markdown(report))
    except OSError as error:
        raise ValueError(
            f"Cannot write into {folder}: {error}. Choose a folder with --out."
        ) from None
    paths = {"folder": folder, "figure": figure, "data": data, "report": folder / "report.md"}
    return {name: str(path.resolve()) for name, path in paths.items()}


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
    dataset.attrs |= {"config": json.dumps(_plain(report.config)), **provenance()}
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


def markdown(report: Any) -> str:
    """The report as Markdown: claims, table, timings."""
    lines = [f"# {report.name}", "", *_markdown_table(*_claims(report)), ""]
    lines += [*_markdown_table(*report.table), "", *_markdown_table(*_seconds(report)), ""]
    lines += ["![figure](figure.png)", ""]
    return "\n".join(lines)


def text(report: Any) -> str:
    """The report for a terminal: table, timings, claims."""
    parts = [_text_table(*report.table)]
    if report.seconds:
        parts.append(_text_table(*_seconds(report)))
    parts += [
        f"{'yes' if claim.holds else 'NO '}  {claim.text}\n     {claim.measured}"
        for claim in report.claims
    ]
    return "\n\n".join(parts)


def as_json(report: Any, paths: dict[str, str]) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "experiment": report.name,
        **report.values,
        "claims": [claim._asdict() for claim in report.claims],
        "seconds": {name: timing._asdict() for name, timing in report.seconds.items()},
        **paths,
        "config": _plain(report.config),
    }


def dumps(values: Any) -> str:
    """JSON by the book: numbers that are not finite become null."""
    finite = json.loads(json.dumps(values, default=str), parse_constant=lambda _: None)
    return json.dumps(finite, allow_nan=False)


def _plain(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)


def _claims(report: Any) -> tuple[list[str], list[list[str]]]:
    rows = [[c.text, c.measured, "yes" if c.holds else "**no**"] for c in report.claims]
    return ["must show", "measured", "holds"], rows


def _seconds(report: Any) -> tuple[list[str], list[list[str]]]:
    rows = [[n, f"{t.run:.3f}", f"{t.compile:.2f}"] for n, t in report.seconds.items()]
    return ["work", "seconds", "compiling before"], rows


def _markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def _text_table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["─" * w for w in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in lines)
