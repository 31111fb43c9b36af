"""`task=sample run=DIR n=64 output=FILE`: images from the prior."""

from __future__ import annotations

import logging

import torch

from vae_run.call import Call
from vae_run.tasks.files import check_output, write_arrays, write_grid
from vae_run.tasks.trained import trained

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Draw `n` images with `seed`: a `.png` grid, or `.npz` with `images` and their codes `z`."""
    fixed = call.settings.fixed
    assert fixed.output is not None
    assert fixed.n is not None
    path = check_output(fixed.output, (".png", ".npz"))
    run = trained(call)
    torch.manual_seed(fixed.seed)
    with torch.inference_mode():
        z = run.model.latent_prior().sample((fixed.n,))
        images = run.model.decode(z).mean
    if path.suffix.lower() == ".png":
        write_grid(path, images)
    else:
        write_arrays(path, images=images, z=z)
    log.info("%d images from %s in %s", fixed.n, run.model.prior.description, path)
