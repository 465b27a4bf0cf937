"""The command line: the main job's output, and clear answers to wrong input."""

import contextlib
import dataclasses
import errno
import inspect
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lrnn_jax as lrnn
from lrnn_jax import RESULTS, LearningError
from lrnn_jax.cli import Options, Reading, main
from lrnn_jax.experiments import REGISTRY, Experiment, get
from lrnn_jax.learning import ProgressBar


def answer(*arguments):
    """The exit code of a command, and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.chdir(tempfile.gettempdir()):
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file of weights of a network of rank 2, in float32."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 40, 2))
    weights = {"w": u @ v.T / 80, "w_in": rng.normal(size=(40, 1)) / 7}
    weights["w_out"] = rng.normal(size=(1, 40)) / 7
    path = tmp_path_factory.mktemp("network") / "net.npz"
    np.savez(path, **{name: x.astype(np.float32) for name, x in weights.items()}, dt=0.1)
    return path


@pytest.fixture(scope="module")
def finished(network, own_cache):
    """A finished run that learned something, its folder and what it printed as JSON."""
    cache, out = network.parent / "compiled", network.parent / "run"
    options = ("--epochs", 50, "--steps", 20, "--lr", 0.02, "--json", "--cache", cache)
    code, printed = answer("analyse", network, *options, "--out", out)
    assert code == 0
    assert list(cache.glob("jit_*"))
    return out, json.loads(printed)


def test_compiled_programs_are_kept_in_the_users_folder(own_cache, tmp_path, monkeypatch):
    """One for each machine; JAX's own setting comes first, and a home that is no folder is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "lrnn_jax" / "compiled" / platform.node()

    def kept(options: Options) -> Path | None:
        jax.config.update("jax_compilation_cache_dir", None)
        lrnn.setup_jax(cache=options.compiled)
        found = jax.config.jax_compilation_cache_dir
        return found and Path(found)

    try:
        assert kept(Options()) == folder
        assert folder.is_dir()
        assert jax.config.jax_compilation_cache_max_size == 10**9
        assert kept(Options(no_cache=True)) is None
        assert kept(Options(cache=tmp_path / "x")) == tmp_path / "x"
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        lrnn.setup_jax()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
        monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
        assert kept(Options()) is None
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_compilation_cache_max_size", -1)


@pytest.mark.slow
def test_half_a_program_in_the_cache_is_compiled_again(tmp_path):
    """As a run that was killed while it wrote leaves it: nobody is told, nothing is lost."""
    command = [sys.executable, "-m", "lrnn_jax", *COUPLING, str(tmp_path / "run"), "--json"]
    home = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": ""}
    for size in (200, 0):
        first = subprocess.run(command, env=home, capture_output=True, text=True, check=True)
        kept = list((tmp_path / "lrnn_jax").rglob("jit_*-cache"))
        assert len(kept) > 10
        for program in kept:
            os.truncate(program, size)
        again = subprocess.run(command, env=home, capture_output=True, text=True, check=True)
        assert "cache" not in again.stderr
        assert json.loads(again.stdout)["claims"] == json.loads(first.stdout)["claims"]


def test_json_is_alone_on_standard_output_and_complete(finished):
    _, found = finished
    assert found["rank"] == 2
    assert found["discarded"] < 1e-6  # of weights in float32
    assert len(found["overlaps"]) == 21
    assert len(found["visible"]) == 9
    assert len(found["invariants"]["spectrum"]) == 6
    assert found["final_loss"] < found["initial_loss"]
    assert found["config"]["epochs"] == 50
    assert all({"run", "compile"} <= set(timing) for timing in found["seconds"].values())


def test_the_folder_holds_config_data_figures_and_report(finished):
    made, found = finished
    names = {path.name for path in made.iterdir()}
    files = {"config.json", "data.zarr", "figure.png", "figure.pdf", "report.json", "report.md"}
    assert names == files | {".files.json"}
    assert found["figure"] == str(made / "figure.png")
    assert json.loads((made / "report.json").read_text()) == found
    config = json.loads((made / "config.json").read_text())
    assert config["config"]["epochs"] == 50
    assert config["dtype"] == "float64"
    with xr.open_zarr(made / "data.zarr", consolidated=False, chunks=None) as data:
        assert data.overlaps.attrs["units"] == "1"
        assert data.overlaps.dtype == "float64"  # of a file in float32
        ends = data.loss.values[:, -1]  # of two methods; computed by another program
        assert np.isclose(found["final_loss"], ends, rtol=1e-12, atol=0).any()
    assert "| must show | measured | holds |" in (made / "report.md").read_text()


