"""Optimisers: torch's own, in their fused form where the device has one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

if TYPE_CHECKING:
    from vae_run.config import Settings

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]


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
        if momentum:  # a first step that is skipped would leave torch's own uninitialised
            for p in (p for group in self.param_groups for p in group["params"]):
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options.get("nesterov") and options.get("momentum") == 0:
            yield (
                "optimizer.nesterov: found true, but optimizer.momentum is 0. Raise the momentum, "
                "or leave nesterov false."
            )


def step_unless(skipped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()`, without an effect where `skipped`, a float [], is 1: the device decides.

    torch's fused optimisers know that from mixed precision. Any other one takes a step with a
    gradient of zero, which keeps what it holds finite.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.grad_scale, optimizer.found_inf = None, skipped  # type: ignore[attr-defined]
    else:
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            if p.grad is not None:
                p.grad.masked_fill_(skipped.bool(), 0.0)
    optimizer.step()
