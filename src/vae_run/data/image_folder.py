"""The user's own folder of images."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from PIL import Image, ImageOps
from pydantic import Field

from vae_run.data.dataset import Dataset, ImageSide, Parts, TestSize
from vae_run.data.images import decode_images
from vae_run.data.splits import Split
from vae_run.errors import DataError

log = logging.getLogger(__name__)

_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """All image files below a folder, resized to cover `image_size` and cropped at the centre.

    With a sub-folder `train`, that and `val` and `test` (where they exist) are the splits; else all
    images below `path` are one set to be cut. Where every image of a split lies in a sub-folder,
    the sub-folder's name is its class; labels number the sorted names of all splits.

    Attributes:
        path: the folder.
        image_size: height and width in pixels, one number for both or [height, width].
        channels: 1 for grey, 3 for colour; images of the other kind are converted.
        test_size: what becomes the test set where there is no folder `test`: a share in (0, 1) or
            a number of images.
    """

    path: str
    image_size: ImageSide | Annotated[list[ImageSide], Field(min_length=2, max_length=2)] = 64
    channels: Literal[1, 3] = 3
    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255; DataError names a bad file, or a folder without any."""
        root = Path(os.path.expanduser(self.path))
        if not root.is_dir():
            found = "a file" if root.exists() else "not there"
            raise DataError(
                f"dataset.path={self.path}: expected a folder of images, but it is {found}"
            )
        if (root / "train").is_dir():
            parts = [root / name for name in ("train", "val", "test") if (root / name).is_dir()]
            others = {path.name for path in root.iterdir() if path.is_dir()}
            others -= {part.name for part in parts}
            if others:
                log.warning("%s: not read, as train is there: %s", root, ", ".join(sorted(others)))
        else:
            parts = [root]
        files = {part: _image_files(part) for part in parts}
        classes = {part: _classes(part, files[part]) for part in parts}
        names = sorted({name for chosen in classes.values() for name in chosen or ()})
        number = {name: place for place, name in enumerate(names)}
        splits: dict[str, Split] = {}
        for part in parts:
            own = classes[part]
            labels = None if own is None else torch.tensor([number[name] for name in own])
            images = decode_images(files[part], self.channels, self._size(), self._fit)
            splits[part.name if part != root else "train"] = Split(images, labels, scale=255.0)
        return Parts(
            splits["train"],
            splits.get("val"),
            splits.get("test"),
            class_names=tuple(names) or None,
            test_size=self.test_size,
        )

    def _size(self) -> tuple[int, int]:
        """(height, width)."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def _fit(self, image: Image.Image) -> Image.Image:
        """Upright (cameras note a rotation in the file), scaled to cover the size, and cropped."""
        height, width = self._size()
        if image.mode in ("1", "P", "PA"):  # palettes cannot be interpolated
            image = image.convert("RGBA")
        upright = ImageOps.exif_transpose(image)
        return ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)


def _image_files(folder: Path) -> list[Path]:
    """All image files below `folder`, hidden ones left out, sorted by their path in parts."""
    found = [
        Path(where, name)
        for where, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(_ENDINGS) and not name.startswith(".")
    ]
    if not found:
        raise DataError(f"dataset.path: no image files below {folder} ({' '.join(_ENDINGS)})")
    return sorted(found)


def _classes(folder: Path, files: list[Path]) -> list[str] | None:
    """The sub-folder that each file lies in, or None if any lies in `folder` itself."""
    below = [file.relative_to(folder).parts for file in files]
    return [parts[0] for parts in below] if all(len(parts) > 1 for parts in below) else None
