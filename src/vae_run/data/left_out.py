"""Anomalies: the validation and test images of the classes that `dataset.classes` leaves out.

Letters: N images of a split.
"""

from typing import Literal

import torch
from torch import Tensor

from vae_run.data.cuts import images_in
from vae_run.data.splits import Split
from vae_run.data.stable_cuts import positions, shares


def left_out(
    train: Split,
    val: Split | None,
    test: Split | None,
    wanted: Tensor,
    sizes: tuple[float | int, float | int],
    split_by: Literal["index", "name"],
    split_seed: int,
) -> tuple[Split | None, Split | None]:
    """The images of all labels but `wanted`: of val, and of test; None where there are none.

    A set that the data lack gets as large a share of the training images of those labels as the
    set itself is cut by. No image is in both, and none of them is trained on.

    Args:
        train, val, test: the sets of the data, with labels; None: they are cut from `train`.
        wanted: the labels that are kept, int64.
        sizes: of val and of test, each a share or a number of images; 0 for val: there is none.
        split_by: how sets are cut, by the names of the images or by their order.
        split_seed: decides the cut.

    Raises:
        DataError: a size is not one that sets can be cut by.
    """
    cut = (0 if val is not None else sizes[0], 0 if test is not None else sizes[1])
    of_val, of_test = _cut(_of_others(train, wanted), cut, split_by, split_seed)
    of_val = of_val if val is None else _of_others(val, wanted)
    of_test = of_test if test is None else _of_others(test, wanted)
    return of_val if len(of_val) else None, of_test if len(of_test) else None


def _cut(
    split: Split,
    sizes: tuple[float | int, float | int],
    split_by: Literal["index", "name"],
    split_seed: int,
) -> tuple[Split, Split]:
    """The parts of `split` that are as large as `sizes` say, or all of it."""
    if split_by == "name":
        at, (test_size, val_size) = positions(split, split_seed), shares(sizes[1], sizes[0])
        in_test = torch.from_numpy(at < test_size)
        in_val = torch.from_numpy(at < test_size + val_size * (1 - test_size)) & ~in_test
        return split.take(in_val.nonzero()[:, 0]), split.take(in_test.nonzero()[:, 0])
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(split_seed))
    tests = min(images_in("test_size", sizes[1], len(split)), len(split))
    left = len(split) - tests
    vals = min(images_in("val_size", sizes[0], left), left)
    rows = order[tests : tests + vals].sort().values, order[:tests].sort().values
    return split.take(rows[0]), split.take(rows[1])


def _of_others(split: Split, wanted: Tensor) -> Split:
    assert split.labels is not None, "`of_classes` has checked it"
    return split.take((~torch.isin(split.labels, wanted)).nonzero()[:, 0])
