"""What a run directory says of services is followed only where this user wrote it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run.cli.words import parsed
from vae_run.errors import ConfigError
from vae_run.tracking.confirmation import confirmed, signed
from vae_run.tracking.mlflow import MLflow, metric_name
from vae_run.tracking.run_ids import FILE, RunIds, key_file
from vae_run.tracking.tracker import NoTracker, Tracker
from vae_run.tracking.wandb import WandB

if TYPE_CHECKING:
    from conftest import Run

HERE = {"uri": "http://here:5000"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


def test_an_id_is_found_again(tmp_path: Path) -> None:
    assert RunIds(tmp_path, "mlflow", HERE).known() is None
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    RunIds(tmp_path, "wandb", {}).keep()
    assert RunIds(tmp_path, "mlflow", HERE).known() == "a1b2"
    assert RunIds(tmp_path, "wandb", {}).known() is None
    assert RunIds(tmp_path, "wandb", {}).signed()
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert len(key_file().read_bytes()) == 32
    assert sorted(file.name for file in key_file().parent.iterdir()) == ["key", "lock"]


def test_it_counts_for_its_service_and_place(tmp_path: Path) -> None:
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    assert RunIds(tmp_path, "mlflow", {"uri": "http://there:5000"}).known() is None
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({"wandb": content["mlflow"]}))
    assert RunIds(tmp_path, "wandb", HERE).known() is None


def test_a_new_run_is_signed_before_its_service_is_asked(tmp_path: Path) -> None:
    """One that is killed while the service's package is imported goes on without a question."""
    tracker = MLflow(uri="http://here:5000")
    with pytest.raises(ConfigError, match="you have not sent this run there before"):
        confirmed(tmp_path, tracker, NoTracker())
    with signed(tmp_path, tracker):
        assert confirmed(tmp_path, tracker, NoTracker()) is tracker
    assert tracker.ids(tmp_path).known() is None
    tracker.ids(tmp_path).keep("a1b2")
    with signed(tmp_path, tracker):
        assert tracker.ids(tmp_path).known() == "a1b2"


def test_another_id_is_no_longer_signed(tmp_path: Path) -> None:
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    content = json.loads((tmp_path / FILE).read_text())
    content["mlflow"]["id"] = "a1b3"
    (tmp_path / FILE).write_text(json.dumps(content))
    assert not RunIds(tmp_path, "mlflow", HERE).signed()


def test_another_user_does_not_follow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other home"))
    assert RunIds(tmp_path, "mlflow", HERE).known() is None


def test_a_copy_is_another_run(tmp_path: Path) -> None:
    """The user has sent such a run there, but the copy does not go on in the original's."""
    run = tmp_path / "run"
    run.mkdir()
    RunIds(run, "mlflow", HERE).keep("a1b2")
    copied = RunIds(Path(shutil.copytree(run, tmp_path / "copy")), "mlflow", HERE)
    assert copied.known() is None
    assert copied.signed()
    copied.keep("c3d4")
    assert (copied.known(), RunIds(run, "mlflow", HERE).known()) == ("c3d4", "a1b2")


def test_a_moved_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one below a folder that was moved, as the jobs of a sweep, and by any path to it."""
    sweep, moved = tmp_path / "sweep", tmp_path / "moved"
    (sweep / "0").mkdir(parents=True)
    RunIds(sweep / "0", "mlflow", HERE).keep("a1b2")
    sweep.rename(moved)
    monkeypatch.chdir(moved)
    (tmp_path / "link").symlink_to(moved)
    for path in (moved / "0", Path("0"), tmp_path / "link" / "0"):
        assert RunIds(path, "mlflow", HERE).known() == "a1b2"
    shutil.copytree(moved, sweep)
    assert RunIds(sweep / "0", "mlflow", HERE).known() == "a1b2", "where it was written"
    assert RunIds(moved / "0", "mlflow", HERE).known() is None, "one of two goes on"


def test_a_directory_that_was_changed_is_no_longer_signed(tmp_path: Path) -> None:
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    copied = Path(shutil.copytree(tmp_path, tmp_path / "copy"))
    content = json.loads((copied / FILE).read_text())
    content["mlflow"]["directory"] = str(copied)
    (copied / FILE).write_text(json.dumps(content))
    assert not RunIds(copied, "mlflow", HERE).signed()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"mlflow": 3}', '{"mlflow": {}}'),
        '{"mlflow": {"id": 3, "signature": null}}',
        '{"mlflow": {"id": "a", "directory": "\\u0000", "inode": 1, "signature": "\\ud800"}}',
    ],
)
def test_a_damaged_file_is_as_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert RunIds(tmp_path, "mlflow", HERE).known() is None
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    assert RunIds(tmp_path, "mlflow", HERE).known() == "a1b2"


def test_an_id_is_never_a_path(tmp_path: Path) -> None:
    RunIds(tmp_path, "mlflow", HERE).keep("../../etc")
    assert RunIds(tmp_path, "mlflow", HERE).known() is None


def test_without_a_home_nothing_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/no/such/folder")
    RunIds(tmp_path, "mlflow", HERE).keep("a1b2")
    assert RunIds(tmp_path, "mlflow", HERE).known() is None


@pytest.mark.parametrize(
    ("tracker", "typed"),
    [
        (MLflow(uri="http://evil:80"), {"tracker": "mlflow", "tracker.uri": "http://evil:80"}),
        (
            MLflow(uri="sqlite:////x y.db"),
            {"tracker": "mlflow", "tracker.uri": "sqlite:////x y.db"},
        ),
        (
            WandB(online=True, entity="evil"),
            {"tracker": "wandb", "tracker.online": True, "tracker.entity": "evil"},
        ),
    ],
)
def test_a_foreign_run_decides_nothing(
    tracker: Tracker, typed: dict[str, object], tmp_path: Path
) -> None:
    """The message has the words with which the user decides."""
    with pytest.raises(ConfigError, match="you have not sent this run there before") as told:
        confirmed(tmp_path, tracker, NoTracker())
    words = shlex.split(str(told.value).split("say ")[1].split("; to send")[0])
    read = [found for word in words if (found := parsed(word)) is not None]
    assert {one.key_or_group: one.value() for one in read} == typed
    assert confirmed(tmp_path, tracker, tracker) is tracker, "typed"
    tracker.ids(tmp_path).keep()  # type: ignore[attr-defined]
    assert confirmed(tmp_path, tracker, NoTracker()) is tracker, "sent there before"


def test_what_names_no_place_needs_no_word(tmp_path: Path) -> None:
    for tracker in (MLflow(), WandB(), NoTracker()):
        assert confirmed(tmp_path, tracker, NoTracker()) is tracker


def test_names_that_mlflow_refuses_are_changed() -> None:
    assert metric_name("val/elbo") == "val/elbo"
    assert metric_name("test/recall@5 (Größe)") == "test/recall_5 _Gr__e_"


@pytest.mark.parametrize("option", ["mlflow", "wandb", "trackio"])
def test_a_missing_package_is_told_first(
    option: str, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_run.tracking.service.find_spec", lambda name: None)
    for word in (f"tracker={option}", f"tracker=[{option},mlflow,wandb]"):
        finished = vae_run(word, "hydra.run.dir=run")
        assert finished.code == 1
        assert f"pip install {option}; tracker=none" in " ".join(finished.said.split())
    assert not Path("run").exists()
