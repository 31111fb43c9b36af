"""The example of docs/extending.md works as it is printed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from vae_run import load
from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from conftest import Run

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's own files."""
    folder = tmp_path_factory.mktemp("extending")
    for block in re.findall(
        r"^```\w+\n(# \S+\.(?:py|yaml)\n.*?)^```", PAGE.read_text(), re.M | re.S
    ):
        file = folder / block.split("\n", 1)[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    return folder


def test_the_example_trains_and_needs_trust(
    place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    words = [word for word in shlex.split(block) if not word.startswith("PYTHONPATH=")]
    assert words.pop(0) == "vae-run"
    finished = vae_run(*words, "hydra.run.dir=run", "device=cpu", cwd=place)
    assert finished.code == 0, finished.said
    with pytest.raises(ConfigError, match=r"corruption._target_.*trust=\[noises\]"):
        load(place / "run")
    model = load(place / "run", trust=["noises"])
    assert model.reconstruct(torch.rand(3, 1, 8, 8)).shape == (3, 1, 8, 8)


def test_help_lists_the_users_own_option(place: Path, vae_run: Run) -> None:
    finished = vae_run("--config-dir", "myconf", "--help", cwd=place)
    assert finished.code == 0, finished.said
    assert "speckle" in finished.out
