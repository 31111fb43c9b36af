"""A loss or gradient that is NaN or infinite changes nothing, is noticed, and ends the run."""

from __future__ import annotations

import copy
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import fitting, record_of
from nonfinite import Wrong
from parts import experiment
from same_run import assert_same_run, curves, history
from stopping import SMALL_RUN, stop_at
from tensorboard.summary.writer import event_file_writer

from vae_run.runs import checkpoint_file
from vae_run.training.meter import Meter
from vae_run.training.optimizers import SGD, Adam, AdamW

EPOCH = 11  # steps of the digits, in batches of 128
ONCE = ("objective._target_=nonfinite.Wrong", "+objective.at=1.1818181818181819")
"""NaN at the fourteenth step."""


def snapshot(model: Any, optimizer: Any) -> dict[str, Any]:
    return copy.deepcopy({"model": model.state_dict(), "state": optimizer.state_dict()["state"]})


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


# --- one step ---------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": lambda p: Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: AdamW(p, lr=0.01),
    "sgd": lambda p: SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    "sgd without momentum": lambda p: SGD(p, lr=0.01, momentum=0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loss", [True, False], ids=["loss", "gradient"])
@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_wrong_step_changes_nothing_and_the_next_ones_go_on(
    name: str, loss: bool, step: int, clip: float | None
) -> None:
    made = experiment()
    optimizer = OPTIMIZERS[name](list(made.model.parameters()))
    wrong = Wrong(at=(step - 1) / 3, loss=loss)
    records = fitting(made, optimizer, objective=wrong, clip_norm=clip)
    assert [r.skipped.item() for r in islice(records, step - 1)] == [0] * (step - 1)
    before = snapshot(made.model, optimizer)
    record = next(records)
    assert record.skipped.item() == 1
    assert math.isfinite(record.terms["loss"].mean().item()) is not loss
    if step > 1:  # before the first step there may be no state, afterwards it is zero
        assert equal(snapshot(made.model, optimizer), before)
    assert equal(made.model.state_dict(), before["model"])
    for state in optimizer.state_dict()["state"].values():
        assert step > 1 or all(not tensor.any() for tensor in state.values())
    assert next(records).skipped.item() == 0
    after = snapshot(made.model, optimizer)
    assert not equal(after["model"], before["model"])
    assert all(torch.isfinite(tensor).all() for tensor in after["model"].values())


def test_a_first_step_that_is_skipped_leaves_the_second_to_be_the_first() -> None:
    """SGD's momentum begins at the first gradient, whichever step that is of."""
    for make in OPTIMIZERS.values():
        found = []
        for at in (0.0, 99.0):
            made = experiment()
            optimizer = make(list(made.model.parameters()))
            records = fitting(made, optimizer, objective=Wrong(at=at))
            if at:
                weights = copy.deepcopy(made.model.state_dict())
                next(records)  # taken, and taken back
                made.model.load_state_dict(weights)
                optimizer.load_state_dict(make(list(made.model.parameters())).state_dict())
                list(islice(records, 3))
            else:
                list(islice(records, 4))
            found.append(made.model.state_dict())
        assert equal(found[0], found[1])


def test_an_optimizer_that_cannot_skip_gets_a_gradient_of_zero() -> None:
    made = experiment()
    optimizer = torch.optim.RMSprop(made.model.parameters(), lr=0.01)
    records = fitting(made, optimizer, objective=Wrong(at=2 / 3))
    list(islice(records, 2))
    before = copy.deepcopy(made.model.state_dict())
    assert next(records).skipped.item() == 1
    assert equal(made.model.state_dict(), before)
    assert next(records).skipped.item() == 0
    assert all(torch.isfinite(p).all() and not torch.equal(p, before[n])
               for n, p in made.model.named_parameters())  # fmt: skip


def test_an_infinite_pixel_spoils_no_step_but_its_own() -> None:
    made = experiment("likelihood=gaussian")
    made.splits.train.images[17] = math.inf
    records = list(islice(fitting(made), 12))  # four epochs of three steps
    assert sum(r.skipped.item() for r in records) == 4
    assert all(torch.isfinite(p).all() for p in made.model.parameters())
    last = [r.terms["loss"].mean().item() for r in records if not r.skipped]
    assert last[-1] < last[0]


# --- the meter --------------------------------------------------------------------------------


def test_skipped_steps_are_in_no_mean_and_are_told() -> None:
    meter = Meter()
    meter.add(record_of(1.0, 3.0, step=7))
    meter.add(record_of(math.nan, 1.0, step=8, skipped=1.0))
    meter.add(record_of(5.0, step=9, other=3.0))
    assert meter.skipped() == [8]
    assert meter.skipped() == [8], "reading it takes nothing away"
    assert meter.window() == {"loss": 3.0, "kl": 1.0}
    assert meter.skipped() == []
    assert meter.epoch() == {"loss": 3.0, "kl": 1.0}
    meter.add(record_of(math.inf, step=10, skipped=1.0))
    assert meter.window() == {}, "nothing was learnt in this window"
    assert meter.epoch() == {"loss": 3.0, "kl": 1.0}


def test_a_long_window_keeps_every_row() -> None:
    meter, count = Meter(), 3 * Meter.folded + 7
    for step in range(1, count + 1):
        meter.add(record_of(float(step), step=step, skipped=float(step % 100 == 0)))
    assert len(meter._rows) < Meter.folded
    left = [step for step in range(1, count + 1) if step % 100]
    assert meter.skipped() == [step for step in range(1, count + 1) if not step % 100]
    assert meter.window()["loss"] == pytest.approx(sum(left) / len(left), rel=1e-12)


# --- whole runs -------------------------------------------------------------------------------


def status(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "status.json").read_text(encoding="utf-8"))
    return found


