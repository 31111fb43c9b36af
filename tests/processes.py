"""A sweep in a process of its own, and processes by descent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SMALL = ("device=cpu", "network.widths=[8]", "evaluation.figures=[]", "trainer.log_every=5")


class Sweep:
    """`vae-run -m ...`, always with `words`, in a process of its own, and its folder."""

    def __init__(self, place: Path, environment: dict[str, str], *words: str) -> None:
        self.place, self.environment, self.folder = place, environment, place / "s"
        self.words = (*SMALL, *words)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        options = [word for word in words if word.startswith("--")]
        typed = [*self.words, "sweep.dir=s", *(word for word in words if word not in options)]
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-m", "vae_run", "-m", *options, *typed],
                cwd=self.place,
                env=self.environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return self.started[-1]

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    def run_here(self, vae_run: Callable[..., Any], *words: str) -> tuple[int, str]:
        """The same in this process, whose workers have imported what jobs need."""
        finished = vae_run("-m", *self.words, "sweep.dir=s", *words, cwd=self.place)
        return finished.code, finished.said

    def ledger(self) -> dict[str, dict]:
        jobs = json.loads((self.folder / "ledger.json").read_text(encoding="utf-8"))["jobs"]
        return {entry["directory"]: entry for entry in jobs.values()}

    def states(self) -> list[str]:
        return [entry["state"] for entry in self.ledger().values()]

    def status(self, directory: str) -> dict:
        with suppress(FileNotFoundError):
            return json.loads((self.folder / directory / "status.json").read_text(encoding="utf-8"))
        return {}

    def log(self, directory: str) -> str:
        return (self.folder / directory / "train.log").read_text(encoding="utf-8")

    def training(self) -> list[str]:
        """The directories of the jobs that have made a step."""
        found = [path.parent.name for path in self.folder.glob("*/status.json")]
        return [one for one in found if self.is_training(one)]

    def is_training(self, *directories: str) -> bool:
        """Whether each job has made a step."""
        return all(
            self.status(one).get("state") == "running" and self.status(one).get("step", 0) > 0
            for one in directories
        )


def until(true: Callable[[], object], seconds: float = 180.0) -> None:
    """Wait until `true()` is."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come to that"
        time.sleep(0.1)


def descendants(pid: int) -> set[int]:
    """The processes below `pid`, as the kernel tells."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Those of `pids` that are processes, and no zombies."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rsplit(")", 1)[1].split()[0] != "Z":
                found.add(pid)
    return found


def end(pid: int) -> None:
    """Kill a process and all below it, as a power failure would."""
    for one in (pid, *descendants(pid)):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
