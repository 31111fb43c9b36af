"""Distances between images that follow perception more than squared errors do.

Letters: B batch, C channels, H and W height and width, F channels of features.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vae_run.errors import ConfigError, DataError
from vae_run.models.similarity import least_side, multiscale_similarity
from vae_run.system.extras import installation

VGG_LAYERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of VGG-16, in the five slices whose outputs are compared."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of the channels of ImageNet, for pixels in [-1, 1]."""
HEADS = Path("functional/image/lpips_models/vgg.pth")
"""LPIPS's weights of channels, in the package torchmetrics."""


class LPIPS(nn.Module):
    """LPIPS [B] of images in [0, 1], with VGG-16 (Zhang et al. 2018, eq. 1): 0 for equal ones.

    d = sum over slices of the mean over places of sum_f w_f (u_f - u'_f)^2, u the features of an
    image divided by their norm over channels. The names of the parameters are those of the
    authors' package.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.net, place, channels = nn.ModuleDict(), 0, 3
        for number, widths in enumerate(VGG_LAYERS):
            layers: dict[str, nn.Module] = {}
            if number:
                layers[str(place)], place = nn.MaxPool2d(2, 2), place + 1
            for width in widths:
                layers[str(place)] = nn.Conv2d(channels, width, 3, padding=1)
                layers[str(place + 1)], place, channels = nn.ReLU(), place + 2, width
            self.net[f"slice{number + 1}"] = _named(layers)
            head = nn.Conv2d(widths[-1], 1, 1, bias=False)
            self.add_module(f"lin{number}", nn.ModuleDict({"model": _named({"1": head})}))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = (
            ((2 * image - 1).expand(-1, 3, -1, -1) - self.shift) / self.scale for image in (x, y)
        )
        found = torch.zeros(len(x), device=x.device)
        for number, part in enumerate(self.net.values()):
            x, y = part(x), part(y)
            head: Any = self.get_submodule(f"lin{number}.model")
            found = found + head((_unit(x) - _unit(y)).square()).flatten(1).mean(1)
        return found


def _named(layers: dict[str, nn.Module]) -> nn.Sequential:
    """The layers one after another, by their names in the authors' files."""
    made = nn.Sequential()
    for name, layer in layers.items():
        made.add_module(name, layer)
    return made


def _unit(features: Tensor) -> Tensor:
    """Features [B, F, H, W] divided by their norm over F, which has no gradient of its own at 0."""
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _downloaded() -> dict[str, Tensor]:
    """The weights of VGG-16 by torchvision, and LPIPS's own from torchmetrics.

    Raises:
        ConfigError: torchmetrics is missing, or VGG-16 cannot be downloaded.
    """
    how = (
        "or give a file of them by objective.perceptual_weights=FILE (docs/models.md tells which), "
        "or use objective.perceptual=msssim."
    )
    spec = find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "objective.perceptual=lpips: its weights are in the package torchmetrics, which is not "
            f"installed. Install it ({installation('lpips')}), {how}"
        )
    heads = torch.load(Path(spec.origin).parent / HEADS, map_location="cpu", weights_only=True)
    from torchvision.models import VGG16_Weights

    try:
        vgg = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"objective.perceptual=lpips: VGG-16 cannot be downloaded ({error}). Connect this "
            f"machine to the network once, {how}"
        ) from error
    own = {name.split(".", 2)[2]: name for name in LPIPS().state_dict() if name.startswith("net.")}
    return {**heads, **{own[n[9:]]: vgg[n] for n in vgg if n.startswith("features.")}}


@cache
def lpips(weights: str | None, device: torch.device) -> LPIPS:
    """LPIPS on `device` with the weights of the file `weights`; None: with downloaded ones.

    The file is a state dict, saved by torch, of the authors' `lpips.LPIPS(net="vgg")` or of
    torchmetrics' network; loading it runs no code that it carries.

    Raises:
        ConfigError: a package is missing, or the download fails.
        DataError: the file is missing or does not hold these weights.
    """
    with torch.inference_mode(False):
        if weights is None:
            found = _downloaded()
        else:
            path = Path(weights).expanduser()
            try:
                found = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch.load has no exception of its own
                reason = str(error).splitlines()[0]
                raise DataError(
                    f"objective.perceptual_weights: {path} cannot be read: {reason}. "
                    'Expected torch.save(lpips.LPIPS(net="vgg").state_dict(), FILE).'
                ) from error
        network = LPIPS()
        wanted = network.state_dict()
        fits = isinstance(found, dict) and all(
            name in found and found[name].shape == tensor.shape for name, tensor in wanted.items()
        )
        if not fits:
            raise DataError(
                f"objective.perceptual_weights: {weights} does not hold the weights of LPIPS with "
                'VGG-16. Expected torch.save(lpips.LPIPS(net="vgg").state_dict(), FILE).'
            )
        network.load_state_dict({name: found[name] for name in wanted})
        return network.requires_grad_(False).eval().to(device)


def check_images(kind: str, event_shape: tuple[int, ...], scales: int) -> None:
    """Refuse data that the distance `kind`, msssim or lpips, cannot compare.

    Raises:
        ConfigError: they are no images, too small, or of a number of channels that it has not.
    """
    key = f"objective.perceptual={kind}"
    if len(event_shape) != 3:
        raise ConfigError(
            f"{key}: compares images, and the data are vectors of shape {list(event_shape)}. Use "
            "objective.perceptual=none."
        )
    side = min(event_shape[1:])
    if kind == "lpips":
        if event_shape[0] not in (1, 3) or side < 16:
            raise ConfigError(
                f"{key}: found images of {event_shape[0]} channels and a shorter side of {side} "
                "pixels, expected 1 or 3 channels and at least 16 pixels. Use "
                "objective.perceptual=none."
            )
    elif side < least_side(scales):
        fitting = max((n for n in range(1, 6) if side >= least_side(n)), default=0)
        remedy = f"objective.perceptual_scales={fitting} or " if fitting else ""
        raise ConfigError(
            f"{key}: the shorter side of the images is {side} pixels, and {scales} scales need at "
            f"least {least_side(scales)}. Use {remedy}objective.perceptual=none."
        )


def dissimilarity(x: Tensor, y: Tensor, scales: int) -> Tensor:
    """1 - MS-SSIM [B] of images [B, C, H, W] in [0, 1]; x may leave that range."""
    with torch.autocast(x.device.type, enabled=False):  # variances are differences of moments
        return 1 - multiscale_similarity(x.float(), y.float(), scales)
