"""`lrnn-jax sweep`: files are checked before anything runs; stores resume and report."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt

import lrnn_jax as lrnn
from lrnn_jax import figures
from lrnn_jax.cli import main
from lrnn_jax.sweeps import Runnable, open_sweep, read_sweep

GOOD = """
[fixed]
epochs = 20
n = 10
steps = 20
[axes]
lr = {from = 1e-3, to = 1e-1, count = 3, spacing = "log"}
rate = [0.1, 0.2]
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "file.toml"
        path.write_text(text)
        return str(path)

    return write


def test_a_file_runs_and_reports(written, capsys, tmp_path):
    assert main(["sweep", written(GOOD), "--store", "s"]) == 0
    printed = capsys.readouterr()
    assert "6 cells" in printed.err
    assert "6 successful" in printed.out
    data = open_sweep("s")
    assert data.final_loss.dims == ("lr", "rate")
    np.testing.assert_allclose(data.lr, [1e-3, 1e-2, 1e-1], rtol=1e-12)
    assert main(["sweep", "status", "s", "--verify"]) == 0
    assert "6 of 6 cells" in capsys.readouterr().out
    assert main(["sweep", written(GOOD), "--store", "s"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["sweep", written(GOOD), "--store", "s", "--resume"]) == 0
    changed = GOOD.replace("epochs = 20", "epochs = 30")
    assert main(["sweep", written(changed), "--store", "s", "--resume"]) == 2
    assert "epochs" in capsys.readouterr().err
    for file in ("groups/0.json", "manifest.json"):
        (tmp_path / "s" / file).write_text("{")
        for command in (["status", "s"], [written(GOOD), "--store", "s", "--resume"]):
            assert main(["sweep", *command]) == 1
            assert re.search(f"error: s/{file} cannot be read .*\n$", capsys.readouterr().err)


def test_a_stopped_sweep_says_what_is_kept(written, capsys, monkeypatch):
    def stopped(self, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(lrnn.Sweep, "run", stopped)
    assert main(["sweep", written(GOOD), "--store", "s"]) == 130
    assert "interrupted; what is complete is kept in s: --resume" in capsys.readouterr().err


def test_experiments_are_swept_too(written):
    text = '[sweep]\nrun = "coupling"\npreset = "quick"\n[axes]\nrank = [1, 2]\n'
    assert main(["sweep", written(text), "--store", "s"]) == 0
    data = open_sweep("s")
    assert list(data["rank"].values) == [1, 2]
    assert (data.claims_hold == 1).all()


def test_cells_with_one_seed_start_alike(written):
    text = "[fixed]\nepochs = 3\nn = 10\nsteps = 20\n[axes]\nlr = [1e-9, 2e-9]\nseed = [0, 1]\n"
    assert main(["sweep", written(text), "--store", "s"]) == 0
    start = open_sweep("s").final_overlaps  # learning rates of next to nothing
    np.testing.assert_allclose(start.isel(lr=0), start.isel(lr=1), atol=1e-6)
    assert abs(start.isel(seed=0) - start.isel(seed=1)).max() > 1e-2


def test_samples_of_whole_numbers_are_whole(written):
    drawn = read_sweep(written("[sample]\ncount = 4\nn = [5, 9]\nlr = [0.01, 0.1]\n"))
    assert drawn.static == ["n"]
    drawn = drawn.design.columns["n"].values
    assert drawn.dtype.kind == "i"
    assert set(drawn) <= set(range(5, 10))


WRONG = {
    "ignored": ('[sweep]\nrun = "coupling"\nseed = 3\n[axes]\nrank = [1]', "one by one"),
    "sample": ("[sample]\ncount = 4\nlr = 1.0", "[sample] The range of 'lr' is (low, high)"),
    "spacing": ('[axes]\nlr = {from = 1, to = 2, count = 2, spacing = "logs"}', "`spacing` is one"),
    "table": ("[axis]\nlr = [1.0]", "Did you mean 'axes'"),
    "field": ("[axes]\nlrr = [1.0]", "Did you mean 'lr'"),
    "words": ("[sample]\ncount = 2\ntask = [0, 1]", "[sample] `task` is no number"),
    "type": ('[axes]\nlr = ["fast"]', "`lr` is a number"),
    "whole": ("[axes]\nn = [1.5]", "`n` is a whole number"),
    "choice": ('[axes]\ntask = ["sine"]', "`task` is one of"),
    "empty": ("[axes]\nlr = []", "'lr' is empty"),
    "nothing": ("[fixed]\nlr = 1.0", "sweeps nothing"),
    "both": ("[fixed]\nlr = 1.0\n[axes]\nlr = [1.0]", "Both fixed and swept: lr"),
    "range": ("[axes]\nlr = {from = 1, to = 2}", "needs 'count'"),
    "head": ("sweep = 3\n[axes]\nlr = [0.1]", "[sweep] is a table"),
    "axes": ("axes = 5", "[axes] is a table"),
    "list": ("axes = [1, 2]", "[axes] is a table"),
    "fixed": ("fixed = []\n[axes]\nlr = [0.1]", "[fixed] is a table"),
    "zip": ("zip = 3", "[zip] is a table"),
    "drawn": ("sample = 3", "[sample] is a table"),
    "runs": ("[sweep]\nrun = [1]\n[axes]\nlr = [0.1]", "`run` is one of"),
    "chunk": ("[sweep]\nchunk = 1.5\n[axes]\nlr = [0.1]", "`chunk` must be a whole number"),
    "from": ('[axes]\nlr = {from = "a", to = 2, count = 2}', "`from of lr` is a number"),
    "count": ("[axes]\nlr = {from = 1, to = 2, count = 2.5}", "`count of lr` must be a whole"),
    "log": ('[axes]\nlr = {from = 0, to = 2, count = 2, spacing = "log"}', "of one sign"),
    "large": ("[axes]\nn = [100000000000000000000]", "`n` is a whole number"),
    "samples": ('[sample]\ncount = "a"\nlr = [0.1, 0.2]', "[sample] `count` must"),
    "method": ("[sample]\ncount = 2\nmethod = 3\nlr = [0.1, 0.2]", "`method` is one of"),
    "scale": ("[sample]\ncount = 2\nlr = [0.1, 0.2, 3]", "[sample] The range of 'lr' is"),
    "seed": ("[sample]\ncount = 2\nseed = -1\nlr = [0.1, 0.2]", "[sample] `seed` must"),
    "preset": ('[sweep]\npreset = "quick"\n[axes]\nlr = [0.1]', "`preset` is one of full"),
    # what is out of range is known before anything is traced
    "negative": ("[axes]\nlr = [0.1, -0.1, 0.2]", "`lr` must lie in"),
    "nan": ("[axes]\nrate = [0.1, nan]", "rate"),
    "step": ("[fixed]\ndt = 2.0\n[axes]\nlr = [0.1]", "`dt` is the Euler step"),
    "rank": ("[fixed]\nn = 3\n[axes]\nrank = [1, 4]", "`rank` must be at most `n`"),
    "neurons": ("[axes]\nn = [10, 0]", "`n` must be a whole number of at least 1"),
    "momentum": ('[fixed]\nmethod = "momentum"\n[zip]\nmomentum = [0.9, 1.5]', "`momentum`"),
    "tuple": ('[sweep]\nrun = "flip_flop"\n[axes]\nwait = [3]', "`wait` is a list of 2 values"),
    "run": ('[sweep]\nrun = "osculator"\n[axes]\nlr = [1.0]', "Did you mean 'oscillator'"),
    "syntax": ("[axes\n", "not a readable sweep file"),
}


@pytest.mark.parametrize(("text", "answer"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_answered_clearly(written, capsys, text, answer):
    assert main(["sweep", written(text)]) == 2
    assert answer in capsys.readouterr().err


ANYTHING = ("3", "-1", "1.5", "true", '"x"', "[]", "[1, 2]", '["x"]', "{}", "{x = 1}", "nan", "inf",
            "1979-05-27", "[[1]]", "1e400", "99999999999999999999", "{from = 1, to = 2, count = 2}",
            "{from = nan, to = 2, count = 2}", "[0.1, 0.2, 'log']", "[0.1, nan]")  # fmt: skip


@pytest.mark.parametrize("table", ["sweep", "fixed", "axes", "zip", "sample"])
def test_whatever_stands_in_a_file_is_taken_or_answered_with_its_place(written, table):
    fields = [
        field.name for field in dataclasses.fields(read_sweep(written(GOOD)).function.args[1])
    ]
    fields = {"sweep": ["run", "seed", "chunk", "preset"]}.get(table, fields)
    if table == "sample":
        fields = [*set(fields) - {"amplitude"}, "count", "method"]
    rest = {"sweep": "[axes]\nlr = [0.1]\n", "fixed": "[zip]\nseed = [1]\n"}.get(table, "")
    answers = []
    for field in fields:
        for value in ANYTHING:
            line = f"[{table}]\n{field} = {value}\n{rest}"
            if table == "sample":
                line += "count = 2\n" * (field != "count") + "amplitude = [1, 2]\n"
            try:
                read_sweep(written(line))
            except ValueError as error:
                answers.append((field, line, str(error)))
    unclear = [text for field, _, text in answers if field not in text or "\n" in text]
    assert not unclear
    assert len(answers) >= len(fields) * len(ANYTHING) / 2


def test_other_things_are_run_when_they_are_handed_over(written, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        x: float = 1.0
        powers: tuple[int, ...] = (1, 2)

        def check(self):
            if self.x < 0:
                raise ValueError("`x` must not be negative.")

    def run(config, seed):
        return {"y": config.x + seed, "z": jnp.stack([config.x**p for p in config.powers])}

    power = Runnable(run, {"full": Config()}, Config.check, ("powers",), {"x": ("length", "m")})
    text = '[sweep]\nrun = "power"\nseed = 3\n[fixed]\npowers = [1, 3]\n[axes]\nx = [2.0, 3.0]\n'
    sweep = read_sweep(written(text), tmp_path / "s", runs={"power": power})
    data = sweep.run(progress=False)
    assert data.y.values.tolist() == [5, 6]
    assert data.z.values.tolist() == [[2, 8], [3, 27]]
    assert data.x.attrs["long_name"] == "length"
    assert data.attrs["function"] == "power 3 [('powers', (1, 3))]"
    with pytest.raises(ValueError, match="must not be negative"):
        read_sweep(written(text.replace("2.0", "-2.0")), runs={"power": power})
    with pytest.raises(ValueError, match=r"one of learning, power; .*Did you mean 'power'"):
        read_sweep(written(text.replace('"power"', '"powr"')), runs={"power": power})


def test_sweeps_are_drawn_over_two_axes_and_a_third():
    cells = {"lr": np.geomspace(1e-3, 1, 4), "rate": [0.1, 0.2, 0.3], "kind": [1, 2]}

    def run(lr, rate, kind):
        return {"height": jax.numpy.log(0.5 - lr) + rate * kind.astype(float)}

    labels = {"lr": ("learning rate", "1"), "height": ("height", "m")}
    data = lrnn.sweep(cells, run, labels=labels)
    for name in ("height", "result"):
        figure = figures.draw_sweep(data, name, "lr", "rate", over="kind")
        figure.canvas.draw()
        shown = [ax for ax in figure.axes if ax.get_visible()]
        assert shown[0].get_xscale() == "log"
        assert "kind = 2" in shown[1].get_title(loc="left")
        plt.close(figure)
    figure = figures.draw_sweep(data.isel(kind=0), "height", "lr", "rate")
    assert figure.axes[-1].get_ylabel() == "height\n(m)"
    plt.close(figure)
    with pytest.raises(ValueError, match="select from the others"):
        figures.draw_sweep(data, "height", "lr", "rate")
