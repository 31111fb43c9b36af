"""A job whose data moved is the same job of a ledger; one whose data differ is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from parts import composed

from vae_run.config.check import check
from vae_run.config.schema import Settings
from vae_run.data.datasets.arrays import Arrays
from vae_run.sweeps.ledger import Ledger
from vae_run.sweeps.same_data import MovedJobs, fingerprint_of

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 3, 3), dtype=np.uint8)


def settings(path: Path, *words: str) -> Settings:
    return check(composed("dataset=arrays", f"dataset.path={path}", *words))


def begin(run: Path, job: Settings) -> None:
    """What a job of `job` leaves in `run` once it has read its data."""
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text(json.dumps(job.raw))
    fingerprint = fingerprint_of(job)
    (run / "environment.json").write_text(json.dumps({"dataset_fingerprint": fingerprint}))


def test_the_same_data_at_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (tmp_path / f"{name}.npz" for name in "abc")
    for path, images in ((a, IMAGES), (b, IMAGES), (c, IMAGES[::-1])):
        np.savez(path, train=images)
    ledger = Ledger(tmp_path / "s")
    job = settings(a)
    name, entry = ledger.add(job.raw, [f"dataset.path={a}"], [])
    assert MovedJobs(ledger).find(settings(b)) is None, "it has not begun"
    begin(tmp_path / "s" / entry.directory, job)
    found = MovedJobs(ledger)
    assert found.find(settings(b)) == (name, entry)
    assert found.find(settings(c)) is None, "other data"
    assert found.find(settings(tmp_path / "gone.npz")) is None
    monkeypatch.setattr(Arrays, "read", lambda self: pytest.fail("data are read in vain"))
    assert found.find(settings(a)) is None, "the ledger itself knows it"
    assert found.find(settings(b, "seed=1")) is None


def test_the_same_rows_in_other_files(tmp_path: Path) -> None:
    rows = ["x,y", *(f"{number},{number % 7}" for number in range(30))]
    for name, some in (("a", rows), ("b", rows), ("c", [*rows[:-1], "5,5"])):
        for split in ("train", "test"):
            (tmp_path / f"{name}-{split}.csv").write_text("\n".join(some) + "\n")

    def job(train: str, test: str) -> Settings:
        files = (f"dataset.path={tmp_path / train}.csv", f"dataset.test={tmp_path / test}.csv")
        return check(composed("dataset=table", "likelihood=mixed", *files))

    ledger, first = Ledger(tmp_path / "s"), job("a-train", "a-test")
    name, entry = ledger.add(first.raw, [], [])
    begin(tmp_path / "s" / entry.directory, first)
    found = MovedJobs(ledger)
    assert found.find(job("b-train", "b-test")) == (name, entry)
    assert found.find(job("a-train", "b-test")) == (name, entry)
    assert found.find(job("a-train", "c-test")) is None, "other data"
