"""The trained model that a task works on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vae_run import checkpoints
from vae_run.call import Call
from vae_run.config import Settings
from vae_run.errors import ConfigError
from vae_run.experiment import choose_device
from vae_run.model import LatentVariableModel
from vae_run.runs import RunDirectory, load_model

ALLOWED = ("checkpoint", "device", "precision", "seed", "n", "input", "output")


@dataclass(frozen=True)
class Trained:
    """A run's model in eval mode on its device, with the run's own settings."""

    settings: Settings
    model: LatentVariableModel
    device: torch.device
    event_shape: tuple[int, ...]


def trained(call: Call, *allowed: str) -> Trained:
    """The run that `run` names; besides the tasks' own keys, `allowed` may be typed.

    Raises:
        ConfigError: something else was typed.
        CheckpointError: the run or its checkpoint is missing, damaged or foreign.
    """
    fixed = call.settings.fixed
    assert fixed.run is not None, "the schema of these tasks asks for it"
    for key in call.typed_keys:
        if key.split(".")[0] not in (*ALLOWED, *allowed, "task", "run", "trust", "hydra"):
            raise ConfigError(
                f"{key}: task={fixed.task} takes the model as the run has it; of a model's keys "
                "none may be given."
            )
    run = RunDirectory.existing(fixed.run)
    settings = run.settings(fixed.trust)
    file = run.best if fixed.checkpoint == "best" else run.last
    state = checkpoints.read(file)
    device = choose_device(fixed.device)
    model = load_model(settings, state, file).to(device).eval()
    return Trained(settings, model, device, tuple(state["event_shape"]))
