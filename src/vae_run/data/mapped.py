"""Images that stay in a memory-mapped file, and tensors on their way to a device."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor


def sent(chosen: Tensor, device: torch.device) -> Tensor:
    """The tensor `chosen` from the CPU, on `device`; copies to CUDA devices are asynchronous."""
    if device.type == "cuda":
        return chosen.pin_memory().to(device, non_blocking=True)
    return chosen.to(device)


@dataclass(frozen=True)
class Mapped:
    """Which images of a memory-mapped file a split has.

    Attributes:
        file: the .npy file.
        rows: int64 [N], the indices of the split's images in the file; on the CPU.
        device: where requested pixels and labels are sent.
    """

    file: Path
    rows: Tensor
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
