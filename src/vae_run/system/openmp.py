"""Other programs on the processors: how long threads that wait for each other keep theirs.

GNU OpenMP's threads spin for a while before they sleep, as the next product may be a moment away.
Where another program wants their processors, each wait then takes as long as its turn: training
becomes ten times slower. Asleep at once, it loses a fifth on a machine of its own. So threads spin
long here, but soon sleep while others want more than what is left of the processors.

Spinning is chosen once, when the library is loaded. But as soon as a process has more threads of
its kind than there are processors, the library takes a far shorter one by itself: a team of
threads that does nothing makes it so, and changes no figure, as no work is cut otherwise.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONG, SHORT = "20000", "1000"
"""Turns of spinning: about 200 and 10 microseconds."""
INTERVAL = 0.25
"""Seconds between two looks at the machine."""
SLACK = 0.3
"""Processors that others may have beyond what is left of them: something always runs."""
QUIET = 3
"""Intervals without others after which threads spin long again."""
STAT = Path("/proc/stat")


def choose_spinning(*, sweeps: bool) -> None:
    """Say how long threads spin, before torch is imported, unless the user has said it.

    Long is for a process whose threads are as many as the processors: only that can be undone.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return
    words = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(words) if words.isdecimal() else processors()
    alone = not sweeps and threads >= processors() and STAT.is_file()
    os.environ["GOMP_SPINCOUNT"] = LONG if alone else SHORT


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def regarded() -> Iterator[None]:
    """While it is open, threads spin long only as long as nobody else wants their processors."""
    import torch

    if os.environ.get("GOMP_SPINCOUNT") != LONG or torch.get_num_threads() < 2:
        yield
        return
    over = threading.Event()
    told = (over, torch.get_num_threads())
    watch = threading.Thread(target=_watch, args=told, name="neighbours", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(over: threading.Event, threads: int) -> None:
    """Until `over`, hold a second team of `threads` while it is crowded, and at first."""
    team: _Team | None = _Team(threads)
    quiet, before = 0, _moment()
    while not over.wait(INTERVAL):
        now = _moment()
        quiet = 0 if _crowded(before, now) else quiet + 1
        before = now
        if quiet == 0 and team is None:
            team = _Team(threads)
        elif team is not None and quiet >= QUIET:
            team.dissolve()
            team = None
    if team is not None:
        team.dissolve()


class _Team:
    """A thread with OpenMP threads of its own, all asleep."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._over, self._there = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._stay, name="short spinning", daemon=True)
        self._thread.start()
        self._there.wait()

    def _stay(self) -> None:
        import torch

        torch.set_num_threads(self._threads)  # each thread of a program has a number of its own
        torch.ones(1 << 20).exp_()  # large enough for all of them
        self._there.set()
        self._over.wait()

    def dissolve(self) -> None:
        """End its threads."""
        self._over.set()
        self._thread.join()


def _moment() -> tuple[float, float, float]:
    """Seconds: of a clock, that all processors were busy, that this process was."""
    user, nice, system, _, _, irq, softirq = map(int, STAT.read_text().split(None, 8)[1:8])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, time.process_time()


def _crowded(before: tuple[float, float, float], now: tuple[float, float, float]) -> bool:
    """Whether other programs wanted processors that this one's threads were on."""
    seconds, busy, own = (b - a for a, b in zip(before, now, strict=True))
    return (busy - own) / seconds > SLACK
