"""How many units of a sparse code are active."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vae_run.evaluation.base import metric
from vae_run.models.posteriors import SparseCode

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    posterior = settings.classes["posterior"]
    if not posterior.sparse:
        yield f"codes of {posterior.__name__} have no inactive units. Use posterior=sparse."


@metric(conflicts=_conflicts)
def sparse_codes(view: View) -> dict[str, float]:
    """`l0`, active units an image, and `dead_units`, the share of those active for no image."""
    total, ever = 0.0, torch.zeros(view.latent_dim, dtype=torch.bool)
    for batch in view.batches():
        q = view.model.given(batch.given).encode(batch.input)
        if not isinstance(q, SparseCode):
            return {}
        active = q.active.cpu() > 0
        total += float(active.sum())
        ever |= active.any(0)
    return {"l0": total / view.size, "dead_units": 1 - float(ever.double().mean())}
