"""Cutting, choosing classes and binarizing, on data whose answer is known."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from vae_run.data.dataset import Dataset, Parts, binarized
from vae_run.data.datasets.digits import Digits
from vae_run.data.splits import Split
from vae_run.errors import DataError


def numbered(count: int, start: int = 0, labels: bool = True) -> Split:
    """Images [N, 1, 1, 2] whose pixels are their own number, labelled number % 5."""
    number = torch.arange(start, start + count)
    images = number.to(torch.float32)[:, None, None, None].expand(-1, 1, 1, 2).contiguous()
    return Split(images, number % 5 if labels else None)


@dataclass(frozen=True, kw_only=True)
class Known(Dataset):
    """Exactly the parts it is given."""

    parts: Parts

    def read(self) -> Parts:
        return self.parts


def names(split: Split) -> set[int]:
    return {int(pixel) for pixel in split.images[:, 0, 0, 0]}


def test_cut_sizes_are_disjoint_and_whole() -> None:
    splits = Known(parts=Parts(numbered(1000)), val_size=0.1).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [720, 80, 200]
    train, val, test = names(splits.train), names(splits.val), names(splits.test)
    assert train | val | test == set(range(1000))
    assert not (train & val)
    assert not (train & test)
    assert not (val & test)
    for split in (splits.train, splits.val, splits.test):
        assert split.labels is not None
        assert torch.equal(split.images[:, 0, 0, 0].long() % 5, split.labels)


def test_cut_ignores_the_global_seed_and_follows_split_seed() -> None:
    prints = []
    for seed, split_seed in ((0, 0), (1, 0), (1, 1)):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        prints.append(Known(parts=Parts(numbered(50)), split_seed=split_seed).load().fingerprint())
        assert torch.equal(torch.get_rng_state(), before)
    assert prints[0] == prints[1] != prints[2]


def test_test_set_does_not_depend_on_val_size() -> None:
    loaded = [Known(parts=Parts(numbered(100)), val_size=size).load() for size in (0, 5, 0.5)]
    assert [len(splits.val) for splits in loaded] == [0, 5, 40]
    assert names(loaded[0].test) == names(loaded[1].test) == names(loaded[2].test)


def test_zero_val_size_trains_on_everything() -> None:
    parts = Parts(numbered(7), test=numbered(3, start=7))
    splits = Known(parts=parts, val_size=0).load()
    assert names(splits.train) == set(range(7))
    assert names(splits.test) == {7, 8, 9}
    assert tuple(splits.val.images.shape) == (0, 1, 1, 2)
    assert splits.val.event_shape == (1, 1, 2)
    assert splits.val.labels is not None
    assert len(splits.val.labels) == 0
    assert len(splits.fingerprint()) == 64


def test_own_splits_are_kept() -> None:
    parts = Parts(numbered(1), numbered(1, start=1), numbered(1, start=2))
    splits = Known(parts=parts).load()
    assert (names(splits.train), names(splits.val), names(splits.test)) == ({0}, {1}, {2})


def test_a_small_share_still_cuts_one_image() -> None:
    splits = Known(parts=Parts(numbered(3)), val_size=0.01).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [1, 1, 1]


def test_classes_keep_their_numbers_in_every_split() -> None:
    splits = Known(parts=Parts(numbered(100), test=numbered(20)), classes=[3, 1, 3]).load()
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [36, 4, 8]
    for split in (splits.train, splits.val, splits.test):
        assert split.labels is not None
        assert set(split.labels.tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        (Parts(numbered(9)), {"classes": [1, 7]}, r"=\[1, 7\].*\[7\].*\[0, 1, 2, 3, 4\]"),
        (Parts(numbered(9), test=numbered(2)), {"classes": [4]}, r"test has no .* \[4\]"),
        (Parts(numbered(9, labels=False)), {"classes": [1]}, "train has no labels.*classes=null"),
        (Parts(numbered(9)), {"val_size": 8}, "val_size=8 and .*size=0.2 cut 10 of the 9"),
        (Parts(numbered(1), test=numbered(1)), {}, "val_size=0.1 cut 1 of the 1 images of Known"),
        (Parts(numbered(9)), {"val_size": 1.5}, r"val_size=1.5: expected a share"),
        (Parts(numbered(9)), {"val_size": -1}, "dataset.val_size=-1: expected"),
        (Parts(numbered(9), test_size=0), {}, "dataset.test_size=0: .* at least one"),
        (Parts(numbered(9), test=numbered(0)), {}, "Known: test is empty"),
        (Parts(replace(numbered(9), labels=torch.zeros(8))), {}, "train has 9 images but 8 labels"),
        (Parts(numbered(9), test=Split(torch.zeros(2, 3))), {}, r"event shape of test is \(3,\)"),
        (
            Parts(numbered(9), test=Split(torch.zeros(2, 1, 1, 2, dtype=torch.uint8), scale=255.0)),
            {},
            "data type of test is uint8, that of train is float32",
        ),
        (Parts(numbered(9)), {"binarize": "static"}, "binarize=static: train has values from"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_refused_by_key(parts: Parts, options: dict, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        Known(parts=parts, **options).load()
    assert caught.value.exit_code == 3


def test_float_pixels_are_never_scaled_in_place() -> None:
    split = Split(torch.full((3, 2), 255.0), scale=255.0)
    assert split.pixels(slice(0, 2)).max() == 1.0
    assert split.images.max() == 255.0


def test_static_sample_has_the_grey_mean_and_is_stored_binary() -> None:
    grey = Digits().load()
    static = Digits(binarize="static").load()
    for name in ("train", "val", "test"):
        before, after = getattr(grey, name), getattr(static, name)
        assert after.images.dtype == torch.uint8
        assert after.scale == 1.0
        assert not after.resample
        assert set(after.images.unique().tolist()) == {0, 1}
        chance = before.pixels(slice(None))
        error = (chance * (1 - chance)).sum().sqrt() / chance.numel()
        assert abs(after.pixels(slice(None)).mean() - chance.mean()) < 4 * error
        certain = (chance == 0) | (chance == 1)
        assert torch.equal(after.images[certain].float(), chance[certain])


def test_dynamic_keeps_grey_training_data_and_the_static_val_and_test() -> None:
    grey, static, dynamic = (Digits(binarize=b).load() for b in ("none", "static", "dynamic"))
    assert torch.equal(dynamic.train.images, grey.train.images)
    assert dynamic.train.resample
    assert dynamic.train.scale == 16.0
    for name in ("val", "test"):
        one, other = getattr(static, name), getattr(dynamic, name)
        assert torch.equal(one.images, other.images)
        assert not other.resample


def test_binary_samples_differ_between_splits_and_repeat() -> None:
    half = Split(torch.full((3000, 5), 0.5))
    samples: list[Tensor] = [binarized(half, name).images for name in ("train", "val", "test")]
    assert torch.equal(samples[0], binarized(half, "train").images)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        agreement = (samples[i] == samples[j]).double().mean().item()
        assert abs(agreement - 0.5) < 4 * 0.5 / 15000**0.5
    chunks = samples[0].reshape(-1)
    assert abs((chunks[:5120] == chunks[5120:10240]).double().mean().item() - 0.5) < 0.03


def test_binarize_allows_an_empty_val() -> None:
    splits = Digits(binarize="static", val_size=0).load()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (1438, 0, 359)


def test_constructing_reads_nothing() -> None:
    class Unreadable(Dataset):
        def read(self) -> Parts:
            raise AssertionError("read")

    dataset = Unreadable(val_size=0.2)
    with pytest.raises(AssertionError, match="read"):
        dataset.load()
