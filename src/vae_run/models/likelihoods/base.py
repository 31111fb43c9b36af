"""The base class of likelihoods p(x|z): heads on the decoder's features.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), k parameters per pixel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import softplus

from vae_run.models.networks.initialisation import Layer

Projection = Callable[[int], nn.Module]
"""`projection(k)` creates the layer from the decoder's features to [N, k, *E]."""


class Likelihood(nn.Module, ABC):
    """Owns the decoder's last layer, `projection`: features -> [N, k, *E].

    A call maps its outputs, parameters [*K, B, k, *E], to p(x|z) over [*K, B, *E].
    """

    unit_interval = False
    """Whether the data must lie in [0, 1]."""
    binary = False
    """Whether it is a distribution on {0, 1}: with grey pixels it gives a cross-entropy."""
    discrete = False
    """Whether it is a distribution over grey levels; the constructor then takes `levels`."""

    def __init__(self, *, event_shape: tuple[int, ...], projection: Projection, k: int = 1) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.projection = projection(k)

    def initialise(self, draw: Callable[[Layer], None]) -> None:
        """Draw the initial weights of the last layer as the network draws those of its layers."""
        for layer in self.projection.modules():
            if isinstance(layer, Layer):
                draw(layer)

    def start_scale(self, deviation: float) -> None:
        """Set a trained scale of all pixels to this standard deviation; without one do nothing."""
        return

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """[*K, B, k, *E] split into k float32 tensors [*K, B, *E]."""
        return parameters.float().unbind(-1 - len(self.event_shape))

    def independent(self, pixels: Distribution) -> Distribution:
        """Pixels that are independent given z: log-densities are summed over E."""
        return Independent(pixels, len(self.event_shape), validate_args=False)

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution: ...

    @property
    def calibrated(self) -> bool:
        """Whether `calibrate` sets a parameter from the training split."""
        return False

    def calibrate(self, mean_squared_error: float) -> None:
        """Set that parameter from the mean squared error per pixel of the training split."""
        raise NotImplementedError


def raw_scale(value: float) -> float:
    """softplus^-1(value), the argument for which `scale` without a floor is `value`."""
    return math.log(math.expm1(value))


def start_of(deviation: float, floor: float, start: float) -> float:
    """The argument raw for which `scale` is `deviation`, or as near to it as `floor` allows."""
    above = max(deviation - floor, 0.1 * floor)
    return raw_scale(above) - raw_scale(start - floor)


def scale(raw: Tensor, floor: float, start: float) -> Tensor:
    """floor + softplus(raw + c), with c such that the initial value raw = 0 gives `start`."""
    return floor + softplus(raw + raw_scale(start - floor))
