"""What a sweep takes up again, with which values, and what it leaves to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parts import composed

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.errors import ConfigError
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.same_data import refuse_several_roots
from vae_run.tasks import resume, sweep_job, train

SEED = ("dataset=mnist", "seed=1")
DEAD = 2**22 + 1
"""No process has this number: Linux gives none above 2**22."""


def test_several_roots_are_refused() -> None:
    refuse_several_roots({"dataset.root": ["dataset.root=a"] * 2, "dataset.path": ["a", "b"]})
    for key in ("dataset.root", "+dataset.root"):
        with pytest.raises(ConfigError, match=r"^dataset\.root: found 2 values in a sweep"):
            refuse_several_roots({key: [f"{key}=a", f"{key}=b"], "seed": ["seed=0"]})


@pytest.mark.parametrize("name", ["last", "previous", "best", None])
def test_a_job_goes_on_from_either_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    done: list[str] = []
    monkeypatch.setattr(resume, "go_on", lambda run, call: done.append("resume"))
    monkeypatch.setattr(train, "main", lambda call: done.append("train"))
    if name is not None:
        file: Any = getattr(RunDirectory(tmp_path), name)
        file.parent.mkdir()
        file.touch()
    sweep_job.main(Call(check(composed()), tmp_path, [], {}))
    assert done == ["resume" if name in ("last", "previous") else "train"]
