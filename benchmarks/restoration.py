"""Restoration by denoising autoencoders beside the classical filter that fits each corruption.

Each row trains `vae-run model=dae corruption=...` and compares, on test images, the peak
signal-to-noise ratio of the reconstruction with that of the corrupted image as it is, of the mean
training image, and of classical filters, the best of which (options included) is chosen on training
images. Prints a Markdown table. MNIST is read from VAE_RUN_DATA; colours are given to its digits
here: a hue that follows the digit, with some spread.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from vae_run import load
from vae_run.corruptions import Corruption, Grayscale
from vae_run.data.batches import evaluation_batches
from vae_run.data.datasets.mnist import MNIST
from vae_run.data.splits import Split
from vae_run.runs.run_directory import RunDirectory

FLOOR = 1 / (12 * 255**2)
"""Mean squared error of rounding to 8 bits: no image counts as nearer than that (58.9 dB)."""


@dataclass(frozen=True)
class Pairs:
    """Clean images of a split, the same corrupted, and their labels."""

    clean: Tensor
    seen: Tensor
    label: Tensor


Filter = Callable[[Tensor, Pairs], Tensor]
"""Restores images; may learn from the training pairs."""


def _same(seen: Tensor) -> Tensor:
    return seen


def eight_bits(seen: Tensor) -> Tensor:
    return (seen * 255).round() / 255


@dataclass(frozen=True)
class Task:
    """One row: a corruption, what is trained against it, and the filters that fit it."""

    corruption: str
    level: float
    filters: dict[str, Filter]
    colour: bool = False
    inputs: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=lambda: {"": _same})
    """Ways in which the corrupted images reach both; a row for each."""
    merge: tuple[str, Callable[[Tensor, Tensor], Tensor]] | None = None
    """One more row: what is known to be intact, kept: merge(restored, seen)."""


def psnr(images: Tensor, clean: Tensor) -> float:
    """Mean over the images of -10 log10 of the mean squared error, in dB."""
    error = (images.clamp(0, 1) - clean).square().flatten(1).mean(1).double()
    return float(-10 * error.clamp(min=FLOOR).log10().mean())


# Filters


def of_planes(function: Callable[..., Any], seen: Tensor, _: Pairs, **options: Any) -> Tensor:
    """A filter of scipy.ndimage on every image and channel."""
    return torch.from_numpy(function(seen.numpy(), **options))


def gaussian(sigma: float, share: float = 1.0) -> Filter:
    """A Gaussian filter; `share` is what is left of the brightness, and made up for."""
    found = partial(of_planes, ndimage.gaussian_filter, sigma=(0, 0, sigma, sigma))
    return lambda seen, fit: found(seen, fit) / share


def sparing(intact: Callable[[Tensor], Tensor], filters: dict[str, Filter]) -> dict[str, Filter]:
    """The same filters, applied to the other pixels alone."""

    def spared(restore: Filter) -> Filter:
        return lambda seen, fit: torch.where(intact(seen), seen, restore(seen, fit))

    return {f"{name}, grey kept": spared(restore) for name, restore in filters.items()}


def median(side: int) -> Filter:
    return partial(of_planes, ndimage.median_filter, size=(1, 1, side, side))


def wiener(noise: float, side: int) -> Filter:
    """Lee's local Wiener filter for noise of standard deviation `noise`."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        mean = F.avg_pool2d(seen, side, 1, side // 2, count_include_pad=False)
        square = F.avg_pool2d(seen.square(), side, 1, side // 2, count_include_pad=False)
        variance = square - mean.square()
        gain = (1 - noise**2 / variance.clamp(min=1e-6)).clamp(min=0)
        return mean + gain * (seen - mean)

    return restore


def bicubic(side: int) -> Filter:
    def restore(seen: Tensor, _: Pairs) -> Tensor:
        small = seen[..., ::side, ::side]
        return F.interpolate(small, seen.shape[2:], mode="bicubic", align_corners=False)

    return restore


def unsharp(sigma: float, amount: float) -> Filter:
    smooth = gaussian(sigma)
    return lambda seen, fit: seen + amount * (seen - smooth(seen, fit))


def deconvolution(sigma: float, ratio: float) -> Filter:
    """Wiener's, edges included: the blur's inverse, where noise is the share `ratio` of power."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        parts = []
        for n in seen.shape[2:]:
            matrix = ndimage.gaussian_filter1d(np.eye(n), sigma, axis=0, mode="nearest")
            parts.append([torch.from_numpy(part) for part in np.linalg.svd(matrix)])
        (u, s, vh), (u2, s2, vh2) = parts
        values = s[:, None] * s2
        inner = u.T @ seen.double() @ u2 * (values / (values**2 + ratio))
        return (vh.T @ inner @ vh2).float()

    return restore


def intact(seen: Tensor) -> Tensor:
    """Which pixels lie in no block: 8-bit data never hold its value."""
    return seen != 0.5


def filled(power: int) -> Filter:
    """The block's pixels solve Laplace's equation, or with `power` 2 the biharmonic one."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        height, width = seen.shape[2:]
        paths = [
            np.diag(np.r_[1, 2 * np.ones(n - 2), 1]) - np.eye(n, k=1) - np.eye(n, k=-1)
            for n in (height, width)
        ]
        laplace = np.kron(paths[0], np.eye(width)) + np.kron(np.eye(height), paths[1])
        matrix = np.linalg.matrix_power(laplace, power)
        images = seen.flatten(1).double().numpy()
        masks, member = np.unique(intact(seen).flatten(1).numpy(), axis=0, return_inverse=True)
        for i, known in enumerate(masks):
            rows = np.flatnonzero(member.reshape(-1) == i)
            right = -matrix[np.ix_(~known, known)] @ images[np.ix_(rows, known)].T
            inside = np.linalg.solve(matrix[np.ix_(~known, ~known)], right)
            images[np.ix_(rows, ~known)] = inside.T
        return torch.from_numpy(images).float().reshape(seen.shape)

    return restore


def keep_intact(restored: Tensor, seen: Tensor) -> Tensor:
    return torch.where(intact(seen), seen, restored)


def keep_brightness(restored: Tensor, seen: Tensor) -> Tensor:
    return restored + seen - Grayscale().apply(restored, None)


def mean_around(seen: Tensor, _: Pairs) -> Tensor:
    """The block gets the mean of the image's other pixels."""
    known = intact(seen)
    kept = (seen * known).sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True)
    return torch.where(known, seen, kept)


