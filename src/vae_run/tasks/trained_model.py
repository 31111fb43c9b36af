"""The trained model of a run, for the tasks that apply it to the user's own data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_run.config.invocation import Call
from vae_run.config.schema import OnCheckpoint, OnImages, Settings
from vae_run.errors import ConfigError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.device import choose_device
from vae_run.tasks.user_files import read_images, read_labels

BATCH = 1000
"""Images that are processed at a time."""
ALLOWED = ("checkpoint", "device", "precision", "seed", "n", "label", "input", "output")


@dataclass(frozen=True)
class Trained:
    """A run's model in eval mode on its device, with the run's own settings."""

    settings: Settings
    model: LatentVariableModel
    device: torch.device
    event_shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()

    def batches(
        self, images: Tensor, labels: Tensor | None
    ) -> Iterator[tuple[Tensor, LatentVariableModel]]:
        """`images` [N, *E] in batches on the device, each with the model given its labels."""
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            given = self.model.checked(None if labels is None else labels[part])
            yield images[part].to(self.device), given

    def own_images(self, fixed: OnImages) -> tuple[Tensor, Tensor | None]:
        """The images [N, *E] of `input`, and for a conditional model their labels [N].

        Raises:
            DataError: the file is missing or unreadable, or lacks what the model needs.
            ConfigError: `label` is no class of the model.
        """
        self.model.checked(fixed.label)
        images = read_images(fixed.input, self.event_shape)
        if self.model.classes is None:
            return images, None
        if fixed.label is not None:
            return images, torch.full((len(images),), fixed.label)
        return images, read_labels(fixed.input, len(images))


def trained(call: Call, *allowed: str) -> Trained:
    """The model of the run that `run` names.

    Args:
        call: of the task.
        allowed: groups or keys that may be given besides `ALLOWED`.

    Raises:
        ConfigError: another key was given.
        CheckpointError: the run or its checkpoint is missing, damaged or foreign.
    """
    fixed = call.settings.of(OnCheckpoint)
    for key in call.typed_keys:
        if key.split(".")[0] not in (*ALLOWED, *allowed, "task", "run", "trust", "hydra"):
            raise ConfigError(
                f"{key}: task={fixed.task} takes the model as the run has it; its keys may not be "
                "given."
            )
    run = RunDirectory.existing(fixed.run)
    settings = run.settings(fixed.trust)
    file = run.best if fixed.checkpoint == "best" else run.last
    state = checkpoint_file.read(file)
    device = choose_device(fixed.device)
    model = load_model(settings, state, file).to(device).eval()
    names = tuple(state.get("class_names") or ())
    return Trained(settings, model, device, tuple(state["event_shape"]), names)
