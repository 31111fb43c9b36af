"""Arrays of bytes that lie in a file, and not in memory, for as long as the process lives."""

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
    """The `pieces`, uint8 [M, *E] each, in one tensor of `shape` [N, *E], in a file of no name.

    The file lies in `folder`, or among the system's temporary files where that cannot be written
    to. It is gone when the process ends, however that happens.

    Raises:
        DataError: there is no room for it.
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
            f"dataset.binarize: cannot write the binary sample to {folder}: {error}; make room, or "
            "name another folder with dataset.cache"
        ) from error
    return torch.from_numpy(np.frombuffer(held, np.uint8).reshape(shape))