def tinted(by_digit: bool) -> Filter:
    """Grey times the mean colour: of all digits, or of the digit whose mean image is nearest."""

    def restore(seen: Tensor, fit: Pairs) -> Tensor:
        label = fit.label if by_digit else torch.zeros_like(fit.label)
        kinds = torch.unique(label)
        means = torch.stack([fit.seen[label == k].mean(0) for k in kinds]).flatten(1)
        colours = torch.stack(
            [
                (fit.clean * fit.seen)[label == k].sum((0, 2, 3))
                / fit.seen[label == k].square().sum((0, 2, 3))
                for k in kinds
            ]
        )
        nearest = torch.cdist(seen.flatten(1), means).argmin(1)
        return seen * colours[nearest][:, :, None, None]

    return restore


def recentred(seen: Tensor, fit: Pairs) -> Tensor:
    """The centre of mass is put where it lies in the mean clean image."""

    def centre(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        mass = images.sum((1, 2, 3)).clamp(min=1e-6)
        y = (images.sum((1, 3)) * torch.arange(height)).sum(1) / mass
        x = (images.sum((1, 2)) * torch.arange(width)).sum(1) / mass
        return torch.stack([x * 2 / width, y * 2 / height], 1)

    theta = torch.eye(2, 3).repeat(len(seen), 1, 1)
    theta[:, :, 2] = centre(seen) - centre(fit.clean.mean(0, keepdim=True))
    grid = F.affine_grid(theta, list(seen.shape), align_corners=False)
    return F.grid_sample(seen, grid, align_corners=False)


def none(seen: Tensor, _: Pairs) -> Tensor:
    return seen


# Rows


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
