"""The cores and GPUs that this process may use, and their division among the jobs of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use: those of its affinity, and what its quota allows."""
    known = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cpu_quota())))


def cpu_quota(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> float:
    """The cores' worth of time that control groups grant this process; inf without a limit.

    Containers are limited so, by `docker run --cpus` for example, and see all cores none the less.
    The limit of a group holds for those below it.

    Args:
        groups: lines `number:controllers:path`, a line each for version 1, one line for version 2.
        mounted: where the file systems of control groups are mounted.
    """
    least = math.inf
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mounted / controllers if controllers else mounted
        if not root.is_dir():
            root = mounted / "cpu"  # a link to the directory of cpu,cpuacct
        own = root / path.lstrip("/")
        # Inside a container its own group is mounted as the root, and the path names nothing.
        for folder in (own, *own.parents):
            if not folder.is_relative_to(root):
                break
            least = min(least, _quota(folder))
    return least


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


def heed_quota() -> None:
    """Let libraries have as many threads as `cores`, unless OMP_NUM_THREADS says how many.

    They count the cores that they see. Where there is no quota nothing changes.
    """
    if cpu_quota() < math.inf and "OMP_NUM_THREADS" not in os.environ:
        global _by_quota
        _by_quota = os.environ["OMP_NUM_THREADS"] = str(cores())


_by_quota: str | None = None
"""OMP_NUM_THREADS, where `heed_quota` has set it in this process."""


def threads_are_chosen() -> bool:
    """Whether the user, a launcher or torchrun has said by OMP_NUM_THREADS how many there are."""
    return os.environ.get("OMP_NUM_THREADS") not in (None, _by_quota)


@dataclass(frozen=True)
class Shares:
    """The resources of each job.

    Attributes:
        jobs: number of simultaneous jobs.
        threads: CPU threads of a job.
        gpus: CUDA devices to assign, by their names in `CUDA_VISIBLE_DEVICES`.
    """

    jobs: int
    threads: int
    gpus: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls, device: str, jobs: int | None, threads: int | None) -> Shares:
        """Divide the cores, and the GPUs if `device` uses them.

        Args:
            device: of the jobs, as in the configuration.
            jobs: number of simultaneous jobs; None: one per GPU, or per core without GPUs.
            threads: CPU threads of a job; None: the cores divided by the jobs.
        """
        import torch

        gpus: tuple[str, ...] = ()
        if device in ("auto", "cuda") and torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
            gpus = tuple(names)
        single = device.startswith("cuda:") or device == "mps" or torch.backends.mps.is_available()
        own = cores()
        number = jobs or (len(gpus) if gpus else 1 if single and device != "cpu" else own)
        return cls(number, threads or max(1, own // number), gpus)

    def environment(self, slot: int) -> Mapping[str, str]:
        """The environment variables of the job in `slot`, with one of the GPUs if there are any."""
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), **chosen}
