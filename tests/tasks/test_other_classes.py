"""Data whose classes are others than those of a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vae_run.data.splits import Split, Splits
from vae_run.tasks.evaluate import tell_of_other_names


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"class_names": ["cat", "dog"], "classes": [0, 1]}, "label 0 is ant, was cat; 1 is cat"),
        ({"class_names": ["ant", "cat", "dog"], "classes": [0, 1, 2]}, "label 2 is no class"),
        ({"class_names": ["ant", "cat"], "classes": [0, 1]}, ""),
        ({"class_names": ["cat", "dog"], "classes": None}, ""),
        ({"class_names": [], "classes": [0, 1]}, ""),
    ],
)
def test_a_conditional_run_is_told_of_other_classes(
    saved: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    empty = Split(torch.zeros(1, 1, 2, 2))
    tell_of_other_names(saved, Splits(empty, empty, empty, class_names=("ant", "cat")))
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)
