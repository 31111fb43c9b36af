"""`task=encode run=DIR input=FILE output=FILE.npz`: latent means and scales of your own data."""

from __future__ import annotations

import logging

import torch

from vae_run.config.invocation import Call
from vae_run.config.schema import OnImages
from vae_run.tasks.trained_model import trained
from vae_run.tasks.user_files import check_output, write_arrays

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Write `mean` [N, D] and, where the code is random, `scale` [N, D]."""
    fixed = call.settings.of(OnImages)
    path = check_output(fixed.output, (".npz",))
    run = trained(call)
    images, labels = run.own_images(fixed)
    with torch.inference_mode():
        codes = [given.encode(batch) for batch, given in run.batches(images, labels)]
        found = {"mean": torch.cat([q.mean for q in codes])}
        scales = [run.model.posterior.scale(q) for q in codes]
        if any(scale is not None for scale in scales):
            found["scale"] = torch.cat([scale for scale in scales if scale is not None])
    write_arrays(path, **found)
    log.info("codes of %d images in %s (%s)", len(images), path, ", ".join(found))
