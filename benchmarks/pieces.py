"""Training of a conv network compared with its arithmetic alone.

    python benchmarks/pieces.py

prints one line of JSON: seconds of steps and of their arithmetic alone, alternately, one pair per
round.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import TrainingBatches
from vae_run.data.splits import Split
from vae_run.models.build import build_model
from vae_run.training.meter import Meter
from vae_run.training.step import fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from parts import composed  # composes conf/ without Hydra

Pair = tuple[Callable[[], object], Callable[[], object]]


def conv() -> Pair:
    """Steps of a conv network on images of CIFAR's shape; forward and backward of one batch."""
    settings = check(composed("network=conv", "likelihood=gaussian", "latent_dim=64"))
    torch.manual_seed(0)
    model = build_model(settings, (3, 32, 32)).train()
    split = Split(torch.randint(0, 256, (2560, 3, 32, 32), dtype=torch.uint8), scale=255.0)
    batches = TrainingBatches(split, NoCorruption(), batch_size=128, noise=(1, 64), seed=0)
    optimizer = settings.build("optimizer", params=list(model.parameters()))
    objective, schedule, meter = settings.build("objective"), settings.build("schedule"), Meter()
    how: dict[str, Any] = {"step": 0, "clip_norm": None, "precision": nullcontext()}
    records = fit(model, objective, batches, optimizer, schedule, **how)
    batch = batches.next()

    def alone() -> None:
        for _ in range(5):
            for parameter in model.parameters():
                parameter.grad = None
            objective(model, batch, 0.0)["loss"].mean().backward()

    def whole() -> None:
        for _ in range(5):
            meter.add(next(records))
        meter.window()

    return alone, whole


def main() -> None:
    alone, whole = conv()
    alone(), whole()
    seconds: dict[str, list[float]] = {"alone": [], "whole": []}
    for _ in range(7):
        for name, work in (("alone", alone), ("whole", whole)):
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
