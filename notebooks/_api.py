"""Reference pages out of docstrings: one page a layer, every public name of it."""

import ast
import functools
import importlib
import inspect
import re
import textwrap

LAYERS = (
    "overlaps",
    "networks",
    "reduced",
    "tasks",
    "environments",
    "rules",
    "learning",
    "stability",
    "inference",
    "sweeps",
    "experiments",
    "figures",
)
SECTIONS = (
    "Arguments",
    "Class variables",
    "Fields",
    "Returns",
    "Errors",
    "Source",
    "Example",
    "Examples",
)
OUTCOMES = ("setup_jax", "RESULTS", "LearningError", "Interrupted")
"""What the package itself offers and no layer does: the page "outcomes"."""


def public(layer: str) -> dict:
    """Name → object of what a layer offers, in the order in which it does."""
    if layer == "outcomes":
        return {name: vars(importlib.import_module("lrnn_jax"))[name] for name in OUTCOMES}
    module = importlib.import_module(f"lrnn_jax.{layer}")
    every = {name: getattr(module, name) for name in (*vars(module), *dir(module))}
    return {
        name: item
        for name, item in every.items()
        if not name.startswith("_")
        and not inspect.ismodule(item)
        and str(getattr(item, "__module__", "lrnn_jax")).startswith("lrnn_jax")
    }


def is_documented(item) -> bool:
    """Whether it is a class or a function: what has a docstring of its own."""
    return inspect.isclass(item) or (callable(item) and hasattr(item, "__qualname__"))


@functools.cache
def everywhere() -> dict[str, str]:
    """Public name → its full name, on the page of its layer."""
    return {
        name: f"{module(layer)}.{name}"
        for layer in reversed((*LAYERS, "outcomes"))
        for name in public(layer)
    }


def module(layer: str) -> str:
    """Where the names of a page are found."""
    return "lrnn_jax" if layer == "outcomes" else f"lrnn_jax.{layer}"


def first_sentence(item) -> str:
    """What its docstring opens with."""
    text = inspect.getdoc(item) or ""
    return escape(" ".join(re.split(r"\n\n|(?<=\.)\s", text)[0].rstrip(":").split()))


def page(layer: str) -> str:
    """A table of a layer's names, then all their docstrings."""
    items, home = public(layer), module(layer)
    flat = vars(importlib.import_module("lrnn_jax"))
    lines = [f".. currentmodule:: {home}", "", ".. list-table::", "   :widths: 30 70"]
    lines += ["   :class: names", ""]
    for name, item in items.items():
        text = first_sentence(item) if is_documented(item) else f"``{value(item)}``"
        mark = " (flat)" if flat.get(name) is item and layer != "outcomes" else ""
        lines += [f"   * - :py:obj:`{name} <{home}.{name}>`{mark}", f"     - {text}"]
    lines.append("")
    for name, item in items.items():
        if name == "RESULTS":
            lines += _results(item)
        elif inspect.isclass(item):
            lines += [f".. autoclass:: {name}", "   :members:", ""]
        elif is_documented(item):
            lines += [f".. autofunction:: {name}", ""]
        else:
            lines += [f".. py:data:: {name}", f"   :value: {value(item)}", ""]
    return "```{eval-rst}\n" + "\n".join(lines) + "\n```\n"


def _results(item) -> list[str]:
    """An enumeration, whose values have messages."""
    lines = [".. py:class:: RESULTS", "", f"   {first_sentence(item)}", ""]
    for name, code in item._name_to_item.items():
        lines += [f"   * ``{name}``: {escape(' '.join(item[code].split()))}".rstrip(": ")]
    return [*lines, ""]


def value(item) -> str:
    """A constant in short; an experiment by what it shows."""
    if type(item).__name__ == "Experiment":
        return item.summary
    text = " ".join(repr(item).split())
    return text if len(text) < 70 else f"{text[:66]} …"


