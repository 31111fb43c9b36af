"""A service in its thread: order, failures that pass, losses, and the time that it may take."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vae_run.runs.run_log import LOG, logged, read_warnings
from vae_run.tracking import background, wandb
from vae_run.tracking.background import Background
from vae_run.tracking.environment import Environment
from vae_run.tracking.mlflow import MLflow
from vae_run.tracking.service import Point, Service
from vae_run.tracking.tracker import Tracker
from vae_run.tracking.wandb import WandB


class Kept(Service):
    """Keeps what it receives; `trouble` is called before each call, with its name."""

    option = "kept"

    def __init__(self, trouble: Callable[[str], None] = lambda name: None) -> None:
        self.trouble = trouble
        self.calls: list[str] = []
        self.got: list[Point] = []
        self.sizes: list[int] = []
        self.prepared = 0

    def _call(self, name: str) -> None:
        self.trouble(name)
        self.calls.append(name)

    def prepare(self) -> None:
        self.prepared += 1
        self.trouble("prepare")

    def restore(self) -> None:
        self.prepared -= 1

    def start(self, run: Path, resumed_step: int | None) -> None:
        self._call("start")

    def points(self, points: Sequence[Point]) -> None:
        self._call("points")
        self.got += points
        self.sizes.append(len(points))

    def pictures(self, pictures: Mapping[str, Any], step: int) -> None:
        self._call(f"picture {next(iter(pictures))}")

    def artifact(self, path: Path) -> None:
        self._call(f"file {path.name}")

    def close(self) -> None:
        self._call("close")

    def passes(self, error: Exception) -> bool:
        return isinstance(error, ConnectionError)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "COLLECTING", 0.01)
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], list[str]]]:
    caplog.set_level("INFO", "vae_run")
    return lambda level: [one.getMessage() for one in caplog.records if one.levelname == level]


def sent(service: Service, tmp_path: Path, steps: int = 5) -> Background:
    """A run of `steps` steps of two numbers each, with a picture and a report at its end."""
    tracker = Background(service)
    tracker.start(tmp_path, None)
    for step in range(steps):
        tracker.scalars("train", {"loss": float(step), "kl": 0.5}, step)
    tracker.pictures({"samples": np.zeros((2, 2, 3), np.uint8)}, steps)
    tracker.artifact(tmp_path / "report.html")
    tracker.close()
    return tracker


def test_everything_arrives_in_order(tmp_path: Path, said: Any) -> None:
    service = Kept()
    sent(service, tmp_path, 5000)
    assert service.prepared == 0
    assert [point.step for point in service.got if point.name == "train/loss"] == [*range(5000)]
    assert [point.value for point in service.got[::2]] == [*map(float, range(5000))]
    assert max(service.sizes) <= background.AT_ONCE
    assert [name for name in service.calls if name != "points"] == [
        *("start", "picture samples", "file report.html", "close")
    ]
    assert said("WARNING") == said("INFO") == []


def test_numbers_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded while the thread waits is one call; the end of the run does not wait."""
    monkeypatch.setattr(background, "COLLECTING", 60.0)
    service = Kept()
    tracker = Background(service)
    tracker.start(tmp_path, None)
    tracker.scalars("val", {"loss": 1.0}, 0)
    give_up = time.monotonic() + 10
    while not service.sizes and time.monotonic() < give_up:
        time.sleep(0.005)
    for step in range(1, 100):
        tracker.scalars("val", {"loss": 1.0}, step)
    began = time.monotonic()
    tracker.close()
    assert time.monotonic() - began < 10
    assert service.sizes == [1, 99]


def test_what_fails_for_a_while_is_sent_later(tmp_path: Path, said: Any) -> None:
    failures = iter(range(3))

    def trouble(name: str) -> None:
        if name == "points" and next(failures, None) is not None:
            raise ConnectionError("no answer")

    service = Kept(trouble)
    tracker = Background(service)
    tracker.start(tmp_path, None)
    tracker.scalars("val", {"loss": 1.0}, 1)
    give_up = time.monotonic() + 10
    while not service.got and time.monotonic() < give_up:
        time.sleep(0.005)
    tracker.close()
    assert [point.step for point in service.got] == [1]
    (warning,) = said("WARNING")
    assert warning == "kept: ConnectionError: no answer. It is tried again; the run goes on."
    assert said("INFO") == []


