"""A process that does one job of a sweep: its surroundings, and how it is asked to stop."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any

from vae_run.system.console import say_only_errors
from vae_run.system.signals import ask_to_stop


@dataclass(frozen=True)
class Surroundings:
    """What a job finds around it.

    Attributes:
        log: the file that takes what it prints.
        threads: CPU threads of its products.
        environment: all environment variables, such as those that choose its GPU.
    """

    log: Path
    threads: int
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


_orders: Connection | None = None


def report(what: Any) -> None:
    """Tell the pool something about the job, before it ends; without a pool, nobody."""
    if _orders is not None:
        _orders.send(what)


def main(job: Callable[[], int], surroundings: Surroundings, orders: Connection) -> None:
    """Do `job` and exit with the code that it returns."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(surroundings.environment)
    surroundings.log.parent.mkdir(parents=True, exist_ok=True)
    with surroundings.log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    global _orders
    _orders = orders
    threading.Thread(target=_obey, args=(orders,), daemon=True).start()
    say_only_errors()
    import torch

    torch.set_num_threads(surroundings.threads)
    sys.exit(job())


def _obey(orders: Connection) -> None:
    """Stop when told to, or when the sweep is gone."""
    parent = parent_process()
    assert parent is not None
    wait([orders, parent.sentinel])
    ask_to_stop()
