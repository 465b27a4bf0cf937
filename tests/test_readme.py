"""The README's example runs, and its two commands are the ones that are tested."""

import contextlib
import io
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import lrnn_jax as lrnn

README = (Path(__file__).parent.parent / "README.md").read_text()


def block(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README has no block marked {marker}"
    return found[1].strip()


def test_example_runs_and_agrees():
    code = block("example").replace("n=500", "n=50").replace("2000", "200")
    names: dict = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, "README", "exec"), names)
    # rounding over 200 epochs; the README says 1e-14 at 2000
    assert names["theory"].distance(names["truth"]).max < 1e-12
    assert jnp.abs(names["theory"].gram[-1] - names["theory"].gram[0]).max() > 0.1
    assert "zm" in printed.getvalue()


def test_your_own_task_plant_and_activation_learn():
    names = {"jax": jax, "jr": jax.random, "lrnn": lrnn}
    with contextlib.redirect_stdout(io.StringIO()), jax.numpy_dtype_promotion("standard"):
        exec(compile(block("yours"), "README", "exec"), names)
    for curve in ("held", "moored", "sailed"):
        assert names[curve].loss[-1] < 0.5 * names[curve].loss[0]
    assert names["flipped"].loss[-1] < 1e-2
    for definition in block("yours").split("class ")[1:]:
        assert len(definition.split("\n\n\n")[0].splitlines()) <= 27


def test_a_network_of_your_own_is_swept_saved_and_loaded(tmp_path):
    names = {"jax": jax, "jr": jax.random, "lrnn": lrnn}
    code = block("yours").replace('"epochs": 300', '"epochs": 2')
    with contextlib.redirect_stdout(io.StringIO()), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, "README", "exec"), names)
        gru, loop, curve = names["gru"], names["sail"], names["sailed"]
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
