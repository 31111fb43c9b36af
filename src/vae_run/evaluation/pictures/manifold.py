"""The decoder's images over a two-dimensional latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

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
    classes = classes_of(view)
    axes, note = axes_of(view, GRID if len(classes) == 1 else GRID_OF_CLASS)
    # Row i, column j holds z = (axes[0, j], axes[1, i]).
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), dim=-1)
    codes = view.model.posterior.nearest(grid.reshape(-1, 2).to(view.split.device))
    planes = torch.stack([_decoded(view, codes, label) for label in classes])
    planes = planes.reshape(len(classes), *grid.shape[:2], *planes.shape[2:])
    if len(planes) == 1:
        return plots.manifold(planes[0], axes, note + of_class(view, classes[0]) + view.drawn_note)
    known = view.model.classes
    if known is not None and len(planes) < len(known):
        note += f"; {len(planes)} of {len(known)} classes"
    names = [class_name(label, view.class_names) for label in classes if label is not None]
    return plots.manifolds(planes, axes, names, note + view.drawn_note)


def axes_of(view: View, points: int) -> tuple[Tensor, str]:
    """The values of z0 and of z1 on the grid, [2, points], and how they were chosen."""
    levels = torch.linspace(0.02, 0.98, points)
    if view.model.prior.gaussian:
        axis = torch.special.ndtri(levels)
        return torch.stack([axis, axis]), "decoded over the quantiles of the prior, 2 % to 98 %"
    batch = few_batch(view)
    codes = view.model.given(batch.given).encode(batch.input).mean.cpu()
    axes = torch.quantile(codes, levels, dim=0).T
    return axes, "decoded over the quantiles of the codes, 2 % to 98 %"


def _decoded(view: View, codes: Tensor, label: int | None) -> Tensor:
    """Images [N, *E] of codes [N, 2] of the class `label`, or with the first image's conditions."""
    given = view.model.checked(label)
    if view.model.conditions is not None:
        told = few_batch(view, 1).given
        given = view.model.given(None if told is None else told[0])
    return view.drawn(given.decode(codes).mean)


def classes_of(view: View) -> list[int | None]:
    """The classes whose planes are drawn; None stands for a model that is given no class.

    Of vectors and windows, whose planes are no images, it is one class.
    """
    if view.manifold_label is not None or view.model.classes is None:
        return [view.manifold_label]
    known: list[int] = view.model.classes.tolist()
    most = MOST_CLASSES if len(view.split.event_shape) == 3 else 1
    return [*known[:most]]
