"""Commands that are printed give back the path that they name, through the shell and Hydra."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from vae_run.config.commands import command, override, shell_word
from vae_run.config.keys import is_path

NASTY = (
    *("a b", " a ", "a\tb", "a\nb", "lr=0.1", "lr=0.1,b", "[beta]", "a[b", "{a}", "(1)", "f(x)"),
    *("it's", 'a"b', "a'\"b", "$HOME", "${HOME}", "x${a}", "a\\${b}", "a\\\\${b}", "${now:%Y}"),
    *("#1", "a#b", "a\\b", "a\\", "a\\\\", "a\\'", 'a\\"b', "é\\'\"\\", "猫é", "🙂", "~", "~/x"),
    *("-m", "--run", "a:b", "true", "Null", "nan", "1e3", "007", "1_000", ".5", "-inf", "!x"),
    *("*?", "a;b|c&d", "%@+", "", "a/b=1/c d"),
)


@pytest.mark.parametrize("name", NASTY)
def test_a_printed_command_names_its_path(name: str) -> None:
    words = shlex.split(command("task=resume", override("run", name)))
    assert words[:2] == ["vae-run", "task=resume"]
    read = OverridesParser.create().parse_overrides(words[2:])[0].value()
    config = OmegaConf.create({"run": read})
    assert OmegaConf.to_container(config, resolve=True) == {"run": name}
    assert shlex.split(shell_word("run", name)) == words[2:]


def test_a_plain_path_has_no_quotes() -> None:
    path = "outputs/2026-01-31/10-00-00-abc123"
    assert command("task=sample", override("run", path)) == f"vae-run task=sample run={path}"
    assert override("run", "/a/b.c") == "run=/a/b.c"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((key, True) for key in ("run", "runs", "init_from", "input", "output", "sweep.dir")),
        *((key, True) for key in ("dataset.path", "dataset.cache", "hydra.run.dir", "tracker.dir")),
        *((key, True) for key in ("dataset.val", "dataset.test")),  # files of a table
        *((key, False) for key in ("hydra.launcher.runs", "path", "dataset", "latent_dim")),
    ],
)
def test_keys_of_paths_are_known_by_their_names(key: str, expected: bool) -> None:
    assert is_path(key) is expected
