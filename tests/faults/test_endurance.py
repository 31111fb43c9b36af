"""The same command gives the same figures, and a long training takes no more than a short one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from killable import finish, start, wait_for
from same_run import assert_same_run, metrics

PLAN = (
    *("device=cpu", "network.widths=[16]", "trainer.epochs=3", "evaluation.figures=[]"),
    *("corruption=gaussian", "dataset.classes=[0,1,2]"),
)


@pytest.mark.scale
def test_the_same_command_twice_and_with_other_habits(tmp_path: Path) -> None:
    """In processes of their own: logging, saving and evaluating leave no trace in the figures."""
    habits: dict[str, tuple[str, ...]] = {
        "first": (),
        "again": (),
        "often": ("trainer.log_every=1", "trainer.checkpoint_seconds=0"),
        "never": ("trainer.log_every=100000",),
    }
    for name, words in habits.items():
        said = tmp_path / "said"
        assert finish((*PLAN, *words, f"hydra.run.dir={name}"), said) == 0, said.read_text()
    assert_same_run(tmp_path / "first", tmp_path / "again")
    for name in habits:
        assert metrics(tmp_path / name) == metrics(tmp_path / "first"), name


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.faults
def test_a_long_training_takes_no_more_than_a_short_one(tmp_path: Path) -> None:
    """Memory and open files after 1,500 epochs beside those after 300."""
    words = (
        *PLAN[:2],
        "trainer.epochs=1000000",
        "trainer.compile=false",
        PLAN[3],
        "dataset.classes=[0,1]",
    )
    process = start((*words, "trainer.checkpoint_seconds=0.2", "hydra.run.dir=run"), tmp_path / "s")
    assert process.pid is not None

    def status() -> dict[str, Any]:
        file = tmp_path / "run" / "status.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    found = []
    for epoch in (300, 1500):
        wait_for(lambda epoch=epoch: status().get("epoch", 0) > epoch, 280)  # type: ignore[misc]
        found.append((resident(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))))
    process.terminate()
    process.join(60)
    assert process.exitcode == 143
    (memory, files), (later, later_files) = found
    print(f"memory {memory / 2**20:.1f} MiB, then {later / 2**20:.1f} MiB; {files} files")
    assert later - memory < 8 * 2**20
    assert later_files <= files
    left = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(left) == ["best.pt", "last.pt", "previous.pt"]
