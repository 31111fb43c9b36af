"""The runs that are compared, read from their directories."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

from vae_run.config.commands import quoted
from vae_run.config.keys import flat
from vae_run.errors import CheckpointError, ConfigError
from vae_run.evaluation.quantity import Declared, declared
from vae_run.runs.identity import ADDED_SINCE, Effect, has_effect, location_keys
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.history import history


@dataclass(frozen=True)
class Candidate:
    """One run.

    Attributes:
        name: its path, below what all runs share.
        state: of `status.json`; "stopped" where its process is gone, "unreadable".
        message: what went wrong, where something did.
        settings: what decided about the model, by full key; `seed` is not among them, and `data`
            is the beginning of the fingerprint.
        seed: of the run.
        metrics: numbers by split/name.
        data: the fingerprint of its data.
        importance_samples: K of its `log_likelihood`.
        typed: how settings are told: options by their names in place of classes; keys that were
            swept, as they were typed.
        declared: what it declares besides the package's table of quantities.
        path: its directory.
    """

    name: str
    state: str
    message: str
    settings: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, float]
    data: str
    importance_samples: int
    typed: Mapping[str, str] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    path: Path = Path()

    @property
    def complete(self) -> bool:
        return self.state == "completed" and bool(self.metrics)


def find(patterns: Sequence[str]) -> list[Path]:
    """The run directories that the patterns match, or that lie anywhere below what they match.

    Raises:
        CheckpointError: a pattern matches none.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        runs = [
            hydra.parents[1]
            for place in _matching(Path(pattern).expanduser())
            for hydra in _below(place)
        ]
        if not runs:
            several = ""
            if "," in pattern:
                typed = (
                    "runs=[" + ",".join(quoted(name.strip()) for name in pattern.split(",")) + "]"
                )
                several = f" Several are a list in brackets: {shlex.quote(typed)}."
            raise CheckpointError(
                f"runs: {pattern} matches no run. Expected a run directory, a folder of some, or a "
                "pattern in quotes, such as 'runs=outputs/*/*'."
                f"{several}"
            )
        found |= dict.fromkeys(runs)
    return list(found)


def _matching(pattern: Path) -> list[Path]:
    """What `pattern` matches; a path that exists is taken as it is, brackets included."""
    if pattern.exists():
        return [pattern]
    return [Path(place) for place in sorted(glob(str(pattern), recursive=True))]


def _below(place: Path) -> list[Path]:
    own = place / ".hydra" / "config.yaml"
    return [own] if own.is_file() else sorted(place.glob("**/.hydra/config.yaml"))


def read(paths: Sequence[Path]) -> list[Candidate]:
    """The runs at `paths`, named by what of their paths differs."""
    named = zip(paths, told_apart(paths), strict=True)
    return [_read(RunDirectory(path), name) for path, name in named]


def told_apart(paths: Sequence[Path]) -> list[str]:
    """Names of `paths` without the folders that all of them begin with."""
    absolute = [path.resolve() for path in paths]
    shared = 0
    if len(paths) > 1:
        parts = zip(*(path.parts for path in absolute), strict=False)
        shared = next((i for i, row in enumerate(parts) if len(set(row)) > 1), 0)
    else:
        shared = len(absolute[0].parts) - 1
    return ["/".join(full.parts[shared:]) for full in absolute]


def _read(run: RunDirectory, name: str) -> Candidate:
    try:
        config, metrics, status = run.config(), run.metrics(), run.read_status()
        data = str(run.environment().get("dataset_fingerprint") or "")
        settings = {**decisive(config, run), "data": data[:12]}
        if data:  # where they lie does not matter
            where = location_keys(config.get("dataset") or {})
            settings = {k: v for k, v in settings.items() if k not in where}
        own = declared(run.path)
    except (CheckpointError, ValueError) as error:
        return Candidate(name, "unreadable", str(error), {}, 0, {}, "", 0, path=run.path)
    numbers = {
        f"{split}/{key}": float(value)
        for split, values in metrics.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
        if isinstance(value, (int, float))
    }
    samples = int(
        numbers.get("val/importance_samples")  # a later evaluation may have had others
        or numbers.get("test/importance_samples")
        or (config.get("evaluation") or {}).get("importance_samples", 0)
    )
    seed, message = int(config.get("seed", 0)), str(status.get("message") or "").split("\n")[0]
    options = {group: option for group, option in run.choices().items() if group in settings}
    about = (name, _state(run), message, settings, seed, numbers, data, samples)
    return Candidate(*about, typed=options, declared=own, path=run.path)


def _state(run: RunDirectory) -> str:
    """The state, with a run that says `running` but whose process is gone told from one that is."""
    state = str(run.read_status().get("state") or "not started")
    if state == "running":
        try:
            run.refuse_while_running()
        except ConfigError:
            return state
        return "stopped"
    return state


def decisive(config: Mapping[str, Any], run: RunDirectory) -> dict[str, Any]:
    """What of a configuration decided about the model, `seed` apart, by full key.

    A part's class stands at its group; `model` is the preset. What a resumed run was extended to
    takes the place of what it was started with.
    """
    found: dict[str, Any] = {}
    if preset := run.choices().get("model"):
        found["model"] = preset
    for key, value in flat(config):
        limited = has_effect(key, Effect.NONE, Effect.MEASURED)
        if key == "seed" or limited or (key, value) in ADDED_SINCE.items():
            continue
        name = key.removesuffix("._target_")
        found[name] = str(value).rpartition(".")[2] if name != key else _plain(value)
    rows = history(run)
    if rows:
        _extend(found, rows[-1])
    return found


def _plain(value: Any) -> Any:
    """1 for 1.0, which is the same setting."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _extend(settings: dict[str, Any], last: Mapping[str, float]) -> None:
    """Put the length of the training that was done where it is more than was configured."""
    for key, column in (("trainer.epochs", "epoch"), ("trainer.steps", "step")):
        configured, done = settings.get(key), last.get(column, math.nan)
        if isinstance(configured, int) and settings.get("trainer.steps") in (None, configured):
            settings[key] = int(max(configured, done)) if math.isfinite(done) else configured
