"""Restoration by denoising autoencoders compared with classical filters for each corruption.

Each row trains `vae-run model=dae corruption=...` and compares, on test images, the peak
signal-to-noise ratio of the reconstruction with that of the corrupted image itself, of the mean
training image, and of the classical filter (with options) that is best on training images. Prints
a Markdown table. MNIST is read from VAE_RUN_DATA; its digits are coloured with a hue that depends
on the digit, with some spread.
"""

from __future__ import annotations

import argparse
import colorsys
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filters import (
    Filter,
    Pairs,
    bicubic,
    deconvolution,
    filled,
    gaussian,
    keep_brightness,
    keep_intact,
    mean_around,
    median,
    none,
    recentred,
    sparing,
    tinted,
    unsharp,
    wiener,
)
from torch import Tensor

from vae_run import load
from vae_run.corruptions import Corruption
from vae_run.data.batches import evaluation_batches
from vae_run.data.datasets.mnist import MNIST
from vae_run.data.splits import Split
from vae_run.runs.run_directory import RunDirectory

FLOOR = 1 / (12 * 255**2)
"""Mean squared error of rounding to 8 bits: the least error of an image (58.9 dB)."""


def _same(seen: Tensor) -> Tensor:
    return seen


def eight_bits(seen: Tensor) -> Tensor:
    return (seen * 255).round() / 255


@dataclass(frozen=True)
class Task:
    """One row: a corruption, and the filters for it."""

    corruption: str
    level: float
    filters: dict[str, Filter]
    colour: bool = False
    inputs: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=lambda: {"": _same})
    """Conversions of the corrupted images for filters and model; one row each."""
    merge: tuple[str, Callable[[Tensor, Tensor], Tensor]] | None = None
    """A further row, in which intact pixels are kept: merge(restored, seen)."""


def psnr(images: Tensor, clean: Tensor) -> float:
    """Mean over the images of -10 log10 of the mean squared error, in dB."""
    error = (images.clamp(0, 1) - clean).square().flatten(1).mean(1).double()
    return float(-10 * error.clamp(min=FLOOR).log10().mean())


def table_of_tasks() -> list[Task]:
    """The corruptions at their levels, with the filters that fit them."""
    medians = {f"median {s} x {s}": median(s) for s in (3, 5, 7)}
    smooth = {f"Gaussian filter {s}": gaussian(s) for s in (0.7, 1.0, 1.4, 2.0)}
    brighter = {f"Gaussian filter {s} / 0.5": gaussian(s, 0.5) for s in (0.7, 1.0, 1.4)}
    maskers, peppers = medians | smooth | brighter, medians | smooth
    local = {f"Wiener {s} x {s}": wiener(0.5, s) for s in (3, 5, 7)}
    sharper = {f"unsharp mask {a}": unsharp(2.0, a) for a in (0.5, 1, 2, 4)}
    ratios = [10.0**-k for k in range(2, 15)]
    inverse = {f"Wiener deconvolution {k:.0e}": deconvolution(2.0, k) for k in ratios}
    fills = {
        "mean of the rest": mean_around,
        "harmonic fill": filled(1),
        "biharmonic fill": filled(2),
    }
    tints = {"one tint": tinted(False), "tint of the nearest digit": tinted(True)}

    return [
        Task("gaussian", 0.5, smooth | local),
        Task("masking", 0.5, maskers | sparing(lambda x: x > 0, maskers)),
        Task("salt_and_pepper", 0.5, peppers | sparing(lambda x: (x > 0) & (x < 1), peppers)),
        Task("inpainting", 0.5, fills, merge=("intact pixels kept", keep_intact)),
        Task("grayscale", 1.0, tints, colour=True, merge=("brightness kept", keep_brightness)),
        Task("downsample", 4, {"bicubic": bicubic(4)}),
        Task("patch_shuffle", 4, {"none": none}),
        Task(
            "blur",
            2.0,
            sharper | inverse,
            inputs={" as float32": _same, " in 8 bits": eight_bits},
        ),
        Task("affine", 1.0, {"recentred": recentred}),
    ]


def coloured(file: Path, spread: float) -> None:
    """MNIST in colours, 14 x 14, for dataset=arrays: hue digit / 10 and normal noise."""
    splits, draw = mnist().load(), np.random.default_rng(0)
    arrays = {}
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        assert split.labels is not None
        labels = split.labels.numpy()
        hues = (labels / 10 + spread * draw.standard_normal(len(labels))) % 1
        colours = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1.0) for hue in hues])
        grey = F.avg_pool2d(split.images.float(), 2).numpy()
        arrays[name] = (grey * colours[:, :, None, None] + 0.5).astype(np.uint8)
        arrays[f"{name}_labels"] = labels
    np.savez(file, **arrays)


