"""The command line: the main job's output, and clear answers to wrong input."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import lrnn_jax as lrnn
from lrnn_jax.cli import ProgressBar, main
from lrnn_jax.experiments import REGISTRY


def run(*arguments, cwd):
    command = [sys.executable, "-m", "lrnn_jax", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = run("--preset", "quick", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_json_is_alone_on_standard_output_and_complete(finished):
    _, found = finished
    assert found["max_abs_dq"] <= 1e-10
    assert set(found["final"]) == {"zm", "zu*vm", "vu"}
    assert 0.95 < found["flow_order"] < 1.05
    assert found["seconds"]["full"]["run"] > 0
    assert found["config"]["n"] == 100
    assert all(claim["holds"] for claim in found["claims"])


def test_the_folder_holds_config_data_figures_and_report(finished):
    folder, found = finished
    made = folder / "runs" / "filter"
    names = {path.name for path in made.iterdir()}
    assert {
        "config.json",
        "data.zarr",
        "figure.png",
        "figure.pdf",
        "report.json",
        "report.md",
    } == names
    assert found["figure"] == str(made / "figure.png")
    config = json.loads((made / "config.json").read_text())
    assert config["config"]["epochs"] == 1000
    assert config["dtype"] == "float64"
    with xr.open_zarr(made / "data.zarr", consolidated=False, chunks=None) as data:
        assert set(data.method.values) == {"full", "reduced", "flow", "direct"}
        assert data.overlaps.attrs["units"] == "1"
        final = data.overlaps.sel({"method": "full", "overlap": "vu"}).values[-1]
    np.testing.assert_allclose(final, found["final"]["vu"], rtol=0, atol=0)
    assert "largest \\|ΔQ\\|" in (made / "report.md").read_text()


def test_report_collects_runs_in_one_page(finished, tmp_path, capsys):
    folder = finished[0] / "runs" / "filter"
    out = tmp_path / "all.html"
    assert main(["report", str(folder), str(folder), "--out", str(out)]) == 0
    written = out.read_text()
    assert written.count("data:image/png;base64,") == 2
    assert 'src="http' not in written
    assert written.count("6 of 6 claims hold") == 2
    assert "largest |ΔQ|" in written
    assert "<td>epochs</td><td>1000</td>" in written
    assert main(["report"]) == 2
    assert "needs folders" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "no config.json, report.json, figure.png" in capsys.readouterr().err


def test_analyse_reports_a_dense_network(tmp_path):
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 40, 2))
    path = tmp_path / "net.npz"
    weights = {"w": u @ v.T / 80, "w_in": rng.normal(size=(40, 1)) / 7}
    np.savez(path, **weights, w_out=rng.normal(size=(1, 40)) / 7, dt=0.1)
    cache = tmp_path / "compiled"
    options = ("--epochs", 200, "--steps", 50, "--lr", 0.02, "--json", "--cache", cache)
    done = run("analyse", path, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rank"] == 2
    assert found["discarded"] < 1e-12
    assert len(found["overlaps"]) == 21
    assert len(found["visible"]) == 9
    assert len(found["invariants"]["spectrum"]) == 6
    assert found["final_loss"] < found["initial_loss"]
    assert (tmp_path / "runs" / "analyse-net" / "figure.png").exists()
    assert list(cache.glob("jit_*"))


WRONG = {
    "command": (("rum",), "Did you mean 'lrnn-jax run'"),
    "experiment as a command": (("filter",), "Did you mean 'lrnn-jax run filter'"),
    "experiment": (("run", "osculator"), "Did you mean 'oscillator'"),
    "preset": (("run", "filter", "--preset", "tiny"), "invalid choice 'tiny'"),
    "field": (("run", "filter", "--epoch", "3"), "--epochs"),
    "value": (("run", "filter", "--epochs", "many"), "--epochs"),
    "range": (("run", "filter", "--dt", "2"), "`dt` must lie between"),
    "missing file": (("analyse", "nothing.npz", "--dt", "0.1"), "no file"),
}


@pytest.mark.parametrize(("arguments", "answer"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_answered_clearly(arguments, answer, capsys):
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    printed = capsys.readouterr()
    assert answer in printed.err
    assert "Traceback" not in printed.err
    assert not printed.out


def test_no_file_that_is_not_a_network_gives_a_traceback(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name, answer in (("text.npz", "not a readable .npz"), ("other.npz", "It holds: a")):
        assert main(["analyse", str(tmp_path / name), "--dt", "0.1"]) == 2
        assert answer in capsys.readouterr().err


def test_an_unwritable_folder_is_named(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["run", "coupling", "--out", str(tmp_path / "taken")]) == 2
    assert "Choose a folder with --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("run", "--help"), ("report", "--help"), ("list", "--help"), ("list",)],
)
def test_help_and_list(arguments, capsys):
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    assert capsys.readouterr().out


def test_the_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == lrnn.__version__


def test_the_list_says_what_each_experiment_is_and_takes(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    for experiment in REGISTRY.values():
        (line,) = (line for line in lines if line.split()[0] == experiment.name)
        assert experiment.source in line
        assert experiment.summary in line
        assert len(re.findall(r"\d+ (?:s|min)\b", line)) == 2


def test_help_shows_every_field_with_unit_and_default(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "filter", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--epochs", "--rate", "membrane time", "default: 2000", "--json", "--out"):
        assert word in shown


def test_an_interruption_keeps_what_was_computed(tmp_path, capsys, monkeypatch):
    class Stopped(ProgressBar):
        def __call__(self, what, epoch, epochs, loss):
            super().__call__(what, epoch, epochs, loss)
            if what == "full network, β = 2" and epoch >= epochs // 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("lrnn_jax.cli._main.ProgressBar", Stopped)
    out = tmp_path / "run"
    assert main(["run", "control_cost", "--preset", "quick", "--out", str(out)]) == 130
    said = capsys.readouterr().err
    assert "interrupted in 'full network, β = 2'" in said
    assert str(out / "interrupted") in said
    kept = sorted((out / "interrupted").iterdir(), key=lambda path: int(path.stem))
    assert f"{len(kept)} learning curve(s)" in said
    _, full, reduced, *_, last = (lrnn.LearningCurve.load(path) for path in kept)
    assert reduced.distance(full).max < 1e-11
    assert 0.5 <= int(last.epochs[-1]) / int(full.epochs[-1]) < 0.6
    assert np.isfinite(last.loss).all()
