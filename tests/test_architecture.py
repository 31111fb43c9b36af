"""The direction of dependencies, read from the imports themselves, and what stays unimported."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vae_run

ROOT = Path(vae_run.__file__).parent

LEAVES = (
    *("errors", "distributions", "activations", "networks", "weight_constraints", "ranks"),
    *("corruptions", "schedules", "data", "figures", "terminal"),
)
HEADS = ("posteriors", "priors", "samplers", "likelihoods")
CHAIN = [
    {"cli"},
    {"tasks"},
    {"trainers", "loading"},
    {"training", "checkpoints", "tracking", "runs"},
    {"experiment"},
    {"evaluation"},
    {"metrics", "pictures"},
    {"objectives"},
    {"model"},
    {*HEADS},
    {*LEAVES},
]
"""cli -> tasks -> ... -> leaves: a module imports nothing that stands above it."""


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_nodes(node):
    """Every node below `node` but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


@cache
def imports():
    """{module: full names it imports}, those inside of functions among them."""
    modules = {module_name(file): file for file in sorted(ROOT.rglob("*.py"))}
    found = {}
    for name, file in modules.items():
        wanted = set()
        for node in runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: imports are absolute"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    inner = full.removeprefix("vae_run.")
                    wanted.add(full if inner in modules else node.module)
        found[name] = wanted
    return found


def own(name):
    """The modules of the package that module `name` imports, by their names inside it."""
    return {other.removeprefix("vae_run.") for other in imports()[name] if "vae_run." in other}


def within(group):
    """The modules of a package, or the one module, of that name."""
    return [name for name in imports() if name.split(".")[0] == group]


def test_the_parser_sees_what_it_should():
    assert {"vae_run.likelihoods", "torch"} <= imports()["model"]
    assert "vae_run.runs" in imports()["cli"], "imports inside of functions count"
    assert "vae_run.config" not in imports()["objectives"], "those for the type checker do not"


def test_only_cli_imports_hydra():  # and the plugins, which stand beside the package
    users = {name for name, wanted in imports().items() if any("hydra" in w for w in wanted)}
    assert users == {"cli"}


@pytest.mark.parametrize("upper", range(len(CHAIN)), ids=lambda i: "+".join(sorted(CHAIN[i])))
def test_nothing_below_imports_what_stands_above(upper):
    above = CHAIN[upper]
    for layer in CHAIN[upper + 1 :]:
        for group in layer:
            assert within(group), f"{group}: is gone; mend CHAIN"
            for name in within(group):
                wrong = {other for other in own(name) if other.split(".")[0] in above}
                assert not wrong, f"{name} imports {wrong}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: own(name) - {name} for name in imports()}
    TopologicalSorter(graph).prepare()


def test_leaves_and_heads_are_built_only_from_their_arguments():
    """They and the model know neither the configuration nor the experiment."""
    for group in (*LEAVES, *HEADS, "model", "objectives", "metrics"):
        for name in within(group):
            assert not own(name) & {"config", "experiment", "call"}, name
            assert not {w.split(".")[0] for w in imports()[name]} & {"omegaconf", "hydra"}, name


def test_leaves_import_only_leaves():
    for group in LEAVES:
        for name in within(group):
            assert {other.split(".")[0] for other in own(name)} <= {*LEAVES}, name


def imported_by(statement, *names):
    """Which of the modules `names` a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_is_ready_without_torch():
    heavy = ("torch", "torchvision", "numpy", "sklearn", "matplotlib", "tensorboard")
    statement = "import vae_run, vae_run.cli, vae_run.config, vae_run.composition, vae_run.help"
    assert imported_by(statement, *heavy, "hydra") == {"hydra"}


def test_a_model_is_loaded_without_hydra_or_torchvision():
    heavy = ("hydra", "torchvision", "sklearn", "tensorboard", "torch")
    assert imported_by("from vae_run import load", *heavy) == {"torch"}
