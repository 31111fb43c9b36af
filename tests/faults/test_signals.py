"""Signals: at the step's end while training, at once before and after, and the second at once."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from killable import finish, start, wait_for
from same_run import assert_same_run

from vae_run.config.commands import command, override
from vae_run.runs import checkpoint_file
from vae_run.sweeps.executors.forking import processes
from vae_run.system.signals import StopRequests
from vae_run.tasks import final_evaluation
from vae_run.tasks import train as training
from vae_run.training import program
from vae_run.training.loop import Loop
from vae_run.training.whole_step import WholeStep

if TYPE_CHECKING:
    from conftest import Run, Train

ENDLESS = (
    *("device=cpu", "network.widths=[8]", "trainer.epochs=1000000", "evaluation.figures=[]"),
    "trainer.compile=false",
    "hydra.run.dir=run",
)
SHORT = ("device=cpu", "network.widths=[16]", "trainer.epochs=2", "evaluation.figures=[]")
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138, signal.SIGHUP: 129}


def status(run: Path) -> dict[str, Any]:
    file = run / "status.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGUSR1,
        pytest.param(signal.SIGTERM, marks=pytest.mark.faults),  # also in test_resume.py
        pytest.param(signal.SIGINT, marks=pytest.mark.faults),
        pytest.param(signal.SIGHUP, marks=pytest.mark.faults),
    ],
)
def test_a_signal_in_training_leaves_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    process = start(ENDLESS, tmp_path / "said")
    wait_for(lambda: status(tmp_path / "run").get("step", 0) > 0 or not process.is_alive())
    assert process.pid is not None
    signal_to(process.pid, number)
    process.join(60)
    said = (tmp_path / "said").read_text()
    assert process.exitcode == CODES[number], said
    assert "Traceback" not in said
    run = tmp_path / "run"
    assert status(run)["state"] == "interrupted"
    saved = checkpoint_file.read(run / "checkpoints" / "last.pt")
    assert f"interrupted at step {saved['step']}" in said
    assert "task=resume" in status(run)["message"]
    assert finish(("task=resume", "run=run", "trainer.epochs=1"), tmp_path / "said") == 0


@pytest.mark.parametrize("ignored", [False, True], ids=["terminal", "nohup"])
def test_a_hangup_stops_a_run_unless_it_is_ignored(ignored: bool) -> None:
    import os

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with StopRequests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received == (None if ignored else signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)  # another comes when the shell has ended
    finally:
        signal.signal(signal.SIGHUP, before)


def signal_to(pid: int, number: int) -> None:
    import os

    os.kill(pid, number)


def test_a_second_signal_does_not_wait_for_the_step(tmp_path: Path) -> None:
    process = start(("evaluation.batch_size=7", *ENDLESS), tmp_path / "said")
    wait_for(lambda: status(tmp_path / "run").get("step", 0) > 0 or not process.is_alive())
    assert process.pid is not None
    signal_to(process.pid, signal.SIGSTOP)  # both arrive before it can look at either
    signal_to(process.pid, signal.SIGTERM)
    signal_to(process.pid, signal.SIGINT)
    signal_to(process.pid, signal.SIGCONT)
    process.join(30)
    assert process.exitcode in (130, 143)
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert status(tmp_path / "run")["state"] == "running"
    # Nothing of it is in the way: no lock, no half-written file.
    assert finish(("task=resume", "run=run", "trainer.epochs=1"), tmp_path / "said") == 0
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_signal_while_data_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a server that accepts and then says nothing."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def swallow() -> None:
            kept = []
            while True:
                try:
                    kept.append(server.accept())
                except OSError:
                    return
                asked.set()

        threading.Thread(target=swallow, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = start_with_proxy(proxy, tmp_path)
        wait_for(asked.is_set)
        assert process.pid is not None
        began = time.monotonic()
        signal_to(process.pid, signal.SIGTERM)
        process.join(30)
        assert time.monotonic() - began < 6, "it waited for the server"
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 143, said
    assert "Traceback" not in said
    assert status(tmp_path / "run")["state"] == "interrupted"
    assert not (tmp_path / "data").exists()


def start_with_proxy(proxy: str, folder: Path) -> Any:
    process = processes().Process(target=_behind, args=(proxy, folder), daemon=True)
    process.start()
    return process


def _behind(proxy: str, folder: Path) -> None:
    import os

    from killable import _main

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = proxy
    words = ["dataset=mnist", "dataset.root=data", "hydra.run.dir=run", "device=cpu"]
    _main(words, folder / "said", None, None)


def test_a_run_stopped_before_its_first_checkpoint_starts_again(
    train: Train, vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", *SHORT)
    original = training.assemble

    def stopped(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments, **more)

    monkeypatch.setattr(training, "assemble", stopped)
    run = tmp_path / "run"
    finished = vae_run(*SHORT, f"hydra.run.dir={run}")
    assert finished.code == 143
    assert status(run)["state"] == "interrupted"
    assert command("task=resume", override("run", run)) in finished.said
    assert not (run / "checkpoints").exists()
    monkeypatch.setattr(training, "assemble", original)
    finished = vae_run("task=resume", f"run={run}")
    assert finished.code == 0, finished.said
    assert "was stopped before its first checkpoint" in finished.said
    assert_same_run(run, whole)


@pytest.mark.parametrize(
    "place",
    [
        "draw_all",
        *(pytest.param(p, marks=pytest.mark.faults) for p in ("use_checkpoint", "write_report")),
    ],
)
def test_a_signal_while_figures_are_drawn_ends_at_once(
    place: str, train: Train, vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, run, original = tmp_path / "whole", tmp_path / "run", getattr(final_evaluation, place)

    def stopped(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it goes on")

    monkeypatch.setattr(final_evaluation, place, stopped)
    finished = vae_run(*SHORT, f"hydra.run.dir={run}")
    assert finished.code == 143, finished.said
    assert status(run)["state"] == "interrupted"
    assert command("task=resume", override("run", run)) in finished.said
    monkeypatch.setattr(final_evaluation, place, original)
    finished = vae_run("task=resume", f"run={run}")
    assert finished.code == 0, finished.said
    assert_same_run(run, train(whole, *SHORT))


def test_a_signal_while_the_first_step_is_compiled_ends_at_once(
    vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compiled(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")

    run = tmp_path / "run"
    monkeypatch.setattr(program, "of", compiled)
    finished = vae_run(*SHORT, "trainer.compile=true", f"hydra.run.dir={run}")
    assert finished.code == 130, finished.said
    assert status(run)["state"] == "interrupted"
    assert command("task=resume", override("run", run)) in finished.said
    monkeypatch.setattr(program, "of", no_compiler)
    finished = vae_run("task=resume", f"run={run}")
    assert finished.code == 0, finished.said
    assert status(run)["state"] == "completed"


def test_a_signal_while_a_later_step_is_compiled_keeps_the_steps_before(
    vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where layers are trained one by one, each has steps of its own."""
    made = []

    def compiled(whole: WholeStep, arguments: Any) -> WholeStep:
        made.append(whole)
        if len(made) == 2:
            signal.raise_signal(signal.SIGINT)
        return whole

    run = tmp_path / "run"
    monkeypatch.setattr(program, "of", compiled)
    words = ("model=stacked_dae", "trainer.pretrain_epochs=1", "trainer.compile=true")
    finished = vae_run(*SHORT, *words, "trainer.epochs=5", f"hydra.run.dir={run}")
    assert finished.code == 130, finished.said
    saved = checkpoint_file.read(run / "checkpoints" / "last.pt")
    assert saved["step"] > 1
    assert f"interrupted at step {saved['step']}" in finished.said


def no_compiler(*arguments: Any) -> None:
    raise RuntimeError("no compiler")


def test_a_signal_of_the_last_step_is_not_lost(
    vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It comes between the last step and the figures."""
    original, run = Loop.save, tmp_path / "run"

    def saved(loop: Loop) -> None:
        original(loop)
        if loop.progress.step == loop.total:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Loop, "save", saved)
    assert vae_run(*SHORT, f"hydra.run.dir={run}").code == 143
    assert not (run / "metrics.json").exists()
    monkeypatch.setattr(Loop, "save", original)
    assert vae_run("task=resume", f"run={run}").code == 0
    assert (run / "metrics.json").exists()


def test_control_c_before_the_run_begins_is_no_traceback(
    vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vae_run.cli import callbacks

    monkeypatch.setattr(callbacks, "_check", lambda config: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell's command has it
    try:
        finished = vae_run(*SHORT, f"hydra.run.dir={tmp_path / 'run'}")
    finally:
        signal.signal(signal.SIGINT, before)
    assert finished.code == 130
    assert "Traceback" not in finished.said
    assert not (tmp_path / "run").exists()
