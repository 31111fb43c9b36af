"""What is drawn of a trained model: from a model before a split to named pictures.

Each function returns a picture as uint8 [H, W, 3], or None where it has no meaning. Letters:
N images, D latent dimensions, T columns, G grid points a side, E event shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_run import plots
from vae_run.data.batches import Batch
from vae_run.evaluation.metrics.robustness import curve
from vae_run.evaluation.pictures import codes as code_pictures
from vae_run.models.distributions.kl import kl_per_dimension

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.evaluation.view import View

    Picture = NDArray[Any]

SHOWN = 512
"""Images of the split that codes are computed for: enough for quantiles and KL order."""
COLUMNS = 11
SAMPLES_SEED = 0
GRID = 20
MAX_ROWS = 10
BOTH_WAYS = 6
"""Pairs whose linear and spherical interpolation fit on one page."""
MOST_CLASSES = 16
"""Classes that have a column each; of more there is one sample each."""
ROBUSTNESS_SHOWN = 1000
"""Images of the split that the curve of robustness is computed on."""


def draw(view: View, names: list[str], test: View | None = None) -> dict[str, Picture]:
    """The chosen pictures that make sense for this model and data, by name.

    Those `ON_TEST` are of `test`, which is `view` where it is not given.
    """
    drawn = {name: PICTURES[name](test or view if name in ON_TEST else view) for name in names}
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


def named(label: int, class_names: Sequence[str]) -> str:
    """What the dataset calls the images labelled `label`."""
    return class_names[label] if 0 <= label < len(class_names) else str(label)


def of_class(view: View, label: int | None) -> str:
    """What the note of a picture says of its class; nothing where the model is not conditional."""
    return "" if label is None else f", class {named(label, view.class_names)}"


def reconstructions(view: View) -> Picture:
    """The first images of the split, corrupted if they were, and as the model returns them."""
    batch = first_batch(view, 16)
    corrupted = None if torch.equal(batch.input, batch.target) else batch.input.cpu()
    output = view.model.given(batch.label).reconstruct(batch.input).cpu()
    return plots.reconstructions(batch.target.cpu(), corrupted, output, batch.label)


def samples(view: View) -> Picture | None:
    """64 images decoded from codes drawn with a fixed seed; None where there is no density of them.

    Of a conditional model eight codes, or one for many classes, each decoded as every class.
    """
    model, device = view.model, view.split.device
    if not model.prior.ready:
        return None
    classes = [] if model.classes is None else model.classes.tolist()
    count = 64 if not classes else 8 if len(classes) <= MOST_CLASSES else 1
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SAMPLES_SEED)
        codes = model.posterior.nearest(model.latent_prior().sample((count,)))
    if not classes:
        note = f"64 samples from {model.prior.description}"
        return plots.samples(model.decode(codes).mean.cpu(), note)
    images = model.given(model.classes).decode(codes[:, None].expand(-1, len(classes), -1)).mean
    note = f"Codes from {model.prior.description}, each decoded as every class"
    names = [named(label, view.class_names) for label in classes]
    return plots.samples(images.flatten(0, 1).cpu(), note, names)


def manifold(view: View) -> Picture | None:
    """The decoder's images over a grid of a two-dimensional latent space.

    The grid runs through the quantiles of a normal prior; through those of the codes under any
    other. None for other than two dimensions. Of a conditional model it is that of one class,
    `evaluation.manifold_label`.
    """
    if view.latent_dim != 2:
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
        batch = first_batch(view)
        codes = model.given(batch.label).encode(batch.input).mean.cpu()
        axes = torch.quantile(codes, levels, dim=0).T
        note = "decoded over the quantiles of the codes, 2 % to 98 %"
    # Row i, column j holds z = (axes[0, j], axes[1, i]).
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), dim=-1)
    device = view.split.device
    codes = model.posterior.nearest(grid.reshape(-1, 2).to(device))
    images = model.decode(codes, label).mean.cpu()
    note += of_class(view, label)
    return plots.manifold(images.reshape(GRID, GRID, *images.shape[1:]), axes, note)


def information(view: View) -> Tensor | None:
    """KL(q(z_d|x) || p(z_d)) in nats, mean over the first images, [D]; None if not factorised."""
    if not (view.model.posterior.stochastic and view.model.prior.generative):
        return None
    batch = first_batch(view)
    q = view.model.given(batch.label).encode(batch.input)
    each = kl_per_dimension(q, view.model.latent_prior())
    return None if each is None else each.mean(0)


def traversals(view: View) -> Picture:
    """One code, moved along each latent dimension; the most informative dimensions first."""
    batch = first_batch(view)
    codes = view.model.given(batch.label).encode(batch.input).mean
    label = None if view.model.classes is None or batch.label is None else int(batch.label[0])
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
    images = view.model.decode(view.model.posterior.nearest(moved), label).mean.cpu()
    note += of_class(view, label)
    return plots.traversals(images, values.cpu(), names, note)


def pairs(view: View) -> tuple[Batch, Tensor, Tensor]:
    """Images, and indices [P] of the first and the second of each pair of them.

    Where the model is conditional both are of one class, of each class a pair if there is one.
    """
    if view.model.classes is None:
        batch = first_batch(view, 16)
        half, index = max(1, len(batch) // 2), torch.arange(len(batch))
        return batch, index[:half], index[-half:]
    batch = first_batch(view)
    assert batch.label is not None
    places = [(batch.label == label).nonzero()[:2, 0] for label in view.model.classes]
    found = [place for place in places if len(place) == 2]
    both = torch.stack(found) if found else torch.zeros(0, 2, dtype=torch.long)
    return batch, both[:, 0], both[:, 1]


def interpolations(view: View) -> Picture | None:
    """Ways between the codes of pairs of images: straight and, under N(0, I), along an arc.

    Straight lines of a normal prior in many dimensions lead through the middle, where there are no
    codes (White 2016). On a sphere both ways are one. The pairs of a conditional model are of one
    class; None where there is no such pair.
    """
    batch, first, second = pairs(view)
    if not len(first):
        return None
    codes = view.model.given(batch.label).encode(batch.input).mean
    posterior, kind = view.model.posterior, "" if view.model.classes is None else " of a class"
    curved = view.model.prior.gaussian and view.latent_dim > 1
    if curved:
        first, second = first[:BOTH_WAYS], second[:BOTH_WAYS]
    start, end = codes[first][:, None], codes[second][:, None]
    t = torch.linspace(0, 1, COLUMNS, device=codes.device)[None, :, None]
    ways = [(1 - t) * start + t * end, *([arc(start, end, t)] if curved else [])]
    # Rows: the ways of a pair below each other.
    lines = torch.stack(ways, 1).flatten(0, 1)
    label = None if batch.label is None else batch.label[first].repeat_interleave(len(ways))
    given = view.model.given(None if label is None else label[:, None])
    images = given.decode(posterior.nearest(lines)).mean.cpu()
    way = "along great circles of" if posterior.spherical else "linear in"
    way = "linear and spherical in" if curved else way
    return plots.interpolations(
        images,
        f"{way} the latent space, between pairs of images{kind}",
        ["linear", "spherical"] * len(first) if curved else [],
    )


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


def robustness(view: View) -> Picture | None:
    """How good the output is at every level of the corruption; None where it has no levels.

    What equals the clean image, as the input at level 0, is not drawn: its error is 0.
    """
    few = replace(view, limit=ROBUSTNESS_SHOWN)
    found = curve(few)
    if found is None:
        return None
    corruption: Any = view.corruption
    drawn = {
        name: [p if error else math.nan for p, error in zip(values, found.mse[name], strict=True)]
        for name, values in found.psnr.items()
    }
    panels = {"PSNR, in dB": drawn} if drawn else {}
    panels["squared error per pixel"] = {
        name: [error or math.nan for error in values] for name, values in found.mse.items()
    }
    return plots.robustness(
        found.levels,
        panels,
        here=corruption.level,
        level_name=corruption.level_name,
        note=f"{type(corruption).__name__}, {few.size:,} images, fixed noise",
    )


PICTURES: dict[str, Callable[[View], Any]] = {
    "reconstructions": reconstructions,
    "samples": samples,
    "manifold": manifold,
    "traversals": traversals,
    "interpolations": interpolations,
    "robustness": robustness,
    **code_pictures.PICTURES,
}
"""Pictures by the name of their file and their TensorBoard tag."""

ON_TEST = ("anomaly_scores",)
"""Pictures of what only the test split has."""
