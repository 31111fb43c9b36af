"""An estimate of how many runs of a kind the memory holds at once."""

from __future__ import annotations

import torch
from torch import Tensor

from vae_run.system.hardware import available_memory
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
    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        loop.experiment.precision(),
    ):
        experiment.objective(experiment.model.given(batch.given), batch, loop.epoch)
    for name, buffer in experiment.model.named_buffers():
        buffer.copy_(buffers[name])
    parameters = sum(p.nbytes for p in experiment.model.parameters())
    return COPIES * parameters + PASSES * sum(kept.values())


def available(device: torch.device) -> int:
    """Free memory in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
