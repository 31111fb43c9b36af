"""Launchers of clusters: what is refused before anything is made."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run.system.extras import installation

if TYPE_CHECKING:
    from conftest import Run


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [
        ("ray_cluster", "ray", "ray"),
        ("slurm", "submitit", "slurm"),
        ("slurm_local", "submitit", "slurm"),
    ],
)
def test_a_missing_package_is_told_before_a_directory_is_made(
    launcher: str,
    package: str,
    extra: str,
    vae_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == package else found(name, *more),
    )
    done = vae_run("-m", f"hydra/launcher={launcher}", "seed=0,1", "sweep.dir=s")
    assert done.code == 1
    assert f"needs the package {package}" in done.err
    assert installation(extra) in " ".join(done.err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra.launcher.jobs=0", "hydra.launcher.jobs"),
        ("hydra.launcher.num_cpus=-1", "hydra.launcher.num_cpus"),
        ("+hydra.launcher.nodes=2", "hydra.launcher.nodes"),
    ],
)
def test_a_wrong_key_of_a_launcher_is_named(
    word: str, message: str, vae_run: Run, tmp_path: Path
) -> None:
    done = vae_run("-m", "hydra/launcher=ray_cluster", word, "seed=0,1", "sweep.dir=s")
    assert done.code == 1
    assert message in done.err
    assert list(tmp_path.iterdir()) == []
