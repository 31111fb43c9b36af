"""How a machine is shared out among the jobs of a sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shares:
    """What each job gets.

    Attributes:
        jobs: at a time.
        threads: CPU threads of a job.
        gpus: CUDA devices to deal out, by the names that `CUDA_VISIBLE_DEVICES` takes.
    """

    jobs: int
    threads: int
    gpus: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls, device: str, jobs: int | None, threads: int | None) -> Shares:
        """Shares of the cores, or of the GPUs where `device` would use one; None: as fits."""
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
        """The environment variables of a job in the place `slot`: with GPUs, one of them."""
        chosen = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), **chosen}
