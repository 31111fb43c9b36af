"""A sweep of many jobs takes no more than one of few: memory, files, processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from processes import Sweep, alive, descendants, until

JOBS, EARLY = 200, 40


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_runs(tmp_path: Path, python_environment: dict[str, str]) -> None:
    """What the sweep holds after 40 jobs, and before the last ones."""
    sweep = Sweep(tmp_path, python_environment, "hydra.launcher.jobs=2", "hydra.launcher.threads=1")
    words = (
        "trainer.epochs=null",
        "trainer.steps=3",
        "network.widths=[4]",
        "evaluation.figures=[]",
    )

    def done() -> int:
        return len(list(sweep.folder.glob("*/metrics.json")))

    def held(pid: int) -> tuple[int, int, int]:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE")
        return memory, len(os.listdir(f"/proc/{pid}/fd")), len(alive(descendants(pid)))

    with sweep.start(f"seed=range({JOBS})", *words) as process:
        found = []
        for count in (EARLY, JOBS - 10):
            until(lambda count=count: done() >= count, 280)  # type: ignore[misc]
            found.append(held(process.pid))
        below = descendants(process.pid)
        said, _ = process.communicate(timeout=60)
    until(lambda: not alive(below), 10.0)
    assert process.returncode == 0, said
    assert sweep.states() == ["completed"] * JOBS
    (memory, files, processes), (later, later_files, later_processes) = found
    print(f"memory {memory / 2**20:.1f} MiB, then {later / 2**20:.1f} MiB; {files} files")
    assert later - memory < 16 * 2**20
    assert later_files <= files + 2, "those of a job that starts or ends"
    assert later_processes <= processes + 2
    assert not list(sweep.folder.rglob("*.tmp"))
