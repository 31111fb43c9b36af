"""`task=reconstruct run=DIR input=FILE output=FILE`: reconstructions of your own images.

With a denoising family the input counts as corrupted already, and the output is restored.
"""

from __future__ import annotations

import logging

import torch

from vae_run.config.invocation import Call
from vae_run.config.schema import OnImages
from vae_run.tasks.trained_model import trained
from vae_run.tasks.user_files import check_output, write_arrays, write_grid

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Write decode(encode(x).mean).mean as a `.png` grid, or as `images` in a `.npz`."""
    fixed = call.settings.of(OnImages)
    path = check_output(fixed.output, (".png", ".npz"))
    run = trained(call)
    images, labels = run.own_images(fixed)
    with torch.inference_mode():
        output = torch.cat(
            [given.reconstruct(batch).cpu() for batch, given in run.batches(images, labels)]
        )
    if path.suffix.lower() == ".png":
        write_grid(path, output)
    else:
        write_arrays(path, images=output)
    error = float((output - images).square().mean())
    log.info("%d reconstructions in %s (mse against the input %.4g)", len(images), path, error)
