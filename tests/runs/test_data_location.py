"""Which keys of a run's configuration say where its data lie, and how they are read later."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vae_run.config.keys import SPLIT_FILES
from vae_run.config.schema import parameters
from vae_run.exports.facts import configuration
from vae_run.runs import data_location
from vae_run.runs.identity import place_keys

TABLE = {
    "_target_": "vae_run.data.datasets.table.Table",
    **{"path": "in/train.csv", "val": None, "test": "in/test.csv", "label": "kind"},
}
SHARDS = {
    "_target_": "vae_run.data.datasets.shards.Shards",
    **{"path": "in/shards", "val": "val.tar", "test": "test.tar", "cache": "auto"},
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that was begun in another folder than the present one."""
    (tmp_path / "begun" / "run" / ".hydra").mkdir(parents=True)
    saved = {"hydra": {"runtime": {"cwd": str(tmp_path / "begun")}}}
    (tmp_path / "begun" / "run" / ".hydra" / "hydra.yaml").write_text(json.dumps(saved))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "begun" / "run"


def located(dataset: dict[str, Any], run: Path) -> dict[str, Any]:
    found: dict[str, Any] = data_location.located({"dataset": dataset}, run)["dataset"]
    return found


def test_the_files_of_splits_of_a_table_lie_where_the_run_was_begun(run: Path) -> None:
    begun = run.parent
    files = {"path": str(begun / "in/train.csv"), "test": str(begun / "in/test.csv")}
    assert located(TABLE, run) == {**TABLE, **files}
    told = data_location.told({"dataset": TABLE}, run)
    assert [line.split("=")[0] for line in told] == ["dataset.path", "dataset.test"]


def test_names_of_splits_in_other_datasets_are_no_paths(run: Path) -> None:
    assert located(SHARDS, run) == {**SHARDS, "path": str(run.parent / "in/shards")}
    assert "dataset.test" not in place_keys(SHARDS), "task=resume refuses another one"


def test_a_resumed_run_keeps_where_it_found_the_files_of_splits(run: Path, tmp_path: Path) -> None:
    assert {"dataset.path", "dataset.val", "dataset.test"} <= set(place_keys(TABLE))
    data_location.record(run, {"test": "moved.csv"})
    assert located(TABLE, run)["test"] == str(tmp_path / "moved.csv")
    assert located(SHARDS, run)["test"] == "test.tar"


def test_an_export_tells_no_folders_of_the_data() -> None:
    images = {"_target_": "vae_run.data.datasets.image_folder.ImageFolder"}
    for dataset, expected in (
        (TABLE, {**TABLE, "path": "train.csv", "test": "test.csv"}),
        (SHARDS, {**SHARDS, "path": "shards"}),
        ({**images, "attributes": "my/notes.csv"}, {**images, "attributes": "notes.csv"}),
    ):
        source: Any = SimpleNamespace(config={"dataset": dataset})
        assert configuration(source)["dataset"] == expected


@pytest.mark.parametrize("target", SPLIT_FILES)
def test_datasets_have_the_keys_that_are_said_to_name_their_files(target: str) -> None:
    module, _, name = target.rpartition(".")
    assert set(SPLIT_FILES[target]) <= set(parameters(getattr(import_module(module), name)))