def escape(text: str) -> str:
    """Plain text as reStructuredText: `names` as links or code, the rest literally."""
    known = everywhere()

    def code(found: re.Match) -> str:
        words = found[1]
        name = words.removeprefix("lrnn.").removesuffix("()")
        if name in known:
            return f":py:obj:`{words} <{known[name]}>`"
        return f"``{words}``"

    return "".join(
        re.sub(r"`([^`]+)`", code, part) if part.startswith("`") else _plain(part)
        for part in re.split(r"(`[^`]+`)", text)
    )


def skip(app, what, name, obj, skipped, options) -> bool | None:
    """Leave out members that are classes: components of a class, which are documented elsewhere."""
    return True if what == "class" and inspect.isclass(obj) else None


def _plain(text: str) -> str:
    """Text without markup but *emphasis*."""
    text = re.sub(r"([\\*|_])", r"\\\1", text)
    return re.sub(r"(?<![\w\\])\\\*(\w[\w ]*)\\\*(?![\w\\])", r"*\1*", text)


def linked(text: str) -> str:
    """Markdown whose `lrnn.Name`, `Name` and `Name(…)` of public classes lead to the reference."""
    known = everywhere()

    def link(found: re.Match) -> str:
        words = found[1]
        full = re.match(r"(?:lrnn_jax\.\w+\.|lrnn\.\w+\.|lrnn\.|(?=[A-Z]))(\w+)(?=\(|$)", words)
        if not full or full[1] not in known or re.search(r"[<>]", words):
            return found[0]
        return f"{{py:obj}}`{words} <{known[full[1]]}>`"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        part if part.startswith("```") else re.sub(r"(?<![`\[}])`([^`\n]+)`(?![`\]])", link, part)
        for part in parts
    )


def docstring(app, what, name, obj, options, lines) -> None:
    """Turn the project's style (plain text, indented equations, sections) into reStructuredText."""
    lines[:] = [*render("\n".join(lines)), ""]


def render(text: str) -> list[str]:
    """Paragraphs, literal blocks and sections of a docstring."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        out += [*_block(block), ""]
    return out


def _block(block: str) -> list[str]:
    if re.match(r"\s*>>> ", block):
        return _literal("pycon", block)
    if block.startswith(" "):
        return _literal("python" if _is_python(block) else "none", block)
    found = re.match(rf"({'|'.join(SECTIONS)}):(.*)", block, re.DOTALL)
    if not found:
        lead, _, rest = block.partition("\n    ")  # a sentence, then an equation
        if rest and ":" not in _item(rest):
            return [escape(lead), "", *_block("    " + rest)]
        if "\n " in block:  # a list of another shape: one item a line
            lead, _, rest = block.partition("\n")
            return [escape(lead), "", *_fields(textwrap.dedent(rest))]
        return escape(block).split("\n")
    title, body = found.groups()
    if not body.strip("\n").startswith("    "):
        return [f"**{title}:** " + escape(" ".join(body.split()))]
    return [f"**{title}:**", "", *_fields(textwrap.dedent(body.strip("\n")))]


def _literal(language: str, block: str) -> list[str]:
    """A block that stands as it is."""
    text = textwrap.indent(textwrap.dedent(block), "   ")
    return [f".. code-block:: {language}", "", *text.split("\n")]


def _is_python(block: str) -> bool:
    """Whether it is an example rather than an equation."""
    try:
        ast.parse(textwrap.dedent(block))
    except SyntaxError:
        return False
    return "(" in block and block.isascii()


def _item(rest: str) -> str:
    """The first word of an item, with its colon; nothing where there is none."""
    found = re.match(r"[\w*, ]+:", rest)
    return found[0] if found else ""


def _fields(body: str) -> list[str]:
    """`name: text` items, each with lines that go on further to the right, as a list."""
    out: list[str] = []
    for item in re.split(r"\n(?=\S)", body):
        name, colon, text = item.partition(":")
        text = " ".join(text.split())
        if colon and re.fullmatch(r"[\w*, .]+", name):
            names = ", ".join(f"``{part.strip()}``" for part in name.split(","))
            out += [f"* {names}: {escape(text)}"]
        else:
            out += [f"* {escape(' '.join(item.split()))}"]
    return out
