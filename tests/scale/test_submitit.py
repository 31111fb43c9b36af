"""Sweeps through submitit's local executor, which keeps to the manners of Slurm."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from denormal_numbers import MEASURED, assert_flushed
from processes import Sweep, descendants, until
from requeued import Requeued

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
pytest.importorskip("submitit", reason="the extra is not installed: pip install -e '.[slurm]'")

LAUNCHER = "hydra/launcher=slurm_local"


def test_failures_and_a_second_run_are_as_with_the_local_launcher(sweep: Sweep) -> None:
    words = (LAUNCHER, "trainer.epochs=2", "optimizer.lr=1e-3,1e30", "seed=0,1", MEASURED)
    code, said = sweep.run(*words)
    assert code == 4, said
    assert sweep.states() == ["completed", "completed", "diverged", "diverged"], said
    assert_flushed(sweep.folder.glob("00[01]*"))
    assert "diverged" in said
    assert "2/4" in said, "an end is told when it comes"
    completed = [path for path in sweep.folder.glob("00[01]*/**/*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in completed}
    code, said = sweep.run(*words)
    assert "4 jobs, 4 done before" in said or "2 done before" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_preempted_job_goes_on_and_a_stopped_sweep_leaves_no_process(sweep: Sweep) -> None:
    process = sweep.start(LAUNCHER, "trainer.epochs=100000", "trainer.compile=false", "seed=0,1")
    until(lambda: len(sweep.training()) == 2)
    below = descendants(process.pid)
    controllers = [
        pid
        for pid in below
        if b"submitit.local._local" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(controllers) == 2

    # What Slurm sends ahead of a time limit, to the job's process
    (task, *_) = [
        pid
        for pid in descendants(controllers[0])
        if b"submitit.core._submit" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(task, signal.SIGUSR2)
    until(lambda: any("goes on at epoch" in sweep.log(one) for one in sweep.training()))
    until(lambda: len(sweep.training()) == 2)
    until(lambda: sweep.states() == ["running", "running"], 10)  # it is the same job

    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert sweep.states() == ["interrupted", "interrupted"], said
    for directory in sweep.ledger():
        assert sweep.status(directory)["state"] == "interrupted"
    until(lambda: not [pid for pid in below if os.path.exists(f"/proc/{pid}")], 20)


def test_a_local_job_goes_on_after_the_six_requeues_of_submitit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vae_run.sweeps.executors.slurm import SlurmPool, SlurmTask

    places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))  # jobs import `requeued`
    pool = SlurmPool(1, executor="local", folder=tmp_path, parameters={"timeout_min": 1})
    submission = pool.submit(Requeued(tmp_path / "starts", 8), "job")
    alone = pool.submitted(SlurmTask(Requeued(tmp_path / "alone", 8)), "alone")
    until(lambda: not submission.is_alive(), 60)
    assert submission.end().message == "done"
    assert (tmp_path / "starts").read_text().count("started") == 8
    # submitit alone gives the job up after the sixth start.
    until(lambda: alone.state != "RUNNING", 60)
    assert not alone.paths.result_pickle.exists()
    assert (tmp_path / "alone").read_text().count("started") == 6
