"""Sweeps on a Ray cluster of two nodes, each with its own raylet, on this machine."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from denormal_numbers import MEASURED, TRUSTED, assert_flushed
from processes import Sweep, end, until

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(400),
]
pytest.importorskip("ray", reason="the extra is not installed: pip install -e '.[ray]'")


class Cluster:
    """`ray start` twice."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {
            **environment,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",  # a lost node is found in two seconds
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(),
            "OMP_NUM_THREADS": "1",
        }
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets: a short path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.split(":")[1]
        place = f"--temp-dir={self.folder}"
        self.first = ("--head", f"--port={port}", "--include-dashboard=false", place)
        self.nodes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._start(*self.first)
        self._start(f"--address={self.address}")

    def _start(self, *words: str) -> None:
        command = "import sys; from ray.scripts.scripts import main; main()"
        fixed = ("start", "--block", "--num-cpus=1", "--object-store-memory=80000000")
        said = self.folder.with_name(f"{self.folder.name}-{len(words)}.log")
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", command, *fixed, *words],
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.nodes.append(process)
        until(lambda: "Ray runtime started" in said.read_text() or process.poll() is not None)
        assert process.poll() is None, said.read_text()
        said.unlink()

    def stop(self) -> None:
        for node in reversed(self.nodes):
            end(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster(python_environment: dict[str, str]) -> Iterator[Cluster]:
    made = Cluster(python_environment)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_sweep_survives_a_node_and_a_signal(sweep: Sweep, cluster: Cluster) -> None:
    sweep.environment |= cluster.environment
    launcher = ("hydra/launcher=ray_cluster", f"hydra.launcher.address={cluster.address}")
    words = (
        *launcher,
        "seed=range(3)",
        "trainer.epochs=150",
        "trainer.evaluate_every=10",
        MEASURED,
        TRUSTED,
    )

    # Ctrl-C: jobs write their checkpoints, and the ledger knows
    process = sweep.start(*words)
    until(lambda: len(sweep.training()) == 2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert sorted(sweep.states()) == ["interrupted", "interrupted", "pending"]

    # A node is lost while both train
    process = sweep.start(*words)
    until(lambda: len(sweep.training()) == 2)
    before = sweep.training()
    end(cluster.nodes[1].pid)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert sweep.states() == ["completed"] * 3, said
    assert_flushed(sweep.folder / directory for directory in sweep.ledger())
    assert [entry["exit_code"] for entry in sweep.ledger().values()] == [0] * 3
    assert [entry["attempts"] for entry in sweep.ledger().values()] == [2, 2, 1]
    assert all(entry["seconds"] > 0 for entry in sweep.ledger().values())
    resumed = [sweep.log(directory).count("goes on at epoch") for directory in before]
    assert sorted(resumed) == [1, 2], "what ran on the lost node went on from its checkpoint"

    # Nothing is left to do
    code, said = sweep.run(*words)
    assert code == 0, said
    assert "3 done before" in said


def test_a_cluster_that_is_not_there_is_told(sweep: Sweep) -> None:
    words = ("hydra/launcher=ray_cluster", "hydra.launcher.address=127.0.0.1:9", "seed=0,1")
    code, said = sweep.run(*words)
    assert code == 1
    assert "error: hydra.launcher.address: found 127.0.0.1:9" in said
    assert "Traceback" not in said
