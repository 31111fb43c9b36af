"""MLflow as a tracker: a server, or a database that MLflow's client writes itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vae_run.tracking.environment import Environment
from vae_run.tracking.service import Point, Service
from vae_run.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMITS = Environment(
    {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # `background` tries again, and knows when to stop
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
        "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "10",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
)
"""Limits of MLflow's client. Left to itself it tries a request for several minutes, for each of
which it waits two."""

PARAMETERS = 100
"""Parameters in one call; MLflow takes no more."""

BUSY = (408, 429, 503, 504)
"""Answers after which the same request may succeed later: timeout, too many, unavailable."""

STATUS = {"interrupted": "KILLED", "failed": "FAILED", "diverged": "FAILED"}


class MLflow(Service):
    """Sends to the MLflow server at `uri`: numbers, hyperparameters, pictures and the report.

    MLflow knows neither histograms nor embeddings, which are left out.

    A run that is resumed goes on in the same run of MLflow. Numbers after its last checkpoint are
    computed again; of those that MLflow has, the earlier ones stay.
    """

    option = "mlflow"
    own_process = True
    product = "MLflow"
    destination: ClassVar[Mapping[str, Any]] = {"uri": None}

    def __init__(
        self, *, uri: str | None = None, experiment: str = "vae-run", name: str | None = None
    ) -> None:
        self.uri, self.experiment, self.name = uri, experiment, name
        self._known: dict[str, set[int]] | None = None  # steps that MLflow has, by metric
        self._state = "FINISHED"

    def prepare(self) -> None:
        """Limit the time of MLflow's requests, and import it, which takes seconds.

        MLflow reads whether telemetry is on while it is imported. Each part of it imports all of
        the package, so that to import its client alone takes as long.
        """
        LIMITS.enter()
        import mlflow.tracking  # noqa: F401

    def restore(self) -> None:
        LIMITS.leave()

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Create a run in MLflow, or go on with the one that `run` had before."""
        ids = self.ids(run)
        known = ids.known()
        if known is None:
            ids.keep()  # that it is sent there is known even if the server never answers
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self.uri)
        if known is not None and self._exists(known):
            self._client.update_run(known, status="RUNNING")
            self._run, self._known = known, {}
            ids.keep(known)
            return
        created = self._client.create_run(
            self._experiment(), run_name=self.shown_name(run), tags=self._tags(run)
        )
        self._run = str(created.info.run_id)
        ids.keep(self._run)

    def _exists(self, identifier: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(identifier)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(found.info.lifecycle_stage == "active")

    def _experiment(self) -> str:
        """The id of the experiment, which is created if there is none of its name."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(self._client.create_experiment(self.experiment))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another job of a sweep
                    raise
            found = self._client.get_experiment_by_name(self.experiment)
            assert found is not None
        return str(found.experiment_id)

    def _tags(self, run: Path) -> dict[str, str]:
        tags = {
            "mlflow.source.name": f"vae-run {__version__}",
            "vae_run.directory": str(run.absolute()),
        }
        if (parent := self.parent(run)) is not None:
            tags["mlflow.parentRunId"] = parent
        return tags

    def points(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(metric_name(point.name), point.value, round(1000 * point.seconds), point.step)
            for point in points
            if not self._has(metric_name(point.name), point.step)
        ]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)

    def _has(self, name: str, step: int) -> bool:
        """Whether a run that was begun before has the metric at this step."""
        if self._known is None:
            return False
        if name not in self._known:
            history = self._client.get_metric_history(self._run, name)
            self._known[name] = {metric.step for metric in history}
        return step in self._known[name]

    def hparams(self, values: Mapping[str, Any]) -> None:
        """Log parameters. Those that a resumed run has changed become tags `resumed.KEY`.

        MLflow refuses another value of a parameter.
        """
        from mlflow.entities import Param, RunTag

        before = self._client.get_run(self._run).data.params if self._known is not None else {}
        told = {metric_name(key): str(value) for key, value in values.items()}
        new = [Param(key, value) for key, value in told.items() if key not in before]
        changed = {key: value for key, value in told.items() if before.get(key, value) != value}
        for first in range(0, len(new), PARAMETERS):
            self._client.log_batch(self._run, params=new[first : first + PARAMETERS])
        if changed:
            tags = [RunTag(f"resumed.{key}", value) for key, value in changed.items()]
            self._client.log_batch(self._run, tags=tags[:PARAMETERS])

    def text(self, name: str, markdown: str) -> None:
        self._client.log_text(self._run, markdown, f"{name}.md")

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        for name, picture in pictures.items():
            key = metric_name(f"images/{name}").replace(":", "_")
            self._client.log_image(self._run, picture, key=key, step=step, synchronous=True)

    def artifact(self, path: Path) -> None:
        self._client.log_artifact(self._run, str(path))

    def stopped_early(self, state: str) -> None:
        self._state = STATUS.get(state, "FAILED")

    def close(self) -> None:
        self._client.set_terminated(self._run, self._state)

    def passes(self, error: Exception) -> bool:
        """Whether the server did not answer, or answered that it cannot do so now."""
        from mlflow.exceptions import MlflowException, RestException

        if isinstance(error, RestException):
            return error.get_http_status_code() in BUSY
        if isinstance(error, MlflowException):  # without an answer, or with one of a proxy
            return error.get_http_status_code() in (*BUSY, 500)
        return isinstance(error, OSError) and error.errno is None  # those of `requests`


def metric_name(name: str) -> str:
    """`name` as MLflow allows it: letters, digits and the characters `_-.:/` and space."""
    return re.sub(r"[^\w./: -]", "_", name, flags=re.ASCII)
