"""A folder of image files."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vae_run.data.dataset import ImageSize, Parts, TestSize, height_and_width
from vae_run.data.decoded_dataset import Decoded
from vae_run.data.images.decoder import Decoder
from vae_run.errors import DataError

log = logging.getLogger(__name__)

ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Decoded):
    """All image files below a folder, resized to cover `image_size` and cropped at the centre.

    If there is a sub-folder `train`, it and `val` and `test` (if they exist) are the splits;
    otherwise the splits are cut from all images below `path`. If every image of a split is in a
    sub-folder, the sub-folder's name is its class; labels number the sorted names of all splits.

    Attributes:
        path: the folder.
        image_size: height and width in pixels, one number for both or [height, width].
        channels: 1 for grey, 3 for colour; images of the other kind are converted.
        test_size: size of the test set, if there is no folder `test`: a share in (0, 1) or a number
            of images.
    """

    path: str
    image_size: ImageSize = 64
    channels: Literal[1, 3] = 3
    test_size: TestSize = 0.2

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        return Decoder(self.channels, *height_and_width(self.image_size))

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255; DataError names a bad file, or a folder without any."""
        root = Path(os.path.expanduser(self.path))
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"dataset.path={self.path}: expected a folder of images, but it {found}"
            )
        if (root / "train").is_dir():
            parts = [root / name for name in ("train", "val", "test") if (root / name).is_dir()]
            others = {path.name for path in root.iterdir() if path.is_dir()}
            others = {name for name in others if not name.startswith(".")}
            others -= {part.name for part in parts}
            if others:
                log.warning(
                    "%s: not read, because there is a folder train: %s",
                    root,
                    ", ".join(sorted(others)),
                )
        else:
            parts = [root]
        named = {part.name if part != root else "train": part for part in parts}
        files = {name: image_files(part) for name, part in named.items()}
        classes = {name: _classes(part, files[name]) for name, part in named.items()}
        names = sorted({name for chosen in classes.values() for name in chosen or ()})
        number = {name: place for place, name in enumerate(names)}
        labels = {
            part: None if own is None else torch.tensor([number[name] for name in own])
            for part, own in classes.items()
        }
        splits = self.decode(root, files, labels, self.decoder())
        return Parts(
            splits["train"],
            splits.get("val"),
            splits.get("test"),
            class_names=tuple(names) or None,
            test_size=self.test_size,
        )


def image_files(folder: Path, key: str = "dataset.path") -> list[Path]:
    """All image files below `folder` except hidden ones, sorted by the parts of their paths.

    Links are followed, except those to a folder that contains them.

    Raises:
        DataError: there are none, which `key` is told to be wrong for; or a folder is unreadable.
    """
    found: list[Path] = []
    inside = {folder: {_identity(folder)}}

    def refuse(error: OSError) -> None:
        raise DataError(
            f"cannot read the folder {error.filename}: {error.strerror}; change its permissions, "
            "or move it away"
        ) from error

    for name, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        where = Path(name)
        above = inside.pop(where)
        folders[:] = [child for child in folders if not child.startswith(".")]
        for child in list(folders):
            if (own := _identity(where / child)) in above:
                folders.remove(child)
            else:
                inside[where / child] = above | {own}
        for file in files:
            if file.lower().endswith(ENDINGS) and not file.startswith("."):
                found.append(where / file)
    if not found:
        raise DataError(f"{key}: no image files below {folder} ({' '.join(ENDINGS)})")
    return sorted(found)


def _identity(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _classes(folder: Path, files: list[Path]) -> list[str] | None:
    """The sub-folder of each file, or None if any file is in `folder` itself."""
    below = [file.relative_to(folder).parts for file in files]
    return [parts[0] for parts in below] if all(len(parts) > 1 for parts in below) else None
