"""The optimisers' formulas on tensors alone, for a program that is compiled.

Letters: P parameters of a group. Every tensor of a run may have N runs stacked in front; what is
one number for a run is then [N] in place of [].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vae_run.training.optimizers import SGD, Adam, AdamW

State = dict[str, Tensor]
"""What an optimiser remembers of one parameter, by torch's names."""

Formula = Callable[[Tensor, Tensor, State, Mapping[str, Any]], tuple[Tensor, State]]
"""(parameter, gradient, state, the group's options) -> the new parameter and state.

Among the options are `rate`, a tensor, and what `corrections` gives for the group.
"""


def like(numbers: Tensor, tensor: Tensor) -> Tensor:
    """Numbers of a run, [] or [N], shaped to be broadcast with `tensor`, [*] or [N, *]."""
    return numbers.reshape(numbers.shape + (1,) * (tensor.dim() - numbers.dim()))


def adam(w: Tensor, g: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, State]:
    """Adam (Kingma & Ba 2015, algorithm 1), with the decay added to the gradient."""
    if decay := options["weight_decay"]:
        g = g + decay * w
    return _moments(w, g, state, options)


def adamw(w: Tensor, g: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, State]:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2)."""
    if decay := options["weight_decay"]:
        w = w * (1 - like(options["rate"], w) * decay)
    return _moments(w, g, state, options)


def _moments(
    w: Tensor, g: Tensor, state: State, options: Mapping[str, Any]
) -> tuple[Tensor, State]:
    first, second = options["betas"]
    mean = torch.lerp(state["exp_avg"], g, 1 - first)
    square = second * state["exp_avg_sq"] + (1 - second) * g * g
    size, root = like(options["rate"] / options["first"], w), like(options["second"], w)
    moved = w - size * mean / (square.sqrt() / root + options["eps"])
    return moved, {"step": state["step"] + 1, "exp_avg": mean, "exp_avg_sq": square}


def corrections(states: Sequence[State], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Adam's corrections of a group's moments in the next step: 1 - b1^t and sqrt(1 - b2^t).

    All of its parameters have taken the same number of steps, or none if they get no gradient, so
    that the largest correction is that of all. A maximum also keeps the compiler from computing
    the powers again for every weight, as it would do with a number that is no reduction. In
    float32, 1 - 0.999 would be off by 1e-5 of itself.
    """
    if "betas" not in options:
        return {}
    first, second = options["betas"]
    step = torch.stack([state["step"] for state in states]).double() + 1
    found = {"first": (1 - first**step).amax(0), "second": (1 - second**step).sqrt().amax(0)}
    return {name: tensor.float() for name, tensor in found.items()}


def sgd(w: Tensor, g: Tensor, state: State, options: Mapping[str, Any]) -> tuple[Tensor, State]:
    """Gradient descent with (Nesterov) momentum, as torch has it: v <- m v + g, w <- w - rate v."""
    if decay := options["weight_decay"]:
        g = g + decay * w
    new: State = {}
    if momentum := options["momentum"]:
        new["momentum_buffer"] = velocity = momentum * state["momentum_buffer"] + g
        g = g + momentum * velocity if options["nesterov"] else velocity
    return w - like(options["rate"], w) * g, new


FORMULAS: Mapping[type[torch.optim.Optimizer], Formula] = {Adam: adam, AdamW: adamw, SGD: sgd}
"""Optimisers that a compiled step takes over; with any other one, steps are not compiled."""


@dataclass(frozen=True)
class Group:
    """A group of parameters with options of its own.

    Attributes:
        names: of its parameters.
        rate: its learning rate, relative to that of the optimiser.
        options: the others, numbers that the program contains.
    """

    names: tuple[str, ...]
    rate: float
    options: Mapping[str, Any]


OPTIONS = ("betas", "eps", "weight_decay", "momentum", "nesterov")


def groups_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[Group]:
    """The groups of `optimizer`, its parameters called as in `model`.

    What a group holds besides the options of `optimizer` changes nothing, and is left out.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    return [
        Group(
            tuple(names[id(p)] for p in group["params"]),
            group.get("relative_rate", 1.0),
            {key: group[key] for key in OPTIONS if key in group and key in optimizer.defaults},
        )
        for group in optimizer.param_groups
    ]


def state_of(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> list[State]:
    """The optimiser's own state of each of `parameters`, begun at zero where it has none yet."""
    if isinstance(optimizer, (Adam, AdamW)):
        for p in parameters:
            if not optimizer.state[p]:
                optimizer.state[p] = {
                    "step": torch.zeros((), device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
    return [dict(optimizer.state[p]) for p in parameters]
