"""What is drawn of a trained model: from a model before a split to named pictures.

Each function returns a picture as uint8 [H, W, 3], or None where it has no meaning. Letters:
N images, D latent dimensions, T columns, G grid points a side, E event shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_run import figures
from vae_run.data.batches import Batch
from vae_run.distributions import kl_per_dimension

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.evaluation import View

    Picture = NDArray[Any]

SHOWN = 512
"""Images of the split that codes are computed for: enough for quantiles and KL order."""
COLUMNS = 11
SAMPLES_SEED = 0
GRID = 20
MAX_ROWS = 10


def draw(view: View, names: list[str]) -> dict[str, Picture]:
    """The chosen pictures that make sense for this model and data, by name."""
    drawn = {name: PICTURES[name](view) for name in names}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def first_batch(view: View, count: int = SHOWN) -> Batch:
    """The first `count` images of the split, with their fixed noise, as one batch."""
    batches = list(replace(view, limit=count).batches())
    label = (
        None
        if batches[0].label is None
        else torch.cat([b.label for b in batches if b.label is not None])
    )
    return Batch(
        torch.cat([b.input for b in batches]),
        torch.cat([b.target for b in batches]),
        torch.cat([b.noise for b in batches], dim=1),
        label,
    )


def reconstructions(view: View) -> Picture:
    """The first images of the split, corrupted if they were, and as the model returns them."""
    batch = first_batch(view, 16)
    corrupted = None if torch.equal(batch.input, batch.target) else batch.input.cpu()
    return figures.reconstructions(
        batch.target.cpu(), corrupted, view.model.reconstruct(batch.input).cpu(), batch.label
    )


def samples(view: View) -> Picture | None:
    """64 images decoded from codes drawn with a fixed seed; None under an improper prior."""
    if not view.model.prior.proper:
        return None
    device = view.split.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SAMPLES_SEED)
        codes = view.model.latent_prior().sample((64,))
    note = f"64 samples from {view.model.prior.description}"
    return figures.samples(view.model.decode(codes).mean.cpu(), note)


def manifold(view: View) -> Picture | None:
    """The decoder's images over a grid of a two-dimensional latent space.

    The grid runs through the quantiles of a normal prior; through those of the codes under any
    other. None for other than two dimensions.
    """
    if view.latent_dim != 2:
        return None
    levels = torch.linspace(0.02, 0.98, GRID)
    if view.model.prior.gaussian:
        axis = torch.special.ndtri(levels)
        axes = torch.stack([axis, axis])
        note = "decoded over the quantiles of the prior, 2 % to 98 %"
    else:
        codes = view.model.encode(first_batch(view).input).mean.cpu()
        axes = torch.quantile(codes, levels, dim=0).T
        note = "decoded over the quantiles of the codes, 2 % to 98 %"
    # Row i, column j holds z = (axes[0, j], axes[1, i]).
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), dim=-1)
    device = view.split.images.device
    images = view.model.decode(grid.reshape(-1, 2).to(device)).mean.cpu()
    return figures.manifold(images.reshape(GRID, GRID, *images.shape[1:]), axes, note)


def information(view: View) -> Tensor | None:
    """KL(q(z_d|x) || p(z_d)) in nats, mean over the first images, [D]; None if not factorised."""
    if not (view.model.posterior.stochastic and view.model.prior.generative):
        return None
    q = view.model.encode(first_batch(view).input)
    each = kl_per_dimension(q, view.model.latent_prior())
    return None if each is None else each.mean(0)


def traversals(view: View) -> Picture:
    """One code, moved along each latent dimension; the most informative dimensions first."""
    codes = view.model.encode(first_batch(view).input).mean
    nats = information(view)
    if nats is not None:
        order = nats.argsort(descending=True)[:MAX_ROWS]
        names = [f"z{d + 1}  KL {nats[d]:.2f} nats" for d in order.tolist()]
        values = torch.linspace(-3, 3, COLUMNS, device=codes.device).expand(len(order), -1)
        note = "one latent dimension a row, by KL"
    else:
        spread = codes.std(0, unbiased=False)
        order = spread.argsort(descending=True)[:MAX_ROWS]
        names = [f"z{d + 1}  sd {spread[d]:.2f}" for d in order.tolist()]
        levels = torch.linspace(0.02, 0.98, COLUMNS, device=codes.device)
        values = torch.quantile(codes[:, order], levels, dim=0).T
        note = "one latent dimension a row, by spread of the codes, over their quantiles"
    if len(order) < view.latent_dim:
        note += f"; {len(order)} of {view.latent_dim} dimensions"
    moved = codes[0].expand(len(order), COLUMNS, -1).clone()
    moved[torch.arange(len(order)), :, order] = values
    images = view.model.decode(moved).mean.cpu()
    return figures.traversals(images, values.cpu(), names, note)


def interpolations(view: View) -> Picture:
    """Straight lines between the codes of pairs of images."""
    batch = first_batch(view, 16)
    codes = view.model.encode(batch.input).mean
    pairs = max(1, len(codes) // 2)
    start, end = codes[:pairs], codes[-pairs:]
    t = torch.linspace(0, 1, COLUMNS, device=codes.device)[None, :, None]
    lines = (1 - t) * start[:, None] + t * end[:, None]
    images = view.model.decode(lines).mean.cpu()
    return figures.interpolations(images, "linear in the latent space, between pairs of images")


PICTURES: dict[str, Callable[[View], Any]] = {
    "reconstructions": reconstructions,
    "samples": samples,
    "manifold": manifold,
    "traversals": traversals,
    "interpolations": interpolations,
}
"""Pictures by the name of their file and their TensorBoard tag."""
