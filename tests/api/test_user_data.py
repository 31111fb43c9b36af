"""Every kind of data in memory becomes the splits that its files would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from vae_run.api.user_data import given_data
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.image_folder import ImageFolder
from vae_run.data.datasets.table import Table
from vae_run.data.given import giving
from vae_run.data.splits import Splits
from vae_run.errors import DataError

READERS: dict[str, Callable[..., Any]] = {
    "arrays": Arrays,
    "image_folder": ImageFolder,
    "table": Table,
}


def loaded(
    images: Any, labels: Any = None, *, val: Any = None, test: Any = None, **more: Any
) -> Splits:
    conditions = more.pop("conditions", None)
    found = given_data(images, labels, val=val, test=test, conditions=conditions)
    keys = {k.partition(".")[2]: v for k, v in found.keys.items() if k.startswith("dataset.")}
    with giving(found.data):
        splits: Splits = READERS[found.keys["dataset"]](**{**keys, **more}).load(
            list(conditions or ())
        )
    return splits


def test_arrays_tensors_and_lists_are_the_same_data(images: Any) -> None:
    numbers = list(np.arange(60) % 3)
    whole = loaded(images, numbers)
    assert whole.event_shape == (1, 4, 5)
    assert (len(whole.train), len(whole.val), len(whole.test)) == (43, 5, 12)
    same = [
        (torch.from_numpy(images), torch.tensor(numbers)),
        (list(images), tuple(numbers)),
        ([torch.from_numpy(one) for one in images], np.array(numbers)),
        (images[..., None], numbers),
        (TensorDataset(torch.from_numpy(images), torch.tensor(numbers)), None),
        ({"train": (images, numbers)}, None),
        ((images, numbers), None),
    ]
    for values, labels in same:
        assert loaded(values, labels).fingerprint() == whole.fingerprint()


def test_floats_and_truth_values_keep_their_range(images: Any) -> None:
    floats = loaded(images / 255)
    assert (floats.levels, floats.train.scale) == (None, 1.0)
    assert loaded(images > 100).levels == 2
    assert any("dataset.scale=unit" in note for note in loaded(images.astype(float)).notes)


def test_val_and_test_have_labels_of_their_own(images: Any, labels: Any) -> None:
    splits = loaded(images, labels, val=(images[:7], labels[:7]), test=(images[:9], labels[:9]))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (60, 7, 9)
    assert splits.class_names == ("ant", "bee", "cat")
    assert splits.test.labels is not None
    assert splits.test.labels.tolist() == [0, 1, 2] * 3


def test_conditions_are_arrays_beside_the_images(images: Any) -> None:
    splits = loaded(images, conditions={"age": np.linspace(0, 1, 60)})
    assert splits.conditions is not None
    assert splits.train.conditions is not None
    assert splits.train.conditions.shape == (43, 1)


class Named(Dataset[tuple[Image.Image, int]]):
    """A map-style dataset as torchvision's, with the names of its classes."""

    classes = ("cat", "dog")

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[place]), place % 2


def test_a_torch_dataset_names_its_classes(images: Any) -> None:
    splits = loaded(Named(images))
    assert splits.class_names == ("cat", "dog")
    assert splits.train.labels is not None
    assert splits.levels == 256


def test_pil_images_keep_their_size_and_files_have_that_of_the_key(
    images: Any, labels: Any
) -> None:
    pictures = [Image.fromarray(one) for one in images]
    splits = loaded(pictures, labels)
    assert splits.event_shape == (1, 4, 5)
    assert splits.fingerprint() == loaded(images, labels).fingerprint()
    assert loaded([one.convert("RGBA") for one in pictures]).event_shape == (3, 4, 5)
    files = [Path(f"{place}.png") for place in range(60)]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    read = loaded([str(file) for file in files], labels, image_size=[4, 5], channels=1)
    assert read.fingerprint() == splits.fingerprint()
    assert read.train.names is not None
    assert set(read.train.names) < {str(file) for file in files}
    assert loaded(files).event_shape == (3, 64, 64)


@pytest.mark.scale
def test_a_hugging_face_dataset_has_images_labels_and_names(images: Any) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [Image.fromarray(one) for one in images], "label": [n % 2 for n in range(60)]}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    own = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    splits = loaded(own)
    assert splits.class_names == ("cat", "dog")
    assert splits.fingerprint() == loaded(images, np.arange(60) % 2).fingerprint()
    both = datasets.DatasetDict({"train": own, "test": own.select(range(8))})
    assert (len(loaded(both).test), len(loaded(both).train)) == (8, 54)


