"""The decoder's images over a two-dimensional latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import class_name, few_batch, of_class

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

GRID = 20
"""Points of each side of the grid, G."""
GRID_OF_CLASS, MOST_CLASSES = 7, 12
"""Points of a side where there is a grid for each class, and how many of these at most."""


@picture("Images decoded over a grid of the two latent dimensions.", of_codes=True)
def manifold(view: View) -> Image | None:
    """The decoder's images over a grid of a two-dimensional latent space.

    The grid runs through the quantiles of a normal prior; through those of the codes `q.mean`
    under any other. None unless the latent space has two dimensions, in one layer, and for rows of
    a table. A model that is conditional on the class decodes every class, 12 at most, each over a
    coarser grid, or `evaluation.manifold_label` alone; with several conditions, those of the first
    image.
    """
    if view.latent_dim != 2 or view.table is not None or view.model.posterior.layered:
        return None
    model, classes = view.model, classes_of(view)
    points = GRID if len(classes) == 1 else GRID_OF_CLASS
    levels = torch.linspace(0.02, 0.98, points)
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
    codes = model.posterior.nearest(grid.reshape(-1, 2).to(view.split.device))
    planes = []
    for label in classes:
        given = model.checked(label)
        if model.conditions is not None:
            told = few_batch(view, 1).given
            given = model.given(None if told is None else told[0])
        images = view.drawn(given.decode(codes).mean)
        planes.append(images.reshape(points, points, *images.shape[1:]))
    if len(planes) == 1:
        return plots.manifold(planes[0], axes, note + of_class(view, classes[0]) + view.drawn_note)
    assert model.classes is not None
    if len(planes) < len(model.classes):
        note += f"; {len(planes)} of {len(model.classes)} classes"
    names = [class_name(label, view.class_names) for label in classes if label is not None]
    return plots.manifolds(torch.stack(planes), axes, names, note + view.drawn_note)


def classes_of(view: View) -> list[int | None]:
    """The classes whose planes are drawn; None stands for a model that is given no class.

    Of vectors and windows, whose planes are no images, it is one class.
    """
    if view.manifold_label is not None or view.model.classes is None:
        return [view.manifold_label]
    known: list[int] = view.model.classes.tolist()
    most = MOST_CLASSES if len(view.split.event_shape) == 3 else 1
    return [*known[:most]]
