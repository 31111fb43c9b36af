"""Images in Parquet files: a dataset of the Hugging Face hub, a local folder of it, or one file.

Letters: N images.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.class_labels import labels_note, numbered
from vae_run.data.dataset import Dataset, ImageSize, Parts, TestSize, height_and_width
from vae_run.data.image_tables import class_names, decoded, holds_images, opened
from vae_run.data.images.decoder import Decoder
from vae_run.data.splits import Split
from vae_run.data.white import BYTE, White, of_white
from vae_run.errors import DataError
from vae_run.system.extras import installation

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}
"""How the names of files, or of their folders, begin in each split."""
_LABELS = ("label", "labels", "fine_label", "class")
"""What a column of labels is called, if none is named."""


@dataclass(frozen=True, kw_only=True)
class HuggingFace(Dataset):
    """Encoded images in the rows of Parquet files, as the hub of Hugging Face stores them.

    The files of a split are those whose names, or whose folders' names, begin with train,
    validation (or val, valid, dev) or test; a file of another name is of train. Labels are whole
    numbers, with the names that the file tells, or texts.

    Attributes:
        name: of a dataset on the hub, such as `ylecun/mnist`; its Parquet files are downloaded by
            the package `huggingface_hub`.
        path: a local folder, or one file; either it or `name`.
        split: the split that is trained on, if that is another than train.
        column: of the images; None: the only column that may hold images.
        label: the column of the labels; None: `label`, if there is one.
        image_size: height and width in pixels, one number for both or [height, width].
        channels: 1 for grey, 3 for colour; images of the other kind are converted.
        test_size: size of the test set, if there are no test files: a share in (0, 1) or a number
            of images.
        white: the stored value of whole-numbered pixels that means 1.0 (`white.of_white`).
    """

    name: str | None = None
    path: str | None = None
    split: str = "train"
    column: str | None = None
    label: str | None = None
    image_size: ImageSize = 64
    channels: Literal[1, 3] = 3
    white: White = BYTE
    test_size: TestSize = 0.2

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """Neither a name nor a path, or both."""
        yield from super().conflicts(settings, options)
        if (options.get("name") is None) == (options.get("path") is None):
            yield (
                "dataset.name, dataset.path: name one of them: a dataset of the hub, or a folder "
                "or file of your own."
            )

    def __str__(self) -> str:
        return f"dataset.path={self.path}" if self.path else f"dataset.name={self.name}"

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        return Decoder(self.channels, *height_and_width(self.image_size))

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255. DataError names a bad file, column or row."""
        files = self._files()
        schema = opened(files["train"][0]).schema_arrow
        column, label = self._image_column(schema), self._label_column(schema)
        splits, labels = dict[str, Split](), dict[str, NDArray[Any]]()
        for name, paths in files.items():
            images, own, called = decoded(paths, column, label, self.decoder())
            splits[name] = Split(images, scale=255.0, names=called)
            if own is not None:
                labels[name] = own
        names = None if label is None else class_names(schema, label)
        numbers, names, note = self._numbers(labels, names)
        splits = {
            name: Split(split.images, numbers.get(name), 255.0, names=split.names)
            for name, split in splits.items()
        }
        parts = Parts.of(splits, class_names=names, test_size=self.test_size, notes=note)
        return of_white(str(self), parts, self.white)

    def _files(self) -> dict[str, list[Path]]:
        """The files of every split that there is; those of `split` are of train."""
        root = Path(os.path.expanduser(self.path)) if self.path else self._downloaded()
        if root.is_file():
            return {"train": [root]}
        found = sorted(root.rglob("*.parquet")) if root.is_dir() else []
        if not found:
            raise DataError(f"{self}: there are no Parquet files in {root}")
        of: dict[str, list[Path]] = {}
        for file in found:
            of.setdefault(_split_of(file.relative_to(root)), []).append(file)
        wanted = next((s for s, names in _SPLITS.items() if self.split in names), self.split)
        if wanted not in of:
            held = ", ".join(of)
            raise DataError(f"{self}: no files of dataset.split={self.split}; there are: {held}")
        train = of.pop(wanted)
        return {"train": train, **{name: of[name] for name in ("val", "test") if name in of}}

    def _downloaded(self) -> Path:
        """The folder of the hub's Parquet files, which its package keeps in its own cache."""
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise DataError(
                f"{self}: the package huggingface_hub, which downloads it, is not installed: "
                f"{installation('huggingface')}; or name a local folder with dataset.path"
            ) from error
        try:
            return Path(
                snapshot_download(str(self.name), repo_type="dataset", allow_patterns=["*.parquet"])
            )
        except Exception as error:  # of the hub, or of the connection
            raise DataError(
                f"{self} cannot be downloaded ({type(error).__name__}: {error}); name a local "
                "folder of its Parquet files with dataset.path"
            ) from error

    def _image_column(self, schema: Any) -> str:
        held = [field.name for field in schema if holds_images(field.type)]
        if self.column is not None and self.column not in held:
            raise DataError(
                f"{self}: dataset.column={self.column} is no column of encoded images; those are: "
                f"{', '.join(held) or 'none'}"
            )
        if self.column is None and len(held) != 1:
            raise DataError(
                f"{self}: {'several columns hold' if held else 'no column holds'} encoded images "
                f"({', '.join(held or schema.names)}); choose one with dataset.column"
            )
        return self.column or held[0]

    def _label_column(self, schema: Any) -> str | None:
        if self.label is not None and self.label not in schema.names:
            raise DataError(
                f"{self}: dataset.label={self.label}: there are the columns "
                f"{', '.join(schema.names)}"
            )
        return self.label or next((name for name in _LABELS if name in schema.names), None)

    def _numbers(
        self, labels: Mapping[str, NDArray[Any]], names: Sequence[str] | None
    ) -> tuple[dict[str, torch.Tensor], tuple[str, ...] | None, tuple[str, ...]]:
        """Labels int64 [N] of the splits, the names of the classes, and a note on them."""
        kinds = {own.dtype.kind for own in labels.values()}
        if kinds <= {"i"}:
            told = None if names is None else tuple(names)
            place = {name: number for number, name in enumerate(told or ())}
            numbers = {name: torch.from_numpy(own.astype(np.int64)) for name, own in labels.items()}
            return numbers, told, labels_note(place)
        if kinds != {"U"}:
            raise DataError(f"{self}: labels are neither whole numbers nor texts, or are missing")
        place, own_names = numbered(str(name) for own in labels.values() for name in own)
        return (
            {
                name: torch.tensor([place[text] for text in own.tolist()])
                for name, own in labels.items()
            },
            own_names,
            labels_note(place),
        )


def _split_of(file: Path) -> str:
    """The split that a file belongs to, by its name or by its nearest folder's."""
    for part in (file.stem, *reversed(file.parts[:-1])):
        word = re.split(r"[^a-z]", part.lower())[0]
        for split, words in _SPLITS.items():
            if word in words:
                return split
    return "train"
