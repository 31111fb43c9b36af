"""A run directory: its files by name, and how its state is recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from vae_run.config.check import check, with_size_of_code
from vae_run.config.commands import command, override
from vae_run.config.renamed import ADDED, updated
from vae_run.config.schema import Settings
from vae_run.errors import CheckpointError, DamagedError, Interrupted
from vae_run.runs import checkpoint_file, data_location, lock
from vae_run.runs.environment import environment
from vae_run.runs.saved_json import ENVIRONMENT, NUMBER, STATUS, read_if_whole, read_json, typed
from vae_run.runs.saved_yaml import read_yaml
from vae_run.runs.status import about_process, ended, write_status
from vae_run.system.files import json_text, write_json
from vae_run.system.places import keep
from vae_run.system.signals import Stop

log = logging.getLogger("vae_run")


class RunDirectory:
    """The files of one run, by name.

    Attributes:
        path: the directory.
        stepped: whether this process has made a step of training.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stepped = False
        self._known: dict[str, Any] = {}

    @classmethod
    def existing(cls, path: str, key: str = "run") -> RunDirectory:
        """The run at `path`, which `key` names.

        Raises:
            CheckpointError: there is none.
        """
        run = cls(Path(path).expanduser())
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
        """The `last.pt` before the present one, used if that is damaged."""
        return self.path / "checkpoints" / "previous.pt"

    @property
    def resumed_by(self) -> str:
        """The command that continues the run."""
        return command("task=resume", override("run", self.path))

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def config(self) -> dict[str, Any]:
        """The run's own configuration, resolved, as today's version has it and as `check` reads it.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        resolved = read_yaml(self.config_file)
        if not isinstance(resolved, dict):
            raise CheckpointError(f"{self.config_file}: is no configuration of a run.")
        config = updated({str(key): value for key, value in resolved.items()})
        return {**ADDED, **with_size_of_code(config)}

    def settings(self, trust: Iterable[str] = ()) -> Settings:
        """The run's own configuration, checked, for what uses the model but does not train it.

        Its parts are of vae-run or of packages in `trust`. There is no tracker, nor its package.
        """
        return check({**self.located(), **ADDED}, trust=trust, trained=True)

    def located(self) -> dict[str, Any]:
        """The run's own configuration, with paths as this process can open them."""
        return data_location.located(self.config(), self.path)

    def choices(self) -> dict[str, str]:
        """The option that the run was started with in each group."""
        try:
            choices = dict(self._of_hydra["runtime"]["choices"])
        except (LookupError, TypeError, ValueError):
            return {}  # without them only labels in tables are missing
        return {str(k): v for k, v in choices.items() if isinstance(v, str)}

    @property
    def is_swept(self) -> bool:
        """Whether the run is a job of a sweep."""
        return bool(self._of_hydra.get("mode") == "MULTIRUN")

    @cached_property  # the file is written once, before the run begins
    def _of_hydra(self) -> dict[str, Any]:
        """Hydra's own section of the configuration; empty where it cannot be read."""
        try:
            return dict(read_yaml(self.path / ".hydra" / "hydra.yaml", resolve=False)["hydra"])
        except (CheckpointError, LookupError, TypeError, ValueError):
            return {}

    def status(self, **changes: Any) -> None:
        """Update `status.json`: `state`, `epoch`, `step`, `message`.

        The disk is waited for only where the state changes, and not after every evaluation.
        """
        self._known |= changes
        write_status(self.path, {**about_process(), **self._known}, lasting="state" in changes)

    def read_status(self) -> dict[str, Any]:
        return typed(self.path / "status.json", read_json(self.path / "status.json"), STATUS)

    def refuse_while_running(self) -> None:
        """Refuse to work on a run that a process is training.

        Raises:
            ConfigError: one is.
        """
        lock.refuse_if_held(self.path, read_if_whole(self.path / "status.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock, which one process at a time can have; remove what a kill left.

        Raises:
            ConfigError: another process trains in this run.
        """
        with lock.held(self.path, lambda: read_if_whole(self.path / "status.json")):
            lock.remove_leftovers(self.path)
            yield

    def newest(self) -> tuple[dict[str, Any], Path] | None:
        """The newest undamaged checkpoint to continue from, and its file; None before the first.

        Raises:
            CheckpointError: there are checkpoints, but each is damaged.
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
        """Write `metrics.json`; if it cannot be written, keep them elsewhere (`places.keep`)."""
        file = self.path / "metrics.json"
        keep(file, lambda path: write_json(path, metrics), lambda: json_text(metrics, indent=2))

    def environment(self) -> dict[str, Any]:
        return typed(file := self.path / "environment.json", read_json(file), ENVIRONMENT)

    def overrides(self) -> list[str]:
        """The overrides that the run was started with; none if they are not known."""
        try:
            words = read_yaml(self.path / ".hydra" / "overrides.yaml", resolve=False)
        except CheckpointError:
            return []
        return [str(word) for word in words] if isinstance(words, list) else []

    def write_environment(
        self,
        device: torch.device,
        threads: int,
        fingerprint: str,
        about_run: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `environment.json`, which tells whether metrics can be compared.

        Args:
            device: that the run computes on.
            threads: CPU threads that it is trained with.
            fingerprint: of its data (`Splits.fingerprint`).
            about_run: sizes of data and model, added as they are.
        """
        about = environment(device, threads) | {"dataset_fingerprint": fingerprint}
        write_json(self.path / "environment.json", about | dict(about_run or {}))

    def fingerprint(self) -> str:
        """The fingerprint of the run's data (`Splits.fingerprint`).

        Raises:
            CheckpointError: `environment.json` has none.
        """
        found = read_json(self.path / "environment.json").get("dataset_fingerprint")
        if not isinstance(found, str):
            raise CheckpointError(
                f"{self.path / 'environment.json'}: holds no dataset_fingerprint, so the run's "
                "data cannot be identified. Use a run whose training has begun."
            )
        return found

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record in `status.json` that the run is running while inside, then how it ended."""
        self.status(state="running")
        try:
            try:
                yield
            except Stop as stop:
                message = f"interrupted; go on with: {self.resumed_by}"
                raise Interrupted(message, stop.number) from None
        except BaseException as error:
            state, message = ended(error)
            try:
                self.status(state=state, message=message)
            except OSError as failure:
                log.warning("%s; status.json does not say that the run has %s", failure, state)
            raise
        self.status(state="completed")
