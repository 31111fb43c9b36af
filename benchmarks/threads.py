"""Milliseconds of a training step by the number of threads, for networks of rising arithmetic.

    python benchmarks/threads.py [--threads 1 2] [--rounds 40]

The numbers of threads take turns, five steps each. Printed are the fastest step, which other
programs on the machine disturb least, the median, and the number of threads that a training takes
by itself on this machine (`vae_run.training.threads`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import TrainingBatches
from vae_run.data.splits import Split
from vae_run.models.build import build_model
from vae_run.system.denormals import denormals_flushed
from vae_run.training.step import fit
from vae_run.training.threads import by_arithmetic, flops_a_thread, step_flops

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from parts import composed  # composes conf/ without Hydra

BATCH = 128
STEPS = 5
NETWORKS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "digits 64-512-256-16": ((1, 8, 8), ("latent_dim=16",)),
    "digits, conv": ((1, 8, 8), ("latent_dim=16", "network=conv")),
    "MNIST 784-400-20": ((1, 28, 28), ("latent_dim=20", "network.widths=[400]")),
    "MNIST 784-512-256-16": ((1, 28, 28), ("latent_dim=16",)),
    "MNIST 784-1000-1000-20": ((1, 28, 28), ("latent_dim=20", "network.widths=[1000,1000]")),
    "MNIST, conv": ((1, 28, 28), ("latent_dim=20", "network=conv")),
    "3x32x32, conv": ((3, 32, 32), ("latent_dim=64", "network=conv", "likelihood=gaussian")),
}
"""By name: the shape of an image, and the words that choose the network."""


def steps(shape: tuple[int, ...], words: tuple[str, ...]) -> tuple[float, Iterator[Any]]:
    """FLOPs of a step, and endless steps on random images."""
    settings = check(composed(*words))
    torch.manual_seed(0)
    model = build_model(settings, shape).train()
    split = Split(torch.randint(0, 256, (2560, *shape), dtype=torch.uint8), scale=255.0)
    size = settings.fixed.latent_dim
    batches = TrainingBatches(split, NoCorruption(), batch_size=BATCH, noise=(1, size), seed=0)
    optimizer = settings.build("optimizer", params=list(model.parameters()))
    how: dict[str, Any] = {"step": 0, "clip_norm": None, "precision": nullcontext()}
    objective, schedule = settings.build("objective"), settings.build("schedule")
    flops = step_flops(model, split.images[:1].float(), latent_dim=size, samples=1, images=BATCH)
    return flops, fit(model, objective, batches, optimizer, schedule, **how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    print(
        "| network | GFLOP a step | "
        + " | ".join(f"{n} threads, ms" for n in arguments.threads)
        + " | by itself |"
    )
    granted = torch.get_num_threads()
    for name, (shape, words) in NETWORKS.items():
        flops, records = steps(shape, words)
        found: dict[int, list[float]] = {n: [] for n in arguments.threads}
        for _ in range(arguments.rounds):
            for threads, times in found.items():
                torch.set_num_threads(threads)
                next(records)
                for _ in range(STEPS):
                    started = time.perf_counter()
                    next(records)
                    times.append((time.perf_counter() - started) * 1e3)
        cells = (f"{min(times):.2f} ({statistics.median(times):.2f})" for times in found.values())
        itself = by_arithmetic(flops, granted, flops_a_thread())
        print(f"| {name} | {flops / 1e9:.2f} | {' | '.join(cells)} | {itself} |", flush=True)


if __name__ == "__main__":
    with denormals_flushed():
        main()
