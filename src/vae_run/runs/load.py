"""Loading a trained model from its run directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from vae_run.config.schema import Settings
from vae_run.data.columns import Columns
from vae_run.data.conditions import Conditions
from vae_run.data.scaling import Scaling
from vae_run.errors import CheckpointError
from vae_run.models.build import build_model
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs import checkpoint_file
from vae_run.runs.outline import compare, refuse_unlike
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.device import choose_device


def load(
    path: str | os.PathLike[str],
    checkpoint: str = "best",
    device: str = "cpu",
    trust: Iterable[str] = (),
) -> LatentVariableModel:
    """The trained model of the run directory `path`, in eval mode.

    Args:
        path: a run directory that `vae-run` made.
        checkpoint: "best" (by validation) or "last".
        device: as the `device` key: "auto", "cpu", "cuda", "cuda:N" or "mps".
        trust: packages, besides vae-run, whose classes the run's configuration may name.

    Raises:
        CheckpointError: the run or its checkpoint is missing, damaged or foreign.
        ConfigError: the run's configuration is wrong or names classes that are not trusted.
    """
    run = RunDirectory.existing(str(path))
    if checkpoint not in ("best", "last"):
        raise CheckpointError(f"checkpoint: found {checkpoint!r}, expected 'best' or 'last'.")
    file = run.best if checkpoint == "best" else run.last
    model = load_model(run.settings(trust), checkpoint_file.read(file), file)
    return model.to(choose_device(device)).eval()


def load_model(settings: Settings, state: Mapping[str, Any], file: Path) -> LatentVariableModel:
    """The model that `settings` describe, with the weights of the checkpoint `state`.

    Raises:
        CheckpointError: the checkpoint, read from `file`, is not one of this model. It is told
            before memory is asked for.
    """
    given = refuse_other_model(settings, state, file)
    with (
        checkpoint_file.understood(file),
        torch.random.fork_rng(devices=[]),
    ):  # the initial weights, soon replaced, take none of the caller's random numbers
        model = build_model(settings, **given)
    load_weights(model, state["model"], file)
    return model


def refuse_other_model(
    settings: Settings, state: Mapping[str, Any], file: Path
) -> Mapping[str, Any]:
    """What `build_model` is given besides `settings`, if the checkpoint `state` is of that model.

    Raises:
        CheckpointError: the checkpoint, read from `file`, is of another one.
    """
    with checkpoint_file.understood(file):
        columns = table_columns(state)
        found = state.get("classes")
        given: dict[str, Any] = {
            "event_shape": tuple(int(size) for size in state["event_shape"]),
            "levels": None if state.get("levels") is None else int(state["levels"]),
            "classes": None if found is None else [int(label) for label in found],
            "one_hot": () if columns is None else columns.blocks,
            "conditions": Conditions.of_state(state.get("conditions")),
        }
        weights = dict(state["model"])
    if given["levels"] is None and settings.classes["likelihood"].discrete:
        raise CheckpointError(f"{file}: does not say how many grey levels its likelihood models.")
    vector = bool(settings.fixed.vector_conditions)
    told = given["conditions"] if vector else given["classes"]
    if settings.fixed.condition is not None and told is None:
        what = "conditions" if vector else "classes"
        raise CheckpointError(f"{file}: does not say which {what} its model is given.")
    refuse_unlike(settings, given, weights, file)
    return given


def table_columns(state: Mapping[str, Any]) -> Columns | None:
    """The columns of the table that the model of a checkpoint was trained on; None: no table."""
    return None if state.get("table") is None else Columns.of_state(state["table"])


def scaling_of(state: Mapping[str, Any]) -> Scaling | None:
    """What was done to the values that the model of a checkpoint was trained on; None: nothing."""
    return None if state.get("scaling") is None else Scaling.of_state(state["scaling"])


def white_of(state: Mapping[str, Any]) -> int:
    """The stored value that meant 1.0 where the model of a checkpoint was trained on whole numbers.

    Where the checkpoint does not say, it is 1 for binary pixels, and 255 for others: earlier
    versions divided all bytes by 255.
    """
    return int(state.get("white") or (1 if state.get("levels") == 2 else 255))


def load_weights(model: LatentVariableModel, weights: Mapping[str, Any], file: Path) -> None:
    """Copy `weights` into `model`.

    Raises:
        CheckpointError: names or shapes disagree; the message names the first that does.
    """
    compare(model, weights, file)
    model.load_state_dict(weights)