def mnist() -> MNIST:
    root = os.environ.get("VAE_RUN_DATA")
    if not root:
        sys.exit("restoration.py: set VAE_RUN_DATA to the folder that holds MNIST/raw/")
    return MNIST(root=root)


def pairs(split: Split, corruption: Corruption, count: int) -> Pairs:
    """The first `count` images, corrupted as an evaluation corrupts them."""
    found = list(evaluation_batches(split, corruption, batch_size=1000, noise=(1, 1), limit=count))
    assert found[0].label is not None
    return Pairs(
        torch.cat([batch.target for batch in found]),
        torch.cat([batch.input for batch in found]),
        torch.cat([batch.label for batch in found if batch.label is not None]),
    )


def train(task: Task, folder: Path, arguments: argparse.Namespace, npz: Path) -> Path:
    """The run directory of a training by the program itself, as a user starts it."""
    run = folder / task.corruption
    data = ["dataset=arrays", f"dataset.path='{npz}'"] if task.colour else ["dataset=mnist"]
    overrides = ["model=dae", f"corruption={task.corruption}", *data]
    overrides += [f"corruption.level={task.level}", "evaluation.figures=[]"]
    overrides += [f"trainer.evaluate_every={arguments.epochs}"]
    overrides += [f"trainer.epochs={arguments.epochs}", *arguments.overrides]
    command = [sys.executable, "-m", "vae_run", *overrides, f"hydra.run.dir='{run}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"restoration.py: this command failed: {' '.join(command)}\n{done.stderr}")
    return run


def rows(task: Task, run: Path, count: int) -> list[str]:
    """The lines of the table for one trained task."""
    settings = RunDirectory.existing(str(run)).settings()
    splits, corruption = settings.build("dataset").load(), settings.build("corruption")
    fit, test = pairs(splits.train, corruption, 10_000), pairs(splits.test, corruption, count)
    model, level = load(run), settings.parts["corruption"]["level"]
    mean = psnr(fit.clean.mean(0, keepdim=True).expand_as(test.clean), test.clean)
    lines = []
    for way, change in task.inputs.items():
        learn, seen = replace(fit, seen=change(fit.seen)), change(test.seen)
        name = chosen(task.filters, learn)
        restored = torch.cat([model.reconstruct(part) for part in torch.split(seen, 1000)])
        found = {f"{task.corruption}{way}": restored}
        if task.merge is not None:
            found[f"{task.corruption}, {task.merge[0]}"] = task.merge[1](restored, seen)
        untouched = psnr(seen, test.clean)
        classical = psnr(task.filters[name](seen, learn), test.clean)
        for label, images in found.items():
            ours = psnr(images, test.clean)
            lines.append(
                f"| {label} | {level:g} | {untouched:.2f} | {mean:.2f} | {classical:.2f} ({name}) "
                f"| {ours:.2f} | {ours - max(untouched, mean, classical):+.2f} |"
            )
    return lines


def chosen(filters: dict[str, Filter], fit: Pairs, count: int = 1000) -> str:
    """The name of the filter that is best on the first `count` training images."""
    scores = {
        name: psnr(function(fit.seen[:count], fit), fit.clean[:count])
        for name, function in filters.items()
    }
    return max(scores, key=lambda name: scores[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hue-spread", type=float, default=0.06, help="of one digit's colours")
    parser.add_argument("--images", type=int, default=2000, help="test images to compare on")
    parser.add_argument("--only", nargs="*", help="corruptions to run; all by default")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=["latent_dim=128", "network.widths=[512]", "schedule=cosine", "optimizer.lr=4e-3"],
        help="further keys of vae-run, in place of: %(default)s",
    )
    arguments = parser.parse_args()
    print("| corruption | level | corrupted | mean image | best filter | DAE | DAE - best |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coloured(folder / "coloured.npz", arguments.hue_spread)
        for task in table_of_tasks():
            if arguments.only and task.corruption not in arguments.only:
                continue
            start = time.perf_counter()
            run = train(task, folder, arguments, folder / "coloured.npz")
            seconds[task.corruption] = time.perf_counter() - start
            print(*rows(task, run, arguments.images), sep="\n", flush=True)
    print(
        f"\nPSNR in dB (higher is better) over {arguments.images} test images; "
        f"{arguments.epochs} epochs, {' '.join(arguments.overrides)}; "
        f"{max(seconds.values(), default=0):.0f} s at most for a training."
    )


if __name__ == "__main__":
    main()
