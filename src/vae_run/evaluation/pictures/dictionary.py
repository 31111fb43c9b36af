"""What each unit of a code adds to an image: of a linear decoder, its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import encoded, few_batch

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

MOST = 100


@picture("What each unit adds to the image: of a linear decoder, its columns.", of_codes=True)
def dictionary(view: View) -> Image | None:
    """E[x|z = s e_d] - E[x|z = 0] of each unit d, those with the largest mean code first.

    s is the mean over images of the codes of d above 0, and 1 for a unit that has none. Each image
    is scaled by its greatest absolute value: grey is 0, white is added and black is taken away.
    None for a stochastic code, which has no units, and for rows of a table.
    """
    if view.model.posterior.stochastic or view.table is not None:
        return None
    codes = encoded(view).means
    batch = few_batch(view, 1)
    used = (codes > 0).sum(0)
    sizes = torch.where(used > 0, codes.clamp(min=0).sum(0) / used.clamp(min=1), 1.0)
    order = codes.mean(0).argsort(descending=True, stable=True)[:MOST]
    model = view.model.given(None if batch.given is None else batch.given[0])
    ones = torch.eye(view.latent_dim, dtype=torch.double)[order] * sizes[order, None]
    alone = torch.cat([torch.zeros_like(ones[:1]), ones]).to(batch.input)
    zero, *each = model.decode(alone).mean.cpu().unbind(0)
    added = torch.stack([image - zero for image in each])
    largest = added.flatten(1).abs().amax(1).clamp(min=1e-12)
    shown = added / largest.view(-1, *[1] * (added.dim() - 1))
    if added.dim() > 2:  # vectors and windows are curves, on a scale of their own
        shown = 0.5 + 0.5 * shown
    silent = int((used == 0).sum())
    note = f"{len(order)} of {view.latent_dim} units, by their mean code; each scaled by itself"
    if silent:
        note += f"; {silent} units have no code above 0 among {len(codes):,} images"
    return plots.samples(shown, note, title="Dictionary")
