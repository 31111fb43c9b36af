"""How near reconstructions are to the clean images, in the units that papers use.

Letters: B batch, E event shape, (C, H, W) images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.robustness import FLOOR
from vae_run.models.similarity import WINDOW, similarity

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def reconstruction(view: View) -> dict[str, float]:
    """`mae`, `psnr` and `ssim` of decode(encode(input).mean).mean against the clean image.

    The code is `q.mean`, not E_q[z].

    `mae` is the absolute error per pixel. `psnr`, in dB, is -10 log10 of an image's squared error
    per pixel, and `ssim` that of `similarity`; both are means over the images, of pixels clipped
    to [0, 1], and absent where clean pixels leave that range. `ssim` is absent too for flat
    vectors and for images smaller than its window, 11 pixels.

    Under a corruption the same, and the `mse`, are given of the corrupted input itself
    (`input_...`) and of the model that sees the clean image (`clean_...`).
    """
    restoring = not isinstance(view.corruption, NoCorruption)
    unit, sums = in_unit_interval(view.split), dict[str, float]()
    for batch in view.batches():
        model = view.model.given(batch.given)
        images = {"": model.reconstruct(batch.input)}
        if restoring:
            images |= {"input_": batch.input, "clean_": model.reconstruct(batch.target)}
        for prefix, image in images.items():
            for name, value in each_image(image, batch.target, unit=unit).items():
                sums[prefix + name] = sums.get(prefix + name, 0.0) + float(value.sum())
    del sums["mse"]  # a metric of its own
    return {name: total / view.size for name, total in sums.items()}


def in_unit_interval(split: Split) -> bool:
    """Whether all pixels lie in [0, 1]."""
    low, high = split.extent
    return low >= 0 and high <= 1


def each_image(x: Tensor, clean: Tensor, *, unit: bool) -> dict[str, Tensor]:
    """`mse`, `mae` and, where `unit`, `psnr` and `ssim` of x [B, *E]: float64 [B] each."""
    error = (x.cpu().double() - clean.cpu().double()).flatten(1)
    found = {"mse": error.square().mean(1), "mae": error.abs().mean(1)}
    if unit:
        clipped = (x.clamp(0, 1).cpu().double() - clean.cpu().double()).flatten(1)
        found["psnr"] = -10 * clipped.square().mean(1).clamp(min=FLOOR).log10()
        if x.dim() == 4 and min(x.shape[2:]) >= WINDOW:
            found["ssim"] = similarity(x.clamp(0, 1), clean).cpu().double()
    return found
