"""What a sweep knows of its jobs: identities, names, states, and a file that survives damage."""

from __future__ import annotations

import copy
import errno
import fcntl
import json
import subprocess
import sys

import pytest

from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs.identity import identity
from vae_run.sweeps.ledger import Ledger, directory_name

CONFIG = {
    "task": "train",
    "seed": 0,
    "device": "cpu",
    "latent_dim": 2,
    "sweep": {"dir": "a", "mark": None},
    "trainer": {"_target_": "vae_run.training.gradient.Gradient", "epochs": 3, "log_every": 50},
    "dataset": {
        "_target_": "vae_run.data.datasets.mnist.MNIST",
        "root": "data",
        "val_size": 0.1,
        **{"path": "a", "memory": 2.0, "cache": "auto", "download": True},
    },
}


def changed(key, value):
    config = copy.deepcopy(CONFIG)
    *path, last = key.split(".")
    part = config
    for name in path:
        part = part[name]
    part[last] = value
    return config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sweep.dir", "b"),
        ("device", "cuda"),
        ("trainer.log_every", 7),
        ("dataset.root", "/x"),
        ("dataset.memory", 1.0),
        ("dataset.cache", "none"),
        ("dataset.download", False),
    ],
)
def test_what_cannot_change_the_result_leaves_the_identity(key, value):
    assert identity(changed(key, value)) == identity(CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1), ("latent_dim", 3), ("trainer.epochs", 4), ("dataset.val_size", 0.2),
     ("dataset.path", "b"), ("dataset.split_by", "name"),
     ("trainer._target_", "mine.Trainer"), ("latent_dim", "2")],
)  # fmt: skip
def test_what_can_change_the_result_makes_another_job(key, value):
    assert identity(changed(key, value)) != identity(CONFIG)


def test_a_ledger_of_before_knows_its_jobs_though_keys_were_added():
    """The hash is what it was when memory, cache and download counted, by their defaults."""
    assert identity(CONFIG) == "e436e5b44e2c"
    assert identity(changed("dataset.split_by", "index")) == identity(CONFIG)


def test_the_order_of_keys_is_no_part_of_the_identity():
    assert identity(dict(reversed(CONFIG.items()))) == identity(CONFIG)


def test_names_are_short_and_say_what_varies():
    words = ["model=vae", "optimizer.lr=0.001", "trainer.epochs=20", "seed=3"]
    assert directory_name(7, words, ["optimizer.lr", "seed"]) == "007-lr=0.001,seed=3"
    assert directory_name(7, words, []) == "007"
    both = ["likelihood.sigma=1", "corruption.sigma=2"]
    swept = ["likelihood.sigma", "corruption.sigma"]
    assert directory_name(0, both, swept) == "000-likelihood.sigma=1,corruption.sigma=2"
    assert directory_name(2, ["+a.x=1", "+b.x=2"], ["+a.x", "+b.x"]) == "002-a.x=1,b.x=2"
    assert directory_name(2, ["+a.x=1"], ["+a.x"]) == "002-x=1"
    odd = directory_name(1234, ["dataset.path='a b/ü*.npz'"], ["dataset.path"])
    assert odd == "1234-path=_a_b_ü_.npz"
    long = directory_name(5, ["k=" + "ü" * 100], ["k"])
    assert len(long.encode()) <= 64
    assert long.startswith("005-k=üü")


def written(folder, **states):
    """A ledger of jobs that differ in seed, with run directories in the states given."""
    ledger = Ledger.open(folder)
    folder.mkdir(exist_ok=True)
    for seed, state in enumerate(states.values()):
        _, entry = ledger.add(changed("seed", seed), [f"seed={seed}"], ["seed"])
        entry.state = "running"
        run = folder / entry.directory
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra" / "config.yaml").write_text(json.dumps(changed("seed", seed)))
        (run / ".hydra" / "overrides.yaml").write_text(json.dumps([f"seed={seed}"]))
        (run / "status.json").write_text(json.dumps({"state": state, "message": "why\nmore"}))
    ledger.save()
    return ledger


def test_the_run_directories_know_better_after_a_kill(tmp_path):
    folder = tmp_path / "s"
    written(folder, a="completed", b="failed", c="running", d="diverged", e="interrupted")
    again = Ledger.open(folder)
    assert [entry.state for entry in again.jobs.values()] == [
        *("completed", "failed", "interrupted", "diverged", "interrupted"),
    ]
    assert {entry.message for entry in again.jobs.values()} == {"why"}


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1, "jobs": {"a": {"x": 1}}}', "[1]"])
def test_a_damaged_ledger_is_read_off_the_run_directories(tmp_path, damage):
    folder = tmp_path / "s"
    ledger = written(folder, a="completed", b="failed")
    ledger.path.write_text(damage)
    again = Ledger.open(folder)
    assert {name: (e.directory, e.overrides, e.state) for name, e in again.jobs.items()} == {
        identity(changed("seed", 0)): ("000-seed=0", ["seed=0"], "completed"),
        identity(changed("seed", 1)): ("001-seed=1", ["seed=1"], "failed"),
    }


def test_new_jobs_get_new_numbers_and_old_ones_keep_theirs(tmp_path):
    folder = tmp_path / "s"
    written(folder, a="completed", b="completed")
    ledger = Ledger.open(folder)
    _, old = ledger.add(changed("seed", 1), ["seed=1"], ["seed"])
    _, new = ledger.add(changed("seed", 9), ["seed=9"], ["seed"])
    assert (old.directory, new.directory) == ("001-seed=1", "002-seed=9")


def test_a_later_format_and_a_strange_folder_are_refused(tmp_path):
    folder = tmp_path / "s"
    ledger = written(folder, a="completed")
    ledger.path.write_text('{"format": 99, "jobs": {}}')
    with pytest.raises(CheckpointError, match=r"ledger\.json: has format 99"):
        Ledger.open(folder)
    ledger.path.unlink()
    with pytest.raises(ConfigError, match="holds no sweep"):
        Ledger.open(folder)


def test_one_process_at_a_time_and_a_dead_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "s"
    holder = (
        "import os, sys; from pathlib import Path\n"
        "from vae_run.sweeps.ledger import Ledger\n"
        f"with Ledger(Path({str(folder)!r})).locked():\n"
        "    print(os.getpid(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        pid = other.stdout.readline().strip()
        for _ in range(2):  # a refused one leaves the owner's name as it is
            with (
                pytest.raises(ConfigError, match=f"being run by process {pid} on"),
                Ledger(folder).locked(),
            ):
                pass
        other.kill()
        other.wait()
    with Ledger(folder).locked():
        assert (folder / ".lock").read_text().startswith("process")


def test_a_sweep_runs_where_the_file_system_knows_no_locks(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with Ledger(tmp_path).locked(), Ledger(tmp_path).locked():
        assert (tmp_path / ".lock").read_text().startswith("process")
