"""vae-run beside the usual tutorial loop, the same recipe written plainly, and the bare products.

Every measurement is a process of its own; the contestants take turns, and every other round runs in
reverse, so that a machine that grows busier or warmer favours none. Speeds are training alone:
start-up, evaluation and figures stay outside the clock. Ratios are taken within a round; medians
over the rounds are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
Measurement = dict[str, float]  # examples_per_second, peak_mb


def run(command: list[str], threads: int) -> tuple[str, float]:
    """Standard output of a command and its peak resident memory in MB; exits if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit(f"speed.py: this command failed: {' '.join(command)}\n{output}{log.read()}")
    return output, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def script(name: str, *arguments: str) -> Callable[[int], Measurement]:
    """A contestant that is a file beside this one and prints its result as one line of JSON."""

    def measure(threads: int) -> Measurement:
        output, peak = run([sys.executable, str(HERE / name), *arguments], threads)
        return {"examples_per_second": json.loads(output)["examples_per_second"], "peak_mb": peak}

    return measure


def vae_run(root: Path, epochs: int) -> Callable[[int], Measurement]:
    """The program itself, as a user starts it."""

    def measure(threads: int) -> Measurement:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder, "run")
            overrides = ["experiment=mnist_quick", f"trainer.epochs={epochs}", "device=cpu"]
            overrides += [f"dataset.root='{root}'", f"hydra.run.dir='{run_dir}'"]
            _, peak = run([sys.executable, "-m", "vae_run", *overrides], threads)
            training = json.loads((run_dir / "metrics.json").read_text())["train"]
        return {"examples_per_second": training["examples_per_second"], "peak_mb": peak}

    return measure


def data_root() -> Path:
    """Where MNIST lies: VAE_RUN_DATA, or shared/data beside the checkout."""
    root = Path(os.environ.get("VAE_RUN_DATA") or HERE.parents[1] / "shared" / "data").resolve()
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        sys.exit(
            f"speed.py: no MNIST in {root}: set VAE_RUN_DATA to the folder that holds MNIST/raw/ "
            "with the four unpacked idx files (train-images-idx3-ubyte, ...)."
        )
    return root


def machine(threads: int) -> dict[str, str]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu
        )
    versions = {name: version(name) for name in ("torch", "torchvision", "vae-run")}
    return {"cpu": cpu, "threads": str(threads), "python": platform.python_version(), **versions}


def summary(rounds: list[dict[str, Measurement]], base: str) -> dict[str, Measurement]:
    """Medians and spread of each contestant, and its median ratio to `base` within a round."""
    rows: dict[str, Measurement] = {}
    for name in rounds[0]:
        speeds = [row[name]["examples_per_second"] for row in rounds]
        ratios = [
            row[name]["examples_per_second"] / row[base]["examples_per_second"] for row in rounds
        ]
        rows[name] = {
            "examples_per_second": statistics.median(speeds),
            "lowest": min(speeds),
            "highest": max(speeds),
            "ratio": statistics.median(ratios),
            "ratio_lowest": min(ratios),
            "ratio_highest": max(ratios),
            "peak_mb": max(row[name]["peak_mb"] for row in rounds),
        }
    return rows


def table(rows: dict[str, Measurement]) -> str:
    """The summary as a Markdown table."""
    lines = ["| what | images/s | lowest - highest | ratio (lowest - highest) | peak memory, MB |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, row in rows.items():
        speed = f"{row['examples_per_second']:,.0f}"
        speeds = f"{row['lowest']:,.0f} - {row['highest']:,.0f}"
        ratio = f"{row['ratio']:.2f} ({row['ratio_lowest']:.2f} - {row['ratio_highest']:.2f})"
        lines.append(f"| {name} | {speed} | {speeds} | {ratio} | {row['peak_mb']:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="times that every contestant runs (5)"
    )
    parser.add_argument(
        "--epochs", type=int, default=2, help="epochs of vae-run and of the plain recipe (2)"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of each (all)"
    )
    parser.add_argument(
        "--output", type=Path, default=HERE.parent / "outputs" / "speed.json", help="JSON file"
    )
    arguments = parser.parse_args()
    root, epochs = data_root(), arguments.epochs

    contestants = {
        "tutorial": script("tutorial.py", str(root), "--steps", "400"),
        "plain recipe, data in memory": script(
            "plain_recipe.py", str(root), "--seeds", "0", "--epochs", str(epochs)
        ),
        "vae-run": vae_run(root, epochs),
        "matrix products alone": script("floor.py"),
    }
    rounds: list[dict[str, Measurement]] = []
    for number in range(arguments.rounds):
        order = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        results = {name: contestants[name](arguments.threads) for name in order}
        rounds.append({name: results[name] for name in contestants})
        speeds = ", ".join(
            f"{name} {row['examples_per_second']:,.0f}" for name, row in rounds[-1].items()
        )
        print(
            f"round {number + 1} of {arguments.rounds}: {speeds} images/s",
            file=sys.stderr,
            flush=True,
        )

    rows, where = summary(rounds, base="tutorial"), machine(arguments.threads)
    print(f"\n{', '.join(f'{name} {value}' for name, value in where.items())}\n")
    print(
        "VAE 784-400-20-400-784 on MNIST, float32, batch 128; "
        f"{arguments.rounds} rounds.\n\n{table(rows)}"
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": where, "summary": rows, "rounds": rounds}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