@pytest.mark.parametrize("begun", [False, True])
def test_a_server_that_is_gone(begun: bool, tmp_path: Path, said: Any) -> None:
    """Whether it was there at the start of the run or not; each record is counted once."""

    def trouble(name: str) -> None:
        if name != "prepare" and not (begun and name == "start"):
            raise ConnectionError("no answer")

    began = time.monotonic()
    sent(Kept(trouble), tmp_path)
    assert time.monotonic() - began < 2
    (warning,) = said("WARNING")
    assert "no answer" in warning
    (told,) = said("INFO")
    assert told == ("kept: 12 records were not sent: 10 numbers of steps 0 to 4, 1 picture, 1 file")


def test_what_is_refused_does_not_hold_up_the_rest(tmp_path: Path, said: Any) -> None:
    def trouble(name: str) -> None:
        if name == "picture samples":
            raise ValueError("no pictures here")

    service = Kept(trouble)
    sent(service, tmp_path)
    assert len(service.got) == 10
    assert service.calls[-2:] == ["file report.html", "close"]
    assert said("INFO") == ["kept: 1 records were not sent: 1 picture"]
    (warning,) = said("WARNING")
    assert "no pictures here. What this was about is not sent" in warning


@pytest.mark.parametrize("at", ["prepare", "start"])
def test_one_that_refuses_to_begin_gets_nothing(at: str, tmp_path: Path, said: Any) -> None:
    def trouble(name: str) -> None:
        if name == at:
            raise PermissionError(13, "Permission denied", "store")

    service = Kept(trouble)
    tracker = sent(service, tmp_path)
    assert service.calls == []
    assert said("INFO")[0].startswith("kept: 12 records were not sent")
    (warning,) = said("WARNING")
    assert warning.startswith("store: Permission denied. You have no permission")
    tracker.scalars("val", {"loss": 1.0}, 9)  # is ignored, and raises nothing


