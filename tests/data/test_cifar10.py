"""CIFAR-10, from small batches of its format."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from vae_run.data.datasets.cifar10 import CIFAR10
from vae_run.errors import DataError


def write_batches(root: Path) -> np.ndarray:
    """Six batches of 4 images each; returns all images [24, 3, 32, 32]."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for place, name in enumerate(names):
        rows = images[4 * place : 4 * place + 4].reshape(4, -1)
        batch = {"batch_label": name, "labels": [0, 1, 2, place], "data": rows}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return images


def test_batches_are_joined_in_order(tmp_path: Path) -> None:
    images = write_batches(tmp_path)
    splits = CIFAR10(root=str(tmp_path), val_size=0, download=False).load()
    assert np.array_equal(splits.train.images.numpy(), images[:20])
    assert np.array_equal(splits.test.images.numpy(), images[20:])
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels[3::4].tolist() == [0, 1, 2, 3, 4]
    assert splits.test.labels.tolist() == [0, 1, 2, 5]
    assert splits.class_names is not None
    assert splits.class_names[9] == "truck"


def test_python_2_pickles_of_numpy_1_are_read(tmp_path: Path) -> None:
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    raw = path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(raw)
    assert len(CIFAR10(root=str(tmp_path)).load().test) == 4


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("payload-ran",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"data": 1})[:9], "is damaged"),
        (pickle.dumps({"labels": [1]}), "'data'"),
        (pickle.dumps({"data": [1, 2], "labels": [1]}), "is damaged"),
        (
            pickle.dumps({"data": Payload(), "labels": [1]}),
            r"mkdir, which a CIFAR file does not need",
        ),
        (b"", "is damaged"),
        (b"<html>not found</html>", "is damaged"),
        (bytes(range(200, 256)), "is damaged"),
    ],
    ids=["truncated", "no data", "wrong data", "payload", "empty", "html", "bytes"],
)
def test_damaged_batch_is_named_and_runs_nothing(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        CIFAR10(root=str(tmp_path)).load()
    assert "data_batch_3" in str(caught.value)
    assert not Path("payload-ran").exists()


def test_a_truncated_real_pickle_is_damaged(tmp_path: Path) -> None:
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="test_batch is damaged"):
        CIFAR10(root=str(tmp_path)).load()


@pytest.mark.parametrize(
    "batch",
    [
        {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((3, 3072), np.float32), "labels": [1, 2, 3]},
        {"data": np.zeros((0, 3072), np.uint8), "labels": []},
    ],
    ids=["a label is missing", "no bytes", "no images"],
)
def test_a_batch_of_other_contents_is_named(tmp_path: Path, batch: dict[str, object]) -> None:
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match="data_batch_3"):
        CIFAR10(root=str(tmp_path), download=False).load()
