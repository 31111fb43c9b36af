"""Images along single latent dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.codes import active
from vae_run.evaluation.few_images import few_batch, information, of_class

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

COLUMNS = 11
MAX_ROWS = 10
IDLE_SPREAD = 0.01
"""Share of the greatest spread of a dimension below which one is not active."""


@picture("One code, moved along a latent dimension at a time.", of_codes=True)
def traversals(view: View) -> Image | None:
    """One code, moved along each active latent dimension; the most informative ones first.

    Active are the dimensions with Var of E_q[z_d] above 0.01, as for `active_units`; of a
    deterministic code those whose spread is above 1 % of the greatest. Of none, the first is shown.

    The code is `q.mean`, one that the posterior can draw, not E_q[z]. Of a code of layers each has
    as many rows; layers below the one that moves follow it by the prior. None for rows of a table,
    and for codes that are indices, which cannot be moved a little.
    """
    if view.table is not None or view.model.posterior.discrete:
        return None
    batch = few_batch(view)
    q = view.model.given(batch.given).encode(batch.input)
    codes, active = q.mean, active_dimensions(view, q)
    label = None if view.model.classes is None or batch.label is None else int(batch.label[0])
    nats = information(view)
    if nats is not None:
        order = ranked(nats, active)
        names = [f"z{d}  KL {nats[d]:.2f} nats" for d in order.tolist()]
        values = torch.linspace(-3, 3, COLUMNS, device=codes.device).expand(len(order), -1)
        note = "one latent dimension a row, by KL"
    else:
        spread, layers = codes.std(0, unbiased=False), view.model.posterior.layers
        order = widest(spread, active, layers or (view.latent_dim,))
        names = [f"{_name(d, layers)}  sd {spread[d]:.2f}" for d in order.tolist()]
        levels = torch.linspace(0.02, 0.98, COLUMNS, device=codes.device)
        values = torch.quantile(codes[:, order], levels, dim=0).T
        note = "one latent dimension a row, by spread of the codes, over their quantiles"
    note += told(len(order), int(active.sum()), view.latent_dim)
    moved = codes[0].expand(len(order), COLUMNS, -1).clone()
    moved[torch.arange(len(order)), :, order] = values
    carried = zip(moved, order.tolist(), strict=True)
    moved = torch.stack([view.model.prior.carried(row, d) for row, d in carried])
    given = view.model.given(None if batch.given is None else batch.given[0])
    images = view.drawn(given.decode(view.model.posterior.nearest(moved)).mean)
    note += of_class(view, label) + view.drawn_note
    return plots.traversals(images, values.cpu(), names, note)


def active_dimensions(view: View, q: Distribution) -> Tensor:
    """Which dimensions [D] of the codes `q` of some images vary with the image."""
    posterior = view.model.posterior
    if posterior.stochastic:
        return active(posterior.expectation(q))
    spread = q.mean.std(0, unbiased=False)
    return spread > IDLE_SPREAD * spread.max()


def ranked(worth: Tensor, active: Tensor, most: int = MAX_ROWS) -> Tensor:
    """The `active` [D] dimensions of the greatest `worth` [D], the first one if none is active."""
    order = worth.argsort(descending=True)
    return order[active[order]][:most] if active.any() else order[:1]


def widest(spread: Tensor, active: Tensor, layers: tuple[int, ...]) -> Tensor:
    """The active dimensions of the greatest `spread` [D], at most `MAX_ROWS`, layer by layer."""
    each, first, found = max(1, MAX_ROWS // len(layers)), 0, []
    for size in layers:
        own = slice(first, first + size)
        found.append(first + ranked(spread[own], active[own], each))
        first += size
    return torch.cat(found)


def told(shown: int, active: int, total: int) -> str:
    """How many of the dimensions are shown and are active, where that is not all of them."""
    if not active:
        return f"; none of {total} dimensions is active, the first is shown"
    if shown == total:
        return ""
    if active == total:
        return f"; {shown} of {total} dimensions"
    of = f"the {shown}" if shown == active else f"{shown} of the {active}"
    return f"; {of} active of {total} dimensions"


def _name(dimension: int, layers: tuple[int, ...]) -> str:
    """How a row is called: by the number of its dimension, within its layer if there are layers."""
    if not layers:
        return f"z{dimension}"
    layer = sum(dimension >= sum(layers[: i + 1]) for i in range(len(layers)))
    return f"layer {layer + 1} z{dimension - sum(layers[:layer])}"
