"""The files of TensorBoard's projector: codes, their labels, and thumbnails on one sprite."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo
from torch import Tensor


def write_points(
    run: Path, folder: str, points: Tensor, labels: Sequence[str] | None, images: Tensor | None
) -> EmbeddingInfo:
    """Write `points` [N, D] into `folder`, below `run`; what TensorBoard is told about them.

    Args:
        run: the directory of the event file.
        folder: the path of the files, relative to `run`.
        points: the codes.
        labels: of each point, or None.
        images: square thumbnails [N, 1 or 3, S, S] with values in [0, 1], or None.
    """
    place = run / folder
    place.mkdir(parents=True, exist_ok=True)
    info = EmbeddingInfo(tensor_path=f"{folder}/tensors.tsv")
    if labels is not None:
        (place / "metadata.tsv").write_text("\n".join(labels) + "\n", encoding="utf-8")
        info.metadata_path = f"{folder}/metadata.tsv"
    if images is not None:
        buffer = io.BytesIO()
        Image.fromarray(sprite(images)).save(buffer, format="PNG")
        (place / "sprite.png").write_bytes(buffer.getvalue())
        info.sprite.image_path = f"{folder}/sprite.png"
        info.sprite.single_image_dim.extend([images.shape[3], images.shape[2]])
    rows = ("\t".join(map(str, row)) for row in points.tolist())
    (place / "tensors.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return info


def sprite(images: Tensor) -> NDArray[np.uint8]:
    """Thumbnails [N, 1 or 3, S, S] in rows on a square page, uint8 [side S, side S, 3].

    It is filled one row at a time: torch's own writer computes the whole page in double precision,
    which takes 90 MB for 1,000 images of 28 x 28 pixels.
    """
    count, _, height, width = images.shape
    side = math.ceil(math.sqrt(count))
    page = np.zeros((side, height, side, width, 3), np.uint8)
    for row, few in enumerate(torch.split(images.cpu(), side)):
        pixels = (few.double() * 255).clamp(0, 255).byte().expand(-1, 3, -1, -1)
        page[row, :, : len(few)] = pixels.numpy().transpose(2, 0, 3, 1)
    return page.reshape(side * height, side * width, 3)
