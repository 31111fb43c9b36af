"""CelebA, from a small folder of its layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vae_run.data.datasets.celeba import CelebA
from vae_run.errors import DataError


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Nine pictures of 178x218 whose central 148x148 is green and whose frame is red."""
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[35:183, 15:163] = (0, 255, 0)
    partition, marks = "", "9\nBald Smiling \n"
    for number in range(9):
        name = f"{number:06d}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=100, subsampling=0)
        partition += f"{name} {min(number // 5 + number // 7, 2)}\n"
        marks += f"{name} -1 {1 if number % 2 else -1:2d}\n"
    (folder.parent / "list_eval_partition.txt").write_text(partition)
    (folder.parent / "list_attr_celeba.txt").write_text(marks)
    return tmp_path


def test_own_partition_and_centre_crop(faces: Path) -> None:
    splits = CelebA(root=str(faces), image_size=16, download=False).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [5, 2, 2]
    assert splits.event_shape == (3, 16, 16)
    assert splits.train.labels is None
    mean = splits.train.pixels(slice(None)).mean(dim=(0, 2, 3))
    assert torch.allclose(mean, torch.tensor([0.0, 1.0, 0.0]), atol=0.03)
    assert CelebA(root=str(faces)).load().event_shape == (3, 64, 64)


def test_an_attribute_labels_the_images(faces: Path) -> None:
    splits = CelebA(root=str(faces), image_size=8, attribute="Smiling").load()
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert splits.test.labels.tolist() == [1, 0]
    assert splits.class_names == ("not Smiling", "Smiling")
    with pytest.raises(DataError, match=r"dataset.attribute=Smirking: .* Bald, Smiling"):
        CelebA(root=str(faces), attribute="Smirking").load()


def test_bad_files_are_named(faces: Path) -> None:
    image = faces / "celeba" / "img_align_celeba" / "000006.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot read the image .*000006\.jpg"):
        CelebA(root=str(faces)).load()
    image.unlink()
    with pytest.raises(DataError, match=r"000006\.jpg"):
        CelebA(root=str(faces)).load()
    image.write_bytes(whole)
    marks = faces / "celeba" / "list_attr_celeba.txt"
    marks.write_text("\n".join(marks.read_text().splitlines()[:5]))
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt is damaged: it lacks"):
        CelebA(root=str(faces), attribute="Bald").load()
    partition = faces / "celeba" / "list_eval_partition.txt"
    partition.write_text("000000.jpg 0\n../../secret.jpg 1\n")
    with pytest.raises(DataError, match=r"list_eval_partition.txt is damaged: line 2"):
        CelebA(root=str(faces)).load()
