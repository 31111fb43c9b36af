"""A folder of image files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vae_run.data.class_labels import labels_note, numbered
from vae_run.data.dataset import ImageSize, Parts, TestSize, height_and_width
from vae_run.data.decoded_dataset import Decoded
from vae_run.data.images.decoder import Decoder
from vae_run.data.images.folder import (
    classes_below,
    files_below,
    loose_note,
    split_folders,
    unread_note,
)
from vae_run.data.images.transparency import BACKGROUNDS
from vae_run.errors import DataError


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
        test_size: size of the test set, if there is no folder `test`: a share in (0, 1) or a number
            of images.
    """

    path: str
    image_size: ImageSize = 64
    channels: Literal[1, 3] = 3
    background: Literal["white", "black"] = "white"
    test_size: TestSize = 0.2

    def decoder(self) -> Decoder:
        """Decodes a file to the pixels that the splits have."""
        size = height_and_width(self.image_size)
        return Decoder(self.channels, *size, background=BACKGROUNDS[self.background])

    def read(self) -> Parts:
        """uint8 [N, C, H, W] of scale 255; DataError names a bad file, or a folder without any."""
        root = Path(os.path.expanduser(self.path))
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"dataset.path={self.path}: expected a folder of images, but it {found}"
            )
        folders, notes = split_folders(root)
        walked = {name: files_below(folder) for name, folder in folders.items()}
        files = {name: found for name, (found, _) in walked.items()}
        notes += unread_note(root, [others for _, others in walked.values()])
        notes += loose_note(folders, files)
        classes = {name: classes_below(folder, files[name]) for name, folder in folders.items()}
        label, class_names = numbered(name for own in classes.values() for name in own or ())
        labels = {
            part: None if own is None else torch.tensor([label[name] for name in own])
            for part, own in classes.items()
        }
        splits = self.decode(root, files, labels, self.decoder())
        return Parts.of(
            splits,
            class_names=class_names,
            test_size=self.test_size,
            notes=(*notes, *labels_note(label)),
        )
