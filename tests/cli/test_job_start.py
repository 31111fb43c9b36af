"""A job is started as by Hydra, with the same files, and a command is composed once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from vae_run.cli.callbacks import Gate, admit
from vae_run.cli.composition import plain
from vae_run.cli.hydra_api import ConfigLoaderImpl, create_config_search_path, set_version_base
from vae_run.cli.in_process import own_hydra
from vae_run.cli.job_start import asks_for_more, refuse_large, run_job
from vae_run.cli.loaders import RunLoader
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.options import CONF
from vae_run.errors import ConfigError
from vae_run.sweeps.jobs import TILDE


class NoCallbacks:
    def on_job_start(self, **kwargs: Any) -> None:
        pass

    on_job_end = on_job_start


@pytest.fixture
def loader() -> Iterator[RunLoader]:
    with own_hydra():
        utils.setup_globals()
        utils.JobRuntime.instance().set("name", "vae-run")
        set_version_base()
        register_resolvers()
        yield RunLoader(config_search_path=create_config_search_path(str(CONF)))


def composed(loader: ConfigLoaderImpl, *words: str) -> DictConfig:
    return ConfigLoaderImpl.load_configuration(loader, "config", [*words], RunMode.RUN)


def test_a_job_finds_what_hydra_would_give_it(loader: RunLoader, tmp_path: Path) -> None:
    """The same files, byte for byte; the same values; the folder; and Hydra's state restored."""
    place = tmp_path / "run" / "0"
    words = [f"hydra.sweep.dir={place.parent}", "hydra.sweep.subdir=0", "latent_dim=7"]
    words += ["dataset=mnist", "tracker=none", "corruption=masking"]
    context: Any = HydraContext(config_loader=loader, callbacks=NoCallbacks())
    found = []
    starts: list[Any] = [utils.run_job, run_job]
    for start in starts:
        config = composed(loader, *words)
        keys = ("hydra.sweep.dir", "hydra.sweep.subdir")
        before = HydraConfig.instance().cfg

        def task(config: DictConfig) -> tuple[dict[str, Any], str, list[str]]:
            own = HydraConfig.get()
            return plain(config), own.runtime.output_dir, list(own.overrides.task)

        done = start(task, config, *keys, context)
        assert HydraConfig.instance().cfg is before
        files = {file.name: file.read_bytes() for file in (place / ".hydra").iterdir()}
        found.append((done.return_value, files, done.overrides, done.task_name))
    assert found[0] == found[1]
    assert found[1][0][1] == str(place)
    assert found[1][0][0]["latent_dim"] == 7
    assert set(found[1][1]) == {"config.yaml", "hydra.yaml", "overrides.yaml"}


def test_an_error_of_a_job_is_kept_for_its_caller(loader: RunLoader, tmp_path: Path) -> None:
    def task(config: DictConfig) -> None:
        raise ValueError("of the task")

    config = composed(loader, f"hydra.run.dir={tmp_path}")
    context: Any = HydraContext(config_loader=loader, callbacks=NoCallbacks())
    done = run_job(task, config, "hydra.run.dir", None, context)
    with pytest.raises(ValueError, match="of the task"):
        _ = done.return_value


@pytest.mark.parametrize(
    "word",
    [
        "hydra.job.chdir=true",
        "+hydra.job.env_set.NAME=1",
        "+hydra.callbacks.mine._target_=a.B",
        "hydra.callbacks.vae_run._target_=a.B",
    ],
)
def test_what_only_hydra_does_is_left_to_it(word: str, loader: RunLoader) -> None:
    ours = composed(loader)
    assert not asks_for_more(ours)
    assert ours.hydra.callbacks.vae_run._target_ == f"{Gate.__module__}.{Gate.__qualname__}"
    assert asks_for_more(composed(loader, word))


def test_a_command_is_composed_once(loader: RunLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Hydra does: it asks for the mode, adds it to the words, and composes again."""
    words = ["latent_dim=7", "hydra.run.dir=here"]
    expected = composed(loader, *words, "hydra.mode=RUN")
    times: list[int] = []
    load = ConfigLoaderImpl._load_configuration_impl

    def counted(*given: Any, **how: Any) -> DictConfig:
        times.append(1)
        return load(*given, **how)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    asked = loader.load_configuration(
        "config", words, RunMode.MULTIRUN, validate_sweep_overrides=False
    )
    assert asked.hydra.mode is None
    words.append("hydra.mode=RUN")
    found = loader.load_configuration("config", words, RunMode.RUN)
    assert len(times) == 1
    assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
    again = loader.load_configuration("config", ["latent_dim=8"], RunMode.RUN)
    assert (again.latent_dim, len(times)) == (8, 2)


def test_a_sweep_without_its_option_is_refused(loader: RunLoader) -> None:
    words = ["seed=1,2"]
    loader.load_configuration("config", words, RunMode.MULTIRUN, validate_sweep_overrides=False)
    with pytest.raises(ConfigCompositionException, match="multirun"):
        loader.load_configuration("config", [*words, "hydra.mode=RUN"], RunMode.RUN)


def test_paths_in_the_home_folder_are_seen_in_a_pickle(loader: RunLoader) -> None:
    assert TILDE.search(pickle.dumps(composed(loader))) is None
    for path in ("~/data", "~/" + 300 * "a"):
        assert TILDE.search(
            pickle.dumps(composed(loader, f"dataset.root='{path}'", "dataset=mnist"))
        )


def test_a_configuration_that_could_not_be_read_again_is_refused(
    loader: RunLoader, tmp_path: Path
) -> None:
    """Before the run directory is made, and thus before training."""
    words = [f"hydra.run.dir={tmp_path / 'run'}", "dataset=torch", "dataset.factory=os.getcwd"]
    for count in (90_000, 100_001):
        config = composed(loader, *words)
        OmegaConf.update(config, "dataset.arguments", {"ids": "1," * count}, force_add=True)
        if count > 100_000:
            with pytest.raises(ConfigError, match=r"config\.yaml would have 100,\d+ lines, commas"):
                admit(config)
            assert not (tmp_path / "run").exists()
        else:
            refuse_large(config)
