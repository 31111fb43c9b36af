"""A whole step as a function of tensors: from the images' indices to the new parameters.

It is pure Python over tensors, and is traced into a program (`training.program`). The same function
is the step of one run, and of N runs whose tensors are stacked.

Letters: N runs, B batch, E event shape, K samples, D latent dimensions, T terms.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from vae_run.corruptions import Corruption
from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective, Terms, trained_loss
from vae_run.training.optimizers import not_finite
from vae_run.training.updates import Formula, Group, State, corrections, like

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Held:
    """What a step changes in place.

    Attributes:
        parameters: those that are trained, by name.
        buffers: all others of the model's tensors, by name.
        states: the optimiser's state of each of `parameters`.
    """

    parameters: Tensors
    buffers: Tensors
    states: Mapping[str, State]

    def tensors(self) -> dict[str, Any]:
        """The same as nested dictionaries."""
        states = {name: dict(state) for name, state in self.states.items()}
        return {"parameters": self.parameters, "buffers": self.buffers, "states": states}


class _Steps(nn.Module):
    """Model and objective as one module, for `functional_call` to put parameters into."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, what: Callable[[LatentVariableModel], Any]) -> Any:
        return what(self.model)


@contextmanager
def _with_numbers(objective: Objective, given: Tensors) -> Iterator[None]:
    """Let attributes of `objective` be tensors inside: those of `given` as `objective.NAME`."""
    start = "objective."
    own = {k.removeprefix(start): tensor for k, tensor in given.items() if k.startswith(start)}
    before = {name: getattr(objective, name) for name in own}
    try:
        for name, tensor in own.items():
            setattr(objective, name, tensor)
        yield
    finally:
        for name, value in before.items():
            setattr(objective, name, value)


