"""The direction of dependencies, read from every import, and what stays unimported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vae_run

ROOT = Path(vae_run.__file__).parent
PLUGINS = ROOT.parent / "hydra_plugins" / "vae_run"

TOP = {"__init__", "__main__", "errors", "version"}
"""What stands beside the packages. `__init__` and `__main__` are above everything, for the user."""


def module_name(file):
    """The dotted name below `vae_run`; of Hydra's plugins, which lie beside it, below `plugins`."""
    if file.is_relative_to(PLUGINS):
        parts = ("plugins", *file.relative_to(PLUGINS).with_suffix("").parts)
    else:
        parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def files():
    """{module: its file} of the package and of its plugins into Hydra."""
    found = sorted((*ROOT.rglob("*.py"), *PLUGINS.rglob("*.py")))
    return {module_name(file): file for file in found}


def own_name(dotted):
    """The module, or the package, of ours that a dotted path names or lies in; None for others'."""
    inner = dotted.removeprefix("hydra_plugins.").replace("vae_run", "plugins", 1)
    inner = inner if dotted.startswith("hydra_plugins.") else dotted.removeprefix("vae_run.")
    if dotted == "vae_run":
        return "__init__"
    if inner == dotted:
        return None
    while inner not in files():
        inner = inner.rpartition(".")[0]
        assert inner, f"{dotted}: there is no such module"
    return inner


def dynamic(node):
    """The dotted path, as far as it is written out, of `import_module(...)`; None for others."""
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name != "import_module" or not node.args:
        return None
    written = node.args[0]
    if isinstance(written, ast.JoinedStr):
        written = written.values[0]
    if isinstance(written, ast.Constant):
        return str(written.value).rstrip(".")
    return None


@cache
def imports(name):
    """Full names that a module imports: in functions, for the type checker, and dynamically."""
    wanted = set()
    for node in ast.walk(ast.parse(files()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            wanted |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and (path := dynamic(node)):
            wanted.add(path)
    return frozenset(wanted)


@cache
def own_imports(name):
    """Modules and packages of ours that a module imports."""
    found = {own_name(full) for full in imports(name) if full.split(".")[0].endswith("vae_run")}
    found |= {own_name(full) for full in imports(name) if full.startswith("hydra_plugins.vae_run")}
    return frozenset(found - {None, name})


def packages():
    return [
        name for name, file in files().items() if file.name == "__init__.py" and name != "__init__"
    ]


def within(package):
    """The modules of a package, those of its own packages among them."""
    return [name for name in files() if name == package or name.startswith(f"{package}.")]


def sibling(name, level):
    """The module or package that `name` lies in, among those that are `level` deep."""
    return ".".join(name.split(".")[: level + 1])


def siblings_graph(package):
    """Who imports whom among what lies directly in `package` ("" for the whole)."""
    level = package.count(".") + 1 if package else 0
    graph = {}
    for name in within(package) if package else files():
        if name == package:
            continue
        node = graph.setdefault(sibling(name, level), set())
        for other in own_imports(name):
            inside = not package or other.startswith(f"{package}.")
            if inside and sibling(other, level) != sibling(name, level):
                node.add(sibling(other, level))
    return graph


def allowed(package):
    """What the docstring of `package` says that it may import."""
    text = ast.get_docstring(ast.parse(files()[package].read_text(encoding="utf-8"))) or ""
    last = text.split("\n\n")[-1].replace("\n", " ")
    match = re.fullmatch(r"May import (nothing else of vae-run|[\w., ]+)\.", last)
    assert match, f"{package}: its docstring has to end in 'May import a, b.'"
    if match[1].startswith("nothing"):
        return set()
    return set(match[1].split(", "))


def test_the_reader_sees_every_kind_of_import():
    assert {"vae_run.models.likelihoods.Likelihood", "torch"} <= imports(
        "models.latent_variable_model"
    )
    assert "runs.run_directory" in own_imports("cli.callbacks"), "those in functions"
    assert "config.schema" in own_imports("objectives.elbo"), "those for the type checker"
    assert "tasks" in own_imports("cli.main"), "import_module(f'vae_run.tasks.{task}')"
    assert dynamic(ast.parse("import_module(f'vae_run.tasks.{task}')").body[0].value)


def test_packages_alone_stand_at_the_top():
    assert {name for name in files() if "." not in name} - set(packages()) == TOP


@pytest.mark.parametrize("package", ["", *packages()], ids=lambda name: name or "vae_run")
def test_nothing_imports_in_a_circle(package):
    """Neither files nor packages, at any depth."""
    TopologicalSorter(siblings_graph(package)).prepare()


def test_no_files_import_each_other_in_a_circle():
    TopologicalSorter({name: own_imports(name) for name in files()}).prepare()


@pytest.mark.parametrize("package", packages())
def test_a_package_imports_what_its_docstring_allows(package):
    """`errors` and `version` are everybody's; what lies in a package may use its own."""
    may = allowed(package)
    for name in within(package):
        for other in own_imports(name):
            if other in TOP - {"__init__", "__main__"} or other in within(package):
                continue
            granted = {other[:end] for end in range(len(other) + 1)} & may
            assert granted, f"{name} imports {other}, which {package} may not"


def test_what_packages_may_import_goes_down_alone():
    """The docstrings together allow no circle, so every import that they allow goes down."""
    graph = {}
    for package in packages():
        top = package.split(".")[0]
        graph.setdefault(top, set()).update(
            {name.split(".")[0] for name in allowed(package)} - {top}
        )
    TopologicalSorter(graph).prepare()
    for name in files():
        assert not own_imports(name) & {"__init__", "__main__"}, f"{name} imports the user's way in"


def test_parts_know_neither_hydra_nor_a_run():
    """What YAML files name is built only from its arguments."""
    for package in ("corruptions", "models", "objectives", "data", "evaluation", "plots"):
        for name in within(package):
            outside = {full.split(".")[0] for full in imports(name)}
            assert not outside & {"omegaconf", "hydra"}, name


def imported_by(statement, *names):
    """Which of the modules `names` a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_is_ready_without_torch():
    heavy = ("torch", "torchvision", "numpy", "sklearn", "matplotlib", "tensorboard")
    names = ("cli.main", "cli.composition", "cli.help", "config.check")
    statement = f"import vae_run, {', '.join(f'vae_run.{name}' for name in names)}"
    assert imported_by(statement, *heavy, "hydra") == {"hydra"}


def test_a_model_is_loaded_without_hydra_or_torchvision():
    heavy = ("hydra", "torchvision", "sklearn", "tensorboard", "torch")
    assert imported_by("from vae_run import load", *heavy) == {"torch"}


MOST_LINES = 250
LONGEST_FUNCTION = 40


def test_files_and_functions_are_short_or_say_why_not():
    for name, file in files().items():
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MOST_LINES, name
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.FunctionDef)
                and node.end_lineno - node.lineno >= LONGEST_FUNCTION
            ):
                why = ast.get_docstring(node) or ""
                assert "Longer than other functions" in why, f"{name}: {node.name}"
