"""The layers, sizes and habits that the code keeps to, read off its syntax trees."""

import ast
import functools
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrnn_jax as lrnn

PACKAGE = Path(lrnn.__file__).parent
LAYERS = (
    ("_types", "_results"),
    ("_checks", "_scan", "_readable"),
    ("_devices", "_files", "_setup"),
    ("figures",),
    ("overlaps",),
    ("networks",),
    ("reduced",),
    ("tasks",),
    ("environments",),
    ("rules",),
    ("learning",),
    ("stability",),
    ("inference",),
    ("sweeps",),
    ("experiments",),
    ("cli",),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
EXEMPT = ("__init__.py", "__main__.py")  # of the package itself: they import from every layer
MODULES = {
    str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
each = pytest.mark.parametrize("module", MODULES)


OUTSIDE = {
    path.name: ast.parse(path.read_text(encoding="utf-8"))
    for folder in ("tests", "benchmarks")
    for path in sorted((PACKAGE.parent / folder).rglob("*.py"))
}


def layer(module):
    return module.split("/")[0].removesuffix(".py")


def imported(tree):
    """Every module name that a tree imports, at any depth of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layers_imported(tree):
    names = (name.split(".") for name in imported(tree))
    found = {parts[1] for parts in names if parts[0] == "lrnn_jax" and len(parts) > 1}
    return found - {"__version__"}


def test_the_modules_are_all_here():
    assert len(MODULES) >= 30
    folders = {layer(name) for name in MODULES if "/" in name}
    assert {"overlaps", "networks", "reduced", "tasks", "learning"} <= folders
    assert folders <= set(HEIGHT)
    seen = sum(len(layers_imported(tree)) for name, tree in MODULES.items() if name not in EXEMPT)
    assert seen > 40  # the imports below are found at all


@each
def test_layers_import_only_from_layers_before_them(module):
    if module in EXEMPT:
        return
    mine = layer(module)
    above = {
        other
        for other in layers_imported(MODULES[module])
        if other != mine and HEIGHT.get(other, len(LAYERS)) >= HEIGHT[mine]
    }
    assert not above, f"{module} imports from {above}"


@each
def test_only_figures_import_matplotlib(module):
    packages = {name.split(".")[0] for name in imported(MODULES[module])}
    assert "matplotlib" not in packages or layer(module) == "figures"


@each
def test_nothing_private_is_imported_across_packages(module):
    assert private_imports(MODULES[module], layer(module)) == []


@pytest.mark.parametrize("module", OUTSIDE)
def test_tests_and_benchmarks_use_what_packages_offer(module):
    assert private_imports(OUTSIDE[module], "") == []


def private_imports(tree, mine):
    """Names with an underscore that a tree takes from packages other than its own."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    packages = (node.module.split(".") for node in names if node.module)
    deep = [p for p in packages if p[0] == "lrnn_jax" and len(p) > 2 and p[1] != mine]
    ground = [
        node.module.split(".")
        for node in names
        if not mine and (node.module or "").startswith("lrnn_jax._")
    ]
    return [".".join(p) for p in deep + ground if any(part.startswith("_") for part in p)]


def test_a_private_import_would_be_noticed():
    text = "from lrnn_jax.learning._noise import NoisyStep\nfrom lrnn_jax._checks import whole"
    assert private_imports(ast.parse(text), "stability") == ["lrnn_jax.learning._noise"]
    assert len(private_imports(ast.parse(text), "")) == 2
    assert private_imports(ast.parse(text), "learning") == []


@each
def test_contracts_say_what_is_there(module):
    """No `hasattr`, no `getattr` with a default: what a thing can do, its class says."""
    calls = [node for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)]
    names = [(ast.unparse(call.func), len(call.args)) for call in calls]
    assert ("hasattr", 2) not in names
    assert ("getattr", 3) not in names


def examples(lines):
    """Numbers of the lines that are examples of docstrings: the blank one before `>>>`, and on."""
    inside, found = False, []
    for number, line in enumerate(lines, 1):
        begins = line.startswith("    >>> ")
        found += [number - 1] * (begins and not inside)
        inside = (inside or begins) and '"""' not in line
        found += [number] * inside
    return found


@each
def test_modules_and_functions_are_short(module):
    tree = MODULES[module]
    lines = (PACKAGE / module).read_text(encoding="utf-8").splitlines()
    shown = examples(lines)
    assert len(lines) - len(shown) <= 400
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            length -= len([i for i in shown if node.lineno <= i <= node.end_lineno])
            assert length <= 60, f"{module}: {node.name} has {length} lines"


@each
def test_the_library_sets_no_global_configuration(module):
    """But for who asks for it, and in processes that have no one else to do it: those of the
    command line and of a sweep's jobs."""
    if layer(module) == "cli" or module in ("_setup.py", "sweeps/_shards.py"):
        return
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call):
            assert not ast.unparse(node.func).endswith("config.update")
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)):
            assert "os.environ" not in ast.unparse(node)


