"""What each unit of a linear code adds to the mean image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import encoded, few_batch

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

MOST = 64
LINEAR = 1e-3
"""Deviation of a decoder from a straight line, as a share of what it adds, that is linear."""


@picture(
    "The image at the mean code, and what each unit of a linear code adds to it.", of_codes=True
)
def components(view: View) -> Image | None:
    """E[x|z = s e_d] - E[x|z = 0] of each unit d of a linear decoder, the greatest spread s first.

    Each is scaled by its greatest absolute value: grey is 0, white is added, black is taken away.
    The first cell is the decoded mean code. None where the decoder is not linear, for a model with
    conditions, and for rows of a table.
    """
    model = view.model
    if view.table is not None or model.conditional:
        return None
    codes = encoded(view).means
    spread = codes.std(0, unbiased=False)
    order = spread.argsort(descending=True, stable=True)[:MOST]
    steps = torch.eye(view.latent_dim, dtype=torch.double)[order] * spread[order, None].clamp(
        min=1e-9
    )
    at = torch.cat([codes.mean(0, keepdim=True), torch.zeros_like(steps[:1]), steps, -steps])
    mean, zero, *moved = model.decode(at.to(few_batch(view, 1).input)).mean.cpu().unbind(0)
    up, down = (torch.stack(part) - zero for part in (moved[: len(order)], moved[len(order) :]))
    if float((up + down).abs().max()) > LINEAR * float(up.abs().max()):
        return None
    largest = up.flatten(1).abs().amax(1).clamp(min=1e-12)
    shown = up / largest.view(-1, *[1] * (up.dim() - 1))
    if up.dim() > 2:  # vectors and windows are curves, on a scale of their own
        shown = 0.5 + 0.5 * shown
    cells = torch.cat([view.drawn(mean[None]), shown])
    names = ["mean", *(f"z{d} sd {spread[d]:.2f}" for d in order.tolist())]
    note = (
        "what one standard deviation of each unit adds; each is scaled by itself, grey is nothing"
    )
    if len(order) < view.latent_dim:
        note += f"; {len(order)} of {view.latent_dim} units"
    return plots.samples(cells, note, title="Components", names=names)
