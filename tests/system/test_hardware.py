"""The cores that control groups grant, in trees of files as the kernel has them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from vae_run.system import hardware
from vae_run.system.hardware import Shares, cores, cpu_quota


def tree(folder: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    (folder / "cgroup").write_text(groups)
    for name, text in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(text)
    (folder / "fs").mkdir(exist_ok=True)
    return folder / "cgroup", folder / "fs"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),  # inside a container, version 2
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/", {}, math.inf),
        (
            "3:cpu,cpuacct:/docker/1\n2:memory:/",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,  # version 1, the group's own path is not seen in the container
        ),
        ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("0::/", {"cpu.max": "what is this"}, math.inf),
    ],
)
def test_the_least_quota_of_the_group_and_those_above_counts(
    tmp_path: Path, groups: str, files: dict[str, str], expected: float
) -> None:
    assert cpu_quota(*tree(tmp_path, groups, files)) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "missing", tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(1.5, 2), (0.2, 1), (math.inf, 4)])
def test_jobs_and_threads_are_as_many_as_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(hardware, "cpu_quota", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_by_quota", None)
    assert cores() == expected
    assert Shares.of_this_machine("cpu", None, None) == Shares(expected, 1)
    assert Shares.of_this_machine("cpu", 1, None) == Shares(1, expected)
    hardware.heed_quota()
    assert os.environ.get("OMP_NUM_THREADS") == (None if quota == math.inf else str(expected))
    assert not hardware.threads_are_chosen(), "it was not said by the user"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert hardware.threads_are_chosen()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_cores_are_those_granted_or_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
