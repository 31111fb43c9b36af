"""The units of sparse codes: functions that leave most of them inactive.

Letters: B batch, D units of the code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from vae_run.models.networks.active_units import ActiveUnits

Sparsity = Literal["l1", "kl", "topk", "batch_topk", "jumprelu"]


class Units(nn.Module, ABC):
    """The function of the units, from what they receive [B, D] to their activations [B, D].

    Attributes:
        start: what a unit receives, at the start of training, of the mean image.
        slope: factor on what it receives at the start.
    """

    start, slope = 0.0, 1.0

    def __init__(self, latent_dim: int, k: int, threshold: float, bandwidth: float) -> None:
        """`k` active units, the initial `threshold` and the `bandwidth`, where there are such."""
        super().__init__()
        self.k, self.bandwidth = k, bandwidth

    @abstractmethod
    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Activations, and which units are active, as `SparseCode` has them; each [B, D]."""

    def nearest(self, z: Tensor) -> Tensor:
        """z [*, D] as activations that the function can have."""
        return relu(z)


class Rectified(Units):
    """max(0, raw), for an L1 penalty."""

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return relu(raw), (raw > 0).float()


class Sigmoids(Units):
    """1 / (1 + exp(-raw)); a unit is active above 1/2, as no activation is ever 0."""

    start, slope = -3.0, 4.0  # few are active, and a step in raw has the effect of that of relu

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return raw.sigmoid(), (raw > 0).float()

    def nearest(self, z: Tensor) -> Tensor:
        return z.clamp(0, 1)


class TopK(Units):
    """max(0, raw) of the k units of an image that receive most, 0 for the others.

    Makhzani & Frey 2014, section 2.1; with the rectifier of Gao et al. 2024, section 2.3. Of equal
    units those are kept that torch.topk finds, so there are never more than k.
    """

    def largest(self, raw: Tensor) -> ActiveUnits:
        """The k units of each image that receive most."""
        values, index = raw.topk(self.k, dim=-1, sorted=False)
        return ActiveUnits(relu(values), index, raw.shape[-1])

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        value = self.largest(raw).codes()
        return value, active_of(value)

    def nearest(self, z: Tensor) -> Tensor:
        nearest: Tensor = self(z)[0]
        return nearest


class BatchTopK(Units):
    """max(0, raw) of the k B units of a batch that receive most, so k an image in the mean.

    Bussmann et al. 2024. Outside of training an image must not depend on its batch: a unit is
    active where it receives at least `threshold`, the mean over batches of the training split of
    the least activation that such a batch keeps (their eq. 7), measured whenever the model is
    evaluated. Batches are weighed by their images, since the last one may have few.
    """

    threshold: Tensor

    def __init__(self, latent_dim: int, k: int, threshold: float, bandwidth: float) -> None:
        super().__init__(latent_dim, k, threshold, bandwidth)
        self.register_buffer("threshold", torch.tensor(0.0))

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            kept = largest(raw.flatten(), self.k * len(raw)).view_as(raw)
        else:
            kept = (raw >= self.threshold).float()
        return relu(raw) * kept, kept * (raw > 0)

    def nearest(self, z: Tensor) -> Tensor:
        return relu(z) * (z >= self.threshold)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Set the threshold from what the units receive of training images, each [B, D]."""
        least, sizes = [], list[int]()
        for raw in batches:
            least.append(relu(raw).flatten().topk(self.k * len(raw)).values[-1])
            sizes.append(len(raw))
        shares = torch.tensor(sizes, dtype=least[0].dtype, device=least[0].device) / sum(sizes)
        self.threshold.copy_((torch.stack(least) * shares).sum())


class JumpReLU(Units):
    """raw where it exceeds the unit's own threshold theta, else 0 (Rajamanoharan et al. 2024).

    Neither the activation raw H(raw - theta) nor the count H(raw - theta) has a gradient with
    respect to theta. In its place stand (their eqs. 11 and 12), with the bandwidth e and the
    rectangle K(u) = 1 for |u| < 1/2, else 0,

        -theta / e K((raw - theta) / e)   and   -1 / e K((raw - theta) / e).

    theta = exp(speed * `log_threshold`): Adam, which moves every parameter by about the learning
    rate at each step, would else raise it by a third in 300 steps.
    """

    speed = 10.0

    def __init__(self, latent_dim: int, k: int, threshold: float, bandwidth: float) -> None:
        super().__init__(latent_dim, k, threshold, bandwidth)
        self.log_threshold = nn.Parameter(torch.full((latent_dim,), threshold).log() / self.speed)

    @property
    def theta(self) -> Tensor:
        """The threshold of each unit, [D]."""
        return (self.speed * self.log_threshold).exp()

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        raw, theta = relu(raw), self.theta
        above = (raw > theta).float()
        density = ((raw - theta).abs() < self.bandwidth / 2).float() / self.bandwidth
        moved = density.detach() * (theta - theta.detach())  # 0, with the gradient of the count
        return raw * above - theta.detach() * moved, above - moved

    def nearest(self, z: Tensor) -> Tensor:
        return z * (z > self.theta)


UNITS: Mapping[Sparsity, type[Units]] = {
    "l1": Rectified,
    "kl": Sigmoids,
    "topk": TopK,
    "batch_topk": BatchTopK,
    "jumprelu": JumpReLU,
}


def active_of(value: Tensor) -> Tensor:
    """1.0 where a rectified unit is active, else 0.0; detached."""
    return (value.detach() > 0).to(value.dtype)


def largest(x: Tensor, k: int) -> Tensor:
    """1.0 at the k largest entries of the last dimension of x, else 0.0; exactly k of them."""
    index = x.topk(k, dim=-1, sorted=False).indices
    return torch.zeros_like(x).scatter(-1, index, 1.0)
