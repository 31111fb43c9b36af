"""The start of a job: Hydra's `run_job` without its copies of the configuration.

Hydra copies the whole configuration five times for a job, node by node, and writes it by PyYAML's
emitter in Python. In a short job of a sweep this took half of the processor time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vae_run.cli.composition import words_of
from vae_run.errors import ConfigError
from vae_run.runs.saved_yaml import excess, yaml_text

OURS = "vae_run.cli.callbacks.Gate"
"""The callback of `conf/config.yaml`; it does nothing at the start and the end of a job."""


def run_job(
    task_function: TaskFunction,
    config: DictConfig,
    job_dir_key: str,
    job_subdir_key: str | None,
    hydra_context: HydraContext,
    configure_logging: bool = True,
) -> JobReturn:
    """Do a job as Hydra does, with its arguments: `task_function` gets all of `config`.

    Where `config` asks for what only Hydra's own function does (callbacks of the user, a change of
    the folder, environment variables), that does it.
    """
    if asks_for_more(config):
        return utils.run_job(
            task_function, config, job_dir_key, job_subdir_key, hydra_context, configure_logging
        )
    present: Any = HydraConfig.instance()
    before, present.cfg = present.cfg, config
    try:
        keys = [job_dir_key] if job_subdir_key is None else [job_dir_key, job_subdir_key]
        parts = [str(OmegaConf.select(config, key)) for key in keys]
        folder = Path(os.path.abspath(os.path.join(*parts)))
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.runtime.output_dir = str(folder)
        OmegaConf.set_readonly(config.hydra, True)
        folder.mkdir(parents=True, exist_ok=True)
        if configure_logging:
            utils.configure_log(config.hydra.job_logging, config.hydra.verbose)
        if config.hydra.output_subdir is not None:
            save_configuration(config, folder / str(config.hydra.output_subdir))
        done = JobReturn(overrides=words_of(config.hydra.overrides.task), working_dir=os.getcwd())
        try:
            done.return_value, done.status = task_function(config), JobStatus.COMPLETED
        except Exception as error:
            done.return_value, done.status = error, JobStatus.FAILED
        done.task_name = utils.JobRuntime.instance().get("name")
        return done
    finally:
        present.cfg = before


def asks_for_more(config: DictConfig) -> bool:
    """Whether only Hydra's own `run_job` does all that `config` asks for."""
    hydra = config.hydra
    callbacks = (hydra.get("callbacks") or {}).values()
    of_user = any(one is not None and one.get("_target_") != OURS for one in callbacks)
    return bool(of_user or hydra.job.chdir or hydra.job.env_set)


def save_configuration(config: DictConfig, place: Path) -> None:
    """Write the three files that Hydra keeps for a job into the folder `place`.

    Raises:
        ConfigError: a file is larger than those that are read again; nothing is written.
    """
    texts = _texts(config)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text, encoding="utf-8")


def refuse_large(config: DictConfig) -> None:
    """Refuse a configuration that could not be read again from the files of its run.

    Raises:
        ConfigError: it is too large.
    """
    _texts(config)


def _texts(config: DictConfig) -> dict[str, str]:
    """The content of the three files that Hydra keeps for a job, by name."""
    content: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    hydra = content.pop("hydra")
    parts = {"config": content, "hydra": {"hydra": hydra}, "overrides": hydra["overrides"]["task"]}
    texts = {f"{name}.yaml": yaml_text(part) for name, part in parts.items()}
    for name, text in texts.items():
        if (told := excess(text)) is not None:
            raise ConfigError(
                f"the configuration is too large to be read again from the run: {name} would have "
                f"{told}. Put long lists into a file that your own code reads, and give its path."
            )
    return texts
