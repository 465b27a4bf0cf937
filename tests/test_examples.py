"""Every public name has an example in its docstring, and what an example prints is true."""

import contextlib
import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

mpl.use("Agg")

SITE = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(SITE))
_api = importlib.import_module("_api")
sys.path.remove(str(SITE))

PUBLIC = {
    f"{_api.module(layer)}.{name}": item
    for layer in (*_api.LAYERS, "outcomes")
    for name, item in _api.public(layer).items()
    if _api.is_documented(item)
}
EVERY = 10  # one of so many is run with the fast tests


@contextlib.contextmanager
def as_users_have_it():
    """JAX without the strictness of these tests, which examples would have to mind."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def setting():
    """The lines that all examples start from, as the reference shows them."""
    page = (SITE / "api/index.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict = {}
    with as_users_have_it():
        exec(compile(code, "setting", "exec"), names)
    return names


def test_every_public_name_has_an_example():
    assert len(PUBLIC) > 300
    assert [
        name for name, item in PUBLIC.items() if ">>> " not in (inspect.getdoc(item) or "")
    ] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if i % EVERY == 0 else pytest.mark.slow)
        for i, name in enumerate(PUBLIC)
    ],
)
def test_the_example_runs(name, setting, tmp_path):
    text = inspect.getdoc(PUBLIC[name])
    example = doctest.DocTestParser().get_doctest(text, dict(setting), name, None, None)
    said: list[str] = []
    with contextlib.chdir(tmp_path), as_users_have_it():
        found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    plt.close("all")
    assert found.attempted > 0
    assert found.failed == 0, "".join(said)
