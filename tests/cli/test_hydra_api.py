"""The program is started with a list of words, and Hydra's private API is used in one file."""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
import pytest
from omegaconf import OmegaConf

import vae_run.cli
from vae_run.cli import hydra_api
from vae_run.cli.loaders import RunLoader
from vae_run.cli.main import main
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.options import CONF

if TYPE_CHECKING:
    from conftest import Run

SOURCE = Path(vae_run.__file__).parents[1]
ONE = Path(hydra_api.__file__)
NEW = hasattr(hydra.utils, "execution_whitelist")
"""Whether Hydra is 1.4 or newer."""


def private(file: Path) -> set[str]:
    """The modules of Hydra and OmegaConf with a leading underscore that `file` imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if re.match(r"(hydra|omegaconf)\b.*\._", name)}


def test_private_names_of_hydra_are_used_in_one_file() -> None:
    assert private(ONE)
    assert [file for file in SOURCE.rglob("*.py") if private(file) and file != ONE] == []


def test_a_command_reads_its_words_and_leaves_the_process_as_it_was(
    vae: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["another-program", "--cfg", "job", "latent_dim=3"])
    words = ["--cfg", "job", "latent_dim=5"]
    before = dict(os.environ), list(sys.argv), list(words)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert OmegaConf.create(capsys.readouterr().out).latent_dim == 5
    assert vae_run("latent_dim=0").code == 1
    evaluated = vae_run("task=evaluate", f"run={vae}", "corruption.level=0.5", "device=cpu")
    assert "corruption.level" in evaluated.err, "the run's corruption, none, has no level"
    assert (dict(os.environ), sys.argv, words) == before
    with pytest.raises(SystemExit):
        main()
    assert OmegaConf.create(capsys.readouterr().out).latent_dim == 3, "what it was started with"


@pytest.mark.parametrize("set_before", [None, "0"])
def test_the_environment_is_restored_after_an_error(
    set_before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(hydra_api.FULL_ERROR, raising=False)
    if set_before is not None:
        monkeypatch.setenv(hydra_api.FULL_ERROR, set_before)
    with pytest.raises(hydra.errors.HydraException, match="modle"):
        hydra_api.run(hydra_api.parse(["modle=vae"]), lambda _: None, CONF, RunLoader)
    assert os.environ.get(hydra_api.FULL_ERROR) == set_before


def test_the_job_that_hydra_is_asked_for_is_run(tmp_path: Path) -> None:
    given = []
    register_resolvers()
    hydra_api.run(
        hydra_api.parse(["latent_dim=7", f"hydra.run.dir={tmp_path / 'run'}"]),
        lambda config: given.append(config.latent_dim),
        CONF,
        RunLoader,
    )
    assert given == [7]
    assert (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text() == "- latent_dim=7\n"


def test_a_rerun_of_a_pickled_job_is_refused(vae_run: Run) -> None:
    refused = vae_run("--experimental-rerun", "job.pickle")
    assert refused.code == 2
    assert "task=resume run=DIR" in refused.err


def test_help_may_be_abbreviated(vae_run: Run) -> None:
    assert vae_run("--hel").out == vae_run("-h").out
    assert "KEY=VALUE" in vae_run("-h").out


def test_no_version_of_hydra_warns(vae_run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hydra_api.register_resolver("vae_run.test", lambda: "found", cached=False)
        assert OmegaConf.create({"key": "${vae_run.test:}"}).key == "found"
        with hydra_api.composing(CONF):
            assert hydra.compose("config", ["latent_dim=3"]).latent_dim == 3
        assert vae_run("task=check", "device=cpu", "network.widths=[4]").code == 0


@pytest.mark.skipif(NEW, reason="Hydra 1.4 has no version_base")
def test_a_command_has_the_version_base_whatever_was_set_before(vae_run: Run) -> None:
    hydra.version.setbase("1.1")
    assert vae_run("--cfg", "job").code == 0
    assert str(hydra.version.getbase()) == "1.3"


@pytest.mark.skipif(not NEW, reason="Hydra 1.3 instantiates whatever a configuration names")
def test_what_is_not_whitelisted_is_not_instantiated(vae_run: Run) -> None:
    refused = vae_run("+hydra.callbacks.own._target_=subprocess.Popen", "task=check")
    assert refused.code == 1
    assert "subprocess.Popen" in refused.err
