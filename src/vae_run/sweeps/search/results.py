"""The results of a search, on the terminal and in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vae_run.config.commands import shell_word
from vae_run.config.schema import Settings
from vae_run.errors import CheckpointError, ConfigError, JobsFailedError
from vae_run.runs.identity import location_keys, telling
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.ledger import Ledger
from vae_run.sweeps.same_data import fingerprint_of
from vae_run.sweeps.search.space import Axis, Point
from vae_run.sweeps.search.study import Study
from vae_run.system.console import console, numbers


def announce(study: Study, axes: Mapping[str, Axis], trials: int, ledger: Ledger) -> None:
    """Print the objectives, the space, and how many trials there are to do."""
    plan = study.plan
    aims = [f"{way} {name}" for name, way in zip(plan.objective, plan.directions, strict=True)]
    asked, waiting = study.asked, study.count("RUNNING")
    parts = [f"{max(asked, trials)} trials to {' and '.join(aims)}"]
    if asked > waiting:
        parts.append(f"{asked - waiting} done before")
    if waiting:
        parts.append(f"{waiting} taken up again")
    console.print(f"{', '.join(parts)}, in {ledger.folder}")
    for key, axis in axes.items():
        console.print(f"  {key}: {axis}")


def write_down(ledger: Ledger, study: Study) -> None:
    """Put the search's objectives and its best trials into the ledger."""
    ledger.about["search"] = {
        "objective": list(study.plan.objective),
        "direction": list(study.plan.directions),
        "best": [{"directory": name, "values": values} for name, values, _ in study.best()],
    }
    ledger.save()


def conclude(ledger: Ledger, study: Study) -> None:
    """Print how many trials ended in which way, and the best ones.

    Raises:
        JobsFailedError: jobs failed or were stopped, or no trial has a value.
    """
    words = {"COMPLETE": "completed", "PRUNED": "given up", "FAIL": "without a value"}
    counts = {word: study.count(state) for state, word in words.items()}  # type: ignore[arg-type]
    counts["unfinished"] = study.count("RUNNING")
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    console.print(f"{study.asked} trials: {said}")
    objective, best = study.plan.objective, sorted(study.best(), key=lambda one: one[1])
    if len(objective) > 1 and best:
        console.print(f"{len(best)} of them are the Pareto front of {' and '.join(objective)}:")
    for directory, values, overrides in best:
        found = numbers(dict(zip(objective, values, strict=True)))
        line = f"best  {found}  {overrides}  {ledger.folder / directory}"
        console.print(line)
    tried = {directory for directory, _ in study.directories()}
    states = [entry.state for entry in ledger.jobs.values() if entry.directory in tried]
    if failed := states.count("failed"):
        raise JobsFailedError(
            f"{failed} of the search's jobs failed; they count as trials without a value."
        )
    if stopped := states.count("interrupted"):
        raise JobsFailedError(
            f"{stopped} of the search's jobs were stopped; the same command with "
            f"{shell_word('sweep.dir', ledger.folder)} goes on with them."
        )
    if not best:
        raise JobsFailedError("no trial has a value of the objective: there is no best one.")


def refuse_another(
    ledger: Ledger,
    trials: Iterable[tuple[str, Point]],
    job_at: Callable[[Point], Settings],
) -> None:
    """Refuse to continue a search whose jobs had another configuration.

    The first job that has left a run directory stands for all of them. Its data may have moved
    since: where they lie does not count if they have the same fingerprint.

    Args:
        ledger: of the sweep.
        trials: the directory of the job of each, and its point.
        job_at: the job at a point, as it is composed now.

    Raises:
        ConfigError: the configurations differ; names the first key that does.
    """
    runs = ((RunDirectory(ledger.folder / name), point) for name, point in trials)
    begun = next(((run, point) for run, point in runs if run.config_file.is_file()), None)
    if begun is None:
        return
    run, point = begun
    job = job_at(point)
    before, now = telling(run.config()), telling(job.raw)
    places = location_keys(job.raw["dataset"])
    others = [key for key in [*now, *before] if before.get(key) != now.get(key)]
    for key in sorted(others, key=lambda key: key in places):  # the data are read for these alone
        if key in places and _has_data_of(run, job):
            return
        raise ConfigError(
            f"{key}: found {now.get(key)}, but the search in {ledger.folder} was begun with "
            f"{before.get(key)}. Values under both cannot be compared: choose another sweep.dir."
        )


def _has_data_of(run: RunDirectory, job: Settings) -> bool:
    """Whether `run` was begun with the data that `job` names."""
    try:
        return run.fingerprint() == fingerprint_of(job)
    except CheckpointError:
        return False  # it had not read its data
