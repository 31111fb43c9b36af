"""What Hydra finds of vae-run: one file of shells, which costs a command nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper

import vae_run
from hydra_plugins.vae_run import plugins
from vae_run.config.options import CONF
from vae_run.errors import ConfigError
from vae_run.sweeps.settings import SlurmSettings, checked

SOURCE = Path(vae_run.__file__).parents[1]
TARGETS = {
    yaml.safe_load(file.read_text(encoding="utf-8"))["_target_"]
    for file in (CONF / "hydra").rglob("*.yaml")
}


def imported(file):
    """The full names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_hydra_finds_every_plugin_that_the_configuration_names_and_no_other():
    found = {
        f"{cls.__module__}.{cls.__name__}"
        for kind in (Sweeper, Launcher)
        for cls in Plugins.instance().discover(kind)
        if cls.__module__.startswith("hydra_plugins.vae_run")
    }
    assert found == TARGETS
    assert len(found) == 6


def test_no_plugin_depends_on_the_order_in_which_hydra_imports_files():
    folder = Path(plugins.__file__).parent
    assert {file.name for file in folder.glob("*.py")} == {"__init__.py", "plugins.py"}
    assert not [name for name in imported(folder / "plugins.py") if "hydra_plugins" in name]


def test_a_command_that_is_no_multirun_imports_nothing_for_the_plugins():
    code = (
        "import sys, vae_run.cli.main; before = set(sys.modules); "
        "import hydra_plugins.vae_run.plugins; "
        "print(*(name for name in set(sys.modules) - before "
        "if not name.startswith(('hydra', 'omegaconf'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not [name for name in loaded if name.startswith(("vae_run", "torch", "optuna"))], loaded
    assert not {"pydantic", "numpy", "multiprocessing"} & {name.split(".")[0] for name in loaded}


def test_one_file_uses_the_private_interface_of_hydra():
    private = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        for name in imported(file)
        if name.startswith("hydra.") and any(part.startswith("_") for part in name.split("."))
    }
    assert private == {"vae_run/cli/hydra_api.py"}


@pytest.mark.parametrize("launcher", ["local", "vectorized", "ray_cluster", "slurm"])
def test_keys_of_launchers_are_checked_when_hydra_sets_them_up(vae_run, launcher):
    finished = vae_run("-m", f"hydra/launcher={launcher}", "seed=0,1", "hydra.launcher.grace=-1")
    assert finished.code == 1
    assert "hydra.launcher.grace: found -1" in finished.err
    assert not Path("outputs").exists()


@pytest.mark.parametrize("minutes", [0.5, 0, "10", True])
def test_a_time_limit_is_a_whole_number_of_minutes(minutes):
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.parameters: .*timeout_min"):
        checked({"parameters": {"timeout_min": minutes}}, SlurmSettings)
    assert checked({"parameters": {"timeout_min": 1}}, SlurmSettings).parameters
