"""A service in its thread: order, failures that pass, losses, and the time that it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae_run.tracking import background
from vae_run.tracking.background import Background
from vae_run.tracking.service import Point, Service
from vae_run.tracking.tracker import Tracker


class Kept(Service):
    """Keeps what it receives; `trouble` is called before each call, with its name."""

    option = "kept"

    def __init__(self, trouble: Callable[[str], None] = lambda name: None) -> None:
        self.trouble = trouble
        self.calls: list[str] = []
        self.got: list[Point] = []
        self.sizes: list[int] = []

    def _call(self, name: str) -> None:
        self.trouble(name)
        self.calls.append(name)

    def prepare(self) -> None:
        self.trouble("prepare")

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
    assert [point.step for point in service.got if point.name == "train/loss"] == [*range(5000)]
    assert [point.value for point in service.got[::2]] == [*map(float, range(5000))]
    assert max(service.sizes) <= background.AT_ONCE
    assert [name for name in service.calls if name != "points"] == [
        *("start", "picture samples", "file report.html", "close")
    ]
    assert said("WARNING") == said("INFO") == []


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
