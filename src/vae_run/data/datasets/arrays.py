"""Arrays in one .npz file."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.array_images import Background, Layout, read_images
from vae_run.data.array_names import Roles, condition_arrays, read_labels, roles
from vae_run.data.checks import read_header, refuse_more_than_memory, regular
from vae_run.data.class_labels import labels_note, numbered
from vae_run.data.columns import Columns
from vae_run.data.condition_columns import one_each, vectors
from vae_run.data.dataset import Parts, TestSize
from vae_run.data.scaled_dataset import Scalable
from vae_run.data.splits import Split
from vae_run.errors import DataError

_REMEDY = "write it again with numpy.savez, or name another file"


@dataclass(frozen=True, kw_only=True)
class Arrays(Scalable):
    """The arrays `train` and, optionally, `val`, `test`, `train_labels`, ... of an .npz file.

    Other usual names are understood too (`array_names.roles`). Images are [N, F], [N, H, W],
    [N, C, H, W] or [N, H, W, C]. uint8 is scaled from [0, 255] to [0, 1]; bool is 0 or 1; floats
    are not scaled, unless `scale` says so. Labels are integers or text, [N] or [N, 1]. Text is
    numbered in the order of an array `class_names`, or else in natural order
    (`class_labels.numbered`).

    Attributes:
        path: the .npz file.
        layout: the order of four axes; `auto` finds it from their sizes
            (`array_images.has_channels_last`).
        background: what shows through transparent pixels of [N, H, W, 4]; `none` keeps the fourth
            channel.
        test_size: size of the test set, if there is no array `test`: a share in (0, 1) or a number
            of images.
    """

    pictures: ClassVar[bool] = True
    """Whether values are expected in [0, 1]."""

    path: str
    layout: Layout = "auto"
    background: Background = "white"
    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 or float32 [N, C, H, W] or [N, F]; DataError names the array that is wrong."""
        return self.read_with(())

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """As `read`, with conditions of the arrays `train_NAME`, `val_NAME` and `test_NAME`, [N].

        Floats are numbers; whole numbers, booleans and texts are classes.
        """
        path = Path(os.path.expanduser(self.path))
        named = f"dataset.path={path}"
        with open(regular(path, named), "rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise DataError(
                    f"{named} is a single array (.npy), expected an .npz archive; {_REMEDY}"
                )
            try:
                if not zipfile.is_zipfile(file):
                    raise ValueError("it is not a zip archive, or an incomplete one")
                file.seek(0)
                found = np.load(file, allow_pickle=False)
                return self._parts(named, found, conditions)
            except DataError:
                raise
            except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
                raise DataError(f"{named} cannot be read as .npz: {error}; {_REMEDY}") from error

    def _parts(self, named: str, found: Any, conditions: Sequence[str]) -> Parts:
        """The splits that the archive `found` holds, with their labels and `conditions`."""
        own = roles(named, found.files, conditions)
        if "train" not in own.images:
            held = ", ".join(found.files) or "nothing"
            raise DataError(f"{named} has no array `train`; it holds {held}")
        notes, splits = list(own.notes), dict[str, Split]()
        for split, name in own.images.items():
            where = f"{named}: array `{name}`"
            stored = read_images(
                where,
                _array(where, name, found),
                layout=self.layout,
                background=self.background,
                event_shape=splits["train"].event_shape if "train" in splits else None,
            )
            splits[split] = Split(stored.images, None, stored.scale)
            notes += stored.notes if split == "train" else ()
        labels, class_names, place = _labels(named, own, found, splits)
        columns, given = _conditions(named, conditions, found, splits)
        splits = {
            name: replace(split, labels=labels.get(name), conditions=given.get(name))
            for name, split in splits.items()
        }
        if self.pictures:
            where = f"{named}: array `{own.images['train']}`"
            notes += _range_note(where, splits["train"], scaled=self.scale != "none")
        return Parts.of(
            splits,
            class_names=class_names,
            test_size=self.test_size,
            notes=(*notes, *labels_note(place)),
            scale=self.scale,
            conditions=columns,
        )


