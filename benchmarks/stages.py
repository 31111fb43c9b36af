"""`vae-run` with timers: the program as a user starts it, and the time of its stages.

    python benchmarks/stages.py FILE OVERRIDE ...

runs `vae-run OVERRIDE ...` and writes to FILE, as JSON, the seconds from the start of the process
(STARTED in the environment) to the first training step and to the end of training, the seconds of
each stage, the number of steps with the processor time at the end of the first and of the last, and
the peak resident memory when the imports were done and at the end, in MB.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

STARTED = float(os.environ.get("STARTED") or time.time())
STAGES = {
    "data": [("vae_run.tasks.train", "prepare")],
    "training": [("vae_run.tasks.train", "train")],
    "evaluation": [("vae_run.tasks.final_evaluation", "measure")],
    "figures": [
        ("vae_run.tasks.final_evaluation", name)
        for name in ("draw_all", "learning_curves", "write_pictures", "track_codes", "write_report")
    ],
}
"""Functions whose time is that of a stage; the rest, except for imports, is `closing`."""


def peak_mb() -> float:
    """Of this program alone; `getrusage` on Linux includes the peak of the parent process."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(lines["VmHWM"].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class Clock:
    """The times of one run and of its stages."""

    def __init__(self) -> None:
        self.found: dict[str, float] = dict.fromkeys(("import", *STAGES, "closing"), 0.0)

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            now = time.time()
            if stage == "data":
                self.found["import"] = now - STARTED
                self.found["imported_mb"] = peak_mb()
            try:
                return function(*args, **kwargs)
            finally:
                self.found[stage] += time.time() - now
                if stage == "training":
                    self.found["trained"] = time.time() - STARTED

        return timed

    def first_step(self, take: Callable[..., Any]) -> Callable[..., Any]:
        def taken(loop: Any, record: Any) -> Any:
            self.found.setdefault("first_step", time.time() - STARTED)
            self.found.setdefault("first_step_cpu", time.process_time())
            self.found["last_step_cpu"], self.found["steps"] = time.process_time(), record.step
            return take(loop, record)

        return taken


def main() -> None:
    from vae_run.cli import main

    file, words = Path(sys.argv[1]), sys.argv[2:]
    clock = Clock()
    original = main.import_module

    def watched(name: str, *rest: Any) -> Any:
        """Wrap the functions of the task's modules when the job imports them."""
        module = original(name, *rest)
        if name == "vae_run.tasks.train":
            for stage, places in STAGES.items():
                for place, function in places:
                    home = import_module(place)
                    setattr(home, function, clock.around(stage, getattr(home, function)))
            loop = import_module("vae_run.training.loop").Loop
            loop.take = clock.first_step(loop.take)
        return module

    main.import_module = watched
    code: Any = 0
    try:
        main.main(words)
    except SystemExit as error:
        code = error.code
    total = time.time() - STARTED
    known = sum(clock.found[name] for name in ("import", *STAGES))
    clock.found |= {"closing": total - known, "total": total, "peak_mb": peak_mb()}
    file.write_text(json.dumps(clock.found))
    sys.exit(code)


if __name__ == "__main__":
    main()
