"""N models as one: their parameters stacked, and a step of all of them.

Letters: N runs, K samples, B batch, D latent dimensions, E event shape.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, grad_and_value, vmap

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective, Terms, trained_loss
from vae_run.sweeps.vectorized.compiled_stack import compiled_stack
from vae_run.sweeps.vectorized.stacked_optimizer import StackedOptimizer
from vae_run.training.loop import Loop
from vae_run.training.step import StepRecord

Tensors = dict[str, Tensor]
Computed = tuple[Tensors, tuple[Tensor, Tensors]]
"""Gradients, each [N, ...], losses [N] and terms, each [N, B]."""
Stepped = tuple[Tensors, Tensor, Tensor, Tensor]
"""Terms, each [N, B] or [N]; sums and `skipped` [N, 1, T + 1]; norms [N]; `skipped` [N]."""


class LossModule(nn.Module):
    """Model and objective as one module, for `functional_call` to put parameters into."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch, epoch: float) -> Terms:
        return objective(self.model.given(batch.given), batch, epoch)


class Stack:
    """The models and optimisers of `loops`, which are at the same step, as one of each.

    `varying` are attributes of the objective that differ among the runs: each becomes a tensor.
    While the stack exists, every model's parameters and buffers, and its optimiser's state, are
    views of the stack. To remove a run, make a new stack of the others (`of`).

    Attributes:
        buffers: of the models, each [N, ...].
        drawn: the batches of the next step, where they have been drawn already.
    """

    def __init__(
        self,
        loops: Sequence[Loop],
        varying: Sequence[str] = (),
        untrained: frozenset[str] = frozenset(),
        *,
        anew: bool = False,
    ) -> None:
        """Stack them.

        `untrained` are parameters that get no gradient from the objective; `anew`: whether to
        compile is decided for the steps that are left, whatever was decided before.
        """
        self.loops = list(loops)
        self._varying, self._untrained = list(varying), untrained
        first = self.loops[0]
        self._device = first.experiment.device
        self._module = LossModule(first.experiment.model)
        modules = [self._module, *(LossModule(loop.experiment.model) for loop in self.loops[1:])]
        self._objective = copy.copy(first.experiment.objective)
        self._values, self.buffers, self._shared = self._take_over(modules)
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
        self._parameters = parameters
        self._eager: StackedOptimizer | None = None
        self.drawn: Tensors | None = None
        self._epoch, self._preparing = first.epoch, 0.0
        self._together: Callable[..., Computed] = vmap(
            grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, 0, 0)
        )
        held = (self._values, {**self._spread(), **self.buffers})
        self._compiled = compiled_stack(self.loops, *held, parameters, anew=anew)

    @property
    def _optimizer(self) -> StackedOptimizer:
        """The optimiser of the steps that are not compiled."""
        if self._eager is None:
            values = list(self._values.values())
            self._eager = StackedOptimizer(self.loops, values, self._parameters)
        return self._eager

    def of(self, loops: Sequence[Loop]) -> Stack:
        """A stack of some of its runs."""
        compiled = self._compiled is not None
        return Stack(loops, self._varying, self._untrained, anew=compiled)

    def _spread(self) -> Tensors:
        """The buffers that all models share, as if each had its own: [N, ...]."""
        n = len(self.loops)
        return {name: t.expand(n, *t.shape).contiguous() for name, t in self._shared.items()}

    def _take_over(self, modules: Sequence[nn.Module]) -> tuple[Tensors, Tensors, Tensors]:
        """Parameters and buffers [N, ...] of `modules`, whose own tensors become views of them.

        Buffers that are not saved in checkpoints follow from the configuration. Where they are
        equal, such as tables of positions, they are shared: they are the third result.
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
        with loop.experiment.precision():
            arguments = (self._objective, batch_of(batch), self._epoch)
            terms = functional_call(self._module, tensors, arguments)
        return trained_loss(terms).mean(), dict(terms)

    def draw(self) -> Tensors:
        """The next batch of each run, stacked to [N, B, ...]."""
        batches = [loop.batches for loop in self.loops]
        indices = [one.next_index() for one in batches]
        images = batches[0].split.images
        if all(one.split.images is images for one in batches):  # gathered in one operation
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
        if drawn[0].conditions is not None:
            vectors = [one.conditions for one in drawn if one.conditions is not None]
            batch["conditions"] = torch.stack(vectors)
        corrupted = any(one.input is not one.target for one in drawn)
        inputs = torch.stack([one.input for one in drawn]) if corrupted else batch["target"]
        return {"input": inputs, **batch}

    def step(self) -> list[StepRecord]:
        """One optimiser step of every run; a record for each."""
        rates = [
            loop.optimizer.defaults["lr"] * loop.schedule.factor(loop.epoch) for loop in self.loops
        ]
        batch = self.draw() if self.drawn is None else self.drawn
        self.drawn, self._preparing = None, 0.0
        terms, sums, norms, skipped = self._by_program(batch, rates) or self._by_torch(batch, rates)
        each = {name: term.unbind(0) for name, term in terms.items()}
        size = batch["target"].shape[1]
        return [
            StepRecord(
                loop.progress.step + 1,
                size,
                {name: parts[i] for name, parts in each.items()},
                rates[i],
                norm,
                flag,
                row,
                self._preparing,
            )
            for i, (loop, norm, flag, row) in enumerate(
                zip(self.loops, norms.unbind(0), skipped.unbind(0), sums.unbind(0), strict=True)
            )
        ]

    def _by_program(self, batch: Tensors, rates: list[float]) -> Stepped | None:
        """Terms, their sums, norms and what was skipped of a compiled step, if there is one."""
        if self._compiled is None:
            return None
        with _unchecked():
            found = self._compiled.step(batch, self.loops[0].epoch, rates)
        self._preparing = self._compiled.preparing
        if found is None:
            self._compiled = None
            return None
        return found["terms"], found["sums"][:, None], found["norm"], found["skipped"]

    def _by_torch(self, batch: Tensors, rates: list[float]) -> Stepped:
        """The same of a step whose operations torch carries out one by one."""
        gradients, (loss, terms) = self.gradients(batch, self.loops[0].epoch)
        norms, skipped = self._optimizer.step([gradients[n] for n in self._values], loss, rates)
        for loop, flag in zip(self.loops, skipped.unbind(0), strict=True):
            loop.experiment.model.after_step(flag)
        sums = torch.stack([*(term.sum(1) for term in terms.values()), skipped], 1)[:, None]
        return terms, sums, norms, skipped

    def gradients(self, batch: Tensors, epoch: float, buffers: Tensors | None = None) -> Computed:
        """Compute at `batch`; `buffers`, by default the stack's, are updated in place."""
        self._epoch = epoch
        with _unchecked():
            return self._together(
                self._values, self.buffers if buffers is None else buffers, self._attributes, batch
            )


def batch_of(tensors: Tensors) -> Batch:
    label, conditions = tensors.get("label"), tensors.get("conditions")
    parts = (tensors["input"], tensors["target"], tensors["noise"], label)
    return Batch(*parts, conditions=conditions)


@contextmanager
def _unchecked() -> Iterator[None]:
    """Disable the checks of distributions' arguments: they read values, which vmap forbids."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
