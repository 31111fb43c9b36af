"""A call leaves the user's process as it was: Hydra, log, random numbers, folder and signals."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

import vae_run as api
from vae_run.api.session import session
from vae_run.cli import in_process
from vae_run.cli.hydra_api import set_version_base
from vae_run.config.options import CONF
from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def state() -> dict[str, Any]:
    log = logging.getLogger("vae_run")
    return {
        "hydra": GlobalHydra.instance().hydra,
        "config": HydraConfig.instance().cfg,
        "singletons": {
            kind: id(one)
            for kind, one in Singleton._instances.items()
            if kind.__name__ in ("GlobalHydra", "HydraConfig", "JobRuntime", "VersionBase")
        },
        "resolvers": dict(BaseContainer._resolvers),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "handlers": (*log.handlers, *logging.getLogger().handlers),
        "levels": (log.level, log.propagate, logging.getLogger("matplotlib").level),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "running": threading.active_count(),
    }


@contextmanager
def untouched() -> Iterator[None]:
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    expected = (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random())
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    before = state()
    yield
    assert state() == before
    found = (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random())
    assert found == expected


def test_nothing_is_left_behind(images: Any, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    OmegaConf.register_new_resolver("theirs", lambda: 1, replace=True)
    GlobalHydra.instance()
    HydraConfig.instance()
    api.fit(images, **small)  # what is imported once stays imported
    with untouched(), warnings.catch_warnings():
        warnings.simplefilter("error")
        run = api.fit(images, figures=True, **{**small, "evaluation.figures": ["samples"]})
        run.resume(quiet=True, **{"trainer.epochs": 2})
        api.evaluate(run, quiet=True)
        with pytest.raises(ConfigError):
            api.fit(images, model="vea", **small)


def test_plots_of_the_user_keep_their_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = "module://matplotlib_inline.backend_inline"
    monkeypatch.setenv("MPLBACKEND", theirs)
    with session(quiet=True):
        assert os.environ["MPLBACKEND"] == theirs, "matplotlib reads it where it is first imported"


def test_a_hydra_application_keeps_its_own(images: Any, small: Any) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.2"), untouched():
        api.fit(images, **small)
        assert GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    "words",
    [
        ("task=train", "model=vq_vae", "latent_dim=4", "hydra.run.dir=x", "network.widths=[3]"),
        ("experiment=linear_ae", "+objective.more=3", "~tracker", "hydra/launcher=slurm"),
    ],
)
def test_what_is_composed_again_is_what_hydra_composes(words: tuple[str, ...]) -> None:
    with in_process.own_hydra():
        set_version_base()
        setup_globals()
        JobRuntime.instance().set("name", "vae-run")
        loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(CONF)))
        expected = loader.load_configuration("config", list(words), RunMode.RUN)
        expected.hydra.mode = RunMode.RUN
        for _ in range(2):
            found = in_process._composed(words)
            assert OmegaConf.to_container(found) == OmegaConf.to_container(expected)
            assert OmegaConf.is_struct(found)


def test_in_another_thread_and_in_an_event_loop(images: Any, small: Any) -> None:
    runs = [api.fit(images, **small)]

    def train() -> None:
        runs.append(api.fit(images, **small))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

    async def cell() -> None:
        runs.append(api.fit(images, **small))
        runs.append(await asyncio.to_thread(api.fit, images, **small))

    asyncio.run(cell())
    assert [run.status for run in runs] == ["completed"] * 4
    assert len({str(run.metrics["test"]) for run in runs}) == 1
    assert len({run.path for run in runs}) == 4
