"""How a restoration holds as the corruption grows.

Letters: B batch, E event shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

FLOOR = 1 / (12 * 255**2)
"""Squared error of rounding to 8 bits: nothing counts as nearer to the clean image (58.9 dB)."""


@dataclass(frozen=True)
class Curve:
    """Figures at each of the `levels`: of the model's output, its input, and the mean image.

    Attributes:
        levels: rising values of `corruption.level`, that of the view among them.
        psnr: by "output", "input" and "mean": -10 log10 of an image's squared error per pixel,
            mean over the images, in dB; pixels are clipped to [0, 1] first. Empty where the clean
            pixels leave [0, 1].
        mse: the same three: squared error per pixel, nothing clipped.
    """

    levels: list[float]
    psnr: dict[str, list[float]]
    mse: dict[str, list[float]]


def curve(view: View) -> Curve | None:
    """The view's model at every tested level; None for a corruption without level or effect.

    The random numbers of an image's corruption are those of any evaluation, and the same at every
    level wherever levels ask for equally many. The mean image is that of the view's clean images.
    """
    corruption: Any = view.corruption
    if not corruption.tested_levels:
        return None
    levels = sorted({*corruption.tested_levels, corruption.level})
    total = torch.stack([batch.target.cpu().double().sum(0) for batch in view.batches()]).sum(0)
    mean = (total / view.size).float().to(view.split.device)
    found = Curve(levels, {}, {})
    for level in levels:
        at_level = replace(view, corruption=replace(corruption, level=level))
        sums: dict[str, Tensor] = {}
        for batch in at_level.batches():
            images = {
                "output": view.model.given(batch.given).reconstruct(batch.input),
                "input": batch.input,
                "mean": mean.expand_as(batch.target),
            }
            for name, image in images.items():
                sums[name] = sums.get(name, 0) + errors(image, batch.target)
        for name, (squares, decibels, outside) in ((n, s.tolist()) for n, s in sums.items()):
            found.mse.setdefault(name, []).append(squares / view.size)
            if not outside:
                found.psnr.setdefault(name, []).append(decibels / view.size)
    return found if any(found.mse["input"]) else None


def errors(images: Tensor, clean: Tensor) -> Tensor:
    """Sums over B of the squared error per pixel, the PSNR, and of clean pixels off [0, 1], [3]."""
    images, clean = images.cpu().double(), clean.cpu().double()
    squares = (images - clean).square().flatten(1).mean(1)
    clipped = (images.clamp(0, 1) - clean).square().flatten(1).mean(1)
    decibels = -10 * clipped.clamp(min=FLOOR).log10()
    outside = ((clean < 0) | (clean > 1)).double().sum()
    return torch.stack([squares.sum(), decibels.sum(), outside])


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    corruption = settings.classes["corruption"]
    if not corruption.tested_levels:
        yield (
            f"{corruption.__name__} has no levels to run over. Use a corruption that has, such as "
            "corruption=gaussian."
        )


@metric(conflicts=_conflicts)
def robustness(view: View) -> dict[str, float]:
    """`psnr_at_LEVEL` and `mse_at_LEVEL` of the output, `input_...` of the corrupted input, and
    `mean_psnr`, `mean_mse` of the mean image.
    """
    drawn = curve(view)
    if drawn is None:
        return {}
    numbers = {}
    for unit, values in (("psnr", drawn.psnr), ("mse", drawn.mse)):
        for i, level in enumerate(drawn.levels if values else ()):
            numbers[f"{unit}_at_{level:g}"] = values["output"][i]
            numbers[f"input_{unit}_at_{level:g}"] = values["input"][i]
        if values:
            numbers[f"mean_{unit}"] = values["mean"][0]
    return numbers