@dataclass(frozen=True)
class WholeStep:
    """Everything that a step is made of, apart from its tensors.

    Attributes:
        scale: what stored pixels are multiplied by.
        resample: whether grey values are probabilities of binary pixels (`Split.resample`).
        groups, formula: of the optimiser (`training.updates`).
        precision: the context of a forward pass.
        stacked: whether there are N runs.
    """

    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    scale: float
    resample: bool
    groups: Sequence[Group]
    formula: Formula
    clip_norm: float | None
    precision: AbstractContextManager[Any]
    stacked: bool = False

    def __call__(self, arguments: tuple[Mapping[str, Any], Tensors, Tensor]) -> dict[str, Any]:
        """One step, whose results are written into the tensors of `held`.

        The three arguments, as one tuple:
            held: `Held.tensors()`, of N runs each with [N] in front.
            given: of each step; of N runs each [N, ...] except `epoch`. `epoch` [] and `rate` []
                (epochs done; learning rate of the optimiser), `noise` [K, B, D], and where they
                are needed `label` [B], `conditions` [B, P] and each attribute of the objective
                that is a tensor, as `objective.NAME` []. The images are `index` int64 [B], with
                `uniform` [B, *E] and `corrupting` where resampling and corruption draw them; or
                `target` and `input` [B, *E], ready-made.
            images: as they are stored, [M, *E]; shared by all runs.

        Returns:
            `terms`, each the sum over the batch []; `sums` [T + 1], all of them and `skipped`;
            `norm` and `skipped` []. Of N runs each with [N] in front.
        """
        held, given, images = arguments
        leaves = {name: p.detach().requires_grad_() for name, p in held["parameters"].items()}
        shared = {"epoch": given["epoch"], "images": images}
        own = {name: tensor for name, tensor in given.items() if name != "epoch"}

        def forward(w: Tensors, others: Tensors, drawn: Tensors) -> tuple[Tensor, Terms]:
            return self._loss(w, others, {**drawn, **shared})

        loss, terms = (vmap(forward) if self.stacked else forward)(leaves, held["buffers"], own)
        found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
        with torch.no_grad():
            pairs = zip(leaves, found, strict=True)
            gradients = {name: g.detach() for name, g in pairs if g is not None}
            norm = self._norm(gradients.values())
            skipped = not_finite(norm + loss.detach())
            if self.clip_norm is not None:
                factor = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
                gradients = {name: g * like(factor, g) for name, g in gradients.items()}
            self._update(held, gradients, given["rate"], skipped)
            self._after(held, skipped)
            totals = {name: term.detach().sum(-1) for name, term in terms.items()}
            sums = torch.stack([*totals.values(), skipped], -1)
            return {"terms": totals, "sums": sums, "norm": norm, "skipped": skipped}

    def _loss(self, parameters: Tensors, buffers: Tensors, given: Tensors) -> tuple[Tensor, Terms]:
        """The mean loss [] of one run, and its terms, each [B]."""
        target, corrupted = self._pixels(given)
        label, conditions = given.get("label"), given.get("conditions")
        batch = Batch(corrupted, target, given["noise"], label, conditions)

        def terms_of(model: LatentVariableModel) -> Terms:
            return self.objective(model.given(batch.given), batch, given["epoch"])

        # A copy, since a context keeps what it has found on entry, and attributes must not change.
        with copy.copy(self.precision), _with_numbers(self.objective, given):
            terms = self._called(terms_of, {**buffers, **parameters})
        return trained_loss(terms).mean(), dict(terms)

    def _pixels(self, given: Tensors) -> tuple[Tensor, Tensor]:
        """The clean images of the batch [B, *E], and those that the encoder gets."""
        if "target" in given:
            return given["target"], given.get("input", given["target"])
        target = given["images"].index_select(0, given["index"]).to(torch.float32)
        if self.scale != 1.0:
            target = target * self.scale
        if self.resample:
            target = (given["uniform"] < target).to(target.dtype)
        return target, self.corruption.apply(target, given.get("corrupting"))

    def _called(self, what: Callable[[LatentVariableModel], Any], tensors: Tensors) -> Any:
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        given = dict(named)
        found = functional_call(_Steps(self.model), named, (what,))
        for name, tensor in given.items():
            if named[name] is not tensor:  # the new one would be dropped
                own = name.removeprefix("model.")
                raise TypeError(f"{own} is assigned in a step, not changed in place")
        return found

    def _norm(self, gradients: Any) -> Tensor:
        """The 2-norm of the gradient, [] or [N]."""
        runs = 1 if self.stacked else 0
        squares = [g.square().sum(tuple(range(runs, g.dim()))) for g in gradients]
        return torch.stack(squares).sum(0).sqrt()

    def _update(
        self, held: Mapping[str, Any], gradients: Tensors, rate: Tensor, skipped: Tensor
    ) -> None:
        keep = skipped.bool()
        for group in self.groups:
            names = [name for name in group.names if name in gradients]
            states = {name: held["states"][name] for name in names}
            options = {**group.options, "rate": rate * group.rate}
            if names:
                options |= corrections(list(states.values()), group.options)
            for name, state in states.items():
                w = held["parameters"][name]
                new, news = self.formula(w, gradients[name], state, options)
                w.copy_(torch.where(like(keep, w), w, new))
                for key, value in news.items():
                    old = state[key]
                    old.copy_(torch.where(like(keep, old), old, value))

    def _after(self, held: Mapping[str, Any], skipped: Tensor) -> None:
        """What the model changes without a gradient (`Posterior.after_step`)."""

        def changed(parameters: Tensors, buffers: Tensors, flag: Tensor) -> Tensor:
            self._called(lambda m: m.after_step(flag), {**buffers, **parameters})
            return flag

        each = vmap(changed) if self.stacked else changed
        each(held["parameters"], held["buffers"], skipped)


CLOSE, HALF_CLOSE = 1e-3, 3e-2
"""Largest relative difference of a program from the eager step; the second under autocast."""


def difference(
    whole: WholeStep, made: Callable[[Any], Any], arguments: tuple[Any, Any, Any]
) -> str | None:
    """How the step of the program `made` differs from that of `whole`; None if they are close.

    Both are taken from copies of what they change; the means of their losses and the norms of
    their gradients are compared. `arguments` are those of `WholeStep`.
    """
    held, given, images = arguments
    copied = torch.utils._pytree.tree_map(torch.clone, (held, held))
    expected, found = whole((copied[0], given, images)), made((copied[1], given, images))
    close = HALF_CLOSE if isinstance(whole.precision, torch.autocast) else CLOSE
    images_of_each = given["noise"].shape[-2]
    for name, size in (("sums", images_of_each), ("norm", 1)):
        far = (found[name] - expected[name]).abs() > close * (size + expected[name].abs())
        if bool(far.any()):
            return f"the compiled {name} of a step differ from the eager ones"
    return None
