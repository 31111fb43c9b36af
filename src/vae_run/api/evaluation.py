"""`evaluate`: a run's checkpoint measured again, on its own data or on other data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_run.api.overrides import of_a_run
from vae_run.api.run import Run
from vae_run.api.session import session
from vae_run.api.user_data import GivenData, given_data
from vae_run.api.views import Figures, Metrics, Page, pictures_in
from vae_run.cli.in_process import own_errors, prepared
from vae_run.data.given import MEMORY, giving
from vae_run.reports.run import NAME
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks import evaluate as task


class Evaluation:
    """The results of an evaluation.

    Attributes:
        run: that was evaluated.
        path: the folder of the results: the run's own, or one below its `evaluations/` where the
            data, the corruption or the checkpoint are others.
        metrics: {split: {metric: value}}.
    """

    def __init__(self, run: Run, path: Path) -> None:
        self.run, self.path = run, path
        self.metrics = Metrics(RunDirectory(path).metrics())

    @property
    def figures(self) -> Figures:
        """The pictures, if they were asked for."""
        return pictures_in(self.path / "figures")

    @property
    def report(self) -> Page:
        """The page of the results; a notebook shows it."""
        return Page(self.path / NAME)

    def __repr__(self) -> str:
        return repr(self.metrics)

    def _repr_html_(self) -> str:
        return self.metrics._repr_html_() + self.figures._repr_html_()


def evaluate(
    run: Run | str | Path,
    images: Any = None,
    labels: Any = None,
    *,
    val: Any = None,
    test: Any = None,
    conditions: Mapping[str, Any] | None = None,
    figures: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> Evaluation:
    """Measure a run's checkpoint on its own data, or on others.

    Args:
        run: a run, or its directory.
        images, labels, val, test, conditions: data in memory, as of `vae_run.fit`; None: the run's
            own. A run that was trained on data in memory needs them again in another process. They
            are cut into train, val and test as the run cuts its own, and measured on val and test.
        figures: whether pictures are drawn.
        quiet: whether nothing is printed.
        keys: of `task=evaluate`: `evaluation="full"`, `corruption="masking"`, `checkpoint="last"`,
            `dataset="mnist"` and their keys.

    Raises:
        DataError: data are missing, or do not fit the run.
        CheckpointError: there is no run, or its checkpoint is damaged.
        ConfigError: a key may not be given.
    """
    own = run if isinstance(run, Run) else Run(run)
    data, words = own.data, dict[str, Any]()
    if images is not None:
        given = given_data(images, labels, val=val, test=test, conditions=conditions)
        data = given.data
        words = _dataset_words(own, given)
    typed = of_a_run("evaluate", own.path, {**words, **keys})
    with session(quiet=quiet), own_errors(), giving(data):
        return Evaluation(own, task.main(prepared(typed).call, draw=figures))


def _dataset_words(run: Run, given: GivenData) -> dict[str, Any]:
    """Keys that have `run` read data in memory, with its own of how data are read and cut."""
    if run.dataset_option != given.keys["dataset"]:
        return {k: v for k, v in given.keys.items() if k.startswith("dataset")}
    if run.is_of_data_in_memory:
        return {}
    files = {f"dataset.{k}": None for k in ("val", "test") if run.config["dataset"].get(k)}
    return {"dataset.path": MEMORY, **files}
