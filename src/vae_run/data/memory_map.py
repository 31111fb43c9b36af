"""Tensors of bytes in a temporary, memory-mapped file."""

import mmap
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_run.errors import DataError


def scratch(pieces: Iterable[Tensor], shape: tuple[int, ...], folder: Path) -> Tensor:
    """The `pieces`, uint8 [M, *E] each, as one memory-mapped tensor of `shape` [N, *E].

    The unnamed file is in `folder`, or in the system's temporary folder if that is read-only. The
    system removes it when the process ends, however it ends.

    Raises:
        DataError: the disk is full.
    """
    try:
        writable = os.access(folder, os.W_OK)
        with tempfile.TemporaryFile(dir=folder if writable else None) as file:
            for piece in pieces:
                file.write(piece.contiguous().numpy().data)
            file.flush()
            if file.tell() == 0:
                return torch.empty(shape, dtype=torch.uint8)
            held = mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise DataError(
            f"dataset.binarize: cannot write the binary sample to {folder}: {error}; free disk "
            "space, or set dataset.cache to a folder on another disk"
        ) from error
    return torch.from_numpy(np.frombuffer(held, np.uint8).reshape(shape))
