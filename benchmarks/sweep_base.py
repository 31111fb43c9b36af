"""Sweeps of this checkout compared with those of another one, by processor time (Linux).

    git worktree add ../base REVISION
    python benchmarks/sweep_base.py ../base                  16 seeds x 20 epochs, each launcher
    python benchmarks/sweep_base.py ../base --runs 100 --epochs 1 --launchers local

Commands alternate, every other round in reverse order, and ratios are within a round. The time is
that of all processes, those that jobs are forked from and the jobs included: on a busy machine it
says more than the clock. The val ELBOs of a seed must agree, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Spread, machine, markdown

HERE = Path(__file__).resolve().parents[1]
SUBREAPER = 36
"""Option of Linux's prctl: processes whose parent has ended become this process's children."""
AGREE = 0.02
"""How far the val ELBO of a seed may be from that of the other checkout, as a share of it."""


def processor_seconds() -> float:
    """Of all children that have ended, when there are no others."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime


def sweep(checkout: Path, launcher: str, options: argparse.Namespace) -> tuple[float, list[float]]:
    """Processor seconds of a sweep by the code of `checkout`, and the val ELBO of each seed."""
    before = processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        words = [f"hydra/launcher={launcher}", f"seed=range({options.runs})", "sweep.dir=sweep"]
        words += [f"trainer.epochs={options.epochs}", "device=cpu", *options.words]
        command = [sys.executable, "-m", "vae_run", "-m", *words]
        places = {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile("w+") as log:
            ended = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **places},
                stdout=log,
                stderr=log,
                check=False,
            )
            if ended.returncode:
                log.seek(0)
                sys.exit(f"sweep_base.py: {' '.join(command)} failed:\n{log.read()[-2000:]}")
        used = processor_seconds() - before
        files = sorted(Path(folder, "sweep").glob("*/metrics.json"))
        found = [json.loads(file.read_text(encoding="utf-8"))["val"]["elbo"] for file in files]
    return used, found


def compared(launcher: str, options: argparse.Namespace) -> list[dict[str, str]]:
    """Rows of the table for one launcher."""
    taken: dict[Path, list[float]] = {HERE: [], options.base: []}
    for round_ in range(options.rounds):
        elbos = {}
        for checkout in list(taken) if round_ % 2 else reversed(list(taken)):
            used, elbos[checkout] = sweep(checkout, launcher, options)
            taken[checkout].append(used)
            print(f"  {launcher}, {checkout}: {used:.1f} s", file=sys.stderr, flush=True)
        own, base = elbos[HERE], elbos[options.base]
        far = [abs(a - b) > AGREE * abs(b) for a, b in zip(own, base, strict=True)]
        if any(far):
            sys.exit(f"sweep_base.py: val ELBOs differ: {own} here, {base} there")
    ratio = Spread.of_ratio(taken[HERE], taken[options.base]).text()
    each = {"here, s": taken[HERE], "base, s": taken[options.base]}
    rows = [
        {"what": f"{launcher}: {k}", "found": Spread.of(v).text(".1f")} for k, v in each.items()
    ]
    return [*rows, {"what": f"{launcher}: here / base", "found": ratio, "mark": "at most 0.6"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path, help="another checkout")
    parser.add_argument("words", nargs="*", help="further words of the command")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--launchers", nargs="+", default=["local", "vectorized"])
    options = parser.parse_args()
    options.base = options.base.resolve()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    about = machine(1)
    rows = [row for launcher in options.launchers for row in compared(launcher, options)]
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{options.runs} runs of {options.epochs} epochs, {options.rounds} rounds\n")
    print(markdown(("what", "found", "mark"), rows))


if __name__ == "__main__":
    main()
