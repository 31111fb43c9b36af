"""Means and spreads of training data, and what is said of columns that need scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopping import SMALL_RUN

from vae_run.data.splits import Split
from vae_run.errors import DivergedError
from vae_run.training.moments import MOST, advice_on_scales, moments
from vae_run.training.nonfinite import DivergenceCheck


def test_the_moments_are_those_of_the_pixels() -> None:
    x = torch.rand(50, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    found = moments(Split(x))
    torch.testing.assert_close(found.mean, x.double().mean(0))
    torch.testing.assert_close(found.spread, x.double().std(0, correction=0))
    differences = x.double() - x.double().mean(0)
    assert found.deviation == pytest.approx(float(differences.square().mean().sqrt()))
    assert found.largest == float(x.max())


def test_bytes_count_as_pixels_and_large_numbers_lose_nothing() -> None:
    bytes_ = moments(Split(torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8), scale=255.0))
    assert (bytes_.mean.item(), bytes_.deviation) == (pytest.approx(0.5), pytest.approx(0.5))
    far = moments(Split(torch.tensor([[1e7], [1e7 + 2]])))
    assert far.deviation == pytest.approx(1.0)


def test_of_many_images_some_of_the_whole_split_are_taken() -> None:
    ramp = torch.arange(10 * MOST, dtype=torch.float32)[:, None]
    assert moments(Split(ramp)).mean.item() == pytest.approx(float(ramp.mean()), rel=1e-3)


COLUMNS = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ((1, 1, 50), None),
        ((1, 0.001, 1), "columns of the training data have standard deviations from 0.00"),
        ((1e5, 1e5, 1e5), "in size, for which no one learning rate fits: standardise the columns"),
        ((1, 0, 1), None),  # a column that is always the same has no size
    ],
)
def test_columns_of_very_different_sizes_are_to_be_standardised(
    scales: tuple[float, ...], said: str | None
) -> None:
    advice = advice_on_scales(moments(Split(COLUMNS * torch.tensor(scales))))
    assert (advice is None) if said is None else (said in str(advice))


def test_dark_pixels_of_images_are_no_reason_to_scale() -> None:
    x = torch.rand(50, 1, 2, 2)
    x[:, 0, 0, 0] *= 1e-4
    assert advice_on_scales(moments(Split(x))) is None


def test_channels_of_windows_are_compared_and_the_key_is_named() -> None:
    x = torch.randn(50, 2, 6, generator=torch.Generator().manual_seed(1))
    assert advice_on_scales(moments(Split(x))) is None
    x[:, 1] *= 1e-3
    x[:, 0, 0] *= 1e-3  # a quiet step of time is no unit of its own
    told = str(advice_on_scales(moments(Split(x)), scalable=True))
    assert "channels of the training data have standard deviations from 0.000959 to" in told
    assert told.endswith("standardise the channels (dataset.scale=standard).")


def test_a_divergence_repeats_the_advice() -> None:
    split = Split(COLUMNS * 1e5)
    with pytest.raises(DivergedError, match=r"is nan\..*: standardise .*\. Or lower optimizer\.lr"):
        DivergenceCheck(0, Path("last.pt"), split).terms({"loss": float("nan")}, 3)


def test_unscaled_columns_that_diverge_are_told_to_be_standardised(
    vae_run: Any, tmp_path: Path
) -> None:
    columns = (COLUMNS * torch.tensor([1, 1e3, 1e12])).numpy().astype(np.float32)
    np.savez(tmp_path / "table.npz", train=columns)
    small = [word for word in SMALL_RUN if not word.startswith("dataset")]
    finished = vae_run(
        *(*small, "dataset=arrays", f"dataset.path={tmp_path}/table.npz", "likelihood=gaussian"),
        *("likelihood.sigma=0.001", "optimizer=sgd", f"hydra.run.dir={tmp_path}/run"),
    )
    assert finished.code == 4, finished.said
    said = "standardise the columns (dataset.scale=standard)"
    assert finished.said.count(said) == 2, "at the start, and at the end"
