"""A few images of a split, their codes, and codes from the prior: what pictures show.

Letters: N images, D latent dimensions.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vae_run.data.batches import Batch
from vae_run.evaluation.view import spaced
from vae_run.models.distributions.kl import kl_per_dimension
from vae_run.plots.fonts import drawable

if TYPE_CHECKING:
    from vae_run.evaluation.view import View
    from vae_run.models.latent_variable_model import LatentVariableModel

log = logging.getLogger("vae_run")

FEW = 512
"""Images that are enough for quantiles and for the order of KL."""
MANY = 2000
"""Images that `encoded` takes at most."""
SAMPLES_SEED = 0


def few_batch(view: View, count: int = FEW) -> Batch:
    """At most `count` images, evenly spaced over the split, with fixed noise, as one batch."""
    batches = list(replace(view, limit=count).batches())
    label = None if batches[0].label is None else _joined(b.label for b in batches)
    conditions = None if batches[0].conditions is None else _joined(b.conditions for b in batches)
    return Batch(
        torch.cat([b.input for b in batches]),
        torch.cat([b.target for b in batches]),
        torch.cat([b.noise for b in batches], dim=1),
        label,
        conditions=conditions,
    )


def shown_batch(view: View, count: int) -> Batch:
    """At most `count` images for a picture: one of each class in turn, where there are labels.

    Those of a class are evenly spaced over the split, and so are all where there are no labels.
    """
    labels = view.split.labels
    if labels is None:
        return few_batch(view, count)
    return few_batch(view.chosen(in_turn(labels.cpu(), count)), count)


def in_turn(labels: Tensor, count: int) -> Tensor:
    """Indices of at most `count` of the images with `labels` [N], of each class in turn, int64.

    Every class has as many as any other, as far as it has them; of more classes than `count`, so
    many are taken, evenly spaced.
    """
    classes, sizes = torch.unique(labels, return_counts=True)
    classes, sizes = (each[spaced(len(classes), count)] for each in (classes, sizes))
    rounds = bisect_left(range(count), count, key=lambda n: int(sizes.clamp(max=n).sum()))
    index, turn = [], []
    for label, size in zip(classes, sizes.tolist(), strict=True):
        chosen = spaced(size, rounds)
        index.append((labels == label).nonzero()[chosen, 0])
        turn.append(torch.arange(len(chosen)))
    order = torch.cat(turn).argsort(stable=True)
    return torch.cat(index)[order][:count]


def _joined(parts: Iterable[Tensor | None]) -> Tensor:
    return torch.cat([part for part in parts if part is not None])


def class_name(label: int, class_names: Sequence[str]) -> str:
    """What a picture calls the images labelled `label`: their name, or else their number."""
    named = 0 <= label < len(class_names) and _can_be_drawn(tuple(class_names))
    return class_names[label] if named else str(label)


@cache
def _can_be_drawn(names: tuple[str, ...]) -> bool:
    """Whether the fonts of this machine can write `names`; that they cannot is said once."""
    if all(map(drawable, names)):
        return True
    log.info(
        "no font of this machine can write all class names; pictures show their numbers: %s",
        ", ".join(f"{label} is {name}" for label, name in enumerate(names)),
    )
    return False


def of_class(view: View, label: int | None) -> str:
    """What the note of a picture says of its class; nothing where the model is not conditional."""
    return "" if label is None else f", class {class_name(label, view.class_names)}"


def information(view: View) -> Tensor | None:
    """KL(q(z_d|x) || p(z_d)) in nats, mean over a few images, [D]; None if not factorised."""
    if not (view.model.posterior.stochastic and view.model.prior.generative):
        return None
    batch = few_batch(view)
    q = view.model.given(batch.given).encode(batch.input)
    each = kl_per_dimension(q, view.model.latent_prior())
    return None if each is None else each.mean(0)


@dataclass(frozen=True)
class Codes:
    """The codes of at most `MANY` images of a split, evenly spaced, on the CPU.

    Attributes:
        means: E_q[z] (`posterior.expectation`), float64 [N, D].
        drawn: one sample of q(z|x) an image, with its fixed noise, float64 [N, D].
        labels: their classes, or None.
        nats: KL(q(z_d|x) || p(z_d)), mean over the images, [D]; None where it does not factorise.
    """

    means: Tensor
    drawn: Tensor
    labels: list[int] | None
    nats: Tensor | None


def encoded(view: View) -> Codes:
    """The codes of at most `MANY` images of the view."""
    means, drawn, labels, nats = [], [], [], []
    bound = view.model.posterior.stochastic and view.model.prior.generative
    for batch in replace(view, limit=MANY).batches():
        model = view.model.given(batch.given)
        q = model.encode(batch.input)
        means.append(model.posterior.expectation(q).cpu().double())
        drawn.append(model.posterior.sample(q, batch.noise[0]).cpu().double())
        labels += [] if batch.label is None else batch.label.tolist()
        each = kl_per_dimension(q, model.latent_prior()) if bound else None
        nats += [] if each is None else [each.cpu().double()]
    return Codes(
        torch.cat(means),
        torch.cat(drawn),
        labels or None,
        torch.cat(nats).mean(0) if nats else None,
    )


def covariance(points: Tensor) -> Tensor:
    """[D, D] of points [N, D]; of a single point it is zero."""
    centred = points - points.mean(0)
    return centred.T @ centred / max(len(points) - 1, 1)


def normal_moments(distribution: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean [*, D] and covariance [*, D, D] of normal distributions, float64; None for others."""
    if isinstance(distribution, MultivariateNormal):
        covariance = distribution.covariance_matrix
    elif isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal):
        covariance = distribution.variance.diag_embed()
    else:
        return None
    return distribution.mean.cpu().double(), covariance.cpu().double()


def prior_samples(model: LatentVariableModel, count: int) -> Tensor:
    """`count` codes from the prior with a fixed seed, float64 [count, D] on the CPU."""
    with torch.random.fork_rng():
        torch.manual_seed(SAMPLES_SEED)
        drawn: Tensor = model.latent_prior().sample((count,))
    return drawn.cpu().double()
