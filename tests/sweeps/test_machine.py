"""How cores and GPUs are shared out among the jobs of a sweep."""

from __future__ import annotations

import os

import pytest
import torch

from vae_run.system.hardware import Shares

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_on_a_cpu_every_core_has_a_job_of_one_thread():
    shares = Shares.of_this_machine("cpu", None, None)
    assert (shares.jobs, shares.threads, shares.gpus) == (CORES, 1, ())


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"),
    [(1, None, (1, CORES)), (2 * CORES, None, (2 * CORES, 1)), (1, 3, (1, 3))],
)
def test_what_is_asked_for_is_given(jobs, threads, expected):
    shares = Shares.of_this_machine("cpu", jobs, threads)
    assert (shares.jobs, shares.threads) == expected


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shares = Shares.of_this_machine("auto", None, None)
    assert shares.jobs == 3
    seen = [shares.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(4)]
    assert seen == ["0", "1", "2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    of_the_users = Shares.of_this_machine("cuda", 4, None)
    seen = [of_the_users.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(4)]
    assert (of_the_users.jobs, seen) == (4, ["5", "7", "5", "7"])


def test_one_named_device_has_one_job_at_a_time(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Shares.of_this_machine("cuda:1", None, None).jobs == 1
    assert Shares.of_this_machine("cuda:1", None, None).gpus == ()
