"""CelebA: faces."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vae_run.data.dataset import ImageSide, Parts
from vae_run.data.decoded_dataset import Decoded
from vae_run.data.download import Downloaded, damaged
from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError

_CROP = 148


@dataclass(frozen=True, kw_only=True)
class CelebA(Decoded, Downloaded):
    """Aligned celebrity faces, 162,770 + 19,867 + 19,962 of 178x218 (Liu et al. 2015).

    The central 148x148 pixels are resized, as is usual for generative models. It has a validation
    set of its own, so `val_size` has no effect.

    Attributes:
        image_size: height and width in pixels after resizing.
        attribute: the attribute, one of 40, that labels the images (absent 0, present 1), such as
            `Smiling`; None: no labels.
    """

    image_size: ImageSide = 64
    attribute: str | None = None
    kin: ClassVar[str] = "CelebA"

    def files(self) -> Sequence[str]:
        """The official partition, the folder of images and, if needed, the attributes."""
        needed = ["celeba/list_eval_partition.txt", "celeba/img_align_celeba"]
        return needed + (["celeba/list_attr_celeba.txt"] if self.attribute is not None else [])

    def sources(self, kin: Any) -> Sequence[str]:
        """Google Drive, where the authors host it."""
        return ["https://drive.google.com"]

    def fetch(self, kin: Any, folder: str) -> None:
        """Download and unpack 1.4 GB; torchvision needs the package gdown for it."""
        kin(folder, download=True)

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        return Decoder(3, self.image_size, self.image_size, _CROP)

    def read_files(self, root: Path) -> Parts:
        """uint8 [N, 3, H, H] of scale 255: 12 KiB per image at 64 pixels, 2.3 GiB in all."""
        partition = _read_rows(root / self.files()[0], 0)
        marks, class_names = None, None
        if self.attribute is not None:
            marks, class_names = self._marks(root), (f"not {self.attribute}", self.attribute)
        files, labels = dict[str, list[Path]](), dict[str, Tensor | None]()
        for number, split in enumerate(("train", "val", "test")):
            names = [name for name, value in partition.items() if value == [str(number)]]
            if not names:
                raise damaged(root / self.files()[0], f"partition {number} has no image")
            files[split] = [root / "celeba" / "img_align_celeba" / name for name in names]
            labels[split] = None
            if marks is not None:
                found = torch.tensor([marks.get(name, -1) for name in names])
                if (found < 0).any():
                    raise damaged(root / self.files()[2], "it lacks some images of the partition")
                labels[split] = found
        splits = self.decode(root / "celeba", files, labels, self.decoder())
        return Parts(splits["train"], splits["val"], splits["test"], class_names)

    def _marks(self, root: Path) -> dict[str, int]:
        """{file name: 1 if the image has the attribute, else 0}."""
        path = root / self.files()[2]
        known = "\n".join(_read_lines(path)[1:2]).split()
        if self.attribute not in known:
            raise DataError(
                f"dataset.attribute={self.attribute}: expected one of {path}: {', '.join(known)}"
            )
        column = known.index(self.attribute)
        return {
            name: int(values[column] == "1")
            for name, values in _read_rows(path, 2, len(known)).items()
        }


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, error) from error


def _read_rows(path: Path, skip: int, width: int = 1) -> dict[str, list[str]]:
    """{file name: its `width` values}, from every line after the first `skip`."""
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(_read_lines(path)[skip:], skip + 1):
        name, *values = line.split() or [""]
        if len(values) != width or os.path.basename(name) != name:
            raise damaged(path, f"line {number} is not a name and {width} values: {line[:60]!r}")
        rows[name] = values
    return rows
