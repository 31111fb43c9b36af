"""One optimiser step of N runs: stacked where their optimisers allow it, else run by run.

Letters: N runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_run.training.loop import Loop
from vae_run.training.optimizers import SGD, Adam, AdamW, not_finite, step_unless

STACKED = (Adam, AdamW, SGD)
"""Optimisers that work element by element, so that N of them equal one on the stack."""

OWN = frozenset({"lr", "weight_decay"})
"""Options of `STACKED` that may differ among the runs of a stack."""


def _like(numbers: Tensor, stacked: Tensor) -> Tensor:
    """[N] shaped to be broadcast with [N, ...]."""
    return numbers.reshape(-1, *[1] * (stacked.dim() - 1))


class StackedOptimizer:
    """Takes the steps of the optimisers of `loops`, whose states become views of a stacked one.

    Args:
        loops: the runs.
        values: the stacked parameters, each [N, ...].
        parameters: the parameters of each run, in the same order: views of `values`.
    """

    def __init__(
        self, loops: Sequence[Loop], values: list[Tensor], parameters: list[list[Tensor]]
    ) -> None:
        self._loops, self._values, self._parameters = loops, values, parameters
        device = values[0].device
        # Reading whether a step is to be skipped is free on a CPU, and a synchronisation on a GPU.
        allowed = any(loop.trainer.skip_nonfinite for loop in loops)
        self._looks = device.type == "cpu" or allowed
        clips = [loop.trainer.clip_norm for loop in loops]
        self._clips = None
        if any(clip is not None for clip in clips):
            self._clips = torch.tensor([clip or torch.inf for clip in clips], device=device)
        parts = [dict(loop.experiment.settings.parts["optimizer"]) for loop in loops]
        self._decays = [float(p.get("weight_decay", 0.0)) for p in self._options()]
        rates = [[loop.optimizer.defaults["lr"], loop.schedule.__dict__] for loop in loops]
        self._equal = all(r == rates[0] for r in rates) and len(set(self._decays)) == 1
        self._linked = False
        self._stacked = self._stack(parts[0]) if self._can_be_stacked() else None

    def _options(self) -> list[dict[str, Any]]:
        return [loop.optimizer.defaults for loop in self._loops]

    def _can_be_stacked(self) -> bool:
        """Whether the optimisers are of one class of `STACKED`, with equal options and step."""
        kinds = {type(loop.optimizer) for loop in self._loops}
        if len(kinds) > 1 or not kinds <= set(STACKED):
            return False
        if any(len(loop.optimizer.param_groups) > 1 for loop in self._loops):
            return False  # a critic has a rate of its own
        same = [{k: v for k, v in options.items() if k not in OWN} for options in self._options()]
        steps = {
            float(state["step"])
            for loop in self._loops
            for state in loop.optimizer.state.values()
            if "step" in state
        }
        return all(options == same[0] for options in same) and len(steps) <= 1

    def _stack(self, options: dict[str, Any]) -> torch.optim.Optimizer:
        """An optimiser like that of the first run for the stack, with the states of all runs."""
        first = self._loops[0].optimizer
        if self._equal:
            targets = self._values
        else:
            targets = [torch.zeros_like(value) for value in self._values]  # the updates, at rate 1
            options = {**options, "lr": 1.0, "weight_decay": 0.0}
        kind = type(first)
        stacked: torch.optim.Optimizer = kind(params=targets, **options)
        for place, target in enumerate(targets):
            states = [
                loop.optimizer.state.get(own[place], {})
                for loop, own in zip(self._loops, self._parameters, strict=True)
            ]
            for key, held in states[0].items():
                together = [state[key] for state in states]
                stacked.state[target][key] = (
                    held.clone() if key == "step" else torch.stack(together)
                )
        self._targets = targets
        return stacked

    def _link(self) -> None:
        """Make the state of each run's own optimiser a view of the stacked one's."""
        assert self._stacked is not None
        for place, target in enumerate(self._targets):
            for key, held in self._stacked.state[target].items():
                for i, (loop, own) in enumerate(zip(self._loops, self._parameters, strict=True)):
                    part = held if key == "step" else held[i]
                    loop.optimizer.state[own[place]][key] = part
        self._linked = True

    def step(
        self, gradients: list[Tensor], loss: Tensor, rates: list[float]
    ) -> tuple[Tensor, Tensor]:
        """Update all runs by `gradients`, each [N, ...], where `loss` [N] and they are finite.

        Returns:
            The gradients' 2-norms before clipping, and 1.0 where nothing was updated; each [N].
        """
        each = torch.stack(
            [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
        )
        norms = torch.linalg.vector_norm(each, dim=0)
        skipped = not_finite(norms + loss)
        if self._clips is not None:
            factors = (self._clips / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(_like(factors, gradient))
        for loop, rate in zip(self._loops, rates, strict=True):
            for group in loop.optimizer.param_groups:
                group["lr"] = rate * group.get("relative_rate", 1.0)
        if self._stacked is not None and self._looks and bool(skipped.any()):
            self._separate()
        if self._stacked is None:
            self._each(gradients, skipped)
        else:
            self._all(gradients, skipped, rates)
        return norms, skipped

    def _separate(self) -> None:
        """Separate the optimisers: after a skipped step their step counts differ."""
        self._stacked = None
        for loop, own in zip(self._loops, self._parameters, strict=True):
            for parameter in own:
                state = loop.optimizer.state.get(parameter, {})
                if "step" in state:
                    state["step"] = state["step"].clone()

    def _each(self, gradients: list[Tensor], skipped: Tensor) -> None:
        """A step of each run's own optimiser, on its slice of the stack."""
        for i, (loop, own) in enumerate(zip(self._loops, self._parameters, strict=True)):
            for parameter, gradient in zip(own, gradients, strict=True):
                parameter.grad = gradient[i]
            step_unless(skipped[i], loop.optimizer)
            for parameter in own:
                parameter.grad = None

    @torch.no_grad()
    def _all(self, gradients: list[Tensor], skipped: Tensor, rates: list[float]) -> None:
        """A step of the stacked optimiser.

        Where rates or decays differ, the optimiser is applied to zeros at rate 1, and its updates
        are scaled by each run's rate: all of `STACKED` are linear in their rate.
        """
        assert self._stacked is not None
        if not self._looks:  # only keep the others finite: the run ends where its loss is read
            gradients = [g.masked_fill(_like(skipped.bool(), g), 0.0) for g in gradients]
        if self._equal:
            self._stacked.param_groups[0]["lr"] = rates[0]
        else:
            rate = torch.tensor(rates, device=skipped.device)
            decay = torch.tensor(self._decays, device=skipped.device)
            for value, gradient, target in zip(self._values, gradients, self._targets, strict=True):
                if isinstance(self._stacked, AdamW):
                    value.mul_(_like(1 - rate * decay, value))
                elif any(self._decays):
                    gradient.addcmul_(value, _like(decay, value))
                target.zero_()
        for target, gradient in zip(self._targets, gradients, strict=True):
            target.grad = gradient
        self._stacked.step()
        if not self._equal:
            for value, target in zip(self._values, self._targets, strict=True):
                value.addcmul_(target, _like(rate, value))
        if not self._linked:
            self._link()
