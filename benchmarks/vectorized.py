"""Runs trained as one batched model compared with the same runs in separate processes.

    python benchmarks/vectorized.py                     16 seeds of the digits VAE, on the CPU
    python benchmarks/vectorized.py --gpu --root ROOT   64 runs of the MNIST VAE, on a GPU

On the CPU the local launcher is started with each number of `--jobs`, and the fastest of a round
counts. On a GPU the comparison is with sequential runs: `--alone` runs are measured, and the others
assumed to take as long. Commands alternate, every other round in reverse order; ratios are within a
round. The metrics of a seed must agree, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import Spread, machine, markdown, run

DIGITS = ("device=cpu",)
MNIST = ("experiment=mnist_quick", "device=cuda")
AGREE = 0.02
"""How far the val ELBO of a seed may be from that of the same seed alone, as a share of it."""


@dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    Attributes:
        seconds: from the start of the command to its end.
        speed: images a second of all its runs in training.
        elbos: on val, by seed.
    """

    seconds: float
    speed: float
    elbos: list[float]


def sweep(launcher: str, runs: int, epochs: int, words: tuple[str, ...]) -> Sweep:
    """The command `vae-run -m` with `launcher` over `runs` seeds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vae_run", "-m", f"hydra/launcher={launcher}", *words]
        command += [f"seed=range({runs})", f"trainer.epochs={epochs}", "sweep.dir=sweep"]
        finished = run(command, threads=os.cpu_count() or 1, folder=Path(folder))
        found = [
            json.loads(file.read_text(encoding="utf-8"))
            for file in sorted(Path(folder, "sweep").glob("*/metrics.json"))
        ]
    if len(found) != runs:
        sys.exit(f"vectorized.py: {len(found)} of {runs} runs of {launcher} were completed")
    trained = [
        (one["train"]["train_seconds"], one["train"]["examples_per_second"]) for one in found
    ]
    images = sum(seconds * speed for seconds, speed in trained)
    speed = images / sum(seconds for seconds, _ in trained)
    return Sweep(finished.seconds, speed, [one["val"]["elbo"] for one in found])


def check(one: Sweep, other: Sweep) -> None:
    """Leave where the same seeds came to different figures."""
    for seed, (own, expected) in enumerate(zip(one.elbos, other.elbos, strict=False)):
        if abs(own - expected) > AGREE * abs(expected):
            sys.exit(f"vectorized.py: seed {seed} has a val ELBO of {own}, alone of {expected}")


def on_the_cpu(options: argparse.Namespace) -> list[dict[str, str]]:
    """Whole commands of each launcher, and their ratio."""
    names = [f"local, {jobs} jobs" for jobs in options.jobs] + ["vectorized"]
    taken: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(options.rounds):
        found = {}
        for name in names if round_ % 2 == 0 else reversed(names):
            kind, _, jobs = name.partition(", ")
            words = (f"hydra.launcher.jobs={jobs.split()[0]}",) if jobs else ()
            found[name] = sweep(kind, options.runs, options.epochs, (*DIGITS, *words))
            taken[name].append(found[name].seconds)
            print(f"  {name}: {found[name].seconds:.1f} s", file=sys.stderr, flush=True)
        check(found["vectorized"], found[names[0]])
    best = [min(taken[name][i] for name in names[:-1]) for i in range(options.rounds)]
    rows = [{"what": f"{name}, s", "found": Spread.of(taken[name]).text(".1f")} for name in names]
    ratio = Spread.of_ratio(best, taken["vectorized"])
    told = {"what": "best local / vectorized", "found": ratio.text(), "mark": "at least 1"}
    return [*rows, told]


def on_a_gpu(options: argparse.Namespace) -> list[dict[str, str]]:
    """Many runs at once beside a few one after another."""
    words = (*MNIST, f"dataset.root={options.root}")
    alone, together = [], []
    for _ in range(options.rounds):
        one = sweep("local", options.alone, options.epochs, (*words, "hydra.launcher.jobs=1"))
        many = sweep("vectorized", options.runs, options.epochs, words)
        check(one, many)
        alone.append(one)
        together.append(many)
        print(f"  {one} {many}", file=sys.stderr, flush=True)
    scale = options.runs / options.alone
    ratio = [a.seconds * scale / t.seconds for a, t in zip(alone, together, strict=True)]
    speeds = [t.speed for t in together]
    training = [t.speed / a.speed for a, t in zip(alone, together, strict=True)]
    return [
        {
            "what": "images/s together",
            "found": Spread.of(speeds).text(",.0f"),
            "mark": "15,000,000",
        },
        {"what": "training: together / alone", "found": Spread.of(training).text()},
        {"what": "one after another / together", "found": Spread.of(ratio).text(), "mark": "20"},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gpu", action="store_true", help="the comparison on a GPU")
    parser.add_argument("--root", default=os.environ.get("VAE_RUN_DATA"), help="where MNIST lies")
    parser.add_argument("--runs", type=int, help="16, or with --gpu 64")
    parser.add_argument("--epochs", type=int, help="20, or with --gpu 50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", type=int, default=2, help="runs one after another, with --gpu")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=int, nargs="+", default=[cores], help="of the local launcher"
    )
    options = parser.parse_args()
    options.runs = options.runs or (64 if options.gpu else 16)
    options.epochs = options.epochs or (50 if options.gpu else 20)
    if options.gpu and not options.root:
        parser.error("--gpu needs --root, or VAE_RUN_DATA, the folder that holds MNIST/raw/")
    about = machine(cores)
    rows = on_a_gpu(options) if options.gpu else on_the_cpu(options)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{options.runs} runs of {options.epochs} epochs, {options.rounds} rounds\n")
    print(markdown(("what", "found", "mark"), rows))


if __name__ == "__main__":
    main()
