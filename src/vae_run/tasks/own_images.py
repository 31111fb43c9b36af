"""The images that a task applies a run's model to: the user's own files, or the run's own data.

Letters: N images.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.config.schema import OnImages
from vae_run.data.conditions import LABEL, conditioned
from vae_run.data.dataset import Dataset
from vae_run.data.given import is_lacking
from vae_run.data.scaled_splits import scaled_split
from vae_run.data.scaling import Scaling
from vae_run.data.splits import Split, Splits
from vae_run.data.user_input import OWN, UserImages, read_input
from vae_run.errors import ConfigError, DataError
from vae_run.runs.data_record import changes
from vae_run.tasks.own_conditions import typed_conditions, with_conditions
from vae_run.tasks.own_rows import own_rows
from vae_run.tasks.run_data import read_data, refuse_other_shape
from vae_run.tasks.trained_model import Trained

log = logging.getLogger("vae_run")


def own_images(run: Trained, fixed: OnImages) -> UserImages:
    """The images of `input`: the run's own, or files; with labels for a conditional model.

    Raises:
        DataError: a file is missing or unreadable, or lacks what the model needs; or the run's
            own data have changed.
        ConfigError: `label` is no class of the model.
    """
    label, typed = run.number(fixed.label), typed_conditions(run, fixed)
    if isinstance(fixed.input, str) and fixed.input in OWN:
        images = own_split(run, fixed.input)
        if Path(fixed.input).exists():
            log.warning(
                "input=%s: these are the run's own data; for those in %s here say input=./%s",
                *[fixed.input] * 3,
            )
    elif run.table is not None:
        images = own_rows(run, fixed.input, typed)
    else:
        dataset: Dataset = run.settings.build("dataset")
        beside = {} if run.model.conditions is None else run.model.conditions.classes
        known = (run.event_shape, run.class_names, beside, {LABEL, *typed}, run.white, run.exact)
        images = read_input(fixed.input, dataset, *known)
        _check_range(run, images)
        if run.scaling is not None:
            images = _scaled(run, images, run.scaling)
    if run.model.conditions is not None:
        return with_conditions(run, images, fixed)
    if run.model.classes is None:
        return images
    if label is not None:
        return replace(images, labels=torch.full((len(images),), label))
    if images.labels is None:
        raise _lacks_labels(images, run.class_names)
    _check_classes(run, images, images.labels)
    return images


def own_splits(run: Trained, key: str = "input") -> Splits:
    """The run's own data, from where its configuration says they are; `key` asks for them.

    Raises:
        DataError: they are missing, or they are not those that the run was trained on.
    """
    splits, other = read_data(run.run, run.settings)
    refuse_other_shape(splits, run.settings, run.event_shape)
    if other is not None:
        raise DataError(
            f"{key}: the data of {run.settings.build('dataset')} have changed since {run.run.path} "
            f"was trained: {changes(run.run.environment(), splits)} (dataset_fingerprint was "
            f"{run.run.fingerprint():.8}, is {other:.8}). Restore them, or train again."
        )
    return conditioned(splits, run.model.conditions)


def own_split(run: Trained, name: str) -> UserImages:
    """The run's own images of the split `name`."""
    if name == "train" and run.settings.classes["dataset"].streamed:
        raise ConfigError(
            "input: the training images of the run are streamed from shards. Use input=val or "
            "test, or name files."
        )
    if is_lacking(run.settings.build("dataset")):
        raise DataError(
            f"input={name}: {run.run.path} was trained on data that a Python program held in "
            "memory, and this command has none. Name a file with the images: input=FILE."
        )
    splits = own_splits(run)
    split = {"train": splits.train, "val": splits.val, "test": splits.test}[name]
    if not len(split):
        raise DataError(f"input: the run has no {name} {run.noun}.")
    images = UserImages.of_split(split, f"the run's {name} {run.noun}", name)
    if run.model.conditions is not None and split.conditions is not None:
        places = run.model.conditions.columns.places()
        images = replace(images, given={c.name: split.conditions[:, place] for c, place in places})
    if splits.class_names is None or split.labels is None:
        return images
    classes = [splits.class_names[label] for label in split.labels.tolist()]
    return replace(images, classes=np.array(classes))


def _check_classes(run: Trained, images: UserImages, labels: Tensor) -> None:
    assert run.model.classes is not None, "the model is conditional"
    known = run.model.classes.tolist()
    if strange := sorted(set(labels.tolist()) - set(known)):
        raise DataError(
            f"input: {images.source} has {run.noun} labelled {str(strange[:10])[1:-1]}; the "
            f"classes of the model are {str(known)[1:-1]}."
        )


