"""The home folder for `~` in every path, and files of groups that lack their package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from omegaconf import OmegaConf

from vae_run.cli.composition import plain, put_home_for_tilde, words_of
from vae_run.config.options import CONF, folders
from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Run

PATHS = {
    "run": "~/a",
    "runs": ["~/a", "b/~"],
    "name": "~/stays",
    "dataset": {"path": "~/x=1", "root": "/d", "cache": None, "label": "~"},
    "sweep": {"dir": "~"},
}
AT_HOME = {
    "run": "/home/me/a",
    "runs": ["/home/me/a", "b/~"],
    "name": "~/stays",
    "dataset": {"path": "/home/me/x=1", "root": "/d", "cache": None, "label": "~"},
    "sweep": {"dir": "/home/me"},
}


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


def test_a_tilde_is_the_home_folder_in_every_path() -> None:
    assert plain(OmegaConf.create(PATHS)) == AT_HOME


def test_the_configuration_that_hydra_saves_has_the_home_folder() -> None:
    config = OmegaConf.create({**PATHS, "hydra": {"run": {"dir": "~/r"}, "sweep": {"dir": "s"}}})
    OmegaConf.set_readonly(config, True)
    put_home_for_tilde(config)
    assert config.hydra.run.dir == "/home/me/r"
    assert config.hydra.sweep.dir == "s"
    del config._metadata.flags["readonly"]
    assert plain(config) == AT_HOME


def test_a_value_that_needs_hydras_section_is_refused() -> None:
    """The run directory's configuration could not be read without it."""
    path = "${hydra.run.dir}/x.npz"
    config = OmegaConf.create({"dataset": {"path": path}, "hydra": {"run": {"dir": "r"}}})
    with pytest.raises(ConfigError, match=r"dataset\.path: found \$\{hydra\.run\.dir\}/x"):
        put_home_for_tilde(config)


def test_typed_words_keep_their_interpolations() -> None:
    """That of a word of Hydra's own may have no value before a job."""
    words = ["dataset.path=${name}.npz", "hydra.sweep.subdir=${job.num}"]
    config = OmegaConf.create({"words": words, "name": "a", "job": {"num": "???"}})
    assert words_of(config.words) == words


def test_an_unknown_home_folder_is_told() -> None:
    with pytest.raises(ConfigError, match=r"run: found ~nobody-of-this-name/x.*\./~nobody"):
        plain(OmegaConf.create({"run": "~nobody-of-this-name/x"}))


def test_a_folder_of_options_may_be_in_the_home_folder() -> None:
    assert folders(CONF, ["--config-dir=~/conf"]) == [CONF, Path("/home/me/conf")]
    assert folders(CONF, ["-cd", "~"]) == [CONF, Path("/home/me")]


@pytest.mark.parametrize("words", [(), ("-m",)])
@pytest.mark.parametrize("group", ["experiment", "model"])
def test_a_file_without_its_package_is_named(
    group: str, words: tuple[str, ...], vae_run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "my" / group / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("latent_dim: 4\n")
    refused = vae_run(*words, "--config-dir", "my", f"{group}=mine")
    assert refused.code == 1
    assert f"{file}: its first line must be '# @package _global_'." in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my"]
