"""The continuous Bernoulli, exact in float32 for every logit."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class ContinuousBernoulli(Distribution):
    """p(x) = exp(l x - A(l)) on [0, 1] with A(l) = log((exp l - 1) / l) (Loaiza-Ganem &
    Cunningham 2019), in float32 for every logit l.

    `torch.distributions.ContinuousBernoulli` clamps sigmoid(l): the error of its log-density is
    0.01 at l = 15 and 4 at l = 1000, that of its mean 3.4e-3 near l = 0.
    """

    arg_constraints: ClassVar = {"logits": constraints.real}
    support = constraints.unit_interval
    small = 0.5
    """|l| up to which power series replace differences with cancellation."""

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """l x - A(l) = l (x - 1/2) - log(sinh(l/2) / (l/2)), whose second term is even in l.

        For large |l| it is -|l| d - log((1 - exp(-|l|)) / |l|), where d is the distance of x from
        the end of [0, 1] with the higher density.
        """
        logits, size = self.logits, self.logits.abs()
        h2 = (logits / 2).clamp(-self.small / 2, self.small / 2).square()
        series = logits * (value - 0.5) - (h2 / 6 - h2.square() / 180 + h2 * h2.square() / 2835)
        large, distance = size.clamp(min=self.small), torch.where(logits > 0, 1 - value, value)
        direct = large.log() - large * distance - (-torch.expm1(-large)).log()
        return torch.where(size < self.small, series, direct)

    @property
    def mean(self) -> Tensor:
        """A'(l) = 1 / (1 - exp(-l)) - 1/l."""
        logits, size = self.logits, self.logits.abs()
        s = logits.clamp(-self.small, self.small)
        series = 0.5 + s / 12 - s**3 / 720 + s**5 / 30240
        large = torch.where(size < self.small, self.small, logits)
        direct = -1 / torch.expm1(-large) - 1 / large
        return torch.where(size < self.small, series, direct)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Samples by the inverse distribution function for -|l|, mirrored where l > 0."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            size = self.logits.abs().clamp(min=1e-30)
            x = torch.log1p(uniform * torch.expm1(-size)) / -size
            return torch.where(self.logits > 0, 1 - x, x)
