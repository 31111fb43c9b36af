"""Images on the way from one code to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run import plots
from vae_run.data.batches import Batch
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import FEW, shown_batch

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

COLUMNS = 11
BOTH_WAYS = 6
"""Pairs whose linear and spherical interpolation fit on one page."""


@picture("From the code of one image to that of another.", of_codes=True)
def interpolations(view: View) -> Image | None:
    """Paths between codes `q.mean` of pairs of images: straight and, under N(0, I), along an arc.

    Straight lines under a normal prior in many dimensions pass through the centre, where there are
    no codes (White 2016). On a sphere both paths coincide. The pairs of a conditional model are
    of one class; None where there is no such pair, and for rows of a table. With several
    conditions, all images of a path have those of its first.
    """
    if view.table is not None:
        return None
    batch, first, second = pairs(view)
    if not len(first):
        return None
    codes = view.model.given(batch.given).encode(batch.input).mean
    posterior, kind = view.model.posterior, "" if view.model.classes is None else " of a class"
    curved = view.model.prior.gaussian and view.latent_dim > 1
    if curved:
        first, second = first[:BOTH_WAYS], second[:BOTH_WAYS]
    start, end = codes[first][:, None], codes[second][:, None]
    t = torch.linspace(0, 1, COLUMNS, device=codes.device)[None, :, None]
    ways = [(1 - t) * start + t * end, *([arc(start, end, t)] if curved else [])]
    # Rows: the ways of a pair below each other.
    lines = torch.stack(ways, 1).flatten(0, 1)
    told = None if batch.given is None else batch.given[first].repeat_interleave(len(ways), 0)
    given = view.model.given(None if told is None else told[:, None])
    images = view.drawn(given.decode(posterior.nearest(lines)).mean)
    way = "along great circles of" if posterior.spherical else "linear in"
    way = "linear, each point at the nearest code, in" if posterior.discrete else way
    way = "linear and spherical in" if curved else way
    return plots.interpolations(
        images,
        f"{way} the latent space, between pairs of {view.noun}{kind}{view.drawn_note}",
        ["linear", "spherical"] * len(first) if curved else [],
    )


def pairs(view: View) -> tuple[Batch, Tensor, Tensor]:
    """Images, and indices [P] of the first and the second of each pair of them.

    Where the model is conditional both are of one class, of each class a pair if there is one.
    """
    if view.model.classes is None:
        batch = shown_batch(view, 16)
        half, index = max(1, len(batch) // 2), torch.arange(len(batch))
        return batch, index[:half], index[-half:]
    batch = shown_batch(view, FEW)
    assert batch.label is not None
    places = [(batch.label == label).nonzero()[:2, 0] for label in view.model.classes]
    found = [place for place in places if len(place) == 2]
    both = torch.stack(found) if found else torch.zeros(0, 2, dtype=torch.long)
    return batch, both[:, 0], both[:, 1]


def arc(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985) of codes [*, D], at t = 0 `start`, at t = 1 `end`.

    sin((1 - t) w) / sin(w) start + sin(t w) / sin(w) end, w the angle between them: turned about
    the origin evenly. Straight where they are (nearly) parallel or opposite.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None].clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    straight = sine < 1e-3
    safe = sine.masked_fill(straight, 1.0)
    a = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / safe)
    b = torch.where(straight, t, (t * angle).sin() / safe)
    return a * start + b * end
