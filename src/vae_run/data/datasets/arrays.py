"""Arrays in one .npz file."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vae_run.data.array_images import stored_images
from vae_run.data.checks import read_header, refuse_more_than_memory, regular
from vae_run.data.dataset import Dataset, Parts, TestSize
from vae_run.data.splits import Split
from vae_run.errors import DataError

_SPLITS = ("train", "val", "test")
_REMEDY = "write it again with numpy.savez, or name another file"


@dataclass(frozen=True, kw_only=True)
class Arrays(Dataset):
    """The arrays `train` and, optionally, `val`, `test`, `train_labels`, ... of an .npz file.

    Images are [N, F], [N, H, W], [N, C, H, W], or [N, H, W, C] if C is 1 or 3 and the second
    dimension is not. uint8 is scaled from [0, 255] to [0, 1]; bool is 0 or 1; floats are not
    scaled. Labels are integers [N] or [N, 1].

    Attributes:
        path: the .npz file.
        test_size: size of the test set, if there is no array `test`: a share in (0, 1) or a number
            of images.
    """

    path: str
    test_size: TestSize = 0.2

    def read(self) -> Parts:
        """uint8 or float32 [N, C, H, W] or [N, F]; DataError names the array that is wrong."""
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
                splits = {name: self._split(path, name, found) for name in _SPLITS}
            except DataError:
                raise
            except Exception as error:  # of numpy, zipfile, zlib, or the parser of a header
                raise DataError(f"{named} cannot be read as .npz: {error}; {_REMEDY}") from error
        train = splits["train"]
        if train is None:
            held = ", ".join(found.files) or "nothing"
            raise DataError(f"dataset.path={path} has no array `train`; it holds {held}")
        return Parts(train, splits["val"], splits["test"], test_size=self.test_size)

    def _split(self, path: Path, name: str, found: Any) -> Split | None:
        """The split `name`, or None if the file has no array of that name."""
        labels_name = f"{name}_labels"
        where = f"dataset.path={path}: array `{name}`"
        if name not in found.files:
            if labels_name in found.files and "train" in found.files:
                raise DataError(f"{where} is missing, but there is `{labels_name}`")
            return None
        images, scale = stored_images(where, _array(where, name, found))
        if labels_name not in found.files:
            return Split(images, None, scale)
        labels = _array(f"dataset.path={path}: array `{labels_name}`", labels_name, found)
        if labels.dtype.kind not in "biu" or labels.shape not in ((len(images),), (len(images), 1)):
            raise DataError(
                f"dataset.path={path}: array `{labels_name}` is {labels.dtype} {labels.shape}; "
                f"expected integers, one for each of the {len(images)} images of `{name}`"
            )
        if labels.dtype.kind == "u" and labels.max(initial=0) > np.iinfo(np.int64).max:
            raise DataError(
                f"dataset.path={path}: array `{labels_name}` has labels of 2**63 or more; number "
                "the classes from 0"
            )
        return Split(images, torch.from_numpy(labels.reshape(-1).astype(np.int64)), scale)


def _array(where: str, name: str, found: Any) -> Any:
    """The array `name` of an archive, after a check of the size that its header claims."""
    info = found.zip.getinfo(f"{name}.npy")
    refuse_more_than_memory(info.file_size, where)
    with found.zip.open(info) as member:
        read_header(member, info)
    return found[name]
