"""The check that the first step of a stack equals those of its runs alone.

Letters: N runs, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_run.objectives import trained_loss
from vae_run.sweeps.vectorized.stacked_model import LossModule, Stack, Tensors, batch_of
from vae_run.training.loop import Loop

FLOAT32, BFLOAT16 = 1e-4, 3e-2
"""Largest distance of a stack's first step from that of a run alone, relative to its norm."""


class Disagreement(Exception):
    """The results of a stack differ from those of its runs alone; the message says where."""


def verified(loops: Sequence[Loop], varying: Sequence[str] = ()) -> Stack:
    """A stack of `loops` whose first step was compared with those of its runs alone.

    Raises:
        Disagreement: they differ, or these models cannot be batched; the next batch of each run is
            still its first.
    """
    try:
        stack = Stack(loops, varying)
    except (KeyError, RuntimeError) as error:
        raise Disagreement(f"their parameters differ ({error})") from error
    places = [loop.batches.state_dict() for loop in loops]
    batch = stack.draw()
    try:
        untrained = compare(stack, batch)
    except Disagreement:
        for loop, place in zip(loops, places, strict=True):
            loop.batches.load_state_dict(place)
        raise
    if untrained:
        stack = Stack(loops, varying, untrained)
    stack.drawn = batch
    return stack


def compare(stack: Stack, batch: Tensors) -> frozenset[str]:
    """Compare terms and gradients at `batch`, each [N, ...], with those of each run alone.

    Nothing is changed. The objective is evaluated at the end of its warm-up, where all of its
    terms have their full weights.

    Returns:
        The parameters that get no gradient from the objective.

    Raises:
        Disagreement: they differ, or these models cannot be batched.
    """
    epoch = max(loop.experiment.objective.warmup_epochs for loop in stack.loops)
    buffers = {name: tensor.clone() for name, tensor in stack.buffers.items()}
    try:
        gradients, (_, terms) = stack.gradients(batch, epoch, buffers)
    except Exception as error:  # torch.func has no exception of its own
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise Disagreement(f"torch.func: {what[0]}") from error
    found = {**buffers, **terms}
    bfloat16 = stack.loops[0].experiment.settings.fixed.precision == "bfloat16"
    tolerance = BFLOAT16 if bfloat16 else FLOAT32
    untrained: set[str] = set()
    for i, loop in enumerate(stack.loops):
        part = {name: tensor[i] for name, tensor in batch.items()}
        own_gradients, own = _alone(loop, part, epoch, list(gradients))
        untrained |= {name for name, g in own_gradients.items() if g is None}
        whole = torch.stack([g.norm() for g in own_gradients.values() if g is not None]).norm()
        for name, expected in own_gradients.items():
            if expected is not None:
                _refuse_far(name, gradients[name][i], expected, tolerance * whole)
        for name, expected in own.items():
            if name in found:
                _refuse_far(name, found[name][i], expected, tolerance * expected.float().norm())
    return frozenset(untrained)


def _alone(
    loop: Loop, batch: Tensors, epoch: float, trained: Sequence[str]
) -> tuple[dict[str, Tensor | None], Tensors]:
    """Gradients of `trained`, and terms and buffers, of a run alone for its own batch."""
    module = LossModule(loop.experiment.model)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with loop.experiment.precision():
        terms = module(loop.experiment.objective, batch_of(batch), epoch)
    own = dict(module.named_parameters())
    gradients = torch.autograd.grad(
        trained_loss(terms).mean(), [own[name] for name in trained], allow_unused=True
    )
    after = {name: buffer.clone() for name, buffer in module.named_buffers()}
    for name, buffer in module.named_buffers():
        buffer.copy_(before[name])
    rest = {**after, **{name: term.detach() for name, term in terms.items()}}
    return dict(zip(trained, gradients, strict=True)), rest


def _refuse_far(name: str, found: Tensor, expected: Tensor, most: Tensor) -> None:
    """Raise where `found` is further from `expected` than `most`, a distance []."""
    distance = (found.float() - expected.float()).norm()
    if not bool(distance <= most + 1e-9):
        raise Disagreement(
            f"{name.removeprefix('model.')} is {float(distance):.2g} off what a run has alone"
        )
