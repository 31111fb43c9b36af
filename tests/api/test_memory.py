"""A process that trains again and again does not grow, and `import vae_run` is quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vae_run as api

MOST_GROWTH = 50_000_000
"""Bytes that 50 trainings may add to a process."""


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.scale
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_fifty_trainings_do_not_let_the_process_grow(small: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    for _ in range(5):  # allocators and caches reach their size
        api.fit(images, **small)
    before = resident()
    for _ in range(50):
        api.fit(images, **small)
    assert resident() - before < MOST_GROWTH


def test_the_package_imports_nothing_heavy_before_it_is_used() -> None:
    code = (
        "import sys, vae_run; assert set(vae_run.__all__) <= set(dir(vae_run)); "
        "print(*sorted(n for n in ('torch', 'numpy', 'hydra', 'vae_run.api') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there() -> None:
    for name in api.__all__:
        assert getattr(api, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = api.nothing  # type: ignore[attr-defined]
