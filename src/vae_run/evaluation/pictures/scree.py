"""The variance of the training images by principal component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.principal_components import leading_values

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

FEWEST, BEYOND = 24, 1.5
"""Components that are drawn at least, and as a multiple of those in the code."""


@picture("How much of the variance each principal component of the training images has.")
def scree(view: View) -> Image | None:
    """Shares of the variance of the training images by principal component, and their sum.

    The first `latent_dim` are those that a linear code of this size can hold. None for rows of a
    table, and without training images in memory.
    """
    if view.train is None or view.table is not None:
        return None
    pixels = view.train.images[0].numel()
    count = min(pixels, max(FEWEST, round(BEYOND * view.latent_dim)))
    values, total = leading_values(view.train, count)
    if total <= 0:
        return None
    shares = (values / total).tolist()
    kept = min(view.latent_dim, len(shares))
    notes = [
        f"The first {kept} of {pixels:,} components hold {sum(shares[:kept]):.1%} of the "
        f"variance of the training {view.noun}".replace("%", " %")
    ]
    return plots.scree(shares, kept, notes)
