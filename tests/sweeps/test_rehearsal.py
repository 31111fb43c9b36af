"""What the process that jobs are forked from does once for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from parts import composed

from vae_run.runs import environment as about
from vae_run.sweeps.executors import forking, rehearsal
from vae_run.sweeps.executors.forking import EXAMPLE
from vae_run.system.python_path import own_modules_only


@pytest.mark.parametrize("place", ["network", "metrics", "figures"])
def test_modules_of_the_user_are_left_to_the_jobs(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_a_user.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = composed()
    if place == "network":
        config["network"]["_target_"] = "of_a_user.Part"
    else:
        config["evaluation"][place] = ["of_a_user.part", {"_target_": "of_a_user.other"}]
    with own_modules_only(**{EXAMPLE: json.dumps(config)}):
        rehearsal.rehearse()
        assert rehearsal.outside(config)
    assert "of_a_user" not in sys.modules


def test_parts_of_the_package_are_checked_and_a_faulty_job_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    real = rehearsal._import_parts
    monkeypatch.setattr(rehearsal, "_import_parts", lambda c: (real(c), done.append(c["task"])))
    for config in (composed(), {**composed(), "seed": "no number"}):
        with own_modules_only(**{EXAMPLE: json.dumps(config)}):
            rehearsal.rehearse()
    assert done == ["train"]


def test_a_configuration_that_no_environment_variable_can_hold_is_left_to_the_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []

    def start() -> None:
        started.append(json.dumps(json.loads(os.environ[EXAMPLE])))
        subprocess.run(["true"], check=True)  # the system refuses an environment that is too long

    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", start)
    for config in ({"seed": 1}, {"seed": "1" * 200_000}):
        forking.warm_up(1, config)
    assert started == ['{"seed": 1}', "null"]


def test_jobs_read_neither_versions_nor_the_revision_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(about, "_REMEMBERED", {})
    with own_modules_only():
        rehearsal.rehearse()
    device = torch.device("cpu")
    first = about.environment(device, 1)
    monkeypatch.setenv("PATH", "")  # there is no git any more
    assert about.environment(device, 1) == first
    monkeypatch.chdir(tmp_path)
    assert about.environment(device, 1)["git_revision"] is None, "it is of another folder"
