"""`dataset.scale`: statistics of the training data, and every split scaled by them and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parts import composed

from vae_run.config.check import check
from vae_run.data.datasets.arrays import Arrays
from vae_run.data.datasets.torch_dataset import TorchDataset
from vae_run.data.datasets.windows import Windows
from vae_run.data.scaled_splits import restated
from vae_run.data.scaling import Scaling, statistics
from vae_run.data.splits import Splits
from vae_run.data.user_input import read_input
from vae_run.errors import ConfigError, DataError
from vae_run.runs.identity import identity
from vae_run.training.data_support import load_splits

RANDOM = np.random.default_rng(0)
CURVES = (RANDOM.normal(size=(40, 3, 8)) * [[50], [0.01], [0]] + [[1e4], [-3], [7]]).astype("f4")
"""Two channels of very different units, and one that is always 7."""
ROWS = (RANDOM.normal(size=(40, 3)) * [1e6, 1, 1e-6]).astype("f4")


def windows(folder: Path, train: Any = CURVES, **keys: Any) -> Splits:
    np.savez(folder / "windows.npz", train=train)
    return Windows(path=str(folder / "windows.npz"), **keys).load()


def arrays(folder: Path, train: Any, **keys: Any) -> Splits:
    np.savez(folder / "arrays.npz", train=train)
    return Arrays(path=str(folder / "arrays.npz"), **keys).load()


def places(splits: Splits, name: str) -> np.ndarray:
    return getattr(splits, name).index.numpy()


def test_standard_is_by_the_training_windows_of_each_channel(tmp_path: Path) -> None:
    splits = windows(tmp_path, scale="standard")
    train = CURVES[places(splits, "train")].astype(float)
    mean, std = train.mean((0, 2)), train.std((0, 2))
    std[2] = 1  # a channel of one value
    assert splits.scaling.shift == pytest.approx(mean, rel=1e-12)
    assert splits.scaling.scale == pytest.approx(std, rel=1e-9)
    assert splits.scaling.extent == (CURVES[places(splits, "train")].min(), train.max())
    for name in ("train", "val", "test"):
        expected = (CURVES[places(splits, name)] - mean[:, None]) / std[:, None]
        assert getattr(splits, name).images.dtype == torch.float32
        assert getattr(splits, name).images.numpy() == pytest.approx(expected, abs=1e-5)
    notes = " ".join(splits.notes)
    assert "dataset.scale=standard: by the training windows" in notes
    assert "one value in all training data, and are not scaled: 2." in notes


def test_unit_maps_the_training_range_and_keeps_what_lies_outside(tmp_path: Path) -> None:
    rows = ROWS.copy()
    given = arrays(tmp_path, rows)
    rows[given.test.index[0]] = [9e9, 0, 0]
    splits = arrays(tmp_path, rows, scale="unit")
    train = rows[places(splits, "train")].astype(float)
    assert splits.train.images.min(0).values.tolist() == [0, 0, 0]
    assert splits.train.images.max(0).values.tolist() == [1, 1, 1]
    low, high = train.min(0), train.max(0)
    for name in ("val", "test"):
        expected = (rows[places(splits, name)] - low) / (high - low)
        assert getattr(splits, name).images.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert splits.test.images[0, 0] > 1000, "it is kept"
    assert "of the values of val and test lie outside, and are kept" in " ".join(splits.notes)


def test_values_come_back_in_their_own_units(tmp_path: Path) -> None:
    for kind in ("unit", "standard"):
        splits = windows(tmp_path, scale=kind)
        scaling = Scaling.of_state(splits.scaling.state())
        assert scaling == splits.scaling, "a checkpoint keeps it"
        raw = scaling.raw(splits.test.images)
        expected = CURVES[places(splits, "test")]
        spread = np.array(scaling.scale)[:, None]
        assert np.abs(raw.numpy() - expected).max(0) / spread == pytest.approx(0, abs=1e-6)
        assert torch.equal(scaling.scaled(raw), splits.test.images)


def test_none_changes_nothing(tmp_path: Path) -> None:
    plain = arrays(tmp_path, ROWS)
    assert plain.scaling is None
    assert np.array_equal(plain.train.images.numpy(), ROWS[places(plain, "train")])
    words = ("dataset=windows", "dataset.path=windows.npz", "likelihood=gaussian")
    config = composed(*words)
    lacking = {**config, "dataset": {k: v for k, v in config["dataset"].items() if k != "scale"}}
    assert identity(config) == identity(lacking), "ledgers from before the key know their jobs"
    assert identity(composed(*words, "dataset.scale=unit")) != identity(config)


def test_statistics_do_not_depend_on_pieces_and_leave_nan_out() -> None:
    x = torch.from_numpy(CURVES.copy())
    x[0, 0, 0] = torch.nan
    whole, parts = statistics(lambda: [x]), statistics(lambda: x.split(7))
    for name in ("low", "high", "mean", "std"):
        assert getattr(whole, name) == pytest.approx(getattr(parts, name), rel=1e-12)
    assert whole.mean[0] == pytest.approx(np.nanmean(x[:, 0].double().numpy()), rel=1e-12)
    assert whole.constant.tolist() == [False, False, True]
    large = torch.full((9, 2), 0.1, dtype=torch.double) + torch.tensor([0.0, 1e6])
    assert statistics(lambda: [large]).constant.tolist() == [True, True], "rounding is no spread"


def test_images_of_bytes_are_scaled_from_0_to_1(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 200, (30, 6, 6, 3), dtype=np.uint8)
    splits = arrays(tmp_path, grey, scale="standard")
    train = grey[places(splits, "train")] / 255
    assert splits.scaling.shift == pytest.approx(train.mean((0, 1, 2)), rel=1e-6)
    assert splits.scaling.scale == pytest.approx(train.std((0, 1, 2)), rel=1e-6)
    assert splits.levels is None
    pixels = grey[places(splits, "test")].transpose(0, 3, 1, 2) / 255
    assert splits.scaling.drawn(splits.test.images).numpy() == pytest.approx(pixels, abs=1e-6)


@pytest.mark.parametrize(("low", "high", "black"), [(0, 1, 0), (-1, 1, -1), (0, 255, 0)])
def test_pictures_have_their_own_colours_whatever_the_range(
    low: float, high: float, black: float, tmp_path: Path
) -> None:
    grey = np.random.default_rng(1).uniform(0.1, 0.9, (30, 3, 6, 6))
    grey[:, 1] /= 2  # a scale of each channel's own would make this one brighter
    splits = arrays(tmp_path, (low + grey * (high - low)).astype("f4"), scale="unit")
    assert splits.scaling.black_and_white == (black, high)
    shown = splits.scaling.drawn(splits.test.images[:, None])  # with any axes before
    assert shown[:, 0].numpy() == pytest.approx(grey[places(splits, "test")], abs=1e-5)


def test_a_torch_dataset_is_scaled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.vectors", lambda: ROWS, raising=False)
    splits = TorchDataset(factory="os.vectors", scale="standard").load()
    assert splits.train.images.mean(0).numpy() == pytest.approx([0, 0, 0], abs=1e-6)
    assert splits.train.images.std(0, unbiased=False).numpy() == pytest.approx([1, 1, 1])


TIMES = 1.7e9 + 60 * RANDOM.normal(size=(300, 2))
"""Seconds since 1970, in minutes around one time; neighbouring numbers of float32 are 128 apart."""


@pytest.mark.parametrize("kind", ["arrays", "windows", "torch"])
def test_float64_is_scaled_before_it_is_rounded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "torch":
        monkeypatch.setattr("os.vectors", lambda: torch.from_numpy(TIMES), raising=False)
        splits = TorchDataset(factory="os.vectors", scale="standard").load()
    else:
        read = arrays if kind == "arrays" else windows
        splits = read(tmp_path, TIMES, scale="standard")
    train = TIMES[places(splits, "train")]
    axes = (0, 1) if kind == "windows" else 0
    expected = (TIMES[places(splits, "test")] - train.mean(axes)) / train.std(axes)
    found = splits.test.images
    assert found.dtype == torch.float32
    assert found.numpy().reshape(-1, 2) == pytest.approx(expected, abs=1e-6)
    assert len(np.unique(splits.train.images.numpy())) > 400
    assert Scaling.of_state(splits.scaling.state()) == splits.scaling
    assert splits.scaling.exact, "which tells tasks to read files in float64"
    np.save(tmp_path / "own.npy", TIMES[places(splits, "test")])
    words = (str(tmp_path / "own.npy"), Windows(path="nowhere.npz"), splits.event_shape)
    own = read_input(*words, exact=True).split(0, len(found))
    assert torch.equal(splits.scaling.scaled(own.images), found)


@pytest.mark.parametrize("scale", ["none", "unit", "standard"])
def test_float64_of_ordinary_values_has_the_results_of_float32(scale: Any, tmp_path: Path) -> None:
    rows = RANDOM.normal(size=(90, 4)) * [1, 1e3, 1e-6, 5] + [0, 1e6, 0, -20]
    rows[:, 3] = 1.7e9 + 1 / 3  # the same everywhere
    pictures = RANDOM.random((30, 5, 6, 4))
    pictures[..., 3] = pictures[..., 3] > 0.5  # transparency
    for values in (rows, RANDOM.normal(size=(30, 3, 8)) + 2000, pictures):
        for more in ({}, {"split_by": "name"}):
            double = arrays(tmp_path, values, scale=scale, **more)
            single = arrays(tmp_path, values.astype("f4"), scale=scale, **more)
            assert double.fingerprint() == single.fingerprint()
            assert (double.scaling, double.notes) == (single.scaling, single.notes)
            assert np.array_equal(places(double, "val"), places(single, "val"))
    np.savez(tmp_path / "mixed.npz", train=rows, test=rows[:9].astype("f4"))
    mixed = Arrays(path=str(tmp_path / "mixed.npz"), scale=scale, val_size=0).load()
    assert torch.equal(mixed.test.images, mixed.train.images[:9])
    rows[3, 0] = 1e39
    with pytest.raises(DataError, match="1 values that are NaN or infinite in float32"):
        arrays(tmp_path, rows, scale=scale)


def test_other_data_are_put_on_the_scale_of_a_run(tmp_path: Path) -> None:
    run = windows(tmp_path, scale="standard")
    other = CURVES * np.float32(3)
    for kind in ("none", "unit", "standard"):
        given = restated(windows(tmp_path, other, scale=kind), None, run.scaling)
        assert given.scaling == run.scaling
        expected = run.scaling.scaled(torch.from_numpy(other[places(given, "test")]))
        assert given.test.images.numpy() == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-4)
    assert restated(run, None, run.scaling) is run, "a run's own data keep their bits"
    plain = windows(tmp_path)
    assert restated(plain, None, None) is plain
    with pytest.raises(
        DataError, match=r"dataset.scale=standard: the run was trained on values as"
    ):
        restated(run, None, None)


def test_what_makes_no_sense_is_refused_before_data_are_read(tmp_path: Path) -> None:
    words = ("dataset=arrays", "dataset.path=no_such_file.npz")
    for more, said in (
        (("dataset.scale=standard",), r"standard: likelihood BernoulliLikelihood.*scale=unit"),
        (("dataset.scale=unit", "likelihood=categorical"), "unit: likelihood .* grey levels"),
        (("dataset.scale=unit", "dataset.binarize=static"), "unit: binary pixels have no scale"),
        (("dataset.scale=both", "likelihood=gaussian"), r"dataset\.scale"),
    ):
        with pytest.raises(ConfigError, match=said):
            check(composed(*words, *more))
    assert check(composed(*words, "dataset.scale=unit"))
    with pytest.raises(DataError, match=r"scale=unit: binary pixels"):
        arrays(tmp_path, np.ones((30, 2), "f4"), scale="unit", binarize="static")


def test_a_likelihood_of_pixels_is_told_of_the_key_or_of_another_likelihood(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[arrays(tmp_path, rows).test.index[0]] = 9e9
    np.savez(tmp_path / "arrays.npz", train=rows)
    words = ("dataset=arrays", f"dataset.path={tmp_path / 'arrays.npz'}")
    with pytest.raises(DataError, match=r"models pixels.*Set dataset\.scale=unit, or use"):
        load_splits(check(composed(*words)))
    with pytest.raises(DataError, match=r"only training data are sure to lie there"):
        load_splits(check(composed(*words, "dataset.scale=unit")))
