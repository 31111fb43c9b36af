"""An average of the weights over the steps of a training, which is what is evaluated and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

KEY = "average"
"""What `last.pt` calls that which a training needs besides the averages, which are its `model`."""


class WeightAverage:
    """An exponential moving average of a model's parameters (Polyak & Juditsky 1992).

    After each step that changes the parameters w, the averages a, which begin at the initial w, are

        a <- d a + (1 - d) w,   d = min(decay, (1 + n) / (10 + n)),

    where n is the number of such steps before it: the initial weights are forgotten soon, as by
    Adam's correction of its bias. Buffers are not averaged: those of the model are used with both.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        """Begin at the parameters of `model`; `decay`: in (0, 1), or None for no average."""
        named = {} if decay is None else dict(model.named_parameters())
        self._names, self._parameters = list(named), list(named.values())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._least = 1.0 - (0.0 if decay is None else decay)
        device = self._averages[0].device if self._averages else "cpu"
        self._updates = torch.zeros((), device=device)

    @torch.no_grad()
    def update(self, skipped: Tensor) -> None:
        """Take in the parameters after a step; where `skipped`, a float [], is 1, nothing changes.

        It is not read on the host, so that a GPU need not be waited for.
        """
        if not self._averages:
            return
        taken = 1.0 - skipped
        share = (9.0 / (10.0 + self._updates)).clamp_(min=self._least) * taken
        moves = torch._foreach_sub([p.detach() for p in self._parameters], self._averages)
        torch._foreach_mul_(moves, share)
        torch._foreach_add_(self._averages, moves)
        self._updates += taken

    def of(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The averages of some of the model's `parameters`; [] where there are none."""
        found = {id(p): a for p, a in zip(self._parameters, self._averages, strict=True)}
        return [found[id(p)] for p in parameters] if found else []

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model have the averages for its parameters while inside."""
        raw = self._copies()
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(raw)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs besides a model that has the averages for its parameters."""
        if not self._averages:
            return {}
        raw = dict(zip(self._names, self._copies(), strict=True))
        return {KEY: {"weights": raw, "updates": self._updates}}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from the checkpoint `saved`, whose `model` the model has been given."""
        if not self._averages:
            return
        self._averages = self._copies()
        self._updates = saved[KEY]["updates"].to(self._updates.device)
        self._put([saved[KEY]["weights"][name] for name in self._names])

    def _copies(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def _put(self, tensors: Sequence[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.copy_(tensor)