def _conditions(
    named: str, names: Sequence[str], found: Any, splits: Mapping[str, Split]
) -> tuple[Columns | None, dict[str, Tensor]]:
    """What the conditions `names` are, and float64 [N, P] of each split."""
    values = dict[str, dict[str, NDArray[Any]]]()
    for name, arrays in condition_arrays(named, found.files, names).items():
        if lacking := [split for split in splits if split not in arrays]:
            held = ", ".join(found.files)
            raise DataError(
                f"condition: {named} has no array `{lacking[0]}_{name}`; it holds {held}"
            )
        values[name] = {}
        for split in splits:
            where = f"{named}: array `{arrays[split]}`"
            own = _array(where, arrays[split], found)
            values[name][split] = one_each(where, own, splits[split])
    return vectors(named, values)


def _labels(
    named: str, own: Roles, found: Any, splits: Mapping[str, Split]
) -> tuple[dict[str, Tensor], tuple[str, ...] | None, dict[str, int]]:
    """The labels int64 [N] of each split that has some, the names of labels 0, 1, ..., and the
    label of each class that has a name.
    """
    read: dict[str, NDArray[Any]] = {}
    for split, name in own.labels.items():
        where = f"{named}: array `{name}`"
        read[split] = read_labels(where, _array(where, name, found), len(splits[split]))
    texts = [labels for labels in read.values() if labels.dtype.kind == "U"]
    if texts and len(texts) < len(read):
        kinds = ", ".join(f"`{own.labels[split]}` {read[split].dtype}" for split in read)
        raise DataError(f"{named}: labels are text in one split and numbers in another ({kinds})")
    given = None if own.class_names is None else _given_names(named, own.class_names, found)
    named_so = {name: label for label, name in enumerate(given or ())}
    if not texts:
        for split, labels in read.items():
            if given is not None and not 0 <= labels.min() <= labels.max() < len(given):
                raise DataError(
                    f"{named}: array `{own.labels[split]}` has labels from {labels.min()} to "
                    f"{labels.max()}, but `{own.class_names}` names {len(given)} classes"
                )
        numbers = {split: torch.from_numpy(labels) for split, labels in read.items()}
        return numbers, given, named_so
    place, class_names = numbered(name for labels in texts for name in labels.tolist())
    if given is not None:
        unknown = sorted(set(place) - set(given))
        if unknown:
            raise DataError(
                f"{named}: `{own.class_names}` does not name {unknown[:10]}, which are labels"
            )
        place, class_names = named_so, given
    numbers = {
        split: torch.tensor([place[name] for name in labels.tolist()])
        for split, labels in read.items()
    }
    return numbers, class_names, place


def _given_names(named: str, name: str, found: Any) -> tuple[str, ...]:
    """The array of the names of labels 0, 1, ..."""
    where = f"{named}: array `{name}`"
    names = _array(where, name, found)
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) < len(names):
        raise DataError(
            f"{where} is {names.dtype} {names.shape}; expected different texts [classes]"
        )
    return tuple(names.tolist())


def _range_note(where: str, train: Split, *, scaled: bool) -> tuple[str, ...]:
    """A sentence on images whose values mean something else than they seem to."""
    if len(train.event_shape) == 1:  # vectors may have any unit
        return ()
    low, high = train.extent
    if train.scale == 255.0 and high == 1 / 255:
        return (
            f"{where} is uint8 with no value above 1, and is read as black pixels of 256 grey "
            "levels; store binary images as bool",
        )
    if scaled or (low >= 0 and high <= 1):
        return ()
    levels = low >= 0 and 2 < high <= 255
    remedy = "set dataset.scale=unit" + (", or store them as uint8" if levels else "")
    return (
        f"{where} holds floats in [{low:.4g}, {high:.4g}], which are taken as they are; images are "
        f"expected in [0, 1]: {remedy}; otherwise metrics of pictures (psnr, ssim, Frechet "
        "distances) are absent, and pictures are clipped",
    )


def _array(where: str, name: str, found: Any) -> Any:
    """The array `name` of an archive, after a check of the size that its header claims."""
    info = found.zip.getinfo(f"{name}.npy")
    refuse_more_than_memory(info.file_size, where)
    with found.zip.open(info) as member:
        read_header(member, info)
    return found[name]
