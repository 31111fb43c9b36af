"""A folder of image files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray

from vae_run.data.class_labels import labels_note, numbered
from vae_run.data.condition_columns import vectors
from vae_run.data.dataset import ImageSize, Parts, TestSize, height_and_width
from vae_run.data.decoded_dataset import Decoded
from vae_run.data.given import MEMORY, given
from vae_run.data.given_pictures import given_pictures
from vae_run.data.image_attributes import Attributes, read_attributes
from vae_run.data.images.decoder import Decoder
from vae_run.data.images.folder import (
    classes_below,
    files_below,
    loose_note,
    split_folders,
    unread_note,
)
from vae_run.data.images.transparency import BACKGROUNDS
from vae_run.data.splits import Split
from vae_run.data.white import BYTE, White, of_white
from vae_run.errors import DataError

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Decoded):
    """All image files below a folder, resized to cover `image_size` and cropped at the centre.

    If there is a sub-folder `train`, it and `val` and `test` (if they exist) are the splits, in
    any case and in other usual words (`folder.split_folders`); otherwise the splits are cut from
    all images below `path`. If every image of a split is in a sub-folder, the sub-folder's name is
    its class; names that are numbers are the labels, others are numbered in natural order
    (`class_labels.numbered`).

    Attributes:
        path: the folder.
        image_size: height and width in pixels, one number for both or [height, width].
        channels: 1 for grey, 3 for colour; images of the other kind are converted.
        background: what shows through transparent pixels, whatever colour is stored there.
        attributes: a CSV or Parquet file, its path relative to `path`, with a row for each image;
            its columns can be conditions.
        attributes_key: its column of the images' files, relative to `path`.
        attributes_categorical: its columns of numbers that are classes.
        test_size: size of the test set, if there is no folder `test`: a share in (0, 1) or a number
            of images.
        white: the stored value of whole-numbered pixels that means 1.0 (`white.of_white`).
    """

    path: str
    image_size: ImageSize = 64
    channels: Literal[1, 3] = 3
    background: Literal["white", "black"] = "white"
    white: White = BYTE
    attributes: str | None = None
    attributes_key: str = "file"
    attributes_categorical: list[str] = field(default_factory=list)
    test_size: TestSize = 0.2

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """Conditions need a table of them."""
        yield from super().conflicts(settings, options)
        wanted = [name for name in settings.fixed.vector_conditions if name != "label"]
        if wanted and options.get("attributes") is None:
            yield (
                f"condition: {', '.join(wanted)}: name a CSV or Parquet file of the images' "
                "attributes with dataset.attributes=FILE, or use condition=label."
            )

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        size = height_and_width(self.image_size)
        return Decoder(self.channels, *size, background=BACKGROUNDS[self.background])

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255; DataError names a bad file, or a folder without any."""
        parts = self._read(None)
        if self.attributes is None:
            return parts
        note = (
            f"dataset.attributes={self.attributes} is not read: no condition is one of its columns"
        )
        return replace(parts, notes=(*parts.notes, note))

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """As `read`, with the columns `conditions` of `attributes`.

        Numbers are numbers; texts, booleans, and `attributes_categorical` are classes.
        """
        path = self._table(str(self.attributes))
        found = self._attributes(f"dataset.attributes={path}", path, conditions)
        if lacking := [name for name in conditions if name not in found.held]:
            raise DataError(
                f"condition: {found.named} has no column {', '.join(lacking)}; the others are "
                f"{', '.join(found.others)}"
            )
        parts = self._read(path)
        files = {name: _files(split) for name, split in parts.named().items()}
        held = {name: found.of(own) for name, own in files.items()}
        columns, given = vectors(
            found.named, {c: {name: held[name][c] for name in held} for c in conditions}
        )
        splits = {
            name: replace(split, conditions=given[name]) for name, split in parts.named().items()
        }
        notes = (*parts.notes, *found.unused_note([file for own in files.values() for file in own]))
        return replace(parts, **splits, conditions=columns, notes=notes)  # type: ignore[arg-type]

    def attributes_of(
        self, paths: Sequence[Path], base: Path | None, columns: Mapping[str, Sequence[str]]
    ) -> dict[str, NDArray[Any]]:
        """{column: its values [N]} of other image files, as far as a table tells them.

        `columns` are names with the classes that a run knows of each, none of a number.

        Of files below the folder `base` it is the table in it that is called as the dataset's own;
        otherwise, of files of the dataset, its own.

        Raises:
            DataError: the table is unreadable, or lacks one of the files.
        """
        if self.attributes is None or not columns:
            return {}
        path = self._table(self.attributes)
        whole = [Path(os.path.abspath(each)) for each in paths]
        root = Path(os.path.abspath(self._root))
        if base is not None and (base / path.name).is_file():
            path, root = base / path.name, Path(os.path.abspath(base))
        elif not all(each.is_relative_to(root) for each in whole):
            return {}
        found = self._attributes(f"input: {path}", path, tuple(columns), columns)
        if not found.held:
            return {}
        return found.of([each.relative_to(root).as_posix() for each in whole])

    @property
    def _root(self) -> Path:
        return Path(os.path.expanduser(self.path))

    def _table(self, name: str) -> Path:
        return Path(os.path.normpath(self._root / os.path.expanduser(name)))

    def _attributes(
        self,
        named: str,
        path: Path,
        columns: Sequence[str],
        classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Attributes:
        categorical = self.attributes_categorical
        return read_attributes(named, path, self.attributes_key, columns, categorical, classes)

    def _read(self, attributes: Path | None) -> Parts:
        """The images, their classes, and notes; `attributes` is a file that is read besides."""
        if self.path == MEMORY:
            parts = given_pictures(given(), self.decoder(), self.test_size)
            return of_white(str(self), parts, self.white)
        root = self._root
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"dataset.path={self.path}: expected a folder of images, but it {found}"
            )
        folders, notes = split_folders(root, attributes)
        walked = {name: files_below(folder) for name, folder in folders.items()}
        files = {name: found for name, (found, _) in walked.items()}
        for folder, (_, others) in zip(folders.values(), walked.values(), strict=True):
            if attributes is not None and attributes.is_relative_to(folder):
                others[attributes.suffix.lower()] -= 1
        notes += unread_note(root, [others for _, others in walked.values()])
        notes += loose_note(folders, files)
        classes = {name: classes_below(folder, files[name]) for name, folder in folders.items()}
        label, class_names = numbered(name for own in classes.values() for name in own or ())
        labels = {
            part: None if own is None else torch.tensor([label[name] for name in own])
            for part, own in classes.items()
        }
        splits = self.decode(root, files, labels, self.decoder())
        parts = Parts.of(
            splits,
            class_names=class_names,
            test_size=self.test_size,
            notes=(*notes, *labels_note(label)),
        )
        return of_white(str(self), parts, self.white)


def _files(split: Split) -> list[str]:
    """What its images are called."""
    assert split.names is not None, "images of files have names"
    return [str(name) for name in split.names]
