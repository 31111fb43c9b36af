"""Products of denormal numbers, forward and backward, counted by all threads of a process.

Also imported by the processes of sweeps and of torchrun, where `shares` is a metric.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from vae_run.evaluation.base import metric

ENTRIES = 1 << 20
"""Enough for sixteen threads to take part."""
BITS = 713_000
"""The bits of 1e-39 in float32."""


def left() -> tuple[float, float]:
    """The shares of a million products of denormal numbers that are not zero.

    Those of a forward pass, and those of a backward pass. Bits are counted, because a comparison
    with zero takes denormal numbers for zero too.
    """
    small = torch.full((ENTRIES,), BITS, dtype=torch.int32).view(torch.float32)
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.full((ENTRIES,), 0.5, requires_grad=True)
        (x * 0.5).backward(small.clone())
    assert x.grad is not None
    found = (small * 0.5, x.grad)
    forward, backward = (float(t.view(torch.int32).count_nonzero()) / ENTRIES for t in found)
    return forward, backward


def job() -> int:
    """The number of threads of a job of a sweep in which nothing is left; 99 if anything is."""
    return torch.get_num_threads() if left() == (0.0, 0.0) else 99


@metric(conflicts=lambda settings: ())
def shares(view: Any) -> dict[str, float]:
    """`denormal_forward` and `denormal_backward`, `left` of them, in `denormal_threads` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # whatever OMP_NUM_THREADS is
    try:
        forward, backward = left()
        threads = len(os.listdir("/proc/self/task"))
    finally:
        torch.set_num_threads(before)
    return {
        "denormal_forward": forward,
        "denormal_backward": backward,
        "denormal_threads": float(threads),
    }


MEASURED = "evaluation.metrics=[objective,denormal_numbers.shares]"
"""The word that lets a run measure `shares`."""
TRUSTED = "trust=[denormal_numbers]"
"""The word that lets it go on with that."""


def assert_flushed(runs: Iterable[Path]) -> None:
    """Assert that in each of `runs`, in two threads, all products were zero."""
    for run in runs:
        found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["val"]
        assert found["denormal_threads"] >= 2
        assert (found["denormal_forward"], found["denormal_backward"]) == (0.0, 0.0), run
        about = json.loads((run / "environment.json").read_text(encoding="utf-8"))
        assert about["denormals_flushed"] is True