@each
def test_every_module_says_what_it_is(module):
    assert ast.get_docstring(MODULES[module])


@each
def test_there_is_no_delayed_evaluation_of_annotations(module):
    """It would keep shapes from being checked."""
    assert "__future__.annotations" not in set(imported(MODULES[module]))


def classes():
    """Every class of the package."""
    for info in pkgutil.walk_packages(lrnn.__path__, "lrnn_jax."):
        if info.name == "lrnn_jax.__main__":
            continue
        for item in vars(importlib.import_module(info.name)).values():
            if isinstance(item, type) and item.__module__ == info.name:
                yield item


def methods(kind):
    """What a class defines that runs, but for names with two underscores."""
    for name, item in vars(kind).items():
        runs = callable(item) or isinstance(
            item, (property, functools.cached_property, classmethod)
        )
        if runs and not isinstance(item, type) and not name.startswith("__"):
            yield name, item


def bases(kind):
    """The package's own classes that a class is made from."""
    return [base for base in kind.__mro__[1:] if base.__module__.startswith("lrnn_jax.")]


def concrete(item):
    inner = getattr(item, "fget", None) or getattr(item, "__wrapped__", item)
    return not getattr(item, "__isabstractmethod__", getattr(inner, "__isabstractmethod__", False))


def overrides(kind):
    """Names that a class defines although one of its bases has done so for good."""
    for base in bases(kind):
        for name, item in methods(base):
            if name in vars(kind) and concrete(item):
                yield f"{kind.__name__}.{name} overrides {base.__name__}'s"


def test_a_class_is_a_contract_or_a_final_leaf():
    """No class is made from one that is complete, and no concrete method is overridden."""
    seen = set(classes())
    assert len(seen) > 100
    assert len([kind for kind in seen if bases(kind)]) > 40
    for kind in seen:
        assert all(base.__name__.startswith("Abstract") for base in bases(kind)), kind
    assert sorted(found for kind in seen for found in overrides(kind)) == []


def test_an_override_would_be_noticed():
    class Deaf(lrnn.LowRankRNN):
        def rollout(self, inputs, state=None, noise=None):
            return inputs

        @property
        def is_linear_system(self):
            return True

        def step(self, state, x):  # abstract in the contract, concrete in the leaf
            return state

    found = " ".join(overrides(Deaf))
    assert all(f"Deaf.{name}" in found for name in ("rollout", "is_linear_system", "step"))
    assert "AbstractRNN's" in found


def public():
    """What `lrnn_jax` offers by itself."""
    imports = [node for node in MODULES["__init__.py"].body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names if alias.asname is None]
    return {name: getattr(lrnn, name) for name in names}


def test_every_public_name_is_documented():
    assert 50 <= len(public()) <= 91
    assert {*public(), "experiments", "figures"} <= set(dir(lrnn))
    for name, item in public().items():
        text = vars(item).get("__doc__") if isinstance(item, type) else item.__doc__
        assert text, f"{name} has no docstring"
        assert not text.startswith(f"{name}("), f"{name} has a generated docstring"


def test_public_callables_explain_their_arguments():
    for name, item in public().items():
        if callable(item) and not issubclass_of(item, Exception):
            arguments = [a for a in arguments_of(item) if a not in ("self", "args", "kwargs")]
            if len(arguments) > 1:
                assert "Arguments:" in (item.__doc__ or ""), name


def issubclass_of(item, kind):
    return isinstance(item, type) and issubclass(item, kind)


DEFINED: dict = {}  # first definition by name
for tree in MODULES.values():
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            DEFINED.setdefault(node.name, node)


def arguments_of(item):
    node = DEFINED[item.__name__]
    if isinstance(node, ast.ClassDef):
        own = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        node = next(own, None)
    return [] if node is None else [a.arg for a in node.args.args + node.args.kwonlyargs]


def test_importing_the_library_does_not_start_jax():
    """Precision, flags and devices can be set until it does: no array is made on import."""
    script = "import lrnn_jax.cli, jax._src.xla_bridge as x; print(x.backends_are_initialized())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_importing_the_library_loads_no_heavy_extras():
    heavy = ("matplotlib", "xarray", "zarr", "tyro", "tqdm", "pandas", "diffrax", "optimistix")
    heavy += (
        "scipy.sparse",
        "scipy.linalg",
        "scipy.optimize",
        "scipy.special",
        "jax.experimental.sparse",
    )
    script = f"import sys, lrnn_jax; print([m for m in {heavy!r} if m in sys.modules])"
    script += "; print('lrnn_jax.learning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
