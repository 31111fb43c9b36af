"""The time and memory that control groups grant this process, versions 1 and 2.

Containers are limited by them (`docker run --cpus --memory`), and so are the jobs of many clusters;
a process sees the whole machine none the less. The limit of a group holds for those below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
MOUNTED = Path("/sys/fs/cgroup")


def cpu_quota(groups: Path = GROUPS, mounted: Path = MOUNTED) -> float:
    """The cores' worth of time that control groups grant this process; inf without a limit.

    Args:
        groups: lines `number:controllers:path`, a line each for version 1, one line for version 2.
        mounted: where the file systems of control groups are mounted.
    """
    return min(map(_quota, own_groups("cpu", groups, mounted)), default=math.inf)


def memory_limit(groups: Path = GROUPS, mounted: Path = MOUNTED) -> float:
    """The bytes of memory that control groups grant this process; inf without a limit."""
    limits = (_memory(folder)[0] for folder in own_groups("memory", groups, mounted))
    return min(limits, default=math.inf)


def memory_left(groups: Path = GROUPS, mounted: Path = MOUNTED) -> float:
    """The bytes that can still be taken below the limits; inf without a limit.

    Pages of files that have not been used lately count as free: the kernel drops them first.
    """
    found = (_memory(folder) for folder in own_groups("memory", groups, mounted))
    return min((max(0.0, limit - used) for limit, used in found), default=math.inf)


def own_groups(controller: str, groups: Path, mounted: Path) -> Iterator[Path]:
    """The folders of the control groups of this process that limit `controller`, innermost first.

    Inside a container its own group is mounted as the root, and the path names nothing: then only
    the root is of use.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = mounted / controllers if controllers else mounted
        if not root.is_dir():
            root = mounted / controller  # a link to the directory of cpu,cpuacct
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(root):
                break
            yield folder


def _quota(folder: Path) -> float:
    """The cores granted by the control group `folder`; inf where it has no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip()
                for name in ("quota", "period")
            )
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _memory(folder: Path) -> tuple[float, float]:
    """The limit in bytes of the control group `folder`, inf without one, and what of it is used."""
    new = (folder / "memory.max").exists()
    limit = _number(folder / ("memory.max" if new else "memory.limit_in_bytes"))
    if limit is None or limit >= 2**62:  # version 1 writes the greatest multiple of a page
        return math.inf, 0.0
    used = _number(folder / ("memory.current" if new else "memory.usage_in_bytes")) or 0.0
    return limit, max(0.0, used - _inactive_file(folder))


def _inactive_file(folder: Path) -> float:
    """The bytes of the pages of files that the kernel drops first."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
        found = {name: int(value) for name, value in map(str.split, lines)}
    except (OSError, ValueError):
        return 0.0
    return float(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _number(file: Path) -> float | None:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return float(text) if text.isdecimal() else None
