"""Arrays in one .npz file, or in the memory of a program."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.array_images import Background, Layout, read_images
from vae_run.data.array_labels import numbered_labels
from vae_run.data.array_names import condition_arrays, roles
from vae_run.data.array_source import Archive, ArraySource, InMemory
from vae_run.data.checks import regular
from vae_run.data.class_labels import labels_note
from vae_run.data.columns import Columns
from vae_run.data.condition_columns import one_each, vectors
from vae_run.data.dataset import Parts, TestSize
from vae_run.data.given import MEMORY, given
from vae_run.data.scaled_dataset import Scalable, of_one_type
from vae_run.data.splits import Split
from vae_run.data.white import BYTE, White, of_white
from vae_run.errors import DataError

_REMEDY = "write it again with numpy.savez, or name another file"


@dataclass(frozen=True, kw_only=True)
class Arrays(Scalable):
    """The arrays `train` and, optionally, `val`, `test`, `train_labels`, ... of an .npz file.

    Other usual names are understood too (`array_names.roles`). Images are [N, F], [N, H, W],
    [N, C, H, W] or [N, H, W, C]. uint8 is divided by `white`; bool is 0 or 1; floats
    are not scaled, unless `scale` says so. Labels are integers or text, [N] or [N, 1]. Text is
    numbered in the order of an array `class_names`, or else in natural order
    (`class_labels.numbered`).

    Attributes:
        path: the .npz file; `memory:` for what a program gives (`data.given`).
        layout: the order of four axes; `auto` finds it from their sizes
            (`array_images.has_channels_last`).
        background: what shows through transparent pixels of [N, H, W, 4]; `none` keeps the fourth
            channel.
        white: the stored value of whole-numbered pixels that means 1.0 (`white.of_white`).
        test_size: size of the test set, if there is no array `test`: a share in (0, 1) or a number
            of images.
    """

    pictures: ClassVar[bool] = True
    """Whether values are expected in [0, 1]."""

    path: str
    layout: Layout = "auto"
    background: Background = "white"
    white: White = BYTE
    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 or floats [N, C, H, W] or [N, F]; DataError names the array that is wrong."""
        return self.read_with(())

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """As `read`, with conditions of the arrays `train_NAME`, `val_NAME` and `test_NAME`, [N].

        Floats are numbers; whole numbers, booleans and texts are classes.
        """
        if self.path == MEMORY:
            return self._parts(InMemory(given()), conditions)
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
                return self._parts(Archive(named, found), conditions)
            except DataError:
                raise
            except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
                raise DataError(f"{named} cannot be read as .npz: {error}; {_REMEDY}") from error

    def _parts(self, source: ArraySource, conditions: Sequence[str]) -> Parts:
        """The splits that `source` holds, with their labels and `conditions`."""
        own = roles(source.named, source.names, conditions)
        if "train" not in own.images:
            held = ", ".join(source.names) or "nothing"
            raise DataError(f"{source.named} has no array `train`; it holds {held}")
        splits, told = self._images(source, own.images)
        notes = [*own.notes, *told]
        labels, class_names, place = numbered_labels(source, own.labels, own.class_names, splits)
        columns, beside = _conditions(source, conditions, splits)
        splits = {
            name: replace(split, labels=labels.get(name), conditions=beside.get(name))
            for name, split in splits.items()
        }
        if self.pictures:
            where = source.where(own.images["train"])
            notes += _range_note(where, splits["train"], scaled=self.scale != "none")
            if self.scale == "none":
                notes += _other_range_notes(
                    {source.where(own.images[k]): splits[k] for k in splits}
                )
        parts = Parts.of(
            splits,
            class_names=class_names,
            test_size=self.test_size,
            notes=(*notes, *labels_note(place)),
            scale=self.scale,
            conditions=columns,
        )
        return of_white(source.named, parts, self.white)

    def _images(
        self, source: ArraySource, names: Mapping[str, str]
    ) -> tuple[dict[str, Split], tuple[str, ...]]:
        """The splits {split: name of its array} without labels, and notes on those of train."""
        notes, splits = tuple[str, ...](), dict[str, Split]()
        for split, name in names.items():
            stored = read_images(
                source.where(name),
                source.array(name),
                layout=self.layout,
                background=self.background,
                event_shape=splits["train"].event_shape if "train" in splits else None,
                exact=self.scale != "none",
            )
            splits[split] = Split(stored.images, None, stored.scale)
            notes = stored.notes if split == "train" else notes
        return of_one_type(splits), notes


def _conditions(
    source: ArraySource, names: Sequence[str], splits: Mapping[str, Split]
) -> tuple[Columns | None, dict[str, Tensor]]:
    """What the conditions `names` are, and float64 [N, P] of each split."""
    values = dict[str, dict[str, NDArray[Any]]]()
    for name, arrays in condition_arrays(source.named, source.names, names).items():
        if lacking := [split for split in splits if split not in arrays]:
            held = ", ".join(source.names)
            raise DataError(
                f"condition: {source.named} has no array `{lacking[0]}_{name}`; it holds {held}"
            )
        values[name] = {
            split: one_each(source.where(arrays[split]), source.array(arrays[split]), splits[split])
            for split in splits
        }
    return vectors(source.named, values)


def _range_note(where: str, train: Split, *, scaled: bool) -> tuple[str, ...]:
    """A sentence on images whose values mean something else than they seem to."""
    if len(train.event_shape) == 1:  # vectors may have any unit
        return ()
    low, high = train.extent
    if scaled or (low >= 0 and high <= 1):
        return ()
    levels = low >= 0 and 2 < high <= 255
    remedy = "set dataset.scale=unit" + (", or store them as uint8" if levels else "")
    return (
        f"{where} holds floats in [{low:.4g}, {high:.4g}], which are taken as they are; images are "
        f"expected in [0, 1]: {remedy}; otherwise metrics of pictures (psnr, ssim, Frechet "
        "distances) are absent, and pictures are clipped",
    )


def _other_range_notes(named: Mapping[str, Split]) -> tuple[str, ...]:
    """A sentence on each split of images, {name: split}, that leaves [0, 1] though train does not.

    The training images are the first.
    """
    (first, train), *others = named.items()
    if len(train.event_shape) == 1 or train.scale != 1.0:
        return ()
    if train.extent[0] < 0 or train.extent[1] > 1:
        return ()
    return tuple(
        f"{name} holds floats in [{split.extent[0]:.4g}, {split.extent[1]:.4g}], but {first} in "
        f"[{train.extent[0]:.4g}, {train.extent[1]:.4g}]: bring all splits to the same range"
        for name, split in others
        if split.scale == 1.0 and (split.extent[0] < 0 or split.extent[1] > 1)
    )
