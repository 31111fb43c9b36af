"""Images from the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import class_name
from vae_run.evaluation.table_rows import of_rows

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

SAMPLES_SEED = 0
MOST_CLASSES = 16
"""Classes that have a column each; of more there is one sample each."""


@picture("Images decoded from codes that were drawn, not encoded.", of_codes=True)
def samples(view: View) -> Image | None:
    """64 images decoded from codes drawn with a fixed seed; None where there is no density of them.

    Of a conditional model eight codes, or one for many classes, each decoded as every class; with
    several conditions each code is decoded with those of another training image.
    """
    model = view.model
    if not model.prior.ready:
        return None
    classes = [] if model.classes is None else model.classes.tolist()
    count = 64 if not classes else 8 if len(classes) <= MOST_CLASSES else 1
    codes = prior_codes(view, count)
    if view.table is not None:
        decoded = {"sample": model.decode(codes, model.in_turn(count)).mean}
        note = f"Means of rows decoded from codes of {model.prior.description}"
        return of_rows(view.table, decoded, "Samples", note)
    if not classes:
        note = f"64 samples from {model.prior.description}"
        if model.conditions is not None:
            note += f", with the conditions of training {view.noun}"
        return plots.samples(view.drawn(images_of(view, codes)), note + view.drawn_note)
    note = f"Codes from {model.prior.description}, each decoded as every class{view.drawn_note}"
    names = [class_name(label, view.class_names) for label in classes]
    return plots.samples(view.drawn(images_of(view, codes)), note, names)


def prior_codes(view: View, count: int) -> Tensor:
    """`count` codes [count, D] from the prior with a fixed seed, which leaves generators alone."""
    model, device = view.model, view.split.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SAMPLES_SEED)
        return model.posterior.nearest(model.latent_prior().sample((count,)))


def images_of(view: View, codes: Tensor) -> Tensor:
    """Images [N, *E] of codes [N, D], or of each code as every class, [N * classes, *E]."""
    model = view.model
    if model.classes is None:
        images: Tensor = model.decode(codes, model.in_turn(len(codes))).mean
        return images
    each = codes[:, None].expand(-1, len(model.classes), -1)
    of_classes: Tensor = model.given(model.classes).decode(each).mean
    return of_classes.flatten(0, 1)


def decoded_samples(view: View, most: int) -> Tensor | None:
    """At most `most` images from the prior [N, *E], as of this picture; None without a density."""
    if not view.model.prior.ready:
        return None
    classes = 1 if view.model.classes is None else len(view.model.classes)
    return images_of(view, prior_codes(view, max(1, most // classes)))[:most]
