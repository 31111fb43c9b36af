"""Runs and sweeps in a real MLflow server, in W&B's offline files and in Trackio's store."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from processes import end, until
from same_run import curves, metrics
from wandb_files import OfflineRun

if TYPE_CHECKING:
    from conftest import Run

pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(300),
    pytest.mark.skipif(  # to import them takes ten seconds
        None in map(find_spec, ("mlflow", "wandb", "trackio")),
        reason="the extras are not installed: make test-trackers",
    ),
]

PLAN = (
    *("device=cpu", "network.widths=[16]", "latent_dim=2", "trainer.log_every=4"),
    *("evaluation.figures=[samples]", "dataset.classes=[0,1,2]"),
)
SPEED = "train/examples_per_second"


class Server:
    """`mlflow server` with SQLite, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/runs.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment = {**os.environ, **quiet}  # else it starts seven more processes
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
            )
        until(self.answers, 240)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
            return True
        return False

    def kill(self) -> None:
        """As a power failure would."""
        end(self.process.pid)
        self.process.wait()

    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self, experiment: str) -> list[Any]:
        client = self.client()
        found = client.get_experiment_by_name(experiment)
        return list(client.search_runs([found.experiment_id]))

    def numbers(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        client = self.client()
        names = client.get_run(run_id).data.metrics
        return {
            name: [(one.step, one.value) for one in client.get_metric_history(run_id, name)]
            for name in names
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("mlflow"))
    yield made
    made.kill()


@pytest.fixture(scope="module", autouse=True)
def _places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's key and Trackio's store are this module's own; Trackio reads it when imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        yield


def same(found: dict[str, list[tuple[int, float]]], run: Path) -> None:
    """The numbers are those of TensorBoard's event files, each once."""
    shown = curves(run)
    assert set(found) - {SPEED} == set(shown)
    for name, points in shown.items():
        mine = sorted(found[name])
        assert [step for step, _ in mine] == [step for step, _ in points], name
        assert [value for _, value in mine] == pytest.approx([v for _, v in points], rel=1e-6)


def ids(run: Path) -> dict[str, str]:
    content = json.loads((run / "trackers.json").read_text())
    return {name: entry["id"] for name, entry in content.items()}


def stored(run: Path, project: str = "vae-run") -> list[dict[str, Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage.get_logs(project, run_id=ids(run)["trackio"])


def stored_numbers(run: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row in stored(run):
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "step":
                found.setdefault(name, []).append((row["step"], value))
    return found


@pytest.fixture(scope="module")
def begun(server: Server, vae_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that was sent to all three."""
    run = tmp_path_factory.mktemp("runs") / "first"
    words = ("tracker=[mlflow,wandb,trackio]", f"tracker.mlflow.uri={server.uri}")
    finished = vae_run(*PLAN, *words, "trainer.epochs=2", f"hydra.run.dir={run}", cwd=run.parent)
    assert finished.code == 0, finished.said
    assert "warning: mlflow" not in finished.said
    assert "not sent" not in finished.said
    return run


def test_all_get_what_tensorboard_gets(begun: Path, server: Server) -> None:
    same(server.numbers(ids(begun)["mlflow"]), begun)
    offline = OfflineRun(begun)
    same(offline.numbers(), begun)
    same(stored_numbers(begun), begun)
    last = max(step for step, _ in curves(begun)["train/loss"])
    for found in (offline.history, {k: [(r["step"], r[k])] for r in stored(begun) for k in r}):
        assert {step for step, _ in found["images/samples"]} == {last}
        assert {step for step, _ in found["latent/mean"]} == {last}


def test_mlflow_has_parameters_pictures_and_report(begun: Path, server: Server) -> None:
    client, run_id = server.client(), ids(begun)["mlflow"]
    data = client.get_run(run_id)
    assert data.info.status == "FINISHED"
    assert data.info.run_name == "first"
    assert data.data.params["optimizer.lr"] == "0.001"
    assert data.data.params["model"] == "vae"
    assert not [key for key in data.data.params if key.startswith("tracker")]
    names = {file.path for file in client.list_artifacts(run_id)}
    assert {"report.html", "config.md", "images"} <= names
    pictures = [file.path for file in client.list_artifacts(run_id, "images")]
    assert {name.split("+")[0] for name in pictures} == {
        "images/images~samples",
        "images/images~learning_curves",
        "images/images~training_samples",
        "images/images~training_reconstructions",
    }
    report = Path(client.download_artifacts(run_id, "report.html"))
    assert report.read_bytes() == (begun / "report.html").read_bytes()


def test_wandb_has_parameters_and_report(begun: Path) -> None:
    offline = OfflineRun(begun)
    assert offline.ids == {ids(begun)["wandb"]}
    assert {name for _, _, name in offline.groups} == {"first"}
    assert offline.config["optimizer.lr"] == 0.001
    assert "report.html" in offline.files
    assert offline.exit_codes == [0]


def test_trackio_has_parameters(begun: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    config = SQLiteStorage.get_run_config("vae-run", run_id=ids(begun)["trackio"])
    assert config is not None
    assert config["optimizer.lr"] == 0.001
    assert config["model"] == "vae"


def test_resume_goes_on_in_the_same_runs(begun: Path, server: Server, vae_run: Run) -> None:
    """The run, which was moved, goes on; points that it computes again are not doubled."""
    kept = Path(shutil.copytree(begun, begun.parent / "kept"))
    run = begun.rename(begun.parent / "resumed")
    before = ids(run)
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
    kept.rename(begun)  # for the other tests
    assert finished.code == 0, finished.said
    assert ids(run) == before
    same_points = server.numbers(before["mlflow"])
    test = {name for name in same_points if name.startswith("test/")}
    for name, points in curves(run).items():
        steps = [step for step, _ in same_points[name]]
        assert len(steps) == len(set(steps)), name
        if name not in test:
            assert sorted(steps) == [step for step, _ in points], name
    data = server.client().get_run(before["mlflow"])
    assert data.info.status == "FINISHED"
    assert data.data.params["trainer.epochs"] == "2"
    assert data.data.tags["resumed.trainer.epochs"] == "4"
    assert OfflineRun(run).ids == {before["wandb"]}
    losses = [step for step, _ in stored_numbers(run)["val/loss"]]
    assert len(losses) == len(set(losses)) == 4


@pytest.mark.parametrize("launcher", ["local", "vectorized"])
def test_a_sweep_is_a_parent_with_children(
    launcher: str, server: Server, vae_run: Run, tmp_path: Path
) -> None:
    words = (
        *("-m", *PLAN, "trainer.epochs=1", "seed=0,1", "sweep.dir=sweep"),
        *("tracker=[mlflow,wandb,trackio]", f"tracker.mlflow.uri={server.uri}"),
        *(f"tracker.mlflow.experiment={launcher}", f"hydra/launcher={launcher}"),
    )
    finished = vae_run(*words)
    assert finished.code == 0, finished.said
    parent, *jobs = sorted(server.runs(launcher), key=lambda run: str(run.info.run_name))[::-1]
    assert parent.info.run_name == "sweep"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["swept"] == "seed"
    files = {file.path for file in server.client().list_artifacts(parent.info.run_id)}
    assert {"sweep.html", "sweep.csv"} <= files
    assert len(jobs) == 2
    for job in jobs:
        assert job.data.tags["mlflow.parentRunId"] == parent.info.run_id
        run = Path("sweep") / job.info.run_name
        same(server.numbers(job.info.run_id), run)
        offline = OfflineRun(run)
        assert offline.groups == {("sweep", "job", job.info.run_name)}
        same(offline.numbers(), run)
        same(stored_numbers(run), run)
    assert OfflineRun(Path("sweep")).groups == {("sweep", "sweep", "sweep")}
    again = vae_run(*words, "seed=0,1,2")
    assert again.code == 0, again.said
    assert len(server.runs(launcher)) == 4, "the same parent, and one more job"


def test_a_run_that_is_stopped_says_so(server: Server, vae_run: Run, tmp_path: Path) -> None:
    words = ("optimizer.lr=1e30", "trainer.epochs=3", "hydra.run.dir=run")
    mine = ("tracker=mlflow", f"tracker.uri={server.uri}", "tracker.experiment=diverged")
    finished = vae_run(*PLAN, *words, *mine, "tracker.name=mine")
    assert finished.code == 4, finished.said
    (run,) = server.runs("diverged")
    assert (run.info.status, run.info.run_name) == ("FAILED", "mine")


def test_a_server_that_is_killed_ends_nothing(vae_run: Run, tmp_path: Path) -> None:
    """The training ends whole, soon, and says what was not sent."""
    place = tmp_path / "server"
    place.mkdir()
    server = Server(place)
    run = tmp_path / "run"

    def kill_on_the_way() -> None:
        until(lambda: (run / "history.csv").is_file())
        until(lambda: (run / "history.csv").read_text().count("\n") > 20)
        server.kill()

    killer = threading.Thread(target=kill_on_the_way)
    killer.start()
    plan = (*PLAN, "trainer.epochs=200")
    began = time.monotonic()
    finished = vae_run(*plan, "tracker=mlflow", f"tracker.uri={server.uri}", "hydra.run.dir=run")
    seconds = time.monotonic() - began
    killer.join()
    assert server.process.returncode == -signal.SIGKILL
    assert finished.code == 0, finished.said
    said = " ".join(finished.said.split())
    assert said.count("warning: mlflow") == 1
    assert "records were not sent: " in said
    assert "1 file" in said
    assert re.search(r"\d pictures", said)
    assert json.loads((run / "status.json").read_text())["state"] == "completed"
    plain = vae_run(*plan, "hydra.run.dir=plain")
    assert plain.code == 0, plain.said
    assert metrics(run) == metrics(Path("plain"))
    assert curves(run) == curves(Path("plain"))
    assert seconds < 60
