"""What every likelihood p(x|z) is: a head on the decoder's features.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), k parameters a pixel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import softplus

Projection = Callable[[int], nn.Module]
"""`projection(k)` makes the layer from the decoder's features to [N, k, *E]."""


class Likelihood(nn.Module, ABC):
    """Owns the decoder's last layer, `projection`: features -> [N, k, *E].

    Calling it turns those parameters, [*K, B, k, *E], into p(x|z) over [*K, B, *E].
    """

    unit_interval = False
    """Whether the data must lie in [0, 1]."""
    binary = False
    """Whether only 0 and 1 have a probability, so that grey pixels give a cross-entropy."""
    discrete = False
    """Whether every grey level has a probability; the constructor then takes `levels`."""

    def __init__(self, *, event_shape: tuple[int, ...], projection: Projection, k: int = 1) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.projection = projection(k)

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The k parameters of [*K, B, k, *E] apart, in float32, each [*K, B, *E]."""
        return parameters.float().unbind(-1 - len(self.event_shape))

    def independent(self, pixels: Distribution) -> Distribution:
        """Pixels independent given z: log-densities are summed over the event."""
        return Independent(pixels, len(self.event_shape), validate_args=False)

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution: ...

    @property
    def calibrated(self) -> bool:
        """Whether a parameter is set from the train split by `calibrate`."""
        return False

    def calibrate(self, mean_squared_error: float) -> None:
        """Set that parameter from the train split's squared error per pixel."""
        raise NotImplementedError


def raw_scale(value: float) -> float:
    """softplus^-1(value): what `scale` turns into `value` when there is no floor."""
    return math.log(math.expm1(value))


def scale(raw: Tensor, floor: float, start: float) -> Tensor:
    """floor + softplus(raw + c), with c such that raw = 0, as at the start, gives `start`."""
    return floor + softplus(raw + raw_scale(start - floor))
