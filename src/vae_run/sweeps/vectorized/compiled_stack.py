"""The step of a stack as one compiled program, which changes parameters and states in place.

Letters: N runs, K samples, B batch, D latent dimensions, E event shape, T terms.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_run.training import program
from vae_run.training.compiled_steps import batched, without_numbers
from vae_run.training.loop import Loop
from vae_run.training.updates import FORMULAS, Group, groups_of, state_of
from vae_run.training.whole_step import Tensors, WholeStep, difference

log = logging.getLogger("vae_run")


def obstacle(loops: Sequence[Loop]) -> str | None:
    """Why the steps of `loops` cannot be one program; None if they can."""
    kinds = {type(loop.optimizer) for loop in loops}
    if len(kinds) > 1 or not kinds <= set(FORMULAS):
        return "their optimisers are not of one kind that can be compiled"
    if any(_options(loop) != _options(loops[0]) for loop in loops):
        return "their optimisers differ in more than the learning rate"
    if len({loop.trainer.clip_norm for loop in loops}) > 1:
        return "they differ in trainer.clip_norm"
    return None


def _options(loop: Loop) -> list[Group]:
    return groups_of(loop.optimizer, loop.experiment.model)


def compiled_stack(
    loops: Sequence[Loop],
    values: Tensors,
    buffers: Tensors,
    parameters: Sequence[Sequence[Tensor]],
    *,
    anew: bool,
) -> CompiledStack | None:
    """The compiled steps of `loops`, where they are asked for or pay, and are possible.

    Args:
        loops, values, buffers, parameters: as of `CompiledStack`; names begin with "model.".
        anew: see `pays`.
    """
    reason = obstacle(loops)
    if reason is not None:
        gives_up(loops, reason if loops[0].trainer.compile is True else None)
        return None
    if not pays(loops, anew=anew):
        return None
    return CompiledStack(loops, _of_model(values), _of_model(buffers), parameters)


def gives_up(loops: Sequence[Loop], why: str | None) -> None:
    """Let the steps of `loops` stay uncompiled, also when they are continued; tell `why` once."""
    if why is not None and vars(loops[0]).get("compiles") is not False:
        log.warning("trainer.compile: %s; training goes on without.", why)
    for loop in loops:
        loop.compiles = False


def _of_model(tensors: Tensors) -> Tensors:
    return {name.removeprefix("model."): tensor.detach() for name, tensor in tensors.items()}


def pays(loops: Sequence[Loop], *, anew: bool = False) -> bool:
    """Whether the steps that are left of `loops` gain more than their program costs.

    A step of all runs gains about as much as one of a single run, however many they are: what
    compiling saves is mostly the overhead of operations (docs/performance.md). So the steps of the
    longest run count. A run that is continued keeps what was chosen for it; unless `anew`.
    """
    first = loops[0]
    if "compiles" in vars(first) and not anew:  # chosen already
        return first.compiles
    limited = [one for one in loops if one.trainer.max_time or one.trainer.patience]
    left = max(loop.total - loop.progress.step for loop in loops)
    compiles = (limited or [first])[0].trainer.compiles(left, first.experiment.device)
    for loop in loops:
        loop.compiles = compiles
    return compiles


class CompiledStack:
    """Takes the steps of `loops`, whose parameters `values` [N, ...] are stacked already.

    While it is used, the state of each run's own optimiser is a view of a stacked one.

    Args:
        loops: the runs, for which there is no `obstacle`.
        values: the parameters that are trained, by name in the model, each [N, ...].
        buffers: all others of the model's tensors, by name, each [N, ...].
        parameters: the parameters of each run, in the order of `values`, of which they are views.

    Attributes:
        preparing: seconds that compiling took in the last step, with or without success.
    """

    def __init__(
        self,
        loops: Sequence[Loop],
        values: Tensors,
        buffers: Tensors,
        parameters: Sequence[Sequence[Tensor]],
    ) -> None:
        self._loops, first = loops, loops[0]
        device = first.experiment.device
        objective = first.experiment.objective
        self.whole = WholeStep(
            first.experiment.model,
            without_numbers(objective),
            first.experiment.corruption,
            1.0,
            False,
            _options(first),
            FORMULAS[type(first.optimizer)],
            first.trainer.clip_norm,
            first.experiment.precision(),
            stacked=True,
        )
        states = self._stacked_states(parameters)
        trained = dict(zip(values, states, strict=True))
        self._held = {"parameters": values, "buffers": buffers, "states": trained}
        self._numbers = {
            f"objective.{name}": torch.tensor(
                [float(getattr(loop.experiment.objective, name)) for loop in loops], device=device
            )
            for name in batched(objective)
        }
        self._rates = torch.zeros(len(loops), device=device)
        self._epoch = torch.zeros((), device=device)
        self._program: program.Program | None = None
        self.preparing = 0.0

    def _stacked_states(self, parameters: Sequence[Sequence[Tensor]]) -> list[Tensors]:
        """The optimisers' states, each [N, ...]; those of the runs become views of them."""
        each = [
            state_of(loop.optimizer, own) for loop, own in zip(self._loops, parameters, strict=True)
        ]
        stacked = []
        for place, first in enumerate(each[0]):
            found = {key: torch.stack([states[place][key] for states in each]) for key in first}
            for i, (loop, own) in enumerate(zip(self._loops, parameters, strict=True)):
                for key, tensor in found.items():
                    loop.optimizer.state[own[place]][key] = tensor[i]
            stacked.append(found)
        return stacked

    def step(self, batch: Tensors, epoch: float, rates: Sequence[float]) -> dict[str, Any] | None:
        """One step of every run at `batch`, each tensor [N, ...], by learning `rates`.

        A batch that is smaller than the others is not compiled.

        Returns:
            As `WholeStep`; None if there is no program, and nothing was done.
        """
        self.preparing = 0.0
        self._epoch.fill_(epoch)
        self._rates.copy_(torch.tensor(rates, device=self._rates.device))
        given = {**batch, **self._numbers, "epoch": self._epoch, "rate": self._rates}
        if given["input"] is given["target"]:
            del given["input"]  # it is not read twice
        for loop, rate in zip(self._loops, rates, strict=True):
            for group in loop.optimizer.param_groups:
                group["lr"] = rate * group.get("relative_rate", 1.0)
        arguments = (self._held, given, torch.zeros((), device=self._rates.device))
        found: dict[str, Any]
        if batch["target"].shape[1] != self._loops[0].trainer.batch_size:
            found = self.whole(arguments)
            return found
        if self._program is None and not self._make(arguments):
            return None
        assert self._program is not None
        found = self._program(arguments)
        return found

    def _make(self, arguments: Any) -> bool:
        """Make the program, and compare it with the eager step; whether there is one."""
        started = time.perf_counter()
        try:
            made = program.of(self.whole, arguments)
            reason = difference(self.whole, made, arguments)
        except Exception as error:  # a compiler can fail in any way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        self.preparing = took = time.perf_counter() - started
        if reason is not None:
            gives_up(self._loops, reason)
            return False
        self._program = made
        log.info("the step of %d runs is compiled, in %.1f s", len(self._loops), took)
        return True
