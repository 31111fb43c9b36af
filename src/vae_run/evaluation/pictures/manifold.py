"""The decoder's images over a two-dimensional latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import few_batch, of_class

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

GRID = 20
"""Points of each side of the grid, G."""


@picture("Images decoded over a grid of the two latent dimensions.", of_codes=True)
def manifold(view: View) -> Image | None:
    """The decoder's images over a grid of a two-dimensional latent space.

    The grid runs through the quantiles of a normal prior; through those of the codes `q.mean`
    under any other. None unless the latent space has two dimensions, in one layer, and for rows of
    a table. A conditional model decodes one class, `evaluation.manifold_label`; with several
    conditions, those of the first image.
    """
    if view.latent_dim != 2 or view.table is not None or view.model.posterior.layered:
        return None
    model, label = view.model, view.manifold_label
    if label is None and model.classes is not None:
        label = int(model.classes[0])
    levels = torch.linspace(0.02, 0.98, GRID)
    if view.model.prior.gaussian:
        axis = torch.special.ndtri(levels)
        axes = torch.stack([axis, axis])
        note = "decoded over the quantiles of the prior, 2 % to 98 %"
    else:
        batch = few_batch(view)
        codes = model.given(batch.given).encode(batch.input).mean.cpu()
        axes = torch.quantile(codes, levels, dim=0).T
        note = "decoded over the quantiles of the codes, 2 % to 98 %"
    # Row i, column j holds z = (axes[0, j], axes[1, i]).
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), dim=-1)
    device = view.split.device
    codes = model.posterior.nearest(grid.reshape(-1, 2).to(device))
    given = model.checked(label)
    if model.conditions is not None:
        told = few_batch(view, 1).given
        given = model.given(None if told is None else told[0])
    images = view.drawn(given.decode(codes).mean)
    note += of_class(view, label) + view.drawn_note
    return plots.manifold(images.reshape(GRID, GRID, *images.shape[1:]), axes, note)
