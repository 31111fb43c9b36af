"""The device of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from vae_run.errors import ConfigError
from vae_run.system import ranks


def choose_device(name: str) -> torch.device:
    """The device `name`; `auto` is the first of CUDA, MPS and CPU that is available.

    If several processes train together, each uses the CUDA device with its local rank.

    Raises:
        ConfigError: the device is not available.
    """
    place = ranks.place()
    several = place is not None and place.size > 1
    if name == "auto":
        others = "mps" if torch.backends.mps.is_available() and not several else "cpu"
        name = "cuda" if torch.cuda.is_available() else others
    device = torch.device(name)
    if several and (device.type == "mps" or device.index is not None):
        ranks.refuse_several(f"device={name}")
    missing, first = None, device.index or 0
    needed = 1 if place is None else place.local_size
    if device.type == "cuda" and first + needed > torch.cuda.device_count():
        missing = f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        missing += f" for {needed} processes on this machine" * (needed > 1)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        missing = f"torch {torch.__version__} sees no MPS device"
    if missing:
        raise ConfigError(f"device: found {name}, but {missing}. Use device=cpu or device=auto.")
    if place is not None and device.type == "cuda":
        return torch.device("cuda", first + place.local)
    return device


BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
"""What Linux calls a processor's products of bfloat16: on x86, on x86 without tiles, on ARM."""


def bfloat16_unit(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What multiplies bfloat16 numbers on `device` faster than float32 ones; None: nothing known.

    `cpuinfo`: the file in which Linux lists the flags of the processor.
    """
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.cuda.get_device_name(device) if fast else None
    if device.type != "cpu":
        return None
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return None
    flags = {flag for line in lines if line.lower().startswith(("flags", "features"))
             for flag in line.partition(":")[2].split()}  # fmt: skip
    return next((flag for flag in BFLOAT16_FLAGS if flag in flags), None)
