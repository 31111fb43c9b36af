"""The base class of likelihoods p(x|z): heads on the decoder's features.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), k parameters per pixel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import softplus

from vae_run.models.networks.initialisation import Layer

Projection = Callable[[int], nn.Module]
"""`projection(k)` creates the layer from the decoder's features to [N, k, *E]."""

LogProb = Callable[[Tensor, torch.Size], Tensor]
"""log p(x|z), [*K, B], of the decoder's features [N, ...] and the shape [*K, B], N = *K B."""

MEANS = 1e-3, 1 - 1e-3
"""Range of the initial means of pixels in [0, 1], whose logits would else be infinite."""


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
    single = True
    """Whether it asks the decoder for one parameter per pixel."""

    def __init__(self, *, event_shape: tuple[int, ...], projection: Projection, k: int = 1) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.projection = projection(k)

    def initialise(self, draw: Callable[[Layer], None]) -> None:
        """Draw the initial weights of the last layer as the network draws those of its layers."""
        for layer in self.projection.modules():
            if isinstance(layer, Layer):
                draw(layer)

    def start(self, mean: Tensor, deviation: float) -> Tensor | None:
        """The parameters [k, *E] at which pixels have the means `mean` [*E] and that `deviation`.

        None: the likelihood has no such start, and its biases stay as they are.
        """
        return None

    def start_scale(self, deviation: float) -> None:
        """Set a trained scale of all pixels to this standard deviation; without one do nothing."""
        return

    @torch.no_grad()
    def start_at(self, mean: Tensor, deviation: float) -> None:
        """Set the last layer's biases so that p(x|z) begins at the data, whatever z is.

        Args:
            mean: of the training images, [*E]. Where the pixels of a channel share a bias, they
                begin at the mean of the channel.
            deviation: root mean square of the pixels' differences from `mean`.
        """
        named = self.projection.named_parameters()
        bias = next((p for name, p in named if name.endswith("bias")), None)
        parameters = self.start(mean, deviation)
        if parameters is None or bias is None:
            return
        if bias.numel() == len(parameters) * len(mean) < parameters.numel():
            channels = mean.flatten(1).mean(1)
            parameters = self.start(channels, deviation)
            assert parameters is not None
        if bias.numel() == parameters.numel():
            bias.copy_(parameters.reshape(bias.shape))

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """[*K, B, k, *E] split into k float32 tensors [*K, B, *E]."""
        return parameters.float().unbind(-1 - len(self.event_shape))

    def independent(self, pixels: Distribution) -> Distribution:
        """Pixels that are independent given z: log-densities are summed over E."""
        return Independent(pixels, len(self.event_shape), validate_args=False)

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution: ...

    def log_prob_of(self, x: Tensor) -> LogProb:
        """log p(x|z) of the images x [B, *E], for any number of codes of them.

        A likelihood overrides it where some of the work depends on x alone, and can be done once.
        """

        def log_prob(features: Tensor, shape: torch.Size) -> Tensor:
            p = self(self.projection(features).unflatten(0, shape))
            return p.log_prob(x)  # type: ignore[no-any-return]

        return log_prob

    def scale(self, p: Distribution) -> Tensor | None:
        """Standard deviations of the pixels [*K, B, *E] of `p`, where the decoder gives each its
        own; None elsewhere.
        """
        return None

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What needs each batch in one pass and in one process, if anything does.

        Full keys, their values, and what to do instead.
        """
        yield from ()

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
