"""Time and memory that control groups grant: trees of files as the kernel has them, real groups."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from vae_run.system.control_groups import cpu_quota, memory_left, memory_limit

MIB = 2**20


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


STAT = "active_file 1\ninactive_file 100\n"


@pytest.mark.parametrize(
    ("groups", "files", "limit", "left"),
    [
        ("0::/", {"memory.max": "900\n", "memory.current": "500"}, 900, 400),
        (
            "0::/a/b",
            {
                **{"a/memory.max": "2000", "a/memory.current": "1950", "a/memory.stat": STAT},
                **{"a/b/memory.max": "1000", "a/b/memory.current": "100"},
            },
            1000,
            150,  # of the outer group, whose 100 bytes of old pages can be dropped
        ),
        ("0::/", {"memory.max": "max", "memory.current": "500"}, math.inf, math.inf),
        (
            "4:memory:/docker/1",
            {"memory/memory.limit_in_bytes": "700", "memory/memory.usage_in_bytes": "800"},
            700,
            0,
        ),
        (
            "4:memory:/",
            {"memory/memory.limit_in_bytes": "9223372036854771712"},
            math.inf,
            math.inf,
        ),
        ("0::/", {"memory.max": "what is this"}, math.inf, math.inf),
        ("0::/", {}, math.inf, math.inf),
    ],
)
def test_memory_is_what_the_group_and_those_above_grant(
    tmp_path: Path, groups: str, files: dict[str, str], limit: float, left: float
) -> None:
    place = tree(tmp_path, groups, files)
    assert memory_limit(*place) == limit
    assert memory_left(*place) == left


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Iterator[list[Path]]:
    """Control groups of this machine, version 1 or 2, that grant a core and a half and 3 GiB."""
    root, name = Path("/sys/fs/cgroup"), f"vae-run-test-{os.getpid()}"
    if (root / "cgroup.controllers").is_file():
        wanted = {root / name: {"cpu.max": "150000 100000", "memory.max": str(3 * 2**30)}}
    else:
        wanted = {
            root / "cpu" / name: {"cpu.cfs_quota_us": "150000"},
            root / "memory" / name: {"memory.limit_in_bytes": str(3 * 2**30)},
        }
    try:
        for folder, files in wanted.items():
            folder.mkdir()
            for file, text in files.items():
                (folder / file).write_text(text)
    except OSError as error:
        for folder in wanted:
            with suppress(OSError):
                folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield list(wanted)
    for folder in wanted:
        folder.rmdir()


LOOK = """
import os, sys
for folder in sys.argv[1:]:
    with open(os.path.join(folder, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))
from vae_run.system.hardware import available_memory, cores, granted_memory
print(cores(), granted_memory(), available_memory())
"""


def test_a_process_in_real_groups_has_what_they_grant(
    limits: list[Path], python_environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", LOOK, *map(str, limits)]
    done = subprocess.run(command, env=python_environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, granted, available = map(int, done.stdout.split())
    assert found == min(2, len(os.sched_getaffinity(0)))
    assert granted == 3 * 2**30
    assert 2 * 2**30 < available < granted
