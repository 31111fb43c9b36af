"""The user's own .npz file."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_run.data.array_images import has_channels_last
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
        (GREY.reshape(10, 3, 2, 4), (3, 2, 4), 255.0),
        (GREY.reshape(10, 2, 2, 6), (6, 2, 2), 255.0),  # six bands of square pictures
        (GREY.reshape(10, 6, 2, 2), (6, 2, 2), 255.0),
        (GREY.reshape(10, 4, 3, 2), (2, 4, 3), 255.0),
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
        ({"a": GREY, "b": GREY}, "has no array `train`; it holds a, b"),
        ({"train": GREY, "x_train": GREY}, "`train` and `x_train` could both be `train`;"),
        ({"train": GREY, "train_y": [0] * 10, "y": [0] * 10}, "both be `train_labels`"),
        ({"train": GREY.astype(np.int32)}, "array `train` is int32; expected uint8, bool, or"),
        ({"train": GREY.astype(complex)}, "array `train` is complex128"),
        ({"train": GREY[:0]}, r"array `train` has shape \(0, 4, 6\)"),
        ({"train": GREY, "test": GREY[:0]}, "array `test` has shape"),
        ({"train": GREY[:, 0, 0]}, r"array `train` has shape \(10,\)"),
        ({"train": GREY, "test": GREY[:, :3]}, r"npz\): the event shape of test is \(1, 3, 6\)"),
        ({"train": GREY, "val": GREY / 255}, "data type of val is float32, that of train is uint8"),
        ({"train": GREY, "train_labels": np.arange(9)}, "`train_labels` is int64 .* 10 images"),
        ({"train": GREY, "train_labels": np.ones(10)}, "float64 .* whole numbers or text.*astype"),
        ({"train": GREY, "train_labels": np.eye(10)[:, :4] > 0}, "whole numbers or text.*argmax"),
        (
            {"train": GREY, "train_labels": ["a"] * 10, "test": GREY, "test_labels": range(10)},
            r"text in one split and numbers in another \(`train_labels` <U1, `test_labels` int64",
        ),
        (
            {"train": GREY, "train_labels": ["a"] * 10, "class_names": ["b", "c"]},
            r"`class_names` does not name \['a'\]",
        ),
        (
            {"train": GREY, "train_labels": range(10), "class_names": ["b", "c"]},
            "labels from 0 to 9, but `class_names` names 2 classes",
        ),
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


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X", "targets", "X_testing", "testing-y"),
        ("training", "train_label", "Test", "test_target"),
    ],
)
def test_the_usual_names_of_arrays_are_understood_and_said(names: tuple, tmp_path: Path) -> None:
    arrays = (GREY, np.arange(10), GREY[:3], np.arange(3))
    path = save(tmp_path, **dict(zip(names, arrays, strict=True)), extra=GREY)
    splits = Arrays(path=path, val_size=0).load()
    assert torch.equal(splits.train.images[:, 0], torch.from_numpy(GREY))
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels.tolist() == list(range(10))
    assert splits.test.labels.tolist() == [0, 1, 2]
    assert f"{names[0]} is read as train" in splits.notes[0]
    assert splits.notes[1].endswith("data.npz: not read: extra")


def test_one_set_is_cut(tmp_path: Path) -> None:
    splits = Arrays(path=save(tmp_path, images=GREY, labels=np.arange(10)), test_size=4).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [5, 1, 4]
    assert len(Arrays(path=save(tmp_path, arr_0=GREY), test_size=4).load().test) == 4


def test_labels_that_are_text_are_classes_in_natural_order(tmp_path: Path) -> None:
    kinds = np.array(["c10", "c9", "c9", "good", "c10", "c9", "c9", "c9", "c9", "c9"])
    path = save(tmp_path, train=GREY, train_labels=kinds, test=GREY, test_labels=kinds.astype("S"))
    splits = Arrays(path=path, val_size=0).load()
    assert splits.class_names == ("c9", "c10", "good")
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels.tolist() == [1, 0, 0, 2, 1, 0, 0, 0, 0, 0]
    assert splits.test.labels.tolist() == splits.train.labels.tolist()
    chosen = Arrays(path=path, val_size=0, classes=["good", "c10"]).load()
    assert chosen.train.index is not None
    assert chosen.train.index.tolist() == [0, 3, 4]
    with pytest.raises(DataError, match=r"no class 'c1'; the classes are \['c9', 'c10', 'good'\]"):
        Arrays(path=path, classes=["c1"]).load()
    ordered = save(
        tmp_path, train=GREY, train_labels=kinds, class_names=np.array(["good", "c9", "c10"])
    )
    splits = Arrays(path=ordered, val_size=0, test_size=1).load()
    assert splits.class_names == ("good", "c9", "c10")
    assert splits.notes == ("labels of the classes: 0 good, 1 c9, 2 c10",)
    numbers = Arrays(path=save(tmp_path, train=GREY, y_train=np.arange(1, 11).astype(str)))
    found = torch.cat([s.labels for s in (numbers.load().train, numbers.load().test)])
    assert set(found.tolist()) <= set(range(1, 11)), "text that is a number is that label"


def test_bands_and_layouts(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 256, (10, 5, 6, 7), np.uint8)
    path = save(tmp_path, train=bands, test=bands[:, :, :, :])
    first = Arrays(path=path, val_size=0).load()
    assert first.event_shape == (5, 6, 7)
    assert "5 channels of 6 x 7 pixels; dataset.layout=channels_last" in first.notes[0]
    last = Arrays(path=path, val_size=0, layout="channels_last").load()
    assert np.array_equal(last.test.images.numpy(), bands.transpose(0, 3, 1, 2))
    assert last.notes == ()
    square = Arrays(path=save(tmp_path, train=bands[:, :, :5]), val_size=0).load()
    assert square.event_shape == (7, 5, 5)
    assert "channels last: 7 channels of 5 x 5 pixels" in square.notes[0]


def test_a_known_shape_settles_the_order_of_axes() -> None:
    assert has_channels_last((4, 4, 2), event_shape=(2, 4, 4))
    assert not has_channels_last((4, 4, 2), event_shape=(4, 4, 2))
    assert has_channels_last((3, 8, 1), event_shape=(1, 3, 8))
    assert has_channels_last((8, 8, 4), event_shape=(3, 8, 8)), "with transparency"
    assert not has_channels_last((3, 8, 1), event_shape=(2, 2, 2))


def test_the_fourth_channel_of_pictures_is_transparency(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 4), np.uint8)
    bands = Arrays(path=save(tmp_path, train=pixels), val_size=0).load()
    assert bands.event_shape == (4, 8, 8)
    assert "the fourth channel is kept" in bands.notes[1]
    pixels[..., 3] = 255
    solid = Arrays(path=save(tmp_path, train=pixels, test=pixels), val_size=0).load()
    assert np.array_equal(solid.train.images.numpy(), pixels[..., :3].transpose(0, 3, 1, 2))
    assert "opaque everywhere" in solid.notes[1]
    pixels[:, 0, :, 3] = 0
    for array, top in ((pixels, 255), (pixels.astype(np.float32) / 255, 1)):
        for background, level in (("white", top), ("black", 0)):
            path = save(tmp_path, train=array, test=array)
            seen = Arrays(path=path, val_size=0, background=background).load().test.images
            assert seen.shape[1:] == (3, 8, 8)
            assert (seen[:, :, 0] == level).all()
            assert np.array_equal(seen[:, :, 1:].numpy(), array[:, 1:, :, :3].transpose(0, 3, 1, 2))
    path = save(tmp_path, train=pixels)
    assert Arrays(path=path, background="none").load().event_shape == (4, 8, 8)
    first = save(tmp_path, train=pixels.transpose(0, 3, 1, 2))
    assert Arrays(path=first).load().event_shape == (4, 8, 8), "as torch stores four channels"


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            GREY.astype(np.float32),
            r"floats in \[0, 239\].*set dataset.scale=unit, or store them as uint8",
        ),
        (GREY / 119.5 - 1, r"floats in \[-1, 1\].*set dataset.scale=unit"),
        ((GREY > 99).astype(np.uint8), "no pixel is above 1.*dataset.white=auto takes such"),
        (GREY / 255, None),
        (GREY > 99, None),
        (GREY.reshape(10, 24).astype(float), None),  # a vector may have any unit
    ],
)
def test_values_that_mean_something_else_are_told(
    array: np.ndarray, said: str | None, tmp_path: Path
) -> None:
    notes = " ".join(Arrays(path=save(tmp_path, train=array)).load().notes)
    assert (said is None) == (notes == "")
    assert said is None or re.search(said, notes)