def test_data_frames_are_tables() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {
            "age": np.linspace(20, 60, 50),
            "sex": ["f", "m"] * 25,
            "kind": ["a", "b", "c", "d", "e"] * 10,
        }
    )
    frame.to_csv("rows.csv", index=False)
    of_file = Table(path="rows.csv", label="kind").load()
    for splits in (
        loaded(frame, "kind"),
        loaded(frame.drop(columns="kind"), frame["kind"]),
        loaded(frame.set_index(frame.index + 7), "kind"),
    ):
        assert splits.columns == of_file.columns == ("age", "sex=f", "sex=m")
        assert splits.class_names == ("a", "b", "c", "d", "e")
        assert splits.fingerprint() == of_file.fingerprint()
    found = given_data(frame, "kind", val=None, test=None)
    assert found.keys["likelihood"] == "mixed"
    frame.loc[3, "age"] = None
    with pytest.raises(DataError, match=r"images.*row 3"):
        loaded(frame, "kind")


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [
        (7, None, "images: found int; expected an array or tensor"),
        ("photos", None, "images: found 'photos'; expected an array"),
        ([], None, r"images: found \[\]"),
        (np.zeros((5, 3), np.int64), None, "images is int64; expected uint8, bool, or floats"),
        (np.full((5, 3), np.nan), None, "images has 15 values that are NaN or infinite"),
        (np.zeros(5, np.uint8), None, r"images has shape \(5,\)"),
        ([np.zeros((2, 2)), np.zeros((3, 2))], None, "images: holds arrays of different shapes"),
        (np.zeros((5, 3), np.uint8), [0, 1], r"labels is int64 \(2,\); expected whole numbers"),
        (np.zeros((5, 3), np.uint8), [0.5] * 5, "labels is float64"),
        (["no.png"], None, "images: there is no file no.png"),
        (
            {"training": np.zeros((5, 3)), "more": 1},
            None,
            "images: found a mapping of training, more",
        ),
        (
            np.zeros((2, 3), np.uint8),
            None,
            "2 vectors of the argument images for validation and test",
        ),
    ],
)
def test_messages_name_the_argument(values: Any, labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        loaded(values, labels, test_size=2)


def test_val_of_another_kind_is_refused(images: Any) -> None:
    with pytest.raises(DataError, match="val: is read by dataset=image_folder, but images by"):
        loaded(images, val=["a.png"])
    with pytest.raises(DataError, match="the event shape of val"):
        loaded(images, val=images[:, :3])


class Classes(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's `ImageFolder`: labels number the classes that are there."""

    def __init__(self, names: list[str], count: int) -> None:
        self.classes, self.count = names, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 2, 2), place / 100), place % len(self.classes)


def test_classes_are_matched_by_name_where_splits_number_them_differently() -> None:
    train = Classes(["cat", "dog", "eel"], 30)
    splits = loaded(train, test=Classes(["dog", "eel"], 4), val=Classes(["ant", "cat"], 4))
    assert splits.class_names == ("cat", "dog", "eel", "ant")
    assert splits.test.labels is not None
    assert splits.test.labels.tolist() == [1, 2, 1, 2]
    assert splits.val.labels is not None
    assert splits.val.labels.tolist() == [3, 0, 3, 0]
    subset: Any = torch.utils.data.Subset(train, [3, 4])
    part = loaded(train, test=subset)
    assert (part.class_names, part.test.labels.tolist()) == (("cat", "dog", "eel"), [0, 1])  # type: ignore[union-attr]
    for own in (["dog", "dog"], ["dog"]):
        other = Classes(own, 4)
        other.__class__ = Misnumbered if own == ["dog"] else Classes
        with pytest.raises(DataError, match=r"train: \['cat', 'dog', 'eel'\]; test: \['dog'"):
            loaded(train, test=other)
    assert loaded(train, np.arange(30) % 3 + 5).class_names is None


class Misnumbered(Classes):
    """A dataset that has more labels than names."""

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 2, 2), place / 100), place


def test_pictures_have_the_checks_of_labels_that_arrays_have(images: Any, labels: Any) -> None:
    pictures = [Image.fromarray(one) for one in images]
    for held in (pictures, images):
        with pytest.raises(DataError, match="text in one split and numbers in another"):
            loaded(held, labels, test=(held[:6], [0, 1, 2] * 2))


def test_what_is_given_twice_is_refused(images: Any, labels: Any) -> None:
    both = {"train": images, "val": images[:5], "test": None}
    assert len(loaded(both, test=images[:6]).test) == 6
    with pytest.raises(DataError, match="train, val and the arguments give val twice"):
        loaded(both, val=images[:5])
    with pytest.raises(DataError, match="train, valid, val and the arguments give val twice"):
        loaded({"train": images, "valid": images[:5], "val": images[:6]})
    with pytest.raises(DataError, match="labels: are given twice"):
        loaded((images, labels), labels)


def test_tensors_that_numpy_lacks_are_read_or_refused(images: Any) -> None:
    half = (torch.from_numpy(images) / 255).bfloat16()
    assert loaded(half).fingerprint() == loaded(half.float()).fingerprint()
    assert loaded(list(half)).fingerprint() == loaded(half.float()).fingerprint()
    assert loaded(TensorDataset(half)).fingerprint() == loaded(half.float()).fingerprint()
    for odd in (torch.eye(9).to_sparse(), torch.zeros(3, 4, device="meta")):
        with pytest.raises(DataError, match=r"^images is a tensor .*expected a dense tensor"):
            loaded(odd)


