"""The user's own .npz file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vae_run.data.datasets.arrays import Arrays
from vae_run.errors import DataError

GREY = np.arange(10 * 4 * 6, dtype=np.uint8).reshape(10, 4, 6)


def save(folder: Path, **arrays: np.ndarray) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("array", "event", "scale"),
    [
        (GREY, (1, 4, 6), 255.0),
        (GREY.reshape(10, 24), (24,), 255.0),
        (GREY[:, None], (1, 4, 6), 255.0),
        (GREY[..., None], (1, 4, 6), 255.0),
        (GREY.reshape(10, 4, 2, 3), (3, 4, 2), 255.0),
        (GREY.reshape(10, 3, 4, 2), (3, 4, 2), 255.0),
        (GREY.reshape(10, 3, 8, 1), (3, 8, 1), 255.0),  # channels first where either would do
        (GREY.reshape(10, 2, 3, 4), (2, 3, 4), 255.0),
        (GREY > 99, (1, 4, 6), 1.0),
        (GREY.astype(np.float64), (1, 4, 6), 1.0),
        (GREY.astype(">f4"), (1, 4, 6), 1.0),
        (np.asfortranarray(GREY.astype(np.float16)), (1, 4, 6), 1.0),
    ],
)
def test_shapes_and_types(array: np.ndarray, event: tuple, scale: float, tmp_path: Path) -> None:
    splits = Arrays(path=save(tmp_path, train=array), val_size=0, test_size=1).load()
    assert splits.event_shape == event
    assert len(splits.train) == 9
    assert len(splits.test) == 1
    assert splits.train.scale == scale
    both = torch.cat([splits.train.images, splits.test.images]).double()
    assert both.sum() == array.astype(np.float64).sum()
    expected = torch.float32 if array.dtype.kind == "f" else torch.uint8
    assert splits.train.images.dtype == expected


def test_channels_last_pixels_land_in_their_channel(tmp_path: Path) -> None:
    array = GREY.reshape(10, 4, 2, 3)
    train = Arrays(path=save(tmp_path, train=array, test=array), val_size=0).load().train
    assert np.array_equal(train.images[:, 2].numpy(), array[..., 2])


def test_own_splits_and_labels(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        train=GREY, train_labels=np.arange(10, dtype=np.uint16)[:, None],
        val=GREY[:2], val_labels=np.array([1, 2]),
        test=GREY[:1], test_labels=np.array([True]),
    )  # fmt: skip
    splits = Arrays(path=path).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [10, 2, 1]
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels.tolist() == list(range(10))
    assert splits.test.labels.tolist() == [1]
    assert splits.test.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": GREY, "y": GREY}, "has no array `train`; it holds images, y"),
        ({"train": GREY.astype(np.int32)}, "array `train` is int32; expected uint8, bool, or"),
        ({"train": GREY.astype(complex)}, "array `train` is complex128"),
        ({"train": GREY[:0]}, r"array `train` has shape \(0, 4, 6\)"),
        ({"train": GREY, "test": GREY[:0]}, "array `test` has shape"),
        ({"train": GREY[:, 0, 0]}, r"array `train` has shape \(10,\)"),
        ({"train": GREY, "test": GREY[:, :3]}, r"npz\): the event shape of test is \(1, 3, 6\)"),
        ({"train": GREY, "val": GREY / 255}, "data type of val is float32, that of train is uint8"),
        ({"train": GREY, "train_labels": np.arange(9)}, "`train_labels` is int64 .* 10 images"),
        ({"train": GREY, "train_labels": np.ones(10)}, "`train_labels` is float64"),
        (
            {"train": GREY, "val_labels": np.arange(3)},
            "`val` is missing, but there is `val_labels`",
        ),
        ({"train": np.array([[1.0, np.nan], [np.inf, 0]])}, "`train` has 2 values that are NaN"),
        ({"train": GREY / 9, "test": np.full((2, 4, 6), 1e300)}, "`test` has 48 values that are"),
        ({"train": np.array([[None, 1]])}, "cannot be read as .npz: Object arrays"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arrays: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        Arrays(path=save(tmp_path, **arrays)).load()


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = Path(save(tmp_path, train=np.random.default_rng(0).random((50, 20))))
    whole = path.read_bytes()
    for content in (whole[:1000], b"", b"text", whole[:500] + b"\1" * 90 + whole[590:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"dataset.path={path} cannot be read as .npz"):
            Arrays(path=str(path)).load()
    with pytest.raises(DataError, match=r"none\.npz does not exist; name the file"):
        Arrays(path=str(tmp_path / "none.npz")).load()
    np.save(tmp_path / "one.npy", GREY)
    with pytest.raises(DataError, match=r"one\.npy is a single array"):
        Arrays(path=str(tmp_path / "one.npy")).load()


def test_binarize_needs_data_between_0_and_1(tmp_path: Path) -> None:
    path = save(tmp_path, train=GREY / 100)
    with pytest.raises(DataError, match=r"dataset.binarize=dynamic: .* to 2.39"):
        Arrays(path=path, binarize="dynamic").load()
    path = save(tmp_path, train=GREY / 255)
    assert set(Arrays(path=path, binarize="static").load().train.images.unique().tolist()) == {0, 1}
