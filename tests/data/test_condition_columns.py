"""Values of conditions: one for each example, whatever it is called."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vae_run.data.condition_columns import one_each
from vae_run.data.splits import Split
from vae_run.errors import DataError


@pytest.mark.parametrize(
    ("shape", "noun"), [((4,), "vectors"), ((2, 4), "windows"), ((1, 4, 4), "images")]
)
def test_examples_without_a_value_each_are_named(shape: tuple[int, ...], noun: str) -> None:
    split = Split(torch.zeros(3, *shape))
    assert one_each("age", np.array([[1], [2], [3]]), split).tolist() == [1, 2, 3]
    with pytest.raises(DataError, match=rf"age is int64 \(2,\).* each of the 3 {noun}$"):
        one_each("age", np.array([1, 2]), split)
