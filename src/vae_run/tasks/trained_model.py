"""The trained model of a run, for the tasks that apply it to the user's own data.

Letters: N images, E event shape.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_run.config.invocation import Call
from vae_run.config.schema import OnCheckpoint, Settings
from vae_run.corruptions import NoCorruption
from vae_run.data.batches import Batch
from vae_run.data.columns import Columns
from vae_run.data.scaling import Scaling
from vae_run.data.user_input import UserImages, label_of
from vae_run.errors import ConfigError
from vae_run.evaluation.view import View
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model, scaling_of, table_columns, white_of
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.device import choose_device
from vae_run.system.nouns import noun_of

log = logging.getLogger("vae_run")

ALLOWED = (
    *(
        "checkpoint",
        "device",
        "precision",
        "seed",
        "n",
        "label",
        "given",
        "input",
        "output",
        "overwrite",
    ),
    *("metric", "sheet", "evaluation.batch_size"),
    *("task", "run", "trust", "hydra"),
)
"""Keys, and groups, that may be given with the tasks on a trained model."""


@dataclass(frozen=True)
class Trained:
    """A run's model in eval mode on its device, with the run's own settings.

    Attributes:
        extent: least and greatest value of the training data; None: the checkpoint has it not.
        table: the columns of the table that it was trained on; None: it was no table.
        scaling: what was done to the values that it was trained on; None: nothing.
        white: the stored value of whole-numbered pixels that meant 1.0 in training.
        batch_size: images that are processed at a time, as many as in the run's own evaluation.
    """

    run: RunDirectory
    settings: Settings
    model: LatentVariableModel
    device: torch.device
    event_shape: tuple[int, ...]
    batch_size: int
    levels: int | None = None
    extent: tuple[float, float] | None = None
    class_names: tuple[str, ...] = ()
    table: Columns | None = None
    scaling: Scaling | None = None
    white: int = 255

    @property
    def noun(self) -> str:
        """What the examples are called."""
        return noun_of(self.event_shape, table=self.table is not None)

    @property
    def exact(self) -> bool:
        """Whether float32 is too coarse for values in the units of the user's data."""
        return self.scaling is not None and self.scaling.exact

    def in_units(self, images: Tensor) -> Tensor:
        """Images of the model, [B, *E], in the units of the user's data.

        Returns:
            float32 on the CPU, or float64 if `exact`.
        """
        if self.scaling is None:
            return images.cpu()
        raw = self.scaling.raw(images)
        return raw if self.exact else raw.float()

    @property
    def type_in_units(self) -> str:
        """The type of numbers that `in_units` returns."""
        return "float64" if self.exact else "float32"

    def drawn(self, images: Tensor) -> Tensor:
        """Images of the model, [B, *E], as pictures show them, on the CPU."""
        return images.cpu() if self.scaling is None else self.scaling.drawn(images)

    def view(self, images: UserImages, start: int, stop: int) -> View:
        """The model before the images `start` to `stop`, clean, on the device.

        Noise is that of the place of an image among all of `images`.
        """
        return View(
            self.model,
            # Of the objective a view needs only how many posterior samples it draws.
            self.settings.build("objective", train_size=len(images)),
            NoCorruption(),
            images.split(start, stop).to(self.device),
            self.settings.fixed.latent_dim,
            self.batch_size,
            importance_samples=self.settings.parts["evaluation"]["importance_samples"],
            class_names=self.class_names,
            table=self.table,
            scaling=self.scaling,
            first=start,
        )

    def views(self, images: UserImages, size: int | None = None) -> Iterator[View]:
        """The model before `size` images at a time; None: `batch_size`."""
        size = self.batch_size if size is None else size
        for start in range(0, len(images), size):
            yield self.view(images, start, min(start + size, len(images)))

    def batches(self, images: UserImages) -> Iterator[tuple[Batch, LatentVariableModel]]:
        """Batches of `images`, each with the model given its labels."""
        for view in self.views(images):
            for batch in view.batches():
                yield batch, self.model.given(batch.given)

    def number(self, label: int | str | None) -> int | None:
        """The label that the key `label` gives, by number or by name.

        Raises:
            ConfigError: it is no class of the model.
        """
        if label is None:
            return None
        name = str(label)
        found = label_of(name, self.class_names)
        known = self.model.labels
        if isinstance(label, int) and (found is None or known is None or label in known):
            if found not in (None, label):
                log.warning(
                    "label=%d is the class number %d, named %s; for the class named %d say "
                    "\"label='%d'\"", label, label, self.class_names[label], label, label,
                )  # fmt: skip
            found = label
        if found is None:
            raise ConfigError(
                f"label: found {name}; the classes of the run are {', '.join(self.class_names)}."
            )
        if self.model.conditions is None:
            self.model.checked(found)
        elif known is None or found not in known:
            told = "is not given it" if known is None else f"knows {str(known)[1:-1]}"
            raise ConfigError(f"label: found {label}, but the run's model {told}.")
        return found


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
    refuse_keys_of_the_run(call, {*ALLOWED, *allowed})
    run = RunDirectory.existing(str(Path(fixed.run).expanduser()))
    settings = run.settings(fixed.trust)
    _refuse_skips(fixed.task, settings)
    file = run.best if fixed.checkpoint == "best" else run.last
    state = checkpoint_file.read(file)
    device = choose_device(fixed.device)
    model = load_model(settings, state, file).to(device).eval()
    with checkpoint_file.understood(file):
        extent = None if state.get("extent") is None else (state["extent"][0], state["extent"][1])
    typed = "evaluation.batch_size" in call.typed_keys
    parts = call.settings.parts if typed else settings.parts
    return Trained(
        run,
        settings,
        model,
        device,
        tuple(state["event_shape"]),
        int(parts["evaluation"]["batch_size"]),
        state.get("levels"),
        extent,
        tuple(state.get("class_names") or ()),
        table_columns(state),
        scaling_of(state),
        white_of(state),
    )


def refuse_keys_of_the_run(call: Call, allowed: Set[str]) -> None:
    """Refuse typed keys of the model, which is taken as the run has it.

    Raises:
        ConfigError: a key that is not `allowed` was typed.
    """
    for key in call.typed_keys:
        if not {key, key.split(".")[0]} & allowed:
            raise ConfigError(
                f"{key}: task={call.settings.fixed.task} takes the model as the run has it; its "
                "keys may not be given."
            )


def _refuse_skips(task: str, settings: Settings) -> None:
    if task != "reconstruct" and settings.build("network").skips:
        raise ConfigError(
            f"run: task={task} needs a decoder that sees nothing but codes, and that of this run "
            "sees images beside them (network.skip=true). Use task=reconstruct, which restores "
            "images."
        )