def finite(run: Path, name: str = "last") -> dict[str, Any]:
    """The run's checkpoint, whose weights are found finite."""
    state = checkpoint_file.read(run / "checkpoints" / f"{name}.pt")
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    return state


@pytest.mark.parametrize(
    "parts",
    [
        ("likelihood=gaussian",),
        ("model=stacked_dae", "trainer.pretrain_epochs=1"),
        ("trainer=pruning", "trainer.prune_until=1", "likelihood=gaussian"),
    ],
    ids=["gradient", "layerwise", "pruning"],
)
def test_a_rate_far_too_high_ends_the_run_with_exit_code_4(
    parts: tuple[str, ...], vae_run: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    typed = ("trainer.epochs=5", "trainer.log_every=4", "trainer.checkpoint_seconds=0")
    finished = vae_run(
        *SMALL_RUN, f"hydra.run.dir={run}", *typed, "optimizer=sgd", "optimizer.lr=1e8", *parts
    )
    assert finished.code == 4, finished.said
    found = status(run)
    assert found["state"] == "diverged"
    assert "diverged at step" in found["message"]
    assert str(run / "checkpoints" / "last.pt") in finished.said
    assert "optimizer.lr" in found["message"]
    assert "Traceback" not in finished.said
    finite(run)
    assert not (run / "metrics.json").exists()


def test_the_step_is_told_exactly_whatever_the_logging_interval(
    vae_run: Any, tmp_path: Path
) -> None:
    for log_every in (1, 5, 1000):
        run = tmp_path / f"every-{log_every}"
        typed = (f"trainer.log_every={log_every}", "trainer.epochs=3", *ONCE)
        finished = vae_run(*SMALL_RUN, f"hydra.run.dir={run}", *typed)
        assert finished.code == 4, finished.said
        assert "training diverged at step 14: " in finished.said
        finite(run)


@pytest.mark.parametrize("trainer", ["gradient", "pruning"])
def test_as_many_steps_as_allowed_are_skipped_and_said(
    trainer: str, vae_run: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    parts = ("trainer.prune_until=1",) if trainer == "pruning" else ()
    typed = (f"trainer={trainer}", "trainer.epochs=3", "trainer.skip_nonfinite=1", *ONCE, *parts)
    finished = vae_run(*SMALL_RUN, f"hydra.run.dir={run}", *typed)
    assert finished.code == 0, finished.said
    assert "skipped step 14, whose loss or gradient is not finite (1 of " in finished.said
    assert status(run)["state"] == "completed"
    assert finite(run)["progress"]["skipped"] == 1
    finite(run, "best")
    assert all(math.isfinite(float(v)) for row in history(run) for v in row.values())
    assert all(math.isfinite(v) for points in curves(run).values() for _, v in points)


def test_one_more_than_allowed_ends_the_run(vae_run: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    typed = ("trainer.epochs=3", "trainer.log_every=4", "trainer.skip_nonfinite=5", *ONCE)
    finished = vae_run(
        *SMALL_RUN, f"hydra.run.dir={run}", *typed, "+objective.every_later=true"
    )  # fmt: skip
    assert finished.code == 4, finished.said
    assert "skipped step 14, 15, 16, whose" in finished.said
    assert "diverged at step 17: " in finished.said, "the first of the window that went too far"
    assert "more often than trainer.skip_nonfinite=5" in finished.said


def test_a_run_stopped_after_a_skipped_step_ends_the_same(
    vae_run: Any, train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in test_resume: event files of one second are read in the order of their counter.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1000))
    plan = ("trainer.epochs=3", "trainer.log_every=4", "trainer.skip_nonfinite=1", *ONCE)
    never, stopped = train(tmp_path / "never", *plan), tmp_path / "stopped"
    command: tuple[str, ...] = (*SMALL_RUN, f"hydra.run.dir={stopped}", *plan)
    for step in (14, 15, 20):  # amid the window of it, twice, and later
        stop_at(monkeypatch, step)
        assert vae_run(*command).code == 143
        command = ("task=resume", f"run={stopped}", "trust=[nonfinite]")
    stop_at(monkeypatch, None)
    assert vae_run(*command).code == 0
    assert_same_run(stopped, never)


def test_a_stop_before_the_window_is_logged_is_no_way_out(vae_run: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    typed = ("trainer.epochs=300", "trainer.log_every=1000", "trainer.max_time=0.001")
    first = ("objective._target_=nonfinite.Wrong", "+objective.at=0")
    finished = vae_run(*SMALL_RUN, f"hydra.run.dir={run}", *typed, *first)
    assert finished.code == 4, finished.said
    assert "diverged at step 1: " in finished.said


def test_nan_is_never_best(vae_run: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    objective = ("objective._target_=nonfinite.WrongOnVal", "trainer.epochs=4")
    finished = vae_run(*SMALL_RUN, f"hydra.run.dir={run}", *objective)
    assert finished.code == 0, finished.said
    assert finite(run, "best")["step"] == EPOCH
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["progress"]["best_step"] == EPOCH