def test_report_collects_runs_in_one_page(finished, tmp_path, capsys):
    folder, out = finished[0], tmp_path / "all.html"
    assert main(["report", str(folder), str(folder), "--out", str(out)]) == 0
    written = out.read_text()
    assert written.count("data:image/png;base64,") == 2
    assert 'src="http' not in written
    assert written.count(" claims hold") == 2
    assert "<td>epochs</td><td>50</td>" in written
    assert main(["report"]) == 2
    assert "needs folders" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "no config.json, report.json, figure.png" in capsys.readouterr().err
    for name, text in (("report.json", "{}"), ("report.json", "["), ("config.json", "[]")):
        shutil.copytree(folder, tmp_path / "damaged", dirs_exist_ok=True)
        (tmp_path / "damaged" / name).write_text(text)
        assert main(["report", str(tmp_path / "damaged"), "--out", str(tmp_path / "x.html")]) == 2
        assert f"{tmp_path / 'damaged'} holds no run that can be read" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_page_of_someone_else_is_left_alone(finished, tmp_path, capsys):
    page, command = tmp_path / "index.html", ["report", str(finished[0]), "--out"]
    assert main([*command, str(page)]) == 0
    assert main([*command, str(page)]) == 0  # its own
    for text in ("my homepage", page.read_text().replace("</h1>", " of mine</h1>")):
        page.write_text(text)
        assert main([*command, str(page)]) == 2
        assert "index.html is no page of this program" in capsys.readouterr().err
        assert page.read_text() == text
    assert main([*command, str(tmp_path)]) == 2
    assert "choose a file with --out" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["index.html"]


def test_without_arguments_the_filter_is_learned(monkeypatch):
    ran = []

    def deliver(experiment, config, options, name):
        ran.append((experiment.name, config, name))
        return len(ran) > 1

    monkeypatch.setattr("lrnn_jax.cli._main._deliver", deliver)
    assert main([]) == 1  # a claim that does not hold
    assert main(["--preset", "quick"]) == main(["run", "coupling", "--rank", "2"]) == 0
    filters = get("filter")
    assert ran[:2] == [("filter", filters.full, "filter"), ("filter", filters.quick, "filter")]
    assert ran[2][0] == "coupling"
    assert ran[2][1].rank == 2


COUPLING = ("run", "coupling", "--preset", "quick", "--out")


