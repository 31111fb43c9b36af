"""A configuration composed inside a program follows the files that it is composed of."""

from __future__ import annotations

from pathlib import Path

import pytest

from vae_run.cli import in_process
from vae_run.cli.hydra_api import set_version_base
from vae_run.cli.in_process import own_hydra
from vae_run.cli.resolvers import register_resolvers


def composed(*words: str) -> float:
    """The learning rate of the configuration of `words`."""
    with own_hydra():
        in_process.setup_globals()
        set_version_base()
        register_resolvers()
        return float(in_process._composed(list(words)).optimizer.lr)


def write(folder: Path, rate: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\noptimizer:\n  lr: {rate}\n")


def test_an_edited_file_of_the_users_own_folder_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rate in (("a", 0.25), ("b", 0.5)):
        write(tmp_path / name / "conf" / "experiment", rate)
    monkeypatch.chdir(tmp_path / "a")
    words = ("hydra.searchpath=[file://conf]", "experiment=mine")
    assert composed(*words) == 0.25
    write(Path("conf/experiment"), 0.125)
    assert composed(*words) == 0.125
    monkeypatch.chdir(tmp_path / "b")
    assert composed(*words) == 0.5


def test_packaged_files_are_read_again_only_when_one_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_process, "_KEPT", {})
    first = composed("optimizer.lr=0.25", "model=vae")
    kept = dict(in_process._KEPT)
    assert composed("optimizer.lr=0.5", "model=vae") == 2 * first
    assert list(in_process._KEPT) == [("model=vae",)]
    assert in_process._KEPT[("model=vae",)] is kept[("model=vae",)]
    monkeypatch.setattr(in_process, "_stamp", lambda: ())
    composed("model=vae")
    assert in_process._KEPT[("model=vae",)] is not kept[("model=vae",)]
