"""How long threads spin: chosen before torch is imported, and shortened while others want room."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from vae_run.system import openmp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP and /proc are Linux's")


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("threads", "sweeps", "chosen"),
    [
        (None, False, openmp.LONG),
        (str(openmp.processors()), False, openmp.LONG),
        (None, True, openmp.SHORT),
        *([("1", False, openmp.SHORT)] if openmp.processors() > 1 else []),
    ],
)
def test_long_only_with_all_processors_and_alone(
    threads: str | None, sweeps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that the choice is undone afterwards
    del os.environ["GOMP_SPINCOUNT"]
    openmp.choose_spinning(sweeps=sweeps)
    assert os.environ["GOMP_SPINCOUNT"] == chosen


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_the_users_own_choice_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    openmp.choose_spinning(sweeps=False)
    assert {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ) == {name}


def teams() -> int:
    return sum(thread.name == "short spinning" for thread in threading.enumerate())


def tasks() -> int:
    """All threads of the process, those of libraries among them."""
    return len(os.listdir("/proc/self/task"))


def within(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether `true()` is, within some seconds."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def becomes(count: int) -> bool:
    """Whether there are so many idle teams within a few seconds."""
    return within(lambda: teams() == count)


def settled() -> int:
    """`tasks()`, once threads of earlier tests that were about to end have ended."""
    found = tasks()
    for _ in range(50):
        time.sleep(0.3)
        if found == (found := tasks()):
            break
    return found


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setenv("GOMP_SPINCOUNT", openmp.LONG)
    monkeypatch.setattr(openmp, "INTERVAL", 0.02)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_second_team_is_there_while_others_want_processors_and_gone_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowded = True
    monkeypatch.setattr(openmp, "_crowded", lambda before, now: crowded)
    before = settled()
    with openmp.regarded():
        assert becomes(1)
        assert within(lambda: tasks() >= before + 3), "the watch, a team of two"
        crowded = False
        assert becomes(0)
        crowded = True
        assert becomes(1)
    assert teams() == 0
    assert within(lambda: tasks() <= before), "OpenMP's own threads are gone as well"


@pytest.mark.usefixtures("two_threads")
def test_figures_are_the_same_with_a_second_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp, "_crowded", lambda before, now: True)
    x = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    alone = (x @ x).exp_().sum()
    with openmp.regarded():
        assert becomes(1)
        assert torch.equal((x @ x).exp_().sum(), alone)


def test_with_one_thread_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", openmp.LONG)
    before, count = torch.get_num_threads(), threading.active_count()
    torch.set_num_threads(1)
    try:
        with openmp.regarded():
            assert threading.active_count() == count
    finally:
        torch.set_num_threads(before)


def test_what_others_take_is_told_from_what_this_process_takes() -> None:
    def busy(seconds: float) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    before = openmp._moment()
    busy(0.5)
    seconds, everybody, own = (b - a for a, b in zip(before, openmp._moment(), strict=True))
    assert own >= 0.5
    assert everybody >= 0.4, "the kernel's counters move in hundredths of a second"
    assert everybody <= seconds * (os.cpu_count() or 1) + 0.1
    assert openmp._crowded((0.0, 0.0, 0.0), (1.0, 2.0, 1.0))
    assert not openmp._crowded((0.0, 0.0, 0.0), (1.0, 2.1, 2.0))
