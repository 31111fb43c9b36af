"""MedMNIST: small medical images in one format.

Letters: N images.
"""

import importlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vae_run.data.array_images import stored_images
from vae_run.data.checks import read_header, refuse_more_than_memory, regular
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.download import damaged
from vae_run.data.splits import Split
from vae_run.errors import DataError
from vae_run.system.extras import installation

log = logging.getLogger(__name__)

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip
CLASSES: dict[str, tuple[str, ...] | None] = {
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
        "normal colon mucosa", "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": None,
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
        "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": (
        "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "breastmnist": ("malignant", "normal, benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte",
        "monocyte", "neutrophil", "platelet",
    ),
    "tissuemnist": (
        "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule",
        "Glomerular endothelial cells", "Interstitial endothelial cells", "Leukocytes",
        "Podocytes", "Proximal Tubule Segments", "Thick Ascending Limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}  # fmt: skip
"""The twelve sets of 2D images with the names of their labels; None: an image has many labels."""
Name = Literal[
    "pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist",
    "breastmnist", "bloodmnist", "tissuemnist", "organamnist", "organcmnist", "organsmnist",
]  # fmt: skip
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class MedMNIST(Dataset):
    """One of MedMNIST's sets of 2D images, with its own three splits (Yang et al. 2023).

    Attributes:
        root: the folder of all datasets; the file is in it, or in `medmnist` in it.
        name: of the set.
        size: side of the images in pixels.
        download: whether an absent file may be downloaded, by the package `medmnist`.
    """

    root: str
    name: Name = "pathmnist"
    size: Literal[28, 64, 128, 224] = 28
    download: bool = True

    def read(self) -> Parts:
        """uint8 [N, C, S, S] of scale 255, C 1 or 3; the labels of `chestmnist` are left out."""
        root = Path(os.path.expanduser(self.root))
        name = f"{self.name}.npz" if self.size == 28 else f"{self.name}_{self.size}.npz"
        places = [root / "medmnist" / name, root / name]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            self._download(places[0])
            found = places[0]
        train, val, test = (self._split(found, split) for split in _SPLITS)
        names = CLASSES[self.name]
        notes = () if names else ("An image has many labels at once; they are left out.",)
        return Parts(train, val, test, class_names=names, notes=notes)

    def _download(self, goal: Path) -> None:
        """Have the package `medmnist` download the file `goal`, with its checksum.

        Raises:
            DataError: downloads are forbidden, the package is missing, or it fails.
        """
        place = f"put {goal.name} of https://medmnist.com into {goal.parent}"
        if not self.download:
            raise DataError(f"{goal} does not exist, and dataset.download=false; {place}")
        try:
            package = importlib.import_module("medmnist")
        except ImportError as error:
            raise DataError(
                f"{goal} does not exist, and the package medmnist, which downloads it, is not "
                f"installed: {installation('medmnist')}; or {place}"
            ) from error
        kin = getattr(package, package.INFO[self.name]["python_class"])
        log.info("downloading %s into %s", goal.name, goal.parent)
        size = {} if self.size == 28 else {"size": self.size}
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            kin(split="train", root=str(goal.parent), download=True, **size)
        except Exception as error:  # medmnist passes on any error of its libraries
            raise DataError(f"{goal} could not be downloaded ({error}); {place}") from error
        regular(goal, str(goal))

    def _split(self, path: Path, split: str) -> Split:
        try:
            with zipfile.ZipFile(regular(path, str(path))) as archive:
                images = _array(path, archive, f"{split}_images")
                labels = _array(path, archive, f"{split}_labels")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise damaged(path, error) from error
        side = (self.size, self.size)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[1:3] != side:
            raise damaged(path, f"{split}_images is {images.dtype} {images.shape}")
        pixels, scale = stored_images(f"{path}: {split}_images", images)
        if CLASSES[self.name] is None:
            return Split(pixels, None, scale)
        if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
            raise damaged(path, f"{split}_labels is {labels.dtype} {labels.shape}")
        return Split(pixels, torch.from_numpy(labels.reshape(-1).astype(np.int64)), scale)


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    """The array `name` of an archive, after a check of the size that its header claims."""
    info = archive.getinfo(f"{name}.npy")
    refuse_more_than_memory(info.file_size, f"{path}: {name}")
    with archive.open(info) as member:
        read_header(member, info)
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)
