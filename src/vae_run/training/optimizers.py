"""Optimisers: those of torch, in their fused form."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]


class UndecoratedOptimizer(torch.optim.Optimizer):
    """An optimiser without the decorators by which torch keeps its methods from being compiled.

    They import torch's compiler in the first call, though no optimiser is compiled here. Without
    them the default run of 100 epochs takes 10.9 % less CPU time (10.8 to 12.4 % in three pairs of
    runs, one thread): `python benchmarks/tricks.py optimizer`.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(UndecoratedOptimizer, torch.optim.Adam):
    """Adam (Kingma & Ba 2015)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Rate = 1e-3,
        betas: Betas = [0.9, 0.999],  # noqa: B006 - never modified
        eps: Rate = 1e-8,
        weight_decay: Decay = 0.0,
    ) -> None:
        pair = (betas[0], betas[1])
        super().__init__(params, lr=lr, betas=pair, eps=eps, weight_decay=weight_decay, fused=True)


class AdamW(UndecoratedOptimizer, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Rate = 1e-3,
        betas: Betas = [0.9, 0.999],  # noqa: B006 - never modified
        eps: Rate = 1e-8,
        weight_decay: Decay = 1e-2,
    ) -> None:
        pair = (betas[0], betas[1])
        super().__init__(params, lr=lr, betas=pair, eps=eps, weight_decay=weight_decay, fused=True)


class SGD(UndecoratedOptimizer, torch.optim.SGD):
    """Stochastic gradient descent, with (Nesterov) momentum."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))

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
        if momentum:  # torch would leave it uninitialised if the first step is skipped
            for p in (p for group in self.param_groups for p in group["params"]):
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options["nesterov"] and options["momentum"] == 0:
            yield (
                "optimizer.nesterov: found true, but optimizer.momentum is 0. Raise the momentum, "
                "or leave nesterov false."
            )


def not_finite(x: Tensor) -> Tensor:
    """1.0 where x is NaN or infinite, else 0.0, of the shape of x, without reading it."""
    return (x - x).ne_(0.0)  # x - x is NaN where x is not finite


def step_unless(skipped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()` unless `skipped`, a float [], is 1.

    On a CPU the value is read. On other devices reading it would synchronise, so it is used on the
    device: fused optimisers of torch support this for mixed precision. Any other optimiser takes a
    step with zero gradients, which keeps its state finite.
    """
    if skipped.device.type == "cpu":
        if not skipped.item():
            optimizer.step()
        return
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.grad_scale, optimizer.found_inf = None, skipped  # type: ignore[attr-defined]
    else:
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            if p.grad is not None:
                p.grad.masked_fill_(skipped.bool(), 0.0)
    optimizer.step()
