"""The Frechet inception distance of images made from the prior, by torchmetrics."""

from __future__ import annotations

import hashlib
import os
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.data.download import PROBE_SECONDS, reachable
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.reconstruction import in_unit_interval
from vae_run.evaluation.samples import generated

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""Inception v3 as in the original implementation; the number is how its SHA-256 begins."""
SOURCE = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS}"
BATCH = 50


def as_bytes(images: Tensor) -> Tensor:
    """Images [B, C, H, W] in [0, 1] as uint8 [B, 3, H, W], rounded to the nearest of 256 levels."""
    levels = (images.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1).contiguous()


def place() -> Path:
    """Where the weights are looked for: the folder of torch.hub."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


def prepare() -> None:
    """See that the libraries and the weights are there, before hours of training rely on them.

    Raises:
        ConfigError: torchmetrics or torch-fidelity is not installed.
        DataError: the weights are absent and cannot be downloaded, or are damaged.
    """
    for package in ("torchmetrics", "torch_fidelity"):
        if find_spec(package) is None:
            raise ConfigError(
                f"evaluation.metrics: fid: needs {package.replace('_', '-')}, which is not "
                "installed. Install it with: pip install torchmetrics torch-fidelity"
            )
    file = place()
    if not file.exists():
        _download(file)
    if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(WEIGHTS[-12:-4]):
        raise DataError(
            f"evaluation.metrics: fid: {file} is damaged, its SHA-256 does not begin with "
            f"{WEIGHTS[-12:-4]}. Put a good copy in its place, or remove it to have it downloaded."
        )


def _download(file: Path) -> None:
    """Fetch the weights into `file`, 91 MB."""
    why = "there is no connection to github.com"
    if reachable([SOURCE], PROBE_SECONDS):
        try:
            os.makedirs(file.parent, exist_ok=True)
            torch.hub.download_url_to_file(SOURCE, str(file), WEIGHTS[-12:-4])
            return
        except (OSError, RuntimeError, urllib.error.URLError) as error:
            why = f"the download failed ({error})"
    raise DataError(
        f"evaluation.metrics: fid: the weights of its network are not in {file.parent}, and {why}. "
        f"Put {WEIGHTS} there, from {SOURCE}; or leave fid out: generation needs no weights."
    )


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    if not settings.classes["prior"].proper:
        yield "a flat prior has no samples. Use prior=standard_normal."


@metric(conflicts=_conflicts, prepare=prepare, of_codes=True)
def fid(view: View) -> dict[str, float]:
    """`fid`: the squared Frechet distance of Inception features (Heusel et al. 2017).

    Between all images of the split and as many samples (`generated`), of which `fid_images` tells:
    as bytes, grey in three equal colours, brought to 299x299 with antialiasing. The 2048 features
    are torch-fidelity's port of the original network. Figures of different numbers of images, or
    of other implementations, cannot be compared. Nothing without a density to sample codes from,
    for other than one or three channels, fewer than 2 images, or pixels that leave [0, 1].

    Raises:
        ConfigError: torchmetrics or torch-fidelity is not installed.
        DataError: the weights are absent and cannot be downloaded, or are damaged.
    """
    shape = view.split.event_shape
    if not view.model.prior.ready or len(shape) != 3 or shape[0] not in (1, 3) or view.size < 2:
        return {}
    if not in_unit_interval(view.split):
        return {}
    prepare()
    library = import_module("torchmetrics.image.fid")
    view = replace(view, batch_size=BATCH)
    distance = library.FrechetInceptionDistance(feature_extractor_weights_path=str(place()))
    distance = distance.to(view.split.device)
    for batch in view.batches():
        distance.update(as_bytes(batch.target), real=True)
    for images in generated(view):
        distance.update(as_bytes(images), real=False)
    return {"fid": float(distance.compute()), "fid_images": float(view.size)}
