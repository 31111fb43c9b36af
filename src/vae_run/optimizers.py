"""Optimisers: torch's own, in their fused form where the device has one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Betas = list[Annotated[float, Field(ge=0, lt=1)]]


class Adam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Rate = 1e-3,
        betas: Betas = [0.9, 0.999],  # noqa: B006 - read only
        eps: Rate = 1e-8,
        weight_decay: Decay = 0.0,
    ) -> None:
        pair = (betas[0], betas[1])
        super().__init__(params, lr=lr, betas=pair, eps=eps, weight_decay=weight_decay, fused=True)


class AdamW(torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Rate = 1e-3,
        betas: Betas = [0.9, 0.999],  # noqa: B006 - read only
        eps: Rate = 1e-8,
        weight_decay: Decay = 1e-2,
    ) -> None:
        pair = (betas[0], betas[1])
        super().__init__(params, lr=lr, betas=pair, eps=eps, weight_decay=weight_decay, fused=True)


class SGD(torch.optim.SGD):
    """Stochastic gradient descent, with (Nesterov) momentum."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Rate = 1e-2,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        nesterov: bool = False,
        weight_decay: Decay = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            fused=True,
        )
