"""A run directory: what is in it, and how a model is loaded from it again."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from vae_run import checkpoints
from vae_run.checkpoints import write_atomically
from vae_run.config import Settings, check
from vae_run.errors import CheckpointError, ConfigError, DivergedError, Interrupted
from vae_run.experiment import build_model, choose_device

if TYPE_CHECKING:
    from vae_run.model import LatentVariableModel

PACKAGES = ("vae-run", "torch", "torchvision", "numpy", "hydra-core", "omegaconf", "tensorboard")


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
    def figures(self) -> Path:
        return self.path / "figures"

    def config(self) -> dict[str, Any]:
        """The run's own configuration, with interpolations resolved."""
        try:
            config = OmegaConf.load(self.config_file)
            resolved = OmegaConf.to_container(config, resolve=True)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise CheckpointError(f"{self.config_file}: cannot be read: {error}") from error
        if not isinstance(resolved, dict):
            raise CheckpointError(f"{self.config_file}: is no configuration of a run.")
        return {str(key): value for key, value in resolved.items()}

    def settings(self, trust: Iterable[str] = ()) -> Settings:
        """The run's own configuration, checked; its parts are ours or of packages in `trust`."""
        return check(self.config(), trust=trust)

    def choices(self) -> dict[str, str]:
        """The option that the run was started with in each group."""
        try:
            hydra = OmegaConf.load(self.path / ".hydra" / "hydra.yaml")
            choices = OmegaConf.select(hydra, "hydra.runtime.choices") or {}
            return {str(k): v for k, v in choices.items() if isinstance(v, str)}
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            return {}  # only labels for tables are lost

    def status(self, **changes: Any) -> None:
        """Update `status.json`: `state`, `epoch`, `step`, `message`."""
        self._known |= changes
        about = {"pid": os.getpid(), "host": socket.gethostname(), "message": ""}
        self._write_json("status.json", about | self._known)

    def read_status(self) -> dict[str, Any]:
        return self._read_json("status.json")

    def refuse_while_running(self) -> None:
        """Refuse to work on a run that a process of this machine is still training.

        Raises:
            ConfigError: it is.
        """
        status = self.read_status()
        pid = status.get("pid")
        if status.get("state") != "running" or status.get("host") != socket.gethostname():
            return
        if isinstance(pid, int) and pid != os.getpid() and _is_alive(pid):
            raise ConfigError(
                f"run: {self.path} is being trained by process {pid}. Wait for it to end, or stop "
                "it; if that process is something else, remove status.json."
            )

    def metrics(self) -> dict[str, Any]:
        return self._read_json("metrics.json")

    def write_metrics(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        self._write_json("metrics.json", metrics)

    def environment(self) -> dict[str, Any]:
        return self._read_json("environment.json")

    def overrides(self) -> list[str]:
        """What was typed to start the run; nothing where that is not known."""
        try:
            words = OmegaConf.to_container(OmegaConf.load(self.path / ".hydra" / "overrides.yaml"))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            return []
        return [str(word) for word in words] if isinstance(words, list) else []

    def write_environment(
        self, device: torch.device, fingerprint: str, about_run: Mapping[str, Any] | None = None
    ) -> None:
        """`environment.json`: what a reader needs to judge whether figures can be compared.

        `about_run` is added: sizes of data and model.
        """
        about = {
            "versions": {name: _version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": str(device),
            "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
            "threads": torch.get_num_threads(),
            "git_revision": _git_revision(),
            "dataset_fingerprint": fingerprint,
            **(about_run or {}),
        }
        self._write_json("environment.json", about)

    def fingerprint(self) -> str:
        """What tells the run's data from others (`Splits.fingerprint`).

        Raises:
            CheckpointError: `environment.json` does not tell.
        """
        found = self._read_json("environment.json").get("dataset_fingerprint")
        if not isinstance(found, str):
            raise CheckpointError(
                f"{self.path / 'environment.json'}: holds no dataset_fingerprint, so the run's "
                "data cannot be told from others. Use a run that training has begun."
            )
        return found

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path / name}: cannot be read: {error}") from error
        return content if isinstance(content, dict) else {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `status.json` true: running inside, then how it ended."""
        self.status(state="running")
        try:
            yield
        except Interrupted as error:
            self.status(state="interrupted", message=str(error))
            raise
        except DivergedError as error:
            self.status(state="diverged", message=str(error))
            raise
        except BaseException as error:
            self.status(state="failed", message=str(error) or type(error).__name__)
            raise
        self.status(state="completed")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's process
    return True


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of the checkout that the user stands in, with + where it was changed."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def load_model(settings: Settings, state: Mapping[str, Any], file: Path) -> LatentVariableModel:
    """The model that `settings` describe with the weights of the checkpoint `state`."""
    try:
        event_shape = tuple(int(size) for size in state["event_shape"])
        levels = None if state.get("levels") is None else int(state["levels"])
        found = state.get("classes")
        classes = None if found is None else [int(label) for label in found]
        weights = state["model"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: is a checkpoint, but not of a model ({error}).") from error
    if levels is None and settings.classes["likelihood"].discrete:
        raise CheckpointError(f"{file}: does not tell the grey levels that its likelihood models.")
    if classes is None and settings.fixed.condition is not None:
        raise CheckpointError(f"{file}: does not tell the classes that its model is given.")
    with torch.random.fork_rng(devices=[]):  # initial weights are not the caller's random numbers
        model = build_model(settings, event_shape, levels, classes)
    load_weights(model, weights, file)
    return model


def load_weights(model: LatentVariableModel, weights: Mapping[str, Any], file: Path) -> None:
    """Copy `weights` into `model`.

    Raises:
        CheckpointError: names and shapes disagree; the message tells the first that does.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        expected = list(own[name].shape) if name in own else "no such tensor"
        found = list(weights[name].shape) if name in weights else "no such tensor"
        if expected != found:
            raise CheckpointError(
                f"{file}: {name} is {found}, but the configured model expects {expected}. "
                "The checkpoint and the configuration are not of the same run."
            )
    model.load_state_dict(weights)


def load(
    path: str | os.PathLike[str],
    checkpoint: str = "best",
    device: str = "cpu",
    trust: Iterable[str] = (),
) -> LatentVariableModel:
    """The trained model of the run directory `path`, in eval mode.

    Args:
        path: a run directory that `vae-run` made.
        checkpoint: "best" (by validation) or "last".
        device: as the `device` key: "auto", "cpu", "cuda", "cuda:N" or "mps".
        trust: packages, besides vae-run, whose classes the run's configuration may name.

    Raises:
        CheckpointError: the run or its checkpoint is missing, damaged or foreign.
        ConfigError: the run's configuration is wrong or names classes that are not trusted.
    """
    run = RunDirectory.existing(str(path))
    if checkpoint not in ("best", "last"):
        raise CheckpointError(f"checkpoint: found {checkpoint!r}, expected 'best' or 'last'.")
    file = run.best if checkpoint == "best" else run.last
    model = load_model(run.settings(trust), checkpoints.read(file), file)
    return model.to(choose_device(device)).eval()
