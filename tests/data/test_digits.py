"""The embedded digits."""

import torch

from vae_run.data.datasets.digits import Digits


def test_digits_are_1797_images_of_17_levels() -> None:
    splits = Digits().load()
    sizes = [len(s) for s in (splits.train, splits.val, splits.test)]
    assert sizes == [1294, 144, 359]
    assert sum(sizes) == 1797
    assert splits.event_shape == (1, 8, 8)
    assert splits.class_names == tuple("0123456789")
    assert splits.train.images.dtype == torch.uint8
    assert splits.train.scale == 16.0
    pixels = splits.train.pixels(slice(None))
    assert pixels.min() == 0.0
    assert pixels.max() == 1.0
    assert 0.29 < pixels.mean() < 0.32
    assert splits.train.labels is not None
    assert splits.train.labels.dtype == torch.int64


def test_digits_repeat_bit_by_bit() -> None:
    assert Digits().load().fingerprint() == Digits().load().fingerprint()
    assert Digits().load().fingerprint() != Digits(split_seed=1).load().fingerprint()
