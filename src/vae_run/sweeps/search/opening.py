"""Optuna's study of a search: begun, or continued if it is of the same search.

Imports Optuna: only a search imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from vae_run.errors import CheckpointError, ConfigError
from vae_run.sweeps.search.plan import Plan, quiet


def open_study(
    folder: Path, plan: Plan, axes: Mapping[str, BaseDistribution]
) -> optuna.study.Study:
    """The study of the search in `folder` over `axes`, which is created if there is none.

    Raises:
        ConfigError: it has another objective, or another space.
        CheckpointError: its storage cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with quiet():
            storage = plan.open_storage(folder)
            study = optuna.create_study(
                storage=storage,
                study_name=_name_in(storage, plan, folder),
                directions=list(plan.directions),
                pruner=plan.make_pruner(),
                sampler=plan.make_sampler(0),
                load_if_exists=True,
            )
    except (ValueError, KeyError, OSError, ImportError, OptunaError, SQLAlchemyError) as error:
        why = str(error).split("\n")[0]
        raise CheckpointError(
            f"{plan.place(folder)}: Optuna cannot read the search's trials ({why}). Without it "
            "the same command starts a new search, and reuses the completed jobs of the ledger."
        ) from error
    _refuse_another_objective(study, plan)
    _refuse_another_space(study, axes)
    study.set_user_attr("objective", list(plan.objective))
    study.set_user_attr("axes", sorted(axes))
    return study


def _name_in(storage: BaseStorage, plan: Plan, folder: Path) -> str:
    """The name of the study of the search in `folder`.

    The earlier name, of the folder as it was typed, may be another folder's, typed in another
    working directory: the study is that of `folder` if the run directory of a trial lies there.
    """
    name, earlier = plan.study_name(folder), plan.earlier_name(folder)
    names = optuna.get_all_study_names(storage) if name != earlier else []
    if earlier in names and name not in names:
        trials = optuna.load_study(study_name=earlier, storage=storage).get_trials(deepcopy=False)
        places = (trial.user_attrs.get("directory") for trial in trials)
        if any(place is not None and (folder / place).is_dir() for place in places):
            return earlier
    return name


def _refuse_another_objective(study: optuna.study.Study, plan: Plan) -> None:
    """Refuse to continue a search with another objective or direction."""
    objective = list(plan.objective)
    about = study.user_attrs.get("objective", objective)
    ways = [direction.name.lower() for direction in study.directions]
    if (about, ways) != (objective, list(plan.directions)):
        raise ConfigError(
            f"hydra.sweeper.objective: found {' and '.join(objective)}, but the search in "
            f"sweep.dir is of {' and '.join(about)} ({', '.join(ways)}). Choose another "
            "sweep.dir."
        )


def _refuse_another_space(study: optuna.study.Study, axes: Mapping[str, BaseDistribution]) -> None:
    """Refuse to continue a search with other keys, choices or kinds of numbers.

    The trials of a search of fewer keys have no value for a new one. A study of an earlier version
    has not stored its keys; they are those of its trials, of which one that was killed while it was
    asked for may lack some.
    """
    ended, trials = (TrialState.COMPLETE, TrialState.PRUNED), study.get_trials(deepcopy=False)
    seen = {key for trial in trials for key in trial.params}
    whole = {key for trial in trials if trial.state in ended for key in trial.params}
    begun = set(study.user_attrs.get("axes", whole))
    for key in sorted((begun | seen) - set(axes)):
        raise ConfigError(
            f"{key}: the search in sweep.dir searches it, but it is given no range or choices. "
            "Choose another sweep.dir."
        )
    for key in sorted(set(axes) - begun if begun else ()):
        raise ConfigError(
            f"{key}: is given a range or choices, but the search in sweep.dir does not search "
            "it, so that its trials have no value for it. Choose another sweep.dir."
        )
    for trial in trials:
        for key, distribution in trial.distributions.items():
            try:
                check_distribution_compatibility(distribution, axes[key])
            except ValueError as error:
                raise ConfigError(
                    f"{key}: the search in sweep.dir was begun with other choices, or another "
                    "kind of numbers. Choose another sweep.dir."
                ) from error
