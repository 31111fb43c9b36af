"""Cores and memory that this process is granted, and their division among jobs."""

from __future__ import annotations

import math
import os

import pytest
import torch

from vae_run.system import hardware
from vae_run.system.device import bfloat16_unit
from vae_run.system.hardware import (
    MEMORY_OF_A_JOB,
    Shares,
    available_memory,
    cores,
    granted_memory,
)


@pytest.fixture(autouse=True)
def _outside_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(hardware, "_free", lambda: 64 * 2**30)


@pytest.mark.parametrize(("quota", "expected"), [(1.5, 2), (0.2, 1), (math.inf, 4)])
def test_jobs_and_threads_are_as_many_as_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(hardware, "cpu_quota", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_by_quota", None)
    assert cores() == expected
    assert Shares.of_this_machine("cpu", None, None) == Shares(expected, 1)
    assert Shares.of_this_machine("cpu", 1, None) == Shares(1, expected)
    hardware.heed_quota()
    assert os.environ.get("OMP_NUM_THREADS") == (None if quota == math.inf else str(expected))
    assert not hardware.threads_are_chosen(), "it was not said by the user"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert hardware.threads_are_chosen()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_cores_are_those_granted_or_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_what_slurm_grants_counts_inside_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    whole = granted_memory()
    for name, value in {
        **{"SLURM_CPUS_PER_TASK": "6", "SLURM_CPUS_ON_NODE": "12"},
        **{"SLURM_MEM_PER_CPU": "10"},
    }.items():
        monkeypatch.setenv(name, value)
    assert (cores(), granted_memory()) == (64, whole)
    assert not hardware.is_limited()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert (cores(), granted_memory()) == (6, 120 * 2**20)
    assert hardware.is_limited()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    assert granted_memory() == 100 * 2**20
    assert available_memory() < 100 * 2**20
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all memory of the node
    monkeypatch.delenv("SLURM_MEM_PER_CPU")
    assert granted_memory() == whole


def test_no_more_jobs_start_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(hardware, "_free", lambda: 3.5 * MEMORY_OF_A_JOB)
    assert Shares.of_this_machine("cpu", None, None) == Shares(3, 5)
    assert Shares.of_this_machine("cpu", 8, None) == Shares(8, 2), "what is asked for stays"
    monkeypatch.setattr(hardware, "_free", lambda: 1000.0)
    assert Shares.of_this_machine("cpu", None, None).jobs == 1


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 amx_bf16", "amx_bf16"),
        ("flags\t\t: fpu avx2 avx512_bf16", "avx512_bf16"),
        ("Features\t: fp asimd bf16", "bf16"),
        ("flags\t\t: fpu avx2 avx512f", None),
    ],
)
def test_products_of_bfloat16_are_known_by_the_processors_flags(line, unit, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\n")
    assert bfloat16_unit(torch.device("cpu"), file) == unit
    assert bfloat16_unit(torch.device("cpu"), tmp_path / "none") is None
