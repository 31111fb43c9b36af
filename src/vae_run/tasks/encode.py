"""`task=encode run=DIR input=FILE output=FILE`: latent means and scales of your own data."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from vae_run.config.invocation import Call
from vae_run.config.schema import OnImages
from vae_run.evaluation.codes import evaluating
from vae_run.system.nouns import counted
from vae_run.tasks.own_images import identity, inputs_of, own_images
from vae_run.tasks.trained_model import trained
from vae_run.tasks.user_files import TABLES, check_output, write_table

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Write a row for each image: `mean` [D], `scale` [D] where the code is random, and its name.

    A code of maps is [C, h, w] in an `.npz` file; tables have a column for each entry. Where
    indices name a code, they are written too: `indices` [P], or [P, S] of several stages.

    Means are those that the run's own evaluation has, bit for bit, for the same images in batches
    of the same size. They are codes of the images as they are, without the run's corruption.
    """
    fixed = call.settings.of(OnImages)
    inputs = inputs_of(fixed.input)
    path = check_output(fixed.output, TABLES, overwrite=fixed.overwrite, inputs=inputs)
    run = trained(call)
    images = own_images(run, fixed)
    means, scales, indices = list[Tensor](), list[Tensor](), list[Tensor]()
    with evaluating(run.model):
        for batch, model in run.batches(images):
            q = model.encode(batch.input)
            means.append(q.mean.cpu())
            scale = model.posterior.scale(q)
            scales += [] if scale is None else [scale.cpu()]
            indices += [model.posterior.indices(q).cpu()] if model.posterior.discrete else []
    plural = path.suffix.lower() == ".npz"
    shape = run.settings.fixed.code_shape if plural else (-1,)
    found = {"mean": torch.unflatten(torch.cat(means), 1, shape).numpy()}
    if scales:
        found["scale"] = torch.unflatten(torch.cat(scales), 1, shape).numpy()
    if indices:
        found["indices"] = torch.cat(indices).numpy()
    names = ("names", "labels", "split", "index") if plural else ("name", "label", "split", "index")
    about = identity(images, names)
    if plural and images.classes is not None and images.labels is not None:
        about |= {"labels": images.labels.numpy(), "classes": images.classes}
    write_table(path, {**about, **found})
    log.info(
        "codes of %s in %s (%s)",
        counted(len(images), run.noun),
        path,
        ", ".join([*about, *found]),
    )