def test_masked_entries_are_refused(images: Any, labels: Any) -> None:
    whole, holed = np.ma.masked_array(images), np.ma.masked_greater(images, 250)
    assert loaded(whole).fingerprint() == loaded(images).fingerprint()
    masked = int(holed.mask.sum())
    with pytest.raises(DataError, match=f"^images has {masked} masked entries; fill them"):
        loaded(holed)
    with pytest.raises(DataError, match=r"^images\[\d+\] has \d+ masked entries"):
        loaded(list(holed))
    with pytest.raises(DataError, match=r"^labels has 1 masked entries"):
        loaded(images, np.ma.masked_equal(np.arange(60), 3))
    with pytest.raises(DataError, match=r"'age'.* has 1 masked entries"):
        loaded(images, conditions={"age": np.ma.masked_equal(np.arange(60), 3)})
    with pytest.raises(DataError, match=r"labels\[1\] is nan, while others are texts"):
        loaded(images[:3], ["a", float("nan"), "b"])


def test_an_image_that_cannot_be_read_is_named(images: Any) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save("x.png")
    Path("cut.png").write_bytes(Path("x.png").read_bytes()[:3000])
    pictures = [Image.open(name) for name in ("x.png", "cut.png", "x.png")]
    with pytest.raises(DataError, match=r"cannot read the image images\[1\]: .*replace or remove"):
        loaded(pictures)

    class Lazy(Named):
        def __getitem__(self, place: int) -> tuple[Image.Image, int]:
            return Image.open("cut.png"), 0

    with pytest.raises(DataError, match=r"cannot read the image images\[0\]"):
        loaded(Lazy(images))


def test_every_element_of_a_list_is_checked(images: Any) -> None:
    with pytest.raises(DataError, match=r"images\[1\] is int; expected the path of an image file"):
        loaded(["a.png", 3])
    with pytest.raises(DataError, match=r"val\[1\] is NoneType; expected a PIL image"):
        loaded(images, val=[Image.fromarray(images[0]), None])
    with pytest.raises(DataError, match="images: found None; expected an array"):
        loaded(None)


def test_pictures_of_all_splits_have_one_form(images: Any) -> None:
    grey = [Image.fromarray(one) for one in images]
    colour = [one.convert("RGB") for one in grey]
    assert loaded(grey, test=colour).event_shape == (3, 4, 5)


def test_a_range_that_differs_between_splits_is_told(images: Any) -> None:
    notes = loaded(images / 255, test=images.astype(float)).notes
    assert any(note.startswith("test holds floats in [0, 255], but images in") for note in notes)
    with pytest.raises(DataError, match="data type of test is float32, that of train is uint8"):
        loaded(images, test=images / 255)
    planes = np.repeat(images[:, None], 3, axis=1)
    other = loaded(planes, test=planes.transpose(0, 2, 3, 1)).test
    assert torch.equal(other.images, torch.from_numpy(planes))


def test_the_name_of_a_column_fits_data_with_columns_only(images: Any) -> None:
    for values in (images, [Image.fromarray(one) for one in images], list(images)):
        with pytest.raises(DataError, match="labels: found 'kind', the name of a column, but"):
            loaded(values, "kind")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": np.arange(20.0), "kind": ["a", "b"] * 10})
    other = frame.rename(columns={"kind": "sort"})
    with pytest.raises(DataError, match="test: its labels are the column sort, those of images"):
        loaded(frame, "kind", test=(other, "sort"))
    with pytest.raises(DataError, match="conditions: are given with arrays, but images is read by"):
        loaded(frame, "kind", conditions={"age": np.arange(20.0)})


@pytest.mark.scale
def test_a_named_column_of_a_hugging_face_dataset_has_the_labels(images: Any) -> None:
    datasets = pytest.importorskip("datasets")

    def made(names: list[str], count: int) -> Any:
        rows = {"image": [Image.fromarray(one) for one in images[:count]], "label": [7] * count}
        rows["animal"] = [place % len(names) for place in range(count)]
        kinds = {"image": datasets.Image(), "label": datasets.Value("int64")}
        kinds["animal"] = datasets.ClassLabel(names=names)
        return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))

    own, other = made(["cat", "dog", "eel"], 20), made(["dog", "eel"], 4)
    splits = loaded(own.with_format("torch"), "animal", test=(other, "animal"))
    assert splits.class_names == ("cat", "dog", "eel")
    assert splits.test.labels is not None
    assert splits.test.labels.tolist() == [1, 2, 1, 2]
    with pytest.raises(DataError, match="has no column 'kind' of labels among image, label"):
        loaded(own, "kind")
