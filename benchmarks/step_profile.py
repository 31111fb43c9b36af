"""What a training step spends its time on, by eager steps and by a compiled one.

    python benchmarks/step_profile.py [--steps 200] [--rounds 5]

prints a Markdown table of milliseconds a step, in one thread: the VAE 784-400-20 of the other
benchmarks, batches of 128. The whole step is timed without the profiler, in turns of both; the
shares of operations are torch's profiler's. A compiled step's operations besides products are
fused into kernels that the profiler does not tell apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import TrainingBatches
from vae_run.data.splits import Split
from vae_run.models.build import build_model
from vae_run.system.denormals import denormals_flushed
from vae_run.training.compiled_steps import CompiledSteps
from vae_run.training.meter import Meter
from vae_run.training.step import StepRecord, fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from parts import composed  # composes conf/ without Hydra

PARTS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "optimiser": ("aten::_fused_adam_",),
    "batch: copy rows, scale": ("aten::index_select", "aten::_to_copy", "aten::copy_"),
    "norm of the gradients, and whether they are finite": (
        "aten::_foreach_norm",
        "aten::linalg_vector_norm",
        "aten::isfinite",
        "aten::stack",
    ),
}
OTHERS = "other passes over pixels, activations and weights"
BETWEEN = "between operations: Python, autograd, calls"


def steps(compiled: bool) -> Iterator[StepRecord]:
    """Endless steps, on images of the size and number of MNIST's."""
    settings = check(composed("network.widths=[400]", "latent_dim=20"))
    torch.manual_seed(0)
    model = build_model(settings, (1, 28, 28)).train()
    images = torch.randint(0, 256, (54_000, 1, 28, 28), dtype=torch.uint8)
    batches = TrainingBatches(
        Split(images, scale=255.0), NoCorruption(), batch_size=128, noise=(1, 20), seed=0
    )
    optimizer = settings.build("optimizer", params=list(model.parameters()))
    objective, schedule = settings.build("objective"), settings.build("schedule")
    schedule.horizon = 1.0
    return fit(
        model,
        objective,
        batches,
        optimizer,
        schedule,
        step=0,
        clip_norm=None,
        precision=nullcontext(),
        through=CompiledSteps if compiled else lambda eager: eager,
    )


def taken(records: Iterator[StepRecord], count: int) -> float:
    """Milliseconds of processor time of each of `count` steps."""
    meter, started = Meter(), time.process_time()
    for _ in range(count):
        meter.add(next(records))
    meter.window()
    return (time.process_time() - started) / count * 1e3


def by_part(records: Iterator[StepRecord], count: int) -> dict[str, float]:
    """Milliseconds of a step that operations of each part take, and all others."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        taken(records, count)
    own = {event.key: event.self_cpu_time_total / count / 1e3 for event in found.key_averages()}
    own = {name: value for name, value in own.items() if name.startswith("aten::")}
    parts = {name: sum(own.pop(one, 0.0) for one in names) for name, names in PARTS.items()}
    return {**parts, OTHERS: sum(own.values())}


def table(whole: dict[str, float], parts: dict[str, dict[str, float]]) -> str:
    """The rows of both kinds of steps, in Markdown."""
    lines = ["| part | eager, ms | compiled, ms |", "| --- | ---: | ---: |"]
    products = "matrix products"
    lines += [f"| whole step | {whole['eager']:.2f} | {whole['compiled']:.2f} |"]
    eager, own = parts["eager"], parts["compiled"][products]
    lines += [f"| {products} | {eager[products]:.2f} | {own:.2f} |"]
    rest = whole["eager"] - eager[products], whole["compiled"] - own
    lines += [f"| all else | {rest[0]:.2f} | {rest[1]:.2f} |"]
    lines += [f"| - {name} | {value:.2f} | |" for name, value in eager.items() if name != products]
    return "\n".join([*lines, f"| - {BETWEEN} | {whole['eager'] - sum(eager.values()):.2f} | |"])


def main() -> None:
    parser = argparse.ArgumentParser(description="What a training step spends its time on.")
    parser.add_argument("--steps", type=int, default=200, help="of each measurement (200)")
    parser.add_argument("--rounds", type=int, default=5, help="of both kinds in turn (5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with denormals_flushed():
        kinds = {"eager": steps(False), "compiled": steps(True)}
        for records in kinds.values():
            taken(records, 50)
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(arguments.rounds):
            for name, records in kinds.items():
                found[name].append(taken(records, arguments.steps))
        parts = {name: by_part(records, arguments.steps) for name, records in kinds.items()}
    print(table({name: statistics.median(values) for name, values in found.items()}, parts))


if __name__ == "__main__":
    main()
