"""Steps of one run by a program that is compiled for its batches."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.objectives import Objective, Terms
from vae_run.system import ranks
from vae_run.training import program
from vae_run.training.step import EagerSteps, StepRecord
from vae_run.training.updates import FORMULAS, Group, groups_of, state_of
from vae_run.training.whole_step import Held, WholeStep, difference

log = logging.getLogger("vae_run")


class CompiledSteps:
    """Takes the steps of `eager` by one program, in place.

    The last batch of an epoch, if it is smaller, is taken eagerly. If there is no program for a
    step, one line of warning says why, `gave_up` is called, and all steps are taken eagerly. The
    program is made within `making()`.
    """

    def __init__(
        self,
        eager: EagerSteps,
        gave_up: Callable[[], None] = lambda: None,
        making: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._gave_up, self._making = gave_up, making
        self._eager, self._batches = eager, eager.batches
        images, size = eager.batches.images, eager.batches.batch_size
        self.why_not = why_not(eager.optimizer, eager.at_once, images, size)
        self._program: program.Program | None = None
        self._preparing = 0.0
        if self.why_not is not None:
            self._gives_up(self.why_not)
            return
        batches = self._batches
        self._held = held_by(eager, groups_of(eager.optimizer, eager.model))
        self._images = batches.split.images if batches.resident else torch.zeros(())
        device = batches.device
        self._now = {name: torch.zeros((), device=device) for name in ("epoch", "rate")}
        for name in batched(eager.objective):
            value = float(getattr(eager.objective, name))
            self._now[f"objective.{name}"] = torch.tensor(value, device=device)

    def take(self, step: int, epoch: float, rate: float) -> StepRecord:
        """The step after `step` steps, of the next batch, at learning rate `rate`."""
        if self.why_not is not None:
            return self._eager.take(step, epoch, rate)
        record = self._taken(step, epoch, rate)
        preparing, self._preparing = self._preparing, 0.0
        return replace(record, preparing=preparing) if preparing else record

    def _taken(self, step: int, epoch: float, rate: float) -> StepRecord:
        batches = self._batches
        if not batches.resident:
            batch = batches.next()
            if len(batch) != batches.batch_size:
                return self._eager.of(batch, step, epoch, rate)
            found = self._by_program(_fields(batch), epoch, rate)
            return self._record(found, step, rate) or self._eager.of(batch, step, epoch, rate)
        index, split = batches.next_index(), batches.split
        drawn, beside = batches.draws(len(index), split.event_shape), split.beside(index)
        if len(index) == batches.batch_size:
            given = {"index": index, "uniform": drawn.uniform, "corrupting": drawn.corrupting}
            given |= {"noise": drawn.noise, "label": beside[0], "conditions": beside[1]}
            found = self._by_program(given, epoch, rate)
            if (record := self._record(found, step, rate)) is not None:
                return record
        batch = batches.combined(len(index), drawn, split.pixels(index), *beside)
        return self._eager.of(batch, step, epoch, rate)

    def _by_program(
        self, given: dict[str, Tensor | None], epoch: float, rate: float
    ) -> dict[str, Any] | None:
        """What the program returns; None if there is none."""
        self._now["epoch"].fill_(epoch)
        self._now["rate"].fill_(rate)
        there = {name: tensor for name, tensor in given.items() if tensor is not None}
        arguments = (self._held.tensors(), {**there, **self._now}, self._images)
        if self._program is None:
            self._program = self._made(arguments)
        if self._program is None:
            return None
        found: dict[str, Any] = self._program(arguments)
        return found

    def _made(self, arguments: tuple[Any, Any, Any]) -> program.Program | None:
        """The program, after a comparison with the eager step; None if there is none."""
        started, whole = time.perf_counter(), whole_step(self._eager)
        log.info("compiling the step, which takes about half a minute, or seconds from disk")
        try:
            with self._making():
                made = program.of(whole, arguments)
                reason = difference(whole, made, arguments)
        except Exception as error:  # a compiler can fail in any way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        self._preparing = time.perf_counter() - started
        if reason is not None:
            self._gives_up(reason)
            return None
        log.info("the step is compiled, in %.1f s", self._preparing)
        return made

    def _record(self, found: dict[str, Any] | None, step: int, rate: float) -> StepRecord | None:
        if found is None:
            return None
        size = self._batches.batch_size
        terms: Terms = found["terms"]
        told = found["norm"], found["skipped"], found["sums"][None]
        return StepRecord(step + 1, size, terms, rate, *told)

    def _gives_up(self, why: str) -> None:
        self.why_not = why
        log.warning("trainer.compile: %s; training goes on without.", why)
        self._gave_up()


def why_not(
    optimizer: torch.optim.Optimizer, at_once: int | None, images: int, batch_size: int
) -> str | None:
    """Why steps of `optimizer` on `images` training images cannot be a program; None: they can."""
    if ranks.place() is not None:
        return "steps that several processes share are not compiled"
    if type(optimizer) not in FORMULAS:
        return f"steps of {type(optimizer).__name__} cannot be compiled"
    if at_once is not None:
        return "gradients of parts of a batch (trainer.accumulate) are not compiled"
    if images < batch_size:
        return "there are fewer training images than trainer.batch_size, so no batch is whole"
    return None


def batched(objective: Objective) -> tuple[str, ...]:
    """Attributes of `objective` that may be tensors: runs that differ in them share a program."""
    return tuple(vars(type(objective)).get("batched", ()))


def without_numbers(objective: Objective) -> Objective:
    """A copy of `objective` without those attributes, which a step gives it as tensors."""
    found = copy.copy(objective)
    for name in batched(objective):
        setattr(found, name, None)
    return found


def whole_step(eager: EagerSteps) -> WholeStep:
    """The step of `eager` as a function of tensors."""
    split = eager.batches.split
    return WholeStep(
        eager.model,
        without_numbers(eager.objective),
        eager.batches.corruption,
        1.0 / split.scale,
        split.resample,
        groups_of(eager.optimizer, eager.model),
        FORMULAS[type(eager.optimizer)],
        eager.clip_norm,
        eager.precision,
    )


def held_by(eager: EagerSteps, groups: Sequence[Group]) -> Held:
    """The tensors of model and optimiser, which the program changes in place."""
    own = dict(eager.model.named_parameters())
    trained = [name for group in groups for name in group.names]
    states = state_of(eager.optimizer, [own[name] for name in trained])
    rest = {name: p.detach() for name, p in own.items() if name not in set(trained)}
    return Held(
        {name: own[name].detach() for name in trained},
        {**rest, **dict(eager.model.named_buffers())},
        dict(zip(trained, states, strict=True)),
    )


def _fields(batch: Batch) -> dict[str, Tensor | None]:
    corrupted = batch.input if batch.input is not batch.target else None
    given = {"target": batch.target, "input": corrupted, "noise": batch.noise}
    return {**given, "label": batch.label, "conditions": batch.conditions}