def _check_range(run: Trained, images: UserImages) -> None:
    """Refuse values outside of [0, 1], if the run's lie there; warn of another range.

    Raises:
        DataError: the model knows no such values.
    """
    likelihood: Any = run.settings.classes["likelihood"]
    (low, high), limits = images.extent, run.extent
    if run.scaling is not None:
        limits = run.scaling.extent
    told = f"input: values of {images.source} lie in [{low:.4g}, {high:.4g}]"
    unit = run.scaling is None and (likelihood.unit_interval or run.levels is not None)
    if unit and (low < 0 or high > 1):
        reason = (
            f"likelihood {likelihood.__name__} models pixels in [0, 1]"
            if likelihood.unit_interval
            else "the run was trained on pixels in [0, 1]"
        )
        raise DataError(
            f"{told}, but {reason}. Rescale them, or save bytes (uint8), which are divided by "
            f"{255 if run.white == 1 else run.white}."
        )
    if limits is not None and not unit:
        room = limits[1] - limits[0]
        bytes_elsewhere = images.levels is not None and not 0 <= limits[0] <= limits[1] <= 1
        if bytes_elsewhere or low < limits[0] - room or high > limits[1] + room:
            log.warning(
                "%s, those that the run was trained on in [%.4g, %.4g]: scale them in the same "
                "way.", told, *limits,
            )  # fmt: skip
    if images.levels != 2 and run.levels == 2 and _has_grey(images):
        log.warning(
            "input: %s has pixels between 0 and 1, and the run was trained on binary ones; "
            "they are given to the model as they are.", images.source,
        )  # fmt: skip


def _scaled(run: Trained, images: UserImages, scaling: Scaling) -> UserImages:
    """`images` scaled as the run's own data were, piece by piece.

    Reading a piece raises DataError if its values leave [0, 1], and the likelihood models no such.
    """
    likelihood: Any = run.settings.classes["likelihood"]

    def read(start: int, stop: int) -> Split:
        split = scaled_split(images.read(start, stop), scaling.scaled)
        low, high = split.extent
        if likelihood.unit_interval and (low < 0 or high > 1):
            raise DataError(
                f"input: {images.source} has values outside of those that the run was trained on, "
                f"which dataset.scale={scaling.kind} maps to [0, 1] (it maps them to [{low:.4g}, "
                f"{high:.4g}]), but likelihood {likelihood.__name__} models pixels in [0, 1]. Clip "
                "them, or use a run with likelihood=gaussian."
            )
        return split

    return replace(images, read=read, levels=None)


def _has_grey(images: UserImages) -> bool:
    return images.split(0, min(16, len(images))).has_grey


def refuse_other_levels(run: Trained, images: UserImages) -> None:
    """Refuse images to which a likelihood of grey levels gives no probability.

    Raises:
        DataError: they are floats, or have another number of levels.
    """
    likelihood: Any = run.settings.classes["likelihood"]
    if likelihood.discrete and images.levels != run.levels:
        found = "floats" if images.levels is None else f"{images.levels} grey levels"
        raise DataError(
            f"input: {images.source} holds {found}, but the run's {likelihood.__name__} gives "
            f"probabilities to {run.levels} grey levels. Save them with as many, or use "
            "metric=mse."
        )


def identity(images: UserImages, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """What tells the images apart, as columns [N]: file, class, split, and index.

    Columns of which nothing is known are left out. The index is the place in the input, or in the
    source's split for the run's own images.

    Args:
        images: N images.
        names: of the four columns.
    """
    name, label, split, index = names
    found: dict[str, NDArray[Any]] = {}
    if images.names is not None:
        found[name] = images.names
    if images.classes is not None:
        found[label] = images.classes
    elif images.labels is not None:
        found[label] = images.labels.numpy()
    if images.part is not None:
        found[split] = np.full(len(images), images.part)
    if images.index is not None:
        found[index] = images.index.numpy()
    return found


def inputs_of(words: str | Sequence[str]) -> list[Path]:
    """The paths that `input` names, to be compared with `output`."""
    given = [words] if isinstance(words, str) else words
    return [Path(word).expanduser() for word in given]


def _lacks_labels(images: UserImages, class_names: Sequence[str]) -> DataError:
    """What a conditional model lacks."""
    remedy = "give the class of all images with label=NAME"
    if images.classes is not None:
        strange = sorted(set(images.classes.tolist()) - set(class_names))
        return DataError(
            f"input: {images.source} has images of {', '.join(strange[:10])}, which are no classes "
            f"of the run ({', '.join(class_names)}). Rename the folders, or {remedy}."
        )
    return DataError(
        f"input: {images.source} has no labels, and the run's model is conditional. Use a .npz "
        f"with arrays images and labels, or a folder of class folders, or {remedy}."
    )