def test_one_that_hangs_holds_up_nothing(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SILENCE", 0.2)
    answer = threading.Event()

    def trouble(name: str) -> None:
        if name == "points":
            answer.wait(30)

    service = Kept(trouble)
    began = time.monotonic()
    sent(service, tmp_path)
    assert time.monotonic() - began < 2
    assert said("INFO")[0].startswith("kept: 12 records were not sent")
    answer.set()


def test_a_queue_has_bounds(tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CAPACITY", 20 * background.POINT)
    begin = threading.Event()

    def trouble(name: str) -> None:
        if name == "start":
            begin.wait(30)

    service = Kept(trouble)
    tracker = Background(service)
    tracker.start(tmp_path, None)
    for step in range(50):
        tracker.scalars("train", {"loss": 0.0}, step)
    begin.set()
    tracker.close()
    assert [point.step for point in service.got] == [*range(20)], "the first ones wait"
    assert said("INFO") == ["kept: 30 records were not sent: 30 numbers of steps 20 to 49"]


@pytest.mark.parametrize("error", [ImportError, ConnectionError, SystemExit])
@pytest.mark.parametrize("at", ["prepare", "start", "points", "close"])
def test_the_process_is_left_as_it_was(
    at: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the service fails, and even if that ends its thread."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def trouble(name: str) -> None:
        if name == at:
            raise error("broken")

    service = Kept(trouble)
    with suppress(SystemExit):  # in `prepare`, of the training's own thread
        sent(service, tmp_path)
    assert service.prepared == 0


def test_settings_of_a_client_end_with_its_last_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "user")
    for name in ("TWO", "THREE"):
        monkeypatch.delenv(name, raising=False)
    settings = Environment({"ONE": "1", "TWO": "2", "THREE": "3"})
    settings.enter()
    settings.enter()
    settings.leave()
    assert [os.environ.get(name) for name in ("ONE", "TWO", "THREE")] == ["user", "2", "3"]
    os.environ["THREE"] = "user"
    settings.leave()
    assert [os.environ.get(name) for name in ("ONE", "TWO", "THREE")] == ["user", None, "user"]


@pytest.mark.parametrize("service", [MLflow, WandB])
def test_a_package_that_is_missing_leaves_no_settings(
    service: type[Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, service.option, None)
    before = dict(os.environ)
    sent(service(), tmp_path)
    assert dict(os.environ) == before


def test_warnings_of_the_thread_are_those_of_its_run(tmp_path: Path) -> None:
    """Of two runs in one process, each has its own in `warnings.jsonl` and `train.log`."""

    def run(name: str) -> None:
        def trouble(call: str) -> None:
            if call == "points":
                raise ValueError(f"broken {name}")

        directory = tmp_path / name
        directory.mkdir()
        with logged(directory):
            both.wait(30)
            sent(Kept(trouble), directory)
            both.wait(30)

    both = threading.Barrier(2)
    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, other in (("first", "second"), ("second", "first")):
        (warning,) = read_warnings(tmp_path / name)
        assert f"broken {name}" in warning
        said = (tmp_path / name / LOG).read_text()
        assert warning in said
        assert other not in said


def test_what_a_service_does_not_receive_is_not_lost(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histograms and embeddings of one without them take no room, and are not counted."""
    monkeypatch.setattr(background, "CAPACITY", 20 * background.POINT)
    begin = threading.Event()

    def trouble(name: str) -> None:
        if name == "start":
            begin.wait(30)

    service = Kept(trouble)
    tracker = Background(service)
    tracker.start(tmp_path, None)
    codes = torch.zeros(1000, 8)
    tracker.histogram("latent/mean", codes, 1)
    tracker.embedding("latent", codes, None, None, 1)
    tracker.text("config", "a: 1")
    tracker.hparams({"a": 1})
    for step in range(21):
        tracker.scalars("train", {"loss": 0.0}, step)
    begin.set()
    tracker.close()
    assert [point.step for point in service.got] == [*range(20)]
    assert said("INFO") == ["kept: 1 records were not sent: 1 number of step 20"]


def test_wandb_waits_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client tells nobody that the disk is full: nothing is handed to it then."""
    logged: list[Any] = []
    service = WandB()
    service._run = SimpleNamespace(dir=tmp_path, step=0, log=lambda *given, **at: logged.append(at))
    asked: list[Path] = []
    free = wandb.ROOM - 1

    def usage(path: str) -> SimpleNamespace:
        asked.append(Path(path))
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    for write in (
        lambda: service.points([Point("val/loss", 1.0, 7, 0.0)]),
        lambda: service.pictures({"samples": np.zeros((2, 2, 3), np.uint8)}, 7),
        lambda: service.histogram("latent/mean", torch.zeros(3), 7),
        lambda: service.artifact(tmp_path / "report.html"),
    ):
        with pytest.raises(OSError, match="No space left") as told:
            write()
        assert service.passes(told.value), "it is tried again"
    assert (logged, set(asked)) == ([], {tmp_path})
    free = wandb.ROOM
    service.points([Point("val/loss", 1.0, 7, 0.0)])
    assert logged == [{"step": 7}]


def test_a_run_that_stops_tells_its_state(tmp_path: Path) -> None:
    states: list[str] = []

    class Ending(Kept):
        def stopped_early(self, state: str) -> None:
            states.append(state)

    from vae_run.errors import DivergedError
    from vae_run.tracking.fan_out import tracked_sweep

    with pytest.raises(DivergedError), tracked_sweep(tmp_path, Ending()):
        raise DivergedError("the loss is not finite")
    assert states == ["diverged"]


def test_trackers_of_the_user_are_called_at_once(tmp_path: Path) -> None:
    class Own(Tracker):
        thread = ""

        def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
            Own.thread = threading.current_thread().name

    from vae_run.tracking.fan_out import FanOut

    FanOut([Own()]).scalars("val", {"loss": 1.0}, 1)
    assert Own.thread == threading.current_thread().name
