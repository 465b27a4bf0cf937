"""The documentation site: pages and notebooks of this folder, README and docstrings.

    sphinx-build -W --keep-going notebooks build/site       # -D nb_execution_mode=off: fast

Nothing is fetched: equations are drawn by the MathJax that the site itself serves.
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import _api  # noqa: E402

project = "lrnn_jax"
author = "The lrnn_jax developers"
copyright = "2026, " + author
release = re.search(r'__version__ = "(.+)"', (ROOT / "lrnn_jax/__init__.py").read_text())[1]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["paper.md", "**.ipynb_checkpoints"]
nitpicky = True
smartquotes = False  # primes are primes
suppress_warnings = ["myst.header"]  # of included files, whose levels have gaps

html_theme = "furo"
html_title = "lrnn_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_ipywidgets_js = {}  # would be fetched from elsewhere
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

LINKS = {  # of included files → pages of the site
    "../README.md": "index.md",
    "README.md": "index.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "notebooks": "notebooks.md",
    "scaling.png": "../benchmarks/scaling.png",
}
INCLUDE = re.compile(r'^<!-- include (?P<path>\S+)(?: from "(?P<first>.+?)")?'
                     r'(?: to "(?P<last>.+?)")? -->$', re.MULTILINE)  # fmt: skip
LAYER = re.compile(r"^<!-- layer (\w+) -->$", re.MULTILINE)


def included(found: re.Match) -> str:
    """The part of a file of the project, from one line up to another, with links to pages."""
    text = (ROOT / found["path"]).read_text(encoding="utf-8")
    if found["first"]:
        text = text[text.index(found["first"]) :]
    if found["last"]:
        text = text[: text.index(found["last"])]

    def link(match: re.Match) -> str:
        words, target = match.groups()
        target = re.sub(r"^(\.\./)?notebooks/", "", LINKS.get(target, target))
        inside = target.startswith(("#", "../", "https://")) or (HERE / target).is_file()
        return f"[{words}]({target})" if inside else words

    return re.sub(r"(?<!`)\[([^\]\n]+)\]\(([^)\s]+)\)", link, text)


def expand(app, docname, source) -> None:
    """Put in what pages take from elsewhere: files of the project, public names of a layer."""
    if os.fspath(app.env.doc2path(docname)).endswith(".md"):
        text = _api.linked(INCLUDE.sub(included, source[0]))
        source[0] = LAYER.sub(lambda found: _api.page(found[1]), text)


def setup(app) -> dict:
    """Connect what reads pages and docstrings."""
    app.connect("source-read", expand)
    app.connect("autodoc-process-docstring", _api.docstring)
    app.connect("autodoc-skip-member", _api.skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
