"""What is built and shipped: contents of wheel and sdist, types, versions named once."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = ("lrnn_jax", "tests", "notebooks", "benchmarks")
BESIDE = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "PKG-INFO",
    ".gitignore",  # the builder's own addition
    ".github/CITATION.cff",
    ".github/CONTRIBUTING.md",
}


def build(root, out):
    """Wheel and sdist, by the project's own backend, without a network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("hatchling", reason="it came into the extra `test` later than the rest")
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def names_in_wheel(wheel):
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def names_in_sdist(sdist):
    with tarfile.open(sdist) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}


def sources(folder):
    """Files but those that are ignored."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    ignored = {"__pycache__", "runs", "build", "dist"}
    return {
        path.as_posix()
        for path in paths
        if not ignored & set(path.parts) and not any(part.startswith(".") for part in path.parts)
    }


def test_the_wheel_holds_the_package_and_its_types(built):
    names = names_in_wheel(built[0])
    assert names == sources("lrnn_jax")
    assert "lrnn_jax/py.typed" in names
    assert len(names) > 100
    inside = zipfile.ZipFile(built[0]).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert any(name.endswith("entry_points.txt") for name in inside)


def test_the_sdist_holds_what_is_needed_to_test_and_to_read(built):
    names = names_in_sdist(built[1])
    assert {name for name in names if not name.startswith(SHIPPED)} == BESIDE
    for folder in SHIPPED:
        assert {name for name in names if name.startswith(f"{folder}/")} == sources(folder)


def test_a_wheel_of_the_sdist_is_the_wheel(built, tmp_path):
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    wheel, _ = build(root, tmp_path / "again")
    assert names_in_wheel(wheel) == names_in_wheel(built[0])


def test_what_is_said_of_the_package():
    said = metadata("lrnn_jax")
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "MIT"
    project = PROJECT["project"]
    assert any(x.startswith("hatchling") for x in project["optional-dependencies"]["test"])
    assert "urls" not in project or all(url.startswith("https://") for url in project["urls"])
    assert project["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
    assert project["authors"][0]["name"] in (ROOT / ".github/CITATION.cff").read_text()


def test_workflows_try_both_ends_of_the_range():
    text = (ROOT / ".github/workflows/tests.yml").read_text()
    oldest = {
        re.split(r">=", line)[0]: line.split(">=")[1]
        for line in PROJECT["project"]["dependencies"]
        if line.startswith("jax>") or line.startswith("jaxlib>")
    }
    for name, version in oldest.items():
        assert re.search(rf"'{name}=={re.escape(version)}(\.0)?'", text), name
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f'"{least}"' in text
    for version in re.findall(r'"(3\.\d+)"', text):
        assert f"Programming Language :: Python :: {version}" in PROJECT["project"]["classifiers"]
