"""The documentation site: its Python runs, what it names exists, it builds without warnings."""

import contextlib
import functools
import importlib
import inspect
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import lrnn_jax as lrnn

mpl.use("Agg")

ROOT = Path(__file__).parent.parent
SITE = ROOT / "notebooks"
PAGES = {
    str(path.relative_to(SITE)): path.read_text(encoding="utf-8") for path in SITE.rglob("*.md")
}
SMALLER = {  # sizes in the blocks of pages, and what they are run with
    "n=500": "n=50",
    "epochs=2000": "epochs=100",
    "epochs=1000": "epochs=100",
    '"epochs": 300': '"epochs": 150',
    "normalised(600": "normalised(40",
    '"epochs": 500, "key": jr.key(1), "record": 50': '"epochs": 4, "key": jr.key(1), "record": 2',
}


@pytest.fixture
def api(monkeypatch):
    """What turns docstrings into reference pages."""
    monkeypatch.syspath_prepend(str(SITE))
    return importlib.import_module("_api")


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


RUN = [name for name, text in PAGES.items() if blocks(text) and name != "howto/gpu.md"]
FAST = (
    "choose.md",
    "howto/files.md",
    "howto/loops.md",
    "howto/nonlinear.md",
    "howto/own.md",
)


@functools.cache
def ran(name):
    """What the blocks of a page define, run from top to bottom in a folder of their own."""
    names: dict = {"__name__": "__main__"}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        for code in blocks(PAGES[name]):
            for size, smaller in SMALLER.items():
                code = code.replace(size, smaller)
            exec(compile(code, name, "exec"), names)
    plt.close("all")
    return names


def paced(name):
    return pytest.param(name, marks=() if name in FAST else pytest.mark.slow)


@pytest.mark.parametrize("name", [paced(name) for name in RUN])
def test_the_blocks_of_a_page_run_from_top_to_bottom(name):
    curves = [x for x in ran(name).values() if isinstance(x, lrnn.LearningCurve)]
    assert all(curve.loss[-1] < curve.loss[0] for curve in curves if len(curve.loss) > 3)


def test_a_plant_and_a_network_of_your_own_learn_and_are_short():
    page = ran("howto/own.md")
    for curve in ("moored", "sailed"):
        assert page[curve].loss[-1] < 0.5 * page[curve].loss[0]
    assert page["flipped"].loss[-1] < 1e-2
    for code in re.findall(
        r"^(class .*?)\n\n\n", "".join(blocks(PAGES["howto/own.md"])), re.M | re.S
    ):
        assert len(code.splitlines()) <= 27


def test_a_network_of_your_own_is_swept_saved_and_loaded(tmp_path):
    page = ran("howto/own.md")
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


def test_the_closure_and_the_limit_of_a_nonlinear_network_part():
    page = ran("howto/nonlinear.md")
    assert page["report"].verdict.startswith("closure")
    assert page["limit"].distance(page["report"].closure).max > 0


def test_the_controller_has_three_stages():
    assert len(ran("howto/loops.md")["stages"].verdicts) == 3


def test_fast_pages_are_pages():
    assert set(FAST) <= set(RUN)
    assert len(RUN) >= 7


def test_set_up_as_the_page_says_there_are_two_devices():
    (code,) = blocks(PAGES["howto/gpu.md"])
    code += "\nimport jax\nprint(jax.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_tests_that_a_page_names_are_there(name):
    """`tests/….py`, `tests/….py::test_…`, and `::test_…` of the file named last."""
    path = ""
    for file, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", PAGES[name]):
        path = file or path
        if test:
            assert re.search(rf"def {test}\(", (ROOT / path).read_text(encoding="utf-8")), test
        elif file:
            assert (ROOT / path).exists(), path


def test_the_theory_names_tests_for_all_it_says():
    page = PAGES["theory.md"]
    assert len(re.findall(r"`(?:tests/[\w/]+\.py)?::\w+`", page)) > 50
    assert page.count("{.check}") >= 20


def test_code_on_pages_leads_to_the_reference(api):
    text = "`lrnn.reduce`, `Descent(lr)`, `lrnn_jax.learning.holonomy`"
    goals = re.findall(r"\{py:obj\}`[^<]+ <lrnn_jax\.(\w+\.\w+)>`", api.linked(text))
    assert goals == ["reduced.reduce", "learning.Descent", "learning.holonomy"]
    for other in ("[`Descent`](x.md)", "`reduce`", "```python\n`Descent`\n```", "`Descent.lr`"):
        assert api.linked(other) == other


def test_docstrings_become_lists_equations_and_links(api):
    text = "X_0 does *not* move.\n\n    Q' = |Q|\n\nArguments:\n    lr: η, of\n        `Flow`."
    text += "\n\nErrors: none."
    assert api.render(text) == [
        r"X\_0 does *not* move.",
        "",
        ".. code-block:: none",
        "",
        "   Q' = |Q|",
        "",
        "**Arguments:**",
        "",
        "* ``lr``: η, of :py:obj:`Flow <lrnn_jax.learning.Flow>`.",
        "",
        "**Errors:** none.",
        "",
    ]


@pytest.mark.parametrize("name", PAGES)
def test_names_of_the_library_on_a_page_are_there(name):
    for full in re.findall(r"`(lrnn(?:_jax)?(?:\.\w+)+)", PAGES[name]):
        item = lrnn
        for part in full.split(".")[1:]:
            if inspect.ismodule(item):
                with contextlib.suppress(ModuleNotFoundError):
                    importlib.import_module(f"{item.__name__}.{part}")
            assert hasattr(item, part), full
            item = getattr(item, part)


def test_the_reference_has_every_public_name(api):
    for layer in (*api.LAYERS, "outcomes"):
        assert f"<!-- layer {layer} -->" in PAGES[f"api/{layer}.md"]
        assert f"[{layer}]({layer}.md)" in PAGES["api/index.md"]
        assert all(f" {name}\n" in api.page(layer) for name in api.public(layer))
    folders = {path.parent.name for path in (ROOT / "lrnn_jax").glob("*/__init__.py")}
    assert folders - {"cli"} == set(api.LAYERS)
    flat = {k for k, v in vars(lrnn).items() if k[0] != "_" and not inspect.ismodule(v)} - {
        "jaxtyping"
    }
    assert flat <= set(api.everywhere())


INCLUDE = r'<!-- include (\S+)(?: from "(.+?)")?(?: to "(.+?)")? -->'


def test_pages_include_parts_that_are_there():
    parts = [part for text in PAGES.values() for part in re.findall(INCLUDE, text)]
    assert len(parts) == sum(text.count("<!-- include") for text in PAGES.values()) == 5
    for path, first, last in parts:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert 0 <= text.find(first) <= text.find(last or first), (path, first, last)


def test_every_experiment_is_in_the_gallery():
    for name in lrnn.experiments.REGISTRY:
        assert f"`lrnn-jax run {name}`" in PAGES["gallery.md"]
    for path in re.findall(r"!\[.*?\]\((.*?)\)", PAGES["gallery.md"]):
        assert (SITE / path).is_file()


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    """Without running the notebooks, which pytest does by itself."""
    pytest.importorskip("myst_nb", reason="the site needs the extra `docs`")
    out = tmp_path / "site"
    options = ["-q", "-W", "--keep-going", "-D", "nb_execution_mode=off"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(SITE), str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', text), path
    assert (out / "_static/mathjax/tex-chtml.js").is_file()
