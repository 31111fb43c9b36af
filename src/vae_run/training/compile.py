"""Compiling the objective: one pass over the pixels where torch alone makes several.

`torch.compile` needs a C++ compiler, and tens of seconds at its first use (seconds later on, from
its cache). A step then takes about a tenth less time on a CPU.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from typing import Generic, Literal, ParamSpec, TypeVar

import torch

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective, Terms

log = logging.getLogger("vae_run")

P = ParamSpec("P")
T = TypeVar("T")

Choice = bool | Literal["auto"]

LEAST_STEPS = 500_000
"""Steps from which on `auto` compiles: with fewer, a small network does not win the time back."""


def has_compiler() -> bool:
    """Whether there is a C++ compiler that torch can use."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    return any(name and shutil.which(name) for name in names)


def chosen(choice: Choice, *, steps: int, conditional: bool, device: torch.device) -> bool:
    """Whether a training of `steps` steps is compiled; warns if it should be but cannot.

    `auto` compiles neither conditional models, which are a new module at every step, nor on Apple's
    GPUs, where torch's compiler is not mature.
    """
    if choice is False:
        return False
    if choice == "auto" and (steps < LEAST_STEPS or conditional or device.type == "mps"):
        return False
    if not has_compiler():
        if choice is True:
            log.warning("trainer.compile: there is no C++ compiler here; training goes on without.")
        return False
    return True


class WithFallback(Generic[P, T]):
    """`function`, compiled; `function` itself after the first failure of the compiler."""

    def __init__(self, function: Callable[P, T]) -> None:
        self._plain, self._compiled = function, torch.compile(function, dynamic=False)
        self.works = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.works:
            try:
                return self._compiled(*args, **kwargs)
            except Exception as error:  # a compiler can fail in any way
                self.works = False
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("trainer.compile: %s; training goes on without.", reason)
        return self._plain(*args, **kwargs)


def is_constant_after_warmup(objective: Objective) -> bool:
    """Whether the loss is known not to depend on the epoch after the warm-up."""
    ours = type(objective).__module__.startswith("vae_run.")
    return ours and getattr(objective, "cycle_epochs", None) is None


class Compiled(Objective):
    """`objective`, compiled for batches of `batch_size`; smaller ones are not compiled.

    Nor is its warm-up: the loss then depends on the epoch, and each step would be compiled anew.
    """

    def __init__(self, objective: Objective, batch_size: int) -> None:
        self.samples, self.warmup_epochs = objective.samples, objective.warmup_epochs
        self._plain, self._batch_size = objective, batch_size
        self._constant = is_constant_after_warmup(objective)
        self.compiled = WithFallback(objective.__call__)

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        warms = self._constant and epoch < self.warmup_epochs
        if warms or len(batch) != self._batch_size:
            return self._plain(model, batch, epoch)
        return self.compiled(model, batch, self.warmup_epochs if self._constant else epoch)
