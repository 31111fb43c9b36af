"""A run directory: what is in it."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vae_run.config.check import check
from vae_run.config.renamed import updated
from vae_run.config.schema import Settings
from vae_run.errors import (
    CheckpointError,
    DamagedError,
    DivergedError,
    Interrupted,
    explain_os_error,
)
from vae_run.runs import checkpoint_file, lock
from vae_run.runs.environment import environment
from vae_run.runs.saved_json import ENVIRONMENT, NUMBER, STATUS, read_json, typed
from vae_run.runs.saved_yaml import read_yaml
from vae_run.system.files import write_atomically
from vae_run.system.signals import Stop

log = logging.getLogger("vae_run")


class RunDirectory:
    """The files of one run, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Any] = {}

    @classmethod
    def existing(cls, path: str, key: str = "run") -> RunDirectory:
        """The run at `path`, which `key` names.

        Raises:
            CheckpointError: there is none.
        """
        run = cls(Path(path))
        if not run.config_file.is_file():
            raise CheckpointError(
                f"{key}: {path} holds no run (there is no {run.config_file}). Expected a directory "
                "that training made, such as outputs/DATE/TIME-..."
            )
        return run

    @property
    def config_file(self) -> Path:
        return self.path / ".hydra" / "config.yaml"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.pt"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def previous(self) -> Path:
        """The `last.pt` before the last one, for when that is damaged."""
        return self.path / "checkpoints" / "previous.pt"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def config(self) -> dict[str, Any]:
        """The run's own configuration, with interpolations resolved."""
        resolved = read_yaml(self.config_file)
        if not isinstance(resolved, dict):
            raise CheckpointError(f"{self.config_file}: is no configuration of a run.")
        return updated({str(key): value for key, value in resolved.items()})

    def settings(self, trust: Iterable[str] = ()) -> Settings:
        """The run's own configuration, checked; its parts are ours or of packages in `trust`."""
        return check(self.config(), trust=trust)

    def choices(self) -> dict[str, str]:
        """The option that the run was started with in each group."""
        try:
            found = read_yaml(self.path / ".hydra" / "hydra.yaml", resolve=False)
            choices = dict(found["hydra"]["runtime"]["choices"])
        except (CheckpointError, LookupError, TypeError, ValueError):
            return {}  # only labels for tables are lost
        return {str(k): v for k, v in choices.items() if isinstance(v, str)}

    def status(self, **changes: Any) -> None:
        """Update `status.json`: `state`, `epoch`, `step`, `message`."""
        self._known |= changes
        about = {"pid": os.getpid(), "host": socket.gethostname(), "message": ""}
        content = about | self._known
        try:
            self._write_json("status.json", content)
        except OSError:  # of a full disk, say: what the file has already is its own
            text = json.dumps(content)
            with (self.path / "status.json").open("r+", encoding="utf-8") as file:
                file.write(text)
                file.truncate()

    def read_status(self) -> dict[str, Any]:
        return typed(self.path / "status.json", read_json(self.path / "status.json"), STATUS)

    def refuse_while_running(self) -> None:
        """Refuse to work on a run that a process is still training.

        Raises:
            ConfigError: it is.
        """
        lock.refuse_if_held(self.path, read_json(self.path / "status.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in this run while inside; remove what a kill left.

        Raises:
            ConfigError: one is.
        """
        with lock.held(self.path, lambda: read_json(self.path / "status.json")):
            lock.remove_leftovers(self.path)
            yield

    def newest(self) -> tuple[dict[str, Any], Path] | None:
        """The newest good checkpoint to go on from, and its file; None before the first one.

        Raises:
            CheckpointError: there are some, but none is good.
        """
        try:
            return checkpoint_file.read(self.last), self.last
        except DamagedError as error:
            if not self.previous.is_file():
                if self.last.exists() or self.best.exists() or self.metrics():
                    raise
                return None
            state = checkpoint_file.read(self.previous)
            log.warning("%s Going on from the one before it, %s.", error, self.previous)
            return state, self.previous

    def has_history(self) -> bool:
        return (self.path / "history.csv").exists()

    def metrics(self) -> dict[str, Any]:
        file, content = self.path / "metrics.json", read_json(self.path / "metrics.json")
        for split, values in typed(file, content, dict.fromkeys(content, dict)).items():
            typed(file, values, dict.fromkeys(values, NUMBER), f"{split}.")
        return content

    def write_metrics(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        self._write_json("metrics.json", metrics)

    def environment(self) -> dict[str, Any]:
        file = self.path / "environment.json"
        return typed(file, read_json(self.path / "environment.json"), ENVIRONMENT)

    def overrides(self) -> list[str]:
        """What was typed to start the run; nothing where that is not known."""
        try:
            words = read_yaml(self.path / ".hydra" / "overrides.yaml", resolve=False)
        except CheckpointError:
            return []
        return [str(word) for word in words] if isinstance(words, list) else []

    def write_environment(
        self, device: torch.device, fingerprint: str, about_run: Mapping[str, Any] | None = None
    ) -> None:
        """`environment.json`: what a reader needs to judge whether figures can be compared.

        `about_run` is added: sizes of data and model.
        """
        about = {
            **environment(device),
            "dataset_fingerprint": fingerprint,
            **(about_run or {}),
        }
        self._write_json("environment.json", about)

    def fingerprint(self) -> str:
        """What tells the run's data from others (`Splits.fingerprint`).

        Raises:
            CheckpointError: `environment.json` does not tell.
        """
        found = read_json(self.path / "environment.json").get("dataset_fingerprint")
        if not isinstance(found, str):
            raise CheckpointError(
                f"{self.path / 'environment.json'}: holds no dataset_fingerprint, so the run's "
                "data cannot be told from others. Use a run that training has begun."
            )
        return found

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `status.json` true: running inside, then how it ended."""
        self.status(state="running")
        try:
            try:
                yield
            except Stop as stop:
                raise Interrupted(
                    f"interrupted; go on with: vae-run task=resume 'run={self.path}'", stop.number
                ) from None
        except Interrupted as error:
            self._ended("interrupted", error)
            raise
        except DivergedError as error:
            self._ended("diverged", error)
            raise
        except BaseException as error:
            self._ended("failed", error)
            raise
        self.status(state="completed")

    def _ended(self, state: str, error: BaseException) -> None:
        """Record how the run ended; what ended it is told even where that cannot be written."""
        message = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.filename:
            message = explain_os_error(error)
        try:
            self.status(state=state, message=message)
        except OSError as failure:
            log.warning("%s; it does not say that the run has %s", failure, state)
