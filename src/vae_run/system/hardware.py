"""Cores, memory and GPUs that this process may use, and their division among jobs of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vae_run.system.control_groups import cpu_quota, memory_left, memory_limit


def cores() -> int:
    """CPU cores that this process may use.

    The least of those of its affinity, what the quota of its control group allows, and what Slurm
    granted each of its tasks (`SLURM_CPUS_PER_TASK`), which not every cluster enforces.
    """
    granted = (_affinity(), cpu_quota(), _of_slurm("SLURM_CPUS_PER_TASK"))
    return max(1, math.ceil(min(granted)))


def _affinity() -> int:
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def _of_slurm(name: str) -> float:
    """A number that Slurm gave the job; inf outside of jobs and where it says nothing (or 0)."""
    text = os.environ.get(name, "") if "SLURM_JOB_ID" in os.environ else ""
    return float(text) if text.isdecimal() and int(text) else math.inf


def granted_memory() -> int:
    """Bytes of memory that this process may use, together with those that share its limits.

    The least of the machine's memory, the limit of its control group, and what Slurm granted
    (`SLURM_MEM_PER_NODE`, or `SLURM_MEM_PER_CPU` for each of `SLURM_CPUS_ON_NODE`, in MiB).
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(machine, memory_limit(), _memory_of_slurm()))


def available_memory() -> int:
    """Bytes of memory that this process can still take.

    Of what Slurm granted, what this process holds is taken; its other processes are not known.
    """
    return int(max(0, min(_free(), memory_left(), _memory_of_slurm() - _resident())))


def _memory_of_slurm() -> float:
    whole = _of_slurm("SLURM_MEM_PER_NODE")
    each = _of_slurm("SLURM_MEM_PER_CPU") * _of_slurm("SLURM_CPUS_ON_NODE")
    return min(whole, each) * 2**20


def _free() -> float:
    """Bytes that the system can give out; half of all memory where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _resident() -> float:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    except OSError:
        return 0.0
    return float(pages) * os.sysconf("SC_PAGE_SIZE")


def heed_quota() -> None:
    """Let libraries have as many threads as `cores`, unless OMP_NUM_THREADS says how many.

    They count the cores of the affinity. Where no less is granted nothing changes.
    """
    if is_limited() and "OMP_NUM_THREADS" not in os.environ:
        global _by_quota
        _by_quota = os.environ["OMP_NUM_THREADS"] = str(cores())


_by_quota: str | None = None
"""OMP_NUM_THREADS, where `heed_quota` has set it in this process."""


def threads_are_chosen() -> bool:
    """Whether the user, a launcher or torchrun has said by OMP_NUM_THREADS how many there are."""
    return os.environ.get("OMP_NUM_THREADS") not in (None, _by_quota)


def is_limited() -> bool:
    """Whether fewer cores are granted than libraries see."""
    return min(cpu_quota(), _of_slurm("SLURM_CPUS_PER_TASK")) < math.inf


MEMORY_OF_A_JOB = 2**29
"""Bytes of memory that a small job of a sweep takes beside those it shares, generously."""


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
            jobs: number of simultaneous jobs; None: one per GPU, or per core without GPUs, and no
                more than the available memory holds (`MEMORY_OF_A_JOB` each).
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
        fit = max(1, available_memory() // MEMORY_OF_A_JOB)
        most = len(gpus) if gpus else 1 if single and device != "cpu" else own
        number = jobs or min(most, fit)
        return cls(number, threads or max(1, own // number), gpus)

    def environment(self, slot: int) -> Mapping[str, str]:
        """The environment variables of the job in `slot`, with one of the GPUs if there are any."""
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), **chosen}
