"""Measurement of processes, and values with their spread."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "vae-run",
    "torch",
    "torchvision",
    "numpy",
    "pythae",
    "autoencoders",
    "lightning",
    "jax",
)


@dataclass(frozen=True)
class Finished:
    """The output of a command, and the resources that it used.

    Attributes:
        output: its standard output.
        seconds: from its start to its end.
        cpu_seconds: user and system time of the process and of its children that have ended.
        peak_mb: its peak resident memory, of the largest of its processes; on Linux at least that
            of the process that starts it.
    """

    output: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(
    command: Sequence[str],
    threads: int,
    folder: Path | None = None,
    added: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command to its end with STARTED, the time of its start, in its environment.

    Args:
        command: the program and its arguments.
        threads: OpenMP threads of the process.
        folder: its working directory; None is the current one.
        added: further environment variables.

    Raises:
        RuntimeError: it failed; the message holds the end of its output.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **(added or {})}
    with tempfile.TemporaryFile("w+") as log:
        started = time.time()
        environment["STARTED"] = str(started)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=folder
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.time() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            said = "\n".join((output + log.read()).strip().splitlines()[-15:])
            raise RuntimeError(f"this command failed: {' '.join(command)}\n{said}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Finished(output, seconds, usage.ru_utime + usage.ru_stime, peak)


def script(name: str, *arguments: object) -> list[str]:
    """The command of a script in this folder."""
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def machine(threads: int) -> dict[str, str]:
    """The machine and the versions of packages."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    found = {"cpu": cpu, "cores": str(os.cpu_count()), "threads": str(threads)}
    if hasattr(os, "getloadavg"):
        found["load before"] = f"{os.getloadavg()[0]:.2f}"
    found["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Spread:
    """The median of some values, and their range."""

    median: float
    lowest: float
    highest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))

    @classmethod
    def of_ratio(cls, above: Sequence[float], below: Sequence[float]) -> Spread:
        """The spread of the ratios within each round."""
        return cls.of([a / b for a, b in zip(above, below, strict=True)])

    def text(self, digits: str = ".2f") -> str:
        low, high = format(self.lowest, digits), format(self.highest, digits)
        middle = format(self.median, digits)
        return middle if self.count == 1 else f"{middle} ({low} - {high})"


def markdown(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows]
    return "\n".join(lines)
