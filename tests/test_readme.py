"""All Python of the README runs, and its two commands are the ones that are tested."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import pytest

import lrnn_jax as lrnn

mpl.use("Agg")

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SMALLER = {  # of all but the classes and networks of one's own, whose learning is tested
    "n=500": "n=50",
    "epochs=2000": "epochs=200",
    "epochs=1000": "epochs=100",
    '"epochs": 300': '"epochs": 150',
    "normalised(600": "normalised(40",
    '"epochs": 500, "key": jr.key(1), "record": 50': '"epochs": 4, "key": jr.key(1), "record": 2',
    "normalised(100, dt=0.05": "normalised(10, dt=0.05",
    "1e-2, 20)": "1e-2, 2)",
    "np.arange(50)": "np.arange(2)",
}


def block(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README has no block marked {marker}"
    return found[1].strip()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What all blocks but the one for the start of a program define, run from top to bottom."""
    names: dict = {}
    unused = set(SMALLER)
    with (
        contextlib.chdir(tmp_path_factory.mktemp("readme")),
        contextlib.redirect_stdout(io.StringIO()) as printed,
        jax.numpy_dtype_promotion("standard"),
    ):
        for code in BLOCKS:
            if "os.environ" not in code:
                for size in (size for size in SMALLER if size in code):
                    code = code.replace(size, SMALLER[size])
                    unused -= {size}
                exec(compile(code, "README", "exec"), names)
        assert Path("rates.png").exists()
        names["data"].load()  # before its folder, named by a relative path, is left
    mpl.pyplot.close("all")
    assert not unused
    return {**names, "printed": printed.getvalue()}


def test_every_block_says_where_it_goes_on():
    assert len(BLOCKS) == 7
    for code in BLOCKS[1:]:
        first = code.splitlines()[0]
        assert first.endswith(
            ("goes on from the block above", "goes on from the blocks above")
        ) or (first == "import os  # at the very start of a program")


def test_example_agrees(page):
    # rounding over 200 epochs; the README says 1e-14 at 2000
    assert page["theory"].distance(page["truth"]).max < 1e-12
    assert jnp.abs(page["theory"].gram[-1] - page["theory"].gram[0]).max() > 0.1
    assert "zm" in page["printed"]


def test_other_tasks_are_tasks_of_the_network(page):
    reduced = lrnn.reduce(page["net"].__class__.normalised(50, 2, dt=0.05, key=jax.random.key(0)))
    for kind in ("wave", "yours", "white", "teacher"):
        assert page[kind].loss(reduced, page[kind].sample(jax.random.key(0))) > 0
    assert page["curve"].loss[-1] < page["curve"].loss[0]


def test_your_own_task_plant_and_activation_learn(page):
    for curve in ("held", "moored", "sailed"):
        assert page[curve].loss[-1] < 0.5 * page[curve].loss[0]
    assert page["flipped"].loss[-1] < 1e-2
    for definition in block("yours").split("class ")[1:]:
        assert len(definition.split("\n\n\n")[0].splitlines()) <= 27


def test_nonlinear_networks_loops_and_sweeps_run(page):
    assert page["report"].verdict.startswith("closure")
    assert page["limit"].distance(page["report"].closure).max > 0
    assert len(page["stages"].verdicts) == 3
    assert page["data"].result.sizes == {"lr": 2, "rate": 3, "number": 2}
    assert page["data"].result.isin([0, 1]).all()  # one that diverges harms no other
    assert (page["data"].result == 0).mean() > 0.8


def test_the_flags_make_two_devices():
    (code,) = (code for code in BLOCKS if "os.environ" in code)
    code += "\nimport jax\nprint(jax.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr


def test_a_network_of_your_own_is_swept_saved_and_loaded(page, tmp_path):
    gru, loop, curve = page["gru"], page["sail"], page["sailed"]
    with jax.numpy_dtype_promotion("standard"):
        assert set(lrnn.networks.weight_space(gru).start) >= {"cell.weight_hh", "out.bias"}
        lrnn.save_network(curve.model, tmp_path / "gru.npz")
        again = lrnn.load_network(tmp_path / "gru.npz", like=gru)
        assert eqx.tree_equal(again, curve.model)
        with pytest.raises(ValueError, match=r"cannot name, GRU \(yours\).*pass `like`"):
            lrnn.load_network(tmp_path / "gru.npz")
        curve.save(tmp_path / "curve.npz")
        assert eqx.tree_equal(lrnn.LearningCurve.load(tmp_path / "curve.npz", curve), curve)

        def run(key, lr):
            options = {"epochs": 2, "key": key, "throw": False}
            return lrnn.learn(gru, loop, lrnn.Descent(lr), **options)

        data = lrnn.sweep({"lr": [0.01, 0.1]}, run, key=jax.random.key(0), progress=False)
    assert data.loss.shape == (2, 3)
    assert (data.result == 0).all()


def test_commands_are_single_lines():
    for marker in ("main", "tests"):
        assert len(block(marker).splitlines()) == 1
    assert block("main").endswith("lrnn-jax")
    assert block("tests").endswith("pytest")
