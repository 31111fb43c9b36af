"""Test log-likelihoods of several runs on the same images, each compared with the previous one.

    python benchmarks/iwae.py RUN RUN ... [--samples K] [--images N]

Prints a Markdown table: each run's negative log-likelihood in nats (importance sampling from its
best checkpoint, an upper bound in expectation), and its difference to the previous run: the
mean over images, with its standard error.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import torch
from torch import Tensor

from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics.log_likelihood import each_image
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.checkpoint_evaluation import use_checkpoint
from vae_run.training.experiment import assemble


def log_likelihoods(path: str, samples: int, images: int | None) -> tuple[Tensor, float]:
    """The bound of every test image in nats [N], and the mean effective sample size."""
    run = RunDirectory.existing(path)
    experiment = assemble(run.settings(), torch.device("cpu"))
    epoch = use_checkpoint(experiment, run, "best")
    view = experiment.view(experiment.splits.test, epoch)
    with evaluating(experiment.model):
        view = replace(view, importance_samples=samples, limit=images)
        values, sizes = each_image(view)
    return values, sizes.mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, worst first")
    parser.add_argument("--samples", type=int, default=500, help="K, codes an image (500)")
    parser.add_argument("--images", type=int, help="the first N test images (all)")
    arguments = parser.parse_args()
    print("| run | -log p(x), nats | below the run before, nats | effective samples |")
    print("| --- | ---: | ---: | ---: |")
    before: Tensor | None = None
    for path in arguments.runs:
        values, size = log_likelihoods(path, arguments.samples, arguments.images)
        gain = "" if before is None else plus_minus(values - before)
        print(f"| {path} | {plus_minus(-values)} | {gain} | {size:.1f} |", flush=True)
        before = values


def plus_minus(values: Tensor) -> str:
    """Mean and its standard error."""
    return f"{values.mean():.2f} ± {values.std() / math.sqrt(len(values)):.2f}"


if __name__ == "__main__":
    main()
