"""An estimate of how many runs of a kind the memory holds at once."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from vae_run.training.loop import Loop

COPIES = 5
"""Copies of the parameters during training: values, gradients, two moments, best values."""

PASSES = 2
"""Copies of the tensors that a forward pass saves: the backward pass makes as many again."""

SHARE = 0.6
"""Share of the free memory that a stack may take: evaluation and pictures need some too."""


def runs_that_fit(loop: Loop, processes: int = 1) -> int:
    """Runs like that of `loop` to train at once, where `processes` processes share the memory."""
    free = available(loop.experiment.device)
    return max(1, int(SHARE * free / processes / bytes_of(loop)))


def bytes_of(loop: Loop) -> int:
    """Bytes of memory that a run takes during training, estimated from one forward pass."""
    experiment = loop.experiment
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    before = loop.batches.state_dict()
    batch = loop.batches.next()
    loop.batches.load_state_dict(before)
    buffers = {name: buffer.clone() for name, buffer in experiment.model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), loop.precision():
        experiment.objective(experiment.model.given(batch.given), batch, loop.epoch)
    for name, buffer in experiment.model.named_buffers():
        buffer.copy_(buffers[name])
    parameters = sum(p.nbytes for p in experiment.model.parameters())
    return COPIES * parameters + PASSES * sum(kept.values())


def available(device: torch.device) -> int:
    """Free memory in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_of_the_machine(), _of_the_group()]
    return min(limit for limit in limits if limit is not None)


def _of_the_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_the_group() -> int | None:
    """Free memory in bytes within the limit of the control group, if it has one."""
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return max(0, int(most) - used) if most.isdecimal() else None
