"""`task=sample run=DIR n=64 output=FILE`: images from the prior, or from a density of the codes."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from vae_run import plots
from vae_run.config.invocation import Call
from vae_run.config.schema import Sample, Settings
from vae_run.evaluation.codes import codes
from vae_run.evaluation.first_images import class_name
from vae_run.evaluation.view import View
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.files import write_png
from vae_run.tasks.run_data import read_own_data
from vae_run.tasks.trained_model import Trained, trained
from vae_run.tasks.user_files import check_output, write_arrays, write_grid

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Draw `n` images with `seed`: a `.png` grid, or a `.npz` with `images` and their codes `z`.

    A conditional model draws images of the class `label`, or of all classes in turn.
    """
    fixed = call.settings.of(Sample)
    path = check_output(fixed.output, (".png", ".npz"))
    run = trained(call, "sampler")
    run.model.checked(fixed.label)
    if "sampler" in call.settings.parts:
        use_sampler(run, call.settings)
    model, labels = run.model, run.model.in_turn(fixed.n)
    if fixed.label is not None and labels is not None:
        labels = torch.full_like(labels, fixed.label)
    torch.manual_seed(fixed.seed)
    with torch.inference_mode():
        z = model.posterior.nearest(model.latent_prior().sample((fixed.n,)))
        images = model.decode(z, labels).mean
    source = f"{fixed.n} images from {model.prior.description}"
    if path.suffix.lower() == ".npz":
        write_arrays(path, images=images, z=z, **({} if labels is None else {"labels": labels}))
    elif labels is None or fixed.label is not None:
        write_grid(path, images)
    else:
        write_classes(path, images, run, source)
    log.info("%s in %s", source, path)


def use_sampler(run: Trained, settings: Settings) -> None:
    """Replace the prior by the sampler, fitted to codes of the run's own training images.

    Raises:
        DataError: those images have another shape than the model's.
    """
    source = RunDirectory.existing(settings.of(Sample).run)
    splits = read_own_data(source, run.settings, run.event_shape)
    latent_dim = run.settings.fixed.latent_dim
    sampler = settings.build("sampler", latent_dim=latent_dim).to(run.device)
    train = splits.train.to(run.device)
    objective = run.settings.build("objective", train_size=splits.train_size)
    view = View(run.model, objective, run.settings.build("corruption"), train, latent_dim)
    found = codes(view)
    sampler.fit(found)
    run.model.prior = sampler
    log.info("fitted to the codes of %d training images", len(found))


def write_classes(path: Path, images: Tensor, run: Trained, source: str) -> None:
    """Write a `.png` with a column for every class."""
    assert run.model.classes is not None
    names = [class_name(label, run.class_names) for label in run.model.classes.tolist()]
    write_png(path, plots.samples(images.cpu(), f"{source}, classes in turn", names))
