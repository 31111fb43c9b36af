"""Runs on pixels of 0 and 1: what they decided is kept, and earlier runs keep their own reading."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from vae_run import load
from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.exports.facts import facts
from vae_run.exports.source import source_of
from vae_run.exports.weights import weights_file
from vae_run.runs import checkpoint_file
from vae_run.runs.load import white_of
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.run_data import read_data

if TYPE_CHECKING:
    from conftest import Run, Train

MASKS = (np.random.default_rng(0).random((40, 4, 4)) < 0.4).astype(np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (40, 4, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and three runs: on masks, on masks as earlier versions read them, and on grey images."""
    place = tmp_path_factory.mktemp("white")
    np.savez(place / "masks.npz", train=MASKS)
    np.savez(place / "grey.npz", train=GREY)
    words = ("dataset=arrays", "latent_dim=2", "trainer.epochs=1")
    for name, more in {
        "masks": (f"dataset.path={place}/masks.npz",),
        "old": (f"dataset.path={place}/masks.npz", "dataset.white=255"),
        "grey": (f"dataset.path={place}/grey.npz",),
    }.items():
        train(place / name, *words, *more)
    config = place / "old" / ".hydra" / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("  white:")]
    assert len(kept) == len(lines) - 1
    config.write_text("".join(kept))
    return place


def state(run: Path) -> Any:
    return checkpoint_file.read(run / "checkpoints" / "best.pt")


def test_what_the_data_decided_is_in_the_checkpoint(folder: Path) -> None:
    assert [white_of(state(folder / name)) for name in ("masks", "old", "grey")] == [1, 255, 255]
    assert white_of({}) == 255, "of earlier versions"
    assert white_of({"levels": 2}) == 1
    assert white_of({"levels": 2, "white": 15}) == 15, "binarized"
    assert white_of({"levels": None, "white": 1}) == 1, "scaled"


def test_codes_of_a_file_are_those_of_the_data(folder: Path, vae_run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=MASKS)
    for name, white in (("masks", 1), ("old", 255), ("grey", 255)):
        run = folder / name
        typed = (f"run={run}", "input=own.npz", f"output={name}.npz")
        done = vae_run("task=encode", *typed)
        assert done.code == 0, done.said
        x = torch.from_numpy(MASKS).float()[:, None] / white
        with torch.inference_mode():
            expected = load(run).encode(x).mean.numpy()
        np.testing.assert_allclose(np.load(f"{name}.npz")["mean"], expected, atol=1e-5)
        assert ("nearly black" in done.said) == (white == 255)


def test_earlier_runs_keep_their_reading(folder: Path) -> None:
    run = RunDirectory(folder / "old")
    splits, other = read_data(run, run.settings())
    assert (splits.train.scale, other) == (255.0, None)
    assert any("dataset.white=auto takes such pixels as 0 and 1" in n for n in splits.notes)


def test_other_data_are_read_as_those_of_the_run(folder: Path, vae_run: Run) -> None:
    for name, white in (("grey", 255), ("masks", 1)):
        run = Path(shutil.copytree(folder / name, name))
        other = folder / ("masks.npz" if name == "grey" else "grey.npz")
        directory = RunDirectory(run)
        config = directory.config()
        config["dataset"]["path"] = str(other)
        splits, _ = read_data(directory, check(config), white_of(state(run)))
        # A run on masks takes values above 1 for those of 255.
        assert splits.train.scale == 255.0
        assert white_of(state(run)) == white
    done = vae_run("task=evaluate", "run=grey", f"dataset.path={folder}/masks.npz", "device=cpu")
    assert done.code == 0, done.said
    assert "(train, val, test), and are divided by 255" in done.said.replace("\n", " ")
    (place,) = Path("grey/evaluations").iterdir()
    assert json.loads((place / "metrics.json").read_text())["test"]["mse"] > 0.05, "nearly black"
    words = (f"dataset.path={folder}/masks.npz", "dataset.white=auto", "device=cpu")
    done = vae_run("task=evaluate", "run=grey", *words)
    assert done.code == 0, done.said
    assert "nearly black" not in done.said.replace("\n", " ")
    assert len([*Path("grey/evaluations").iterdir()]) == 2


def test_exports_say_what_was_white(folder: Path) -> None:
    for name, told in (("masks", "stored as 0 and 1"), ("grey", "8-bit values divided by 255")):
        source = source_of(folder / name)
        assert facts(source)["range"] == f"pixels in [0, 1], {told}"
        source = replace(source, about={**source.about, "white": 15, "levels": 16})
        assert source.stored_as == ", stored values divided by 15"


def test_a_header_that_could_not_be_read_again_is_refused(folder: Path) -> None:
    source = source_of(folder / "masks")
    source = replace(source, about={**source.about, "class_names": ["x" * 6_000_000]})
    with pytest.raises(ConfigError, match=r"x\.safetensors: would have a header of 1\d,\d+,\d+"):
        weights_file(source, "x.safetensors")
