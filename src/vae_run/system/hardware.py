"""The division of a machine's cores and GPUs among the jobs of a sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


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

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cores = cores or 1
        gpus: tuple[str, ...] = ()
        if device in ("auto", "cuda") and torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
            gpus = tuple(names)
        single = device.startswith("cuda:") or device == "mps" or torch.backends.mps.is_available()
        number = jobs or (len(gpus) if gpus else 1 if single and device != "cpu" else cores)
        return cls(number, threads or max(1, cores // number), gpus)

    def environment(self, slot: int) -> Mapping[str, str]:
        """The environment variables of the job in `slot`, with one of the GPUs if there are any."""
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), **chosen}
