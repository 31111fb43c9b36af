"""Denormal numbers, those nearer to zero than 1.2e-38 in float32, taken for zero.

Weights of pixels that are never lit and of units that are dead have gradients of exactly zero.
Adam's moments of them shrink at every step until they are denormal, and processors compute with
denormal numbers tens of times more slowly.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_BITS = 713_000
"""The bits of a denormal float32 number, 1e-39, whose half is denormal too."""
_GRAIN = 1 << 15
"""Entries of a tensor for each thread that torch lets compute with them."""
_SOFT = 1
"""`omp_pause_soft` of OpenMP 5.0."""


def flushed(entries: int | None = None) -> bool:
    """Whether products of denormal numbers are zero in every thread that torch computes with here.

    Args:
        entries: of the tensor that is multiplied; None: enough for all threads to take part. With
            1 only the calling thread does.
    """
    count = 2 * _GRAIN * torch.get_num_threads() if entries is None else entries
    bits = torch.full((count,), _BITS, dtype=torch.int32, device="cpu")
    halves = bits.view(torch.float32) * 0.5
    # As integers, because a comparison of floats takes denormal numbers for zero as well.
    return not bool(halves.view(torch.int32).any())


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take denormal numbers for zero inside, in this thread and those that torch computes with.

    Afterwards all is as it was in this thread. Other threads that the program has made are left
    alone; threads that are made inside have the setting for good. Where the processor cannot do it,
    nothing changes.
    """
    own = flushed(1)
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # earlier versions of NumPy warn if they first see these limits inside
    torch.set_flush_denormal(True)
    if not flushed():
        _end_waiting_threads()
    try:
        yield
    finally:
        if not own:
            torch.set_flush_denormal(False)
            _end_waiting_threads()


def _end_waiting_threads() -> None:
    """End the threads with which GNU OpenMP computes for the calling one.

    A thread takes the setting over from the one that makes it, and keeps it. The next parallel
    operation makes new threads.
    """
    if sys.platform == "linux":
        pause = getattr(ctypes.CDLL(None), "omp_pause_resource_all", lambda kind: 0)
        pause(_SOFT)
