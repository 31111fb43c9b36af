"""Memory allocation of the process."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h


def keep_freed_memory() -> None:
    """Have the C library keep up to 256 MB of freed memory for the next tensors of this process.

    By default glibc returns the megabytes of a batch's tensors to the system, which clears them
    again for the next batch. On an idle machine that took about a fifth of the time of an
    evaluation. Of a whole run on MNIST, 2 epochs, keeping them saved 3.5 % of the CPU time (-4.0 to
    8.9 % in three pairs on a busy machine, so uncertain): `python benchmarks/tricks.py allocator`.
    Without glibc this function does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: 0)
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it allows
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


def return_freed_memory() -> None:
    """Have the C library return what it keeps to the system, before other work than with tensors.

    Without glibc this function does nothing.
    """
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", lambda kept: 0)(0)