@pytest.fixture(scope="module")
def coupled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coupled") / "run"
    assert answer(*COUPLING, folder)[0] == 0
    return folder


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def mine(folder, name="notes.txt"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("the only copy")


OTHERS = {
    "of another program": lambda run: [shutil.rmtree(run), mine(run, "config.json")],
    "data of someone else": lambda run: [shutil.rmtree(run), mine(run, "data.zarr/measured.bin")],
    "a note beside": mine,
    "a note in the data": lambda run: mine(run, "data.zarr/notes.txt"),
    "an edited report": lambda run: mine(run, "report.md"),
    "a folder beside": lambda run: (run / "empty").mkdir(),
    "a forged listing": lambda run: [mine(run), (run / ".files.json").write_text("[1]")],
    "a file": lambda run: [shutil.rmtree(run), run.write_text("the only copy")],
    "a sweep": lambda run: [shutil.rmtree(run), mine(run, "manifest.json")],
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_others_wrote_is_not_touched(coupled, tmp_path, capsys, monkeypatch, change):
    run = tmp_path / "run"
    shutil.copytree(coupled, run)
    change(run)
    before = contents(tmp_path)
    monkeypatch.setattr("lrnn_jax.cli._main.Recorder", None)  # nothing is computed
    assert main([*COUPLING, str(run)]) == 2
    printed = capsys.readouterr()
    assert re.search("choose (another|a) folder", printed.err)
    assert not printed.out
    assert contents(tmp_path) == before


def test_the_folder_one_is_in_is_not_replaced(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (".", "", str(tmp_path)):
        assert main([*COUPLING, out]) == 2
        assert "choose one inside it" in capsys.readouterr().err


def run_and_check(folder, before, fail):
    """Run into a folder while `fail` may break file operations; it is the old or the new one."""
    with fail:
        code, _ = answer(*COUPLING[:-1], "--rank", 2, "--out", folder)
    after = contents(folder)
    rank = json.loads(after["config.json"])["config"]["rank"]
    if after != before:
        assert code == 0
        assert rank == 2
        assert json.loads(after["report.json"])["config"]["rank"] == 2
        assert set(json.loads(after[".files.json"])) >= after.keys() - {".files.json"}
    else:
        assert code == 2
        assert rank == 1
    return code


class Stage(contextlib.ContextDecorator):
    """While it lasts, the n-th opening, making or moving of a file in a folder fails."""

    installed: list["Stage"] = []

    def __init__(self, folder, number):
        self.folder, self.number, self.on = str(folder), number, False

    def __enter__(self):
        if not self.installed:
            sys.addaudithook(lambda *event: [stage.see(*event) for stage in self.installed])
        self.installed.append(self)
        self.on = True

    def __exit__(self, *error):
        self.on = False

    def see(self, event, arguments):
        about = event in ("open", "os.mkdir", "os.rename")
        if self.on and about and self.folder in str(arguments[0]):
            writes = event != "open" or (arguments[1] or "r")[0] in "wxa"
            self.number -= writes
            if self.number < 0:
                self.on = False
                raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("number", [0, 1, 19, 62, 66, 67])
def test_a_full_disk_leaves_the_old_folder_or_the_new_one(coupled, tmp_path, capsys, number):
    """Some of the operations from the first to the last, and one beyond."""
    run = tmp_path / "run"
    shutil.copytree(coupled, run)
    code = run_and_check(run, contents(run), Stage(tmp_path, number))
    assert code == (2 if number < 67 else 0)
    assert ("No space left" in capsys.readouterr().err) == bool(code)
    assert os.listdir(tmp_path) == ["run"]


def test_a_figure_that_breaks_off_on_a_full_disk_is_no_error_of_ours(
    coupled, tmp_path, capsys, monkeypatch
):
    """Its writer, cleaning up, raises an error of its own (as matplotlib does for a PDF)."""

    def save(figure, folder):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise AttributeError("'Stream' object has no attribute 'pos'")

    monkeypatch.setattr("lrnn_jax.cli._output.save", save)
    run = tmp_path / "run"
    shutil.copytree(coupled, run)
    assert run_and_check(run, contents(run), contextlib.nullcontext()) == 2
    assert "(No space left on device): choose a folder" in capsys.readouterr().err


def test_folders_are_replaced_where_a_system_cannot_exchange_them(coupled, tmp_path, monkeypatch):
    shutil.copytree(coupled, tmp_path / "run")
    monkeypatch.setattr("lrnn_jax.cli._place._exchange", lambda one, other: False)
    before = contents(tmp_path / "run")
    nothing = contextlib.nullcontext()
    assert run_and_check(tmp_path / "run", before, nothing) == 0
    assert os.listdir(tmp_path) == ["run"]


ENDLESS = """
import contextlib, io, sys
from lrnn_jax.cli import main
while True:
    for rank in "12":
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["run", "coupling", "--rank", rank, "--out", sys.argv[1]]) == 0
        print(rank, flush=True)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_the_old_folder_or_the_new_one(tmp_path, kills):
    run, rng, ranks = tmp_path / "run", np.random.default_rng(0), []
    for _ in range(kills):
        command = [sys.executable, "-c", ENDLESS, str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
            for _ in range(2):
                assert job.stdout.readline()  # both are compiled
            time.sleep(float(rng.uniform(0, 2)))
            job.kill()
        assert job.returncode == -signal.SIGKILL
        kept = contents(run)
        listed = json.loads(kept.pop(".files.json"))
        assert all(f"{zlib.crc32(text):08x}" == listed[name] for name, text in kept.items())
        assert {name for name, sort in listed.items() if sort != "folder"} == kept.keys()
        config, report = (json.loads(kept[name]) for name in ("config.json", "report.json"))
        with xr.open_zarr(run / "data.zarr", consolidated=False, chunks=None) as data:
            configs = [config["config"], report["config"], json.loads(data.attrs["config"])]
        assert configs[0] == configs[1] == configs[2]
        ranks.append(configs[0]["rank"])
    left = len(list(tmp_path.glob(".run.*")))
    print(f"\n{kills} kills, {left} while it wrote; found ranks {ranks}")
    assert set(ranks) <= {1, 2}
    assert answer(*COUPLING, run)[0] == 0


WRONG = {
    "command": (("rum",), "Did you mean 'lrnn-jax run'"),
    "experiment as a command": (("filter",), "Did you mean 'lrnn-jax run filter'"),
    "experiment": (("run", "osculator"), "Did you mean 'oscillator'"),
    "preset": (("run", "filter", "--preset", "tiny"), "invalid choice 'tiny'"),
    "field": (("run", "filter", "--epoch", "3"), "--epochs"),
    "value": (("run", "filter", "--epochs", "many"), "--epochs"),
    "range": (("run", "filter", "--dt", "2"), "`dt` must lie between"),
    "missing file": (("analyse", "nothing.npz", "--dt", "0.1"), "no file"),
    "folder as a file": (("analyse", ".", "--dt", "0.1"), "is not a readable .npz"),
    "missing run": (("report", "nothing"), "nothing is not the folder of a finished run"),
    "missing sweep": (("sweep", "nothing.toml"), "nothing.toml is not a readable sweep file"),
    "folder as a sweep": (("sweep", "."), "is not a readable sweep file"),
    "no store": (("sweep", "status", "nothing"), "nothing holds no sweep"),
    "cache": (("run", "coupling", "--cache", "/dev/null/x"), "/dev/null/x cannot be made: Not a"),
    "two caches": (("run", "coupling", "--cache", "x", "--no-cache"), "exclude each other"),
    "out": (("run", "coupling", "--out", "/dev/null/x"), "Cannot write into /dev/null/x"),
    "page": (("report", "nothing", "--out", "/dev/null/x"), "not the folder of a finished run"),
    "devices": (("sweep", "f.toml", "--devices", "0"), "`--devices` must be a whole number"),
    "shard": (("sweep", "f.toml", "--shard", "2/2"), "--shard is i/n"),
    "alone": (("sweep", "f.toml", "--process", "0/2"), "--coordinator and --process go together"),
    "nobody": (("sweep", "f.toml", "--coordinator", "x:1"), "--coordinator and --process go"),
    "dtype": (("run", "coupling", "--dtype", "float16"), "invalid choice 'float16'"),
    "twice": (
        ("analyse", "n.npz", "--map", "z=a", "--map", "v=b"),
        "`--map` is given twice: once, with all of its values after it",
    ),
    "map": (("analyse", "n.npz", "--map", "z"), "`--map` takes pairs of our name and the file's"),
    "activation": (("analyse", "n.npz", "--activation", "sine"), "invalid choice 'sine'"),
    "infinite": (("run", "filter", "--lr", "inf"), "`lr` must lie between"),
}


@pytest.mark.parametrize(("arguments", "answer"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_answered_clearly(arguments, answer, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.toml").write_text("[axes]\nlr = [0.1]\n")
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    printed = capsys.readouterr()
    assert answer in printed.err
    assert "Traceback" not in printed.err
    assert not printed.out


def test_a_file_is_read_as_load_network_reads_it(tmp_path, monkeypatch):
    options = inspect.signature(lrnn.load_network).parameters.keys() - {"path", "dtype", "like"}
    assert {field.name for field in dataclasses.fields(Reading)} == options - {"names"} | {"map"}
    told = []
    monkeypatch.setattr(
        "lrnn_jax.cli._main._deliver", lambda found, *_: told.append(" ".join(found.before))
    )
    rng = np.random.default_rng(0)
    z, v, m, u = (rng.normal(size=(30, c)) for c in (1, 12, 2, 12))
    np.savez(tmp_path / "net.npz", z, v, m.T, u)
    command = ["analyse", str(tmp_path / "net.npz"), "--dt", "20", "--tau", "100"]
    command += ["--map", "z=arr_0", "v=arr_1", "m=arr_2.T", "u=arr_3", "--activation", "erf"]
    assert main([*command, "--readout", "h", "--scale", "30"]) == 0
    for words in ("30 neurons, rank 12", "2 input(s)", "φ = Erf", "reads out h", "dt = 0.2"):
        assert words in told[0]
    assert "choose with --rank" in told[0]
    assert main([*command, "--readout", "phi", "--rank", "12", "--scale", "1"]) == 0
    assert "reads out Erf(h)" in told[1]
    assert "The scaling s = 1 becomes" in told[1]
    assert "choose" not in told[1]
    w, added = rng.normal(size=(30, 30)), np.outer(rng.normal(size=30), rng.normal(size=30))
    for name, weights in (("end", w + added), ("start", w)):
        np.savez(tmp_path / name, w=weights, w_in=m, w_out=z.T, phi=np.array("tanh"), dt=0.1)
    command = ["analyse", str(tmp_path / "end.npz"), "--kind", "currents"]
    assert main([*command, "--initial", str(tmp_path / "start.npz")]) == 0
    assert "CurrentRNN of 30 neurons" in told[2]
    assert "ΔW: rank 1 of 30" in told[2]
    assert f"{np.linalg.norm(added) / np.linalg.norm(w):.3g} times the norm of W_0" in told[2]
    np.savez(tmp_path / "trials.npz", inputs=np.ones((12, 5, 2)), target=np.ones((12, 5)))
    assert main([*command, "--rank", "2", "--trials", str(tmp_path / "trials.npz")]) == 0
    assert "W: rank 2 of 30" in told[3]


def test_weights_of_high_rank_stop_with_their_spectrum(tmp_path, capsys):
    w = np.random.default_rng(0).normal(size=(30, 30)) / 30**0.5
    np.savez(tmp_path / "net.npz", w=w, w_in=np.ones((30, 1)), w_out=np.ones((1, 30)), dt=0.1)
    command = ["analyse", str(tmp_path / "net.npz"), "--json", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "choose with --rank" in printed.err
    assert "DenseRNN of 30 neurons, 1 input(s)" in printed.err.splitlines()[0]
    assert found["notes"][: len(printed.err.splitlines())] == printed.err.splitlines()
    assert found["spectral_radius"] == pytest.approx(np.abs(np.linalg.eigvals(w)).max())
    assert (tmp_path / "run" / "figure.png").exists()


def test_no_file_that_is_not_a_network_gives_a_traceback(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name, answer in (("text.npz", "not a readable .npz"), ("other.npz", "It holds: a")):
        assert main(["analyse", str(tmp_path / name), "--dt", "0.1"]) == 2
        assert answer in capsys.readouterr().err


def test_an_unwritable_folder_is_named(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["run", "coupling", "--out", str(tmp_path / "taken")]) == 2
    assert "taken is a file: choose a folder" in capsys.readouterr().err


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


RAISED = {
    "learning": (LearningError("Learning diverged.", None), 1, "error: Learning diverged."),
    "device": (
        RuntimeError("INTERNAL: Traceback\n_RuntimeError: `x`\nis wrong\n\nhelp"),
        1,
        "`x` is wrong",
    ),
    "memory": (MemoryError("Take a smaller `chunk`."), 1, "Take a smaller `chunk`."),
    "rights": (PermissionError(13, "Permission denied", "/x"), 2, "/x: Permission denied."),
    "extra": (ImportError("Datasets need xarray: pip install"), 2, "Datasets need xarray"),
    "stopped": (KeyboardInterrupt(), 130, "interrupted; nothing was computed yet"),
}


@pytest.mark.parametrize(("error", "code", "words"), RAISED.values(), ids=RAISED)
def test_what_goes_wrong_meanwhile_is_one_sentence(
    tmp_path, capsys, monkeypatch, error, code, words
):
    def fails(self, config, recorder):
        raise error

    monkeypatch.setattr(Experiment, "record", fails)
    assert main([*COUPLING, str(tmp_path / "run")]) == code
    printed = capsys.readouterr()
    assert words in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not printed.out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [name for name in RESULTS._name_to_item if name != "successful"])
def test_every_way_to_fail_ends_with_one_line(capsys, monkeypatch, name):
    def fails(self, config, recorder):
        x = RESULTS._name_to_item[name].error_if(jnp.ones(3), True)
        raise AssertionError(f"{name} counts as successful: {x}")

    monkeypatch.setattr(Experiment, "record", fails)
    assert main([*COUPLING, "unused"]) == 1
    said = capsys.readouterr().err.strip()
    words = RESULTS[RESULTS._name_to_item[name]].partition("\n\n")[0].split()
    assert said == f"error: {' '.join(words)}"


def test_who_stops_reading_is_not_bothered():
    for command in (["list"], ["run", "filter", "--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        run = [sys.executable, "-m", "lrnn_jax", *command]
        done = subprocess.run(run, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        assert done.stderr == ""
        assert done.returncode == 141


def test_an_interruption_keeps_what_was_computed(network, tmp_path, capsys, monkeypatch):
    class Stopped(ProgressBar):
        def __call__(self, what, epoch, epochs, loss):
            super().__call__(what, epoch, epochs, loss)
            if epoch >= epochs // 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("lrnn_jax.cli._main.ProgressBar", Stopped)
    out = tmp_path / "run"
    command = ["analyse", str(network), "--epochs", "50", "--steps", "20", "--out", str(out)]
    for folder in ("run-interrupted", "run-interrupted-2"):
        assert main(command) == 130
        said = capsys.readouterr().err
        assert "interrupted in '" in said
        assert f"1 learning curve(s) are kept in {tmp_path / folder} " in said
        curve = lrnn.LearningCurve.load(tmp_path / folder / "1.npz")
        assert 0.5 <= int(curve.epochs[-1]) / 50 < 0.6
        assert np.isfinite(curve.loss).all()
    assert not out.exists()
