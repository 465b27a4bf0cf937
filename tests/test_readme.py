"""The README: its Python runs, its two commands are tested, its links lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALLER = {"n=500": "n=50", "epochs=2000": "epochs=200"}


def block(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README has no block marked {marker}"
    return found[1].strip()


@pytest.fixture(scope="module")
def example():
    """What the one block of Python defines and prints."""
    code = block("example")
    for size, smaller in SMALLER.items():
        assert size in code
        code = code.replace(size, smaller)
    names: dict = {}
    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        jax.numpy_dtype_promotion("standard"),
    ):
        exec(compile(code, "README", "exec"), names)
    return {**names, "printed": printed.getvalue()}


def test_example_agrees(example):
    # rounding over 200 epochs; the README says 1e-14 at 2000
    assert example["theory"].distance(example["truth"]).max < 1e-12
    assert jnp.abs(example["theory"].gram[-1] - example["theory"].gram[0]).max() > 0.1
    assert "zm" in example["printed"]


def test_there_is_no_other_python_and_it_is_ten_lines():
    assert README.count("```python") == 1
    lines = [line for line in block("example").splitlines() if line]
    assert len(lines) <= 11


def test_commands_are_single_lines():
    for marker in ("main", "tests"):
        assert len(block(marker).splitlines()) == 1
    assert block("main").endswith("lrnn-jax")
    assert block("tests").endswith("pytest")


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
