"""Windows of curves over time: their axes, and what they are called and drawn as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from parts import composed

from vae_run.config.check import check
from vae_run.data.datasets.windows import Windows
from vae_run.errors import DataError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.training.experiment import assemble

CURVES = np.sin(np.arange(20 * 3 * 16, dtype=np.float32)).reshape(20, 3, 16)


def loaded(folder: Path, array: np.ndarray, **keys: object):
    np.savez(folder / "windows.npz", train=array, test=array)
    return Windows(path=str(folder / "windows.npz"), val_size=0, **keys).load()


def test_two_and_three_axes(tmp_path: Path) -> None:
    splits = loaded(tmp_path, CURVES)
    assert splits.event_shape == (3, 16)
    assert splits.noun == "windows"
    assert np.array_equal(splits.test.images.numpy(), CURVES)
    one = loaded(tmp_path, CURVES[:, 0])
    assert np.array_equal(one.test.images.numpy(), CURVES[:, :1])


def test_channels_last(tmp_path: Path) -> None:
    splits = loaded(tmp_path, np.ascontiguousarray(CURVES.transpose(0, 2, 1)), channels_last=True)
    assert np.array_equal(splits.test.images.numpy(), CURVES)


def test_images_are_no_windows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"array `train` has four axes; windows are \[N, L\]"):
        loaded(tmp_path, CURVES.reshape(20, 3, 4, 4))


def test_every_picture_of_curves_is_drawn(tmp_path: Path) -> None:
    np.savez(tmp_path / "windows.npz", train=CURVES)
    words = ("network=conv1d", "network.widths=[4,5]", "likelihood=gaussian", "latent_dim=2")
    data = ("dataset=windows", f"dataset.path={tmp_path / 'windows.npz'}", "dataset.val_size=4")
    made = assemble(check(composed(*words, *data)), torch.device("cpu"))
    assert made.model.sample(2).shape == (2, 3, 16)
    wanted = ["reconstructions", "samples", "manifold", "traversals", "interpolations"]
    with evaluating(made.model):
        drawn = Evaluation(figures=wanted).draw(made.view(made.splits.val))
    assert sorted(drawn) == sorted(wanted)
    found = made.evaluation.measure(made.view(made.splits.val), ["objective", "mse"])
    assert np.isfinite(list(found.values())).all()
