"""What has changed of the data of a run is told by splits, shape and classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from parts import grey

from vae_run.data.splits import Split, Splits
from vae_run.runs.data_record import changes, record_of


def labelled(n: int, *classes: int) -> Split:
    return replace(grey(n), labels=torch.tensor(classes).repeat(n)[:n])


BEFORE = Splits(labelled(6, 0, 1), labelled(2, 0, 1), labelled(2, 0, 1), ("cat", "dog", "owl"))


def test_a_record_counts_splits_and_classes() -> None:
    assert record_of(BEFORE) == {
        "images": {"train": 6, "val": 2, "test": 2},
        "event_shape": [1, 4, 5],
        "classes": {"cat": 5, "dog": 5},
    }
    assert "classes" not in record_of(replace(BEFORE, train=grey(200))), "too many classes"


def test_each_difference_is_told() -> None:
    record = record_of(BEFORE)
    now = replace(BEFORE, train=labelled(9, 0, 2, 0))
    assert changes(record, now) == (
        "train: 6 images then, 9 now; class cat: 5 then, 8 now; class dog: 5 then, 2 now; "
        "class owl: 0 then, 3 now"
    )
    wide = replace(BEFORE, **{k: grey(n, (1, 4, 6)) for k, n in record["images"].items()})
    assert "shape: 1x4x5 then, 1x4x6 now" in changes(record, wide)
    assert changes(record, BEFORE).startswith("as many images of the same shape")
    older = {key: record[key] for key in ("images", "event_shape")}
    assert changes(older, now) == "train: 6 images then, 9 now", "runs that counted no classes"
