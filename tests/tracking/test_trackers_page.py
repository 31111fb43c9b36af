"""docs/trackers.md: its commands and its file compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("vae-run ")
]
(FILE,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words))
def test_a_command_composes(words: list[str], vae_run: Run) -> None:
    first = [word.split(",")[0] for word in words] if "-m" in words else words  # of its jobs
    finished = vae_run(*[word for word in first if word != "-m"], "--cfg", "job")
    assert finished.code == 0, finished.said
    assert "vae_run.tracking." in finished.out


def experiment(tmp_path: Path, text: str) -> tuple[str, ...]:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "team.yaml").write_text(text, encoding="utf-8")
    return ("--config-dir", "mine", "experiment=team")


def test_the_file_has_both(vae_run: Run, tmp_path: Path) -> None:
    words = experiment(tmp_path, FILE)
    finished = vae_run(*words, "tracker.wandb.project=p", "--cfg", "job")
    assert finished.code == 0, finished.said
    typed = vae_run("tracker=[mlflow,wandb]", "tracker.wandb.project=p", "--cfg", "job")
    assert finished.out == typed.out


def test_a_list_in_a_file_is_refused(vae_run: Run, tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /tracker: [mlflow, wandb]\n"
    finished = vae_run(*experiment(tmp_path, text), "hydra.run.dir=run")
    assert finished.code == ConfigError.exit_code
    assert "/tracker@tracker.NAME: NAME" in " ".join(finished.said.split())
    assert not (tmp_path / "run").exists()
