"""Measurement of processes, and values with their spread."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    threads: int | None,
    folder: Path | None = None,
    added: Mapping[str, str] | None = None,
    *,
    core: int | None = None,
    sampled: bool = False,
) -> Finished:
    """Run a command to its end with STARTED, the time of its start, in its environment.

    Args:
        command: the program and its arguments.
        threads: OpenMP threads of the process; None leaves the choice to the program.
        folder: its working directory; None is the current one.
        added: further environment variables.
        core: the only processor core that the process may use; None is all of them.
        sampled: let `peak_mb` cover all its processes together where that is more (Linux).

    Raises:
        RuntimeError: it failed; the message holds the end of its output.
    """
    environment = {**os.environ, **(added or {})}
    environment.pop("OMP_NUM_THREADS", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # each start would compile all modules
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)

    with tempfile.TemporaryFile("w+") as log:
        started = time.time()
        environment["STARTED"] = str(started)
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=folder,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
        assert process.stdout is not None
        with _memory_of(process.pid, sampled) as together:
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.time() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            said = "\n".join((output + log.read()).strip().splitlines()[-15:])
            raise RuntimeError(f"this command failed: {' '.join(command)}\n{said}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    cpu = usage.ru_utime + usage.ru_stime
    return Finished(output, seconds, cpu, max(peak, *together))


@contextmanager
def _memory_of(pid: int, sampled: bool) -> Iterator[list[float]]:
    """Samples, in MB, of the memory of a process and its descendants together, every 50 ms.

    Pages that processes share are counted once (`Pss`).
    """
    found, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            found.append(sum(map(_pss_mb, [pid, *_descendants(pid)])))

    watcher = threading.Thread(target=watch, daemon=True)
    if sampled:
        watcher.start()
    try:
        yield found
    finally:
        ended.set()
        if sampled:
            watcher.join()


def _pss_mb(pid: int) -> float:
    """The proportional memory of one process in MB; 0 where it has ended or nothing tells it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def _descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in file.read_text().split()]
        except OSError:
            continue
        found += [one for child in children for one in (child, *_descendants(child))]
    return found


def script(name: str, *arguments: object) -> list[str]:
    """The command of a script in this folder."""
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def machine(threads: int) -> dict[str, str]:
    """The machine and the versions of packages."""
    lines = processor()
    cpu = lines.get("model name") or platform.processor() or platform.machine()
    found = {"cpu": cpu, "cores": str(os.cpu_count()), "threads": str(threads)}
    if lines:
        extensions = {"AVX2": "avx2", "AVX-512": "avx512f", "AMX bfloat16": "amx_bf16"}
        flags = lines.get("flags", "").split()
        found |= {name: "yes" if flag in flags else "no" for name, flag in extensions.items()}
    if hasattr(os, "getloadavg"):
        found["load before"] = f"{os.getloadavg()[0]:.2f}"
    found["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> dict[str, str]:
    """What Linux tells of the first processor core: `model name`, `flags` and others."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return {}
    first = file.read_text().split("\n\n")[0].splitlines()
    pairs = (line.split(":", 1) for line in first if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def bfloat16_here() -> bool:
    """Whether the processor multiplies bfloat16 itself (AMX or AVX-512)."""
    return bool({"amx_bf16", "avx512_bf16"} & set(processor().get("flags", "").split()))


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
