"""The gradient of a batch, computed at once or in parts that need less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective, Terms, trained_loss
from vae_run.system import ranks
from vae_run.training import distributed


def images_at_once(batch_size: int, parts: int) -> int:
    """Images whose gradient this process computes at once, of batches cut into `parts`."""
    mine, _ = ranks.share_of(batch_size)
    return -(-len(range(*mine.indices(batch_size))) // parts)


def micro_batches(batch: Batch, size: int) -> Iterator[Batch]:
    """`batch` in parts of `size` images, the last of which may be smaller.

    Their noise is a part of the batch's noise, and their images count as shares of the batch.
    """
    own, whole = (len(batch), len(batch)) if batch.share is None else batch.share
    for start in range(0, len(batch), size):
        at = slice(start, start + size)
        target = batch.target[at]
        yield Batch(
            target if batch.input is batch.target else batch.input[at],
            target,
            batch.noise[:, at],
            None if batch.label is None else batch.label[at],
            None if batch.conditions is None else batch.conditions[at],
            (min(max(own - start, 0), size), whole),
        )


def gradient(
    model: LatentVariableModel,
    objective: Objective,
    batch: Batch,
    epoch: float,
    precision: AbstractContextManager[Any],
    at_once: int | None,
) -> tuple[Terms, Tensor]:
    """Add the gradient of this process's part of the mean loss of `batch` to the parameters' own.

    Args:
        at_once: images in a forward pass; None: the whole batch.

    Returns:
        The terms, each [B], and that part of the mean loss, [].
    """
    whole = at_once is None or len(batch) <= at_once
    found, total = list[Terms](), torch.zeros((), device=batch.target.device)
    for part in [batch] if at_once is None or whole else micro_batches(batch, at_once):
        with precision:
            terms = objective(model.given(part.given), part, epoch)
        loss = distributed.mean(trained_loss(terms), part.share)
        loss.backward()  # type: ignore[no-untyped-call]
        if whole:
            return terms, loss
        found.append({name: term.detach() for name, term in terms.items()})
        total = total + loss.detach()
    return {name: torch.cat([terms[name] for terms in found]) for name in found[0]}, total
