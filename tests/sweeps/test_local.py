"""Jobs in processes that are killed, hang, crash or are told to stop: the real signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import Sweep, alive, descendants, until

if TYPE_CHECKING:
    from conftest import Run

TWO = (
    *("trainer.compile=false", "trainer.checkpoint_seconds=0"),
    *("hydra.launcher.jobs=2", "hydra.launcher.threads=1"),
)
ENDLESS = "trainer.steps=10000000"
SHORT = "trainer.epochs=3"


@pytest.fixture
def sweep(tmp_path: Path, python_environment: dict[str, str]) -> Sweep:
    return Sweep(tmp_path, python_environment, *TWO)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.scale
def test_one_of_six_is_killed_and_five_finish_and_the_sixth_later(
    sweep: Sweep, vae_run: Run
) -> None:
    def kill() -> None:
        until(lambda: sweep.is_training("001-seed=1"))
        os.kill(sweep.status("001-seed=1")["pid"], signal.SIGKILL)

    words = ("seed=range(6)", "trainer.epochs=60", "trainer.evaluate_every=20")
    killing = threading.Thread(target=kill)
    killing.start()
    code, said = sweep.run_here(vae_run, *words)
    killing.join()
    assert code == 1, said
    ledger = sweep.ledger()
    assert sorted(entry["state"] for entry in ledger.values()) == ["completed"] * 5 + ["failed"]
    assert ledger["001-seed=1"]["message"] == "killed by SIGKILL"
    assert sweep.status("001-seed=1")["state"] == "failed"
    assert "failed  001-seed=1  killed by SIGKILL" in said
    assert "6 jobs, 1 not completed" in said
    assert "error: 1 of the sweep's jobs did not complete" in said

    before = {path: path.stat().st_mtime_ns for path in sweep.folder.glob("00[02345]*/**/*")}
    code, said = sweep.run_here(vae_run, *words)
    assert code == 0, said
    assert "6 jobs, 5 done before, 1 taken up again" in said
    assert sweep.states() == ["completed"] * 6
    assert sweep.ledger()["001-seed=1"]["attempts"] == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    log = (sweep.folder / "001-seed=1" / "train.log").read_text(encoding="utf-8")
    assert "goes on at epoch" in log


@pytest.mark.scale
@linux_only
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults)],
)
def test_a_stopped_sweep_leaves_checkpoints_and_no_process(
    sweep: Sweep, number: signal.Signals, code: int
) -> None:
    with sweep.start("seed=range(3)", ENDLESS) as process:
        until(lambda: sweep.is_training("000-seed=0", "001-seed=1"))
        below = descendants(process.pid)
        assert len(alive(below)) >= 3, "two jobs, and what they were forked from"
        process.send_signal(number)
        said, _ = process.communicate(timeout=10)
    until(lambda: not alive(below), 10.0)
    assert process.returncode == code, said
    assert sweep.states() == ["interrupted", "interrupted", "pending"]
    for name in ("000-seed=0", "001-seed=1"):
        assert sweep.status(name)["state"] == "interrupted"
        assert (sweep.folder / name / "checkpoints" / "last.pt").is_file()
    assert "the same command with sweep.dir=s goes on" in said
    assert "Traceback" not in said


@linux_only
@pytest.mark.faults
def test_the_jobs_of_a_killed_sweep_end_by_themselves_and_it_goes_on(sweep: Sweep) -> None:
    with sweep.start("seed=range(2)", ENDLESS) as process:
        until(lambda: sweep.is_training("000-seed=0", "001-seed=1"))
        below = descendants(process.pid)
        process.kill()
        process.wait()
    until(lambda: not alive(below), 10.0)
    assert {sweep.status(f"00{i}-seed={i}")["state"] for i in (0, 1)} == {"interrupted"}
    with sweep.start("seed=range(2)", ENDLESS) as process:
        until(lambda: sweep.is_training("000-seed=0", "001-seed=1"))
        process.terminate()
        said, _ = process.communicate(timeout=20)
    assert "2 jobs, 2 taken up again" in said


@pytest.mark.scale
def test_a_job_that_hangs_is_stopped_at_its_limit(sweep: Sweep, vae_run: Run) -> None:
    words = ("trainer.steps=5,10000000", "hydra.launcher.time_limit=6.0")
    code, said = sweep.run_here(vae_run, *words)
    assert code == 1
    assert sweep.states() == ["completed", "failed"]
    assert "ran past hydra.launcher.time_limit=6 s" in said
    assert (sweep.folder / "001-steps=10000000" / "checkpoints" / "last.pt").is_file()


@pytest.mark.scale
def test_a_job_that_leaves_without_a_word_harms_no_other(
    sweep: Sweep, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sweep.place / "rude.py").write_text(
        "import os\n"
        "from vae_run.corruptions import Masking\n"
        "class Leaves(Masking):\n"
        "    def apply(self, x, noise):\n"
        "        os._exit(7)\n",
        encoding="utf-8",
    )
    config = sweep.place / "mine" / "corruption"
    config.mkdir(parents=True)
    (config / "leaves.yaml").write_text("_target_: rude.Leaves\nlevel: 0.1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(sweep.place)
    words = ("--config-dir=mine", "corruption=none,leaves,masking", SHORT)
    code, said = sweep.run_here(vae_run, *words)
    assert code == 1, said
    assert sweep.states() == ["completed", "failed", "completed"], said
    assert "left with exit code 7" in said


@pytest.mark.scale
@pytest.mark.parametrize("asked", [False, True])
def test_the_log_of_a_failed_job_holds_a_traceback_only_if_asked(sweep: Sweep, asked: bool) -> None:
    (sweep.place / "broken.npz").write_bytes(b"no archive")
    if asked:
        sweep.environment = {**sweep.environment, "HYDRA_FULL_ERROR": "1"}
    code, said = sweep.run("dataset=arrays", "dataset.path=broken.npz", SHORT)
    assert code == 3, said
    assert "dataset.path=broken.npz cannot be read as .npz" in said
    if asked:
        log = sweep.log("000").splitlines()
        assert "Traceback (most recent call last):" in log
        assert log[-1].startswith("error: dataset.path=broken.npz cannot be read as .npz")
    else:
        assert not (sweep.folder / "000").exists(), "it failed before its first step"


def test_two_at_a_time_and_no_more(sweep: Sweep, vae_run: Run) -> None:
    code, said = sweep.run_here(vae_run, "seed=range(4)", SHORT, "seed=range(4)")
    assert code == 0, said
    spans = []
    for name in sweep.ledger():
        log = (sweep.folder / name / "train.log").read_text(encoding="utf-8").splitlines()
        spans.append((log[0][:23], log[-1][:23]))
    for start, _ in spans:
        assert sum(a <= start < b for a, b in spans) <= 2


def test_jobs_that_are_the_same_are_done_once(sweep: Sweep, vae_run: Run) -> None:
    code, said = sweep.run_here(vae_run, "latent_dim=2,2", "trainer.log_every=5,7", SHORT)
    assert code == 0, said
    assert "1 job, 3 asked for twice" in said
    assert "1 job, 0 not completed" in said
    assert sweep.states() == ["completed"]


@pytest.mark.faults
def test_a_second_sweep_of_the_same_folder_is_refused(sweep: Sweep) -> None:
    with sweep.start("seed=range(2)", ENDLESS) as first:
        until(lambda: sweep.is_training("000-seed=0"))
        code, said = sweep.run("seed=range(2)", ENDLESS)
        first.terminate()
        first.communicate(timeout=20)
    assert code == 1
    assert f"is being run by process {first.pid}" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hydra.launcher.jobs=0", "hydra.launcher.jobs: found 0"),
        ("hydra.launcher.time_limit=-1.0", "hydra.launcher.time_limit: found -1.0"),
        ("+hydra.launcher.job=2", "Did you mean hydra.launcher.jobs?"),
        ("latent_dim=interval(1,2)", "a range without steps"),
        ("task=check", "task: found check, but a sweep (-m) is of task=train"),
    ],
)
def test_wrong_keys_of_a_sweep_are_refused_before_anything_runs(vae_run, words, message) -> None:
    finished = vae_run("-m", SHORT, "sweep.dir=s", words)
    assert finished.code == 1
    assert message in finished.err.replace("\n", " "), finished.err
    assert not Path("s").exists()


@pytest.mark.scale
def test_a_sweep_runs_with_a_long_temporary_folder(
    tmp_path: Path, python_environment: dict[str, str]
) -> None:
    """Its path is longer than the address of a socket may be."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    sweep = Sweep(tmp_path, {**python_environment, "TMPDIR": str(folder)}, *TWO)
    code, said = sweep.run("seed=0,1", "trainer.steps=2")
    assert code == 0, said
    assert sweep.states() == ["completed"] * 2
