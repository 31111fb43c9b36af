"""N models as one: their parameters stacked, and a step of all of them.

Letters: N runs, K samples, B batch, D latent dimensions, E event shape.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, grad_and_value, vmap

from vae_run.data.batches import Batch
from vae_run.loop import Loop
from vae_run.model import LatentVariableModel
from vae_run.objectives import Objective, Terms
from vae_run.training import StepRecord
from vae_run.vectorized.descent import Descent

log = logging.getLogger("vae_run")

Tensors = dict[str, Tensor]

FLOAT32, BFLOAT16 = 1e-4, 3e-2
"""How far a first step may be from that of a run alone, as a share of its size."""


class Disagreement(Exception):
    """A stack does not give what its runs give alone; the message says where."""


@dataclass(frozen=True)
class StackedRecord(StepRecord):
    """A step of one run of a stack; `sums` [1, T + 1] were taken for all of them at once."""

    sums: Tensor

    def row(self) -> Tensor:
        return self.sums


class _Loss(nn.Module):
    """Model and objective as one module, for `functional_call` to put parameters into."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch, epoch: float) -> Terms:
        return objective(self.model.given(batch.label), batch, epoch)


class Stack:
    """The models and optimisers of `loops`, which stand at the same step, as one of each.

    `varying` are attributes of the objective that differ among the runs: each becomes a tensor.
    From then on every model's parameters and buffers, and what its optimiser holds of them, are
    views of the stack. A run leaves by making a new stack of the others.
    """

    def __init__(
        self,
        loops: Sequence[Loop],
        varying: Sequence[str] = (),
        untrained: frozenset[str] = frozenset(),
    ) -> None:
        """`untrained` are parameters that the objective does not reach."""
        self.loops = list(loops)
        self._varying, self._untrained = list(varying), untrained
        first = self.loops[0]
        self._device = first.experiment.device
        self._module = _Loss(first.experiment.model)
        modules = [self._module, *(_Loss(loop.experiment.model) for loop in self.loops[1:])]
        self._objective = copy.copy(first.experiment.objective)
        self._values, self._buffers, self._shared = self._take_over(modules)
        self._attributes = {
            name: torch.tensor(
                [float(getattr(loop.experiment.objective, name)) for loop in self.loops],
                device=self._device,
            )
            for name in varying
        }
        parameters: list[list[Tensor]] = [
            [dict(module.named_parameters())[name] for name in self._values] for module in modules
        ]
        self._descent = Descent(self.loops, list(self._values.values()), parameters)
        self._drawn: Tensors | None = None
        self._epoch = first.epoch
        self._together = vmap(grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, 0, 0))
        self._compiled: Callable[..., Any] | None = None
        if first.compiles and settles(self._objective):
            self._compiled = torch.compile(self._together, dynamic=False)

    @classmethod
    def verified(cls, loops: Sequence[Loop], varying: Sequence[str] = ()) -> Stack:
        """A stack whose first step was compared with those of its runs alone.

        Raises:
            Disagreement: they differ, or these models cannot be batched.
        """
        try:
            stack = cls(loops, varying)
        except (KeyError, RuntimeError) as error:
            raise Disagreement(f"their parameters differ ({error})") from error
        untrained = stack.verify()
        if untrained:
            drawn, stack = stack._drawn, cls(loops, varying, untrained)
            stack._drawn = drawn
        return stack

    def of(self, loops: Sequence[Loop]) -> Stack:
        """The stack of those of its runs that go on."""
        return Stack(loops, self._varying, self._untrained)

    def _take_over(self, modules: Sequence[nn.Module]) -> tuple[Tensors, Tensors, Tensors]:
        """Parameters and buffers [N, ...] of `modules`, whose own become views of them.

        Buffers that no checkpoint holds follow from the configuration: where they are equal, such
        as tables of places, they stay as they are and are shared. They are the third result.
        """
        values: Tensors = {}
        buffers: Tensors = {}
        shared: Tensors = {}
        own = [dict(chain(m.named_parameters(), m.named_buffers())) for m in modules]
        kept = set(modules[0].state_dict())
        for name, tensor in own[0].items():
            same = [tensors[name] for tensors in own]
            if name not in kept and all(torch.equal(tensor, other) for other in same):
                shared[name] = tensor
                continue
            stacked = torch.stack([t.detach() for t in same])
            for i, mine in enumerate(same):
                mine.data = stacked[i]
            trained = tensor.requires_grad and name not in self._untrained
            (values if trained else buffers)[name] = stacked
        return values, buffers, shared

    def _loss(
        self, values: Tensors, buffers: Tensors, attributes: Tensors, batch: Tensors
    ) -> tuple[Tensor, Terms]:
        """The mean loss [] of one run, and its terms, each [B]."""
        for name, value in attributes.items():
            setattr(self._objective, name, value)
        tensors = {**self._shared, **buffers, **values}
        loop = self.loops[0]
        with loop.precision():
            arguments = (self._objective, _batch(batch), self._epoch)
            terms = functional_call(self._module, tensors, arguments)
        return terms["loss"].mean(), dict(terms)

    def _draw(self) -> Tensors:
        """The next batch of each run, one above the other."""
        batches = [loop.batches for loop in self.loops]
        indices = [one.next_index() for one in batches]
        images = batches[0].split.images
        if all(one.split.images is images for one in batches):  # gathered at once
            gathered = batches[0].split.pixels(torch.cat(indices))
            pixels = gathered.reshape(len(batches), -1, *gathered.shape[1:])
        else:
            found = [one.split.pixels(i) for one, i in zip(batches, indices, strict=True)]
            pixels = torch.stack(found)
        parts = zip(batches, indices, pixels.unbind(0), strict=True)
        drawn = [one.completed(index, target) for one, index, target in parts]
        resampled = batches[0].split.resample
        batch = {
            "target": torch.stack([one.target for one in drawn]) if resampled else pixels,
            "noise": torch.stack([one.noise for one in drawn]),
        }
        if drawn[0].label is not None:
            batch["label"] = torch.stack([one.label for one in drawn if one.label is not None])
        corrupted = any(one.input is not one.target for one in drawn)
        inputs = torch.stack([one.input for one in drawn]) if corrupted else batch["target"]
        return {"input": inputs, **batch}

    def step(self) -> list[StackedRecord]:
        """One optimiser step of every run; a record for each."""
        rates = [
            loop.optimizer.defaults["lr"] * loop.schedule.factor(loop.epoch) for loop in self.loops
        ]
        batch = self._draw() if self._drawn is None else self._drawn
        self._drawn, self._epoch = None, self.loops[0].epoch
        with _unchecked():
            gradients, (loss, terms) = self._computed(batch)
        norms, skipped = self._descent.step([gradients[n] for n in self._values], loss, rates)
        sums = torch.stack([*(term.sum(1) for term in terms.values()), skipped], 1)[:, None]
        each = {name: term.unbind(0) for name, term in terms.items()}
        size = batch["target"].shape[1]
        return [
            StackedRecord(
                loop.progress.step + 1,
                size,
                {name: parts[i] for name, parts in each.items()},
                rates[i],
                norm,
                flag,
                row,
            )
            for i, (loop, norm, flag, row) in enumerate(
                zip(self.loops, norms.unbind(0), skipped.unbind(0), sums.unbind(0), strict=True)
            )
        ]

    def _computed(self, batch: Tensors) -> tuple[Tensors, tuple[Tensor, Tensors]]:
        """Gradients, losses [N] and terms [N, B] at `batch`: compiled once the warm-up is over.

        From then on the loss does not depend on the time, for which each step would be compiled
        anew.
        """
        arguments = (self._values, self._buffers, self._attributes, batch)
        if self._compiled is not None and self._epoch >= self._objective.warmup_epochs:
            self._epoch = float(self._objective.warmup_epochs)
            try:
                found: tuple[Tensors, tuple[Tensor, Tensors]] = self._compiled(*arguments)
                return found
            except Exception as error:  # a compiler can fail in any way; the plain call then tells
                self._compiled = None
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("trainer.compile: %s; training goes on without.", reason)
        plain: tuple[Tensors, tuple[Tensor, Tensors]] = self._together(*arguments)
        return plain

    def verify(self) -> frozenset[str]:
        """Compare the first step's terms and gradients with those of each run alone.

        Nothing is changed, and the batch that was drawn is that of the first step. The objective
        is taken at the end of its warm-up, where all of its parts count.

        Returns:
            The parameters that the objective does not reach.

        Raises:
            Disagreement: they differ, or these models cannot be batched.
        """
        self._drawn = self._draw()
        self._epoch = max(loop.experiment.objective.warmup_epochs for loop in self.loops)
        buffers = {name: tensor.clone() for name, tensor in self._buffers.items()}
        try:
            with _unchecked():
                gradients, (_, terms) = self._together(
                    self._values, buffers, self._attributes, self._drawn
                )
        except Exception as error:  # whatever torch.func says that it cannot do
            what = str(error).strip().splitlines() or [type(error).__name__]
            raise Disagreement(f"torch.func: {what[0]}") from error
        bfloat16 = self.loops[0].experiment.settings.fixed.precision == "bfloat16"
        tolerance = BFLOAT16 if bfloat16 else FLOAT32
        untrained: set[str] = set()
        for i, loop in enumerate(self.loops):
            own_gradients, own = self._alone(loop, i)
            untrained |= {name for name, g in own_gradients.items() if g is None}
            whole = torch.stack([g.norm() for g in own_gradients.values() if g is not None]).norm()
            for name, expected in own_gradients.items():
                if expected is not None:
                    _compare(name, gradients[name][i], expected, tolerance * whole)
            for name, expected in own.items():
                found = terms[name][i] if name in terms else buffers[name][i]
                _compare(name, found, expected, tolerance * expected.float().norm())
        return frozenset(untrained)

    def _alone(self, loop: Loop, i: int) -> tuple[dict[str, Tensor | None], Tensors]:
        """Gradients, terms and buffers of the run at place i, for its part of what was drawn."""
        assert self._drawn is not None
        module = _Loss(loop.experiment.model)
        before = {name: buffer[i].clone() for name, buffer in self._buffers.items()}
        batch = _batch({name: tensor[i] for name, tensor in self._drawn.items()})
        with loop.precision():
            terms = module(loop.experiment.objective, batch, self._epoch)
        own = dict(module.named_parameters())
        gradients = torch.autograd.grad(
            terms["loss"].mean(), [own[name] for name in self._values], allow_unused=True
        )
        after = {name: buffer[i].clone() for name, buffer in self._buffers.items()}
        for name, kept in before.items():
            self._buffers[name][i] = kept
        rest = {**{name: term.detach() for name, term in terms.items()}, **after}
        return dict(zip(self._values, gradients, strict=True)), rest


def _batch(tensors: Tensors) -> Batch:
    return Batch(tensors["input"], tensors["target"], tensors["noise"], tensors.get("label"))


def _compare(name: str, found: Tensor, expected: Tensor, most: Tensor) -> None:
    """Raise where `found` is further from `expected` than `most`, a distance []."""
    distance = (found.float() - expected.float()).norm()
    if not bool(distance <= most + 1e-9):
        raise Disagreement(
            f"{name.removeprefix('model.')} is {float(distance):.2g} off what a run has alone"
        )


def settles(objective: Objective) -> bool:
    """Whether the loss is known to have no more use for the time after the warm-up."""
    ours = type(objective).__module__.startswith("vae_run.")
    return ours and getattr(objective, "cycle_epochs", None) is None


@contextmanager
def _unchecked() -> Iterator[None]:
    """No checks of distributions' arguments: they read from the device, which vmap forbids."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
