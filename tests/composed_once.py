"""Hydra's reading and merging of the same files is done once, in tests and what they fork."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from multiprocessing import forkserver
from multiprocessing.forkserver import ForkServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal import defaults_list as defaults_list_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import (
    CachingConfigRepository,
    ConfigRepository,
    IConfigRepository,
)
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override

from vae_run.config.options import CONF

if TYPE_CHECKING:
    from hydra._internal.defaults_list import DefaultsList, Overrides


def is_own(path: str) -> bool:
    """Whether a source of configurations at `path` is a test's own folder."""
    return bool(path) and not path.startswith("hydra") and Path(path) != CONF


@contextmanager
def options_are_composed_once() -> Iterator[None]:
    """Hydra reads each file once, and merges the same files once, not in each command.

    A command reads and merges 30 files of `conf/` and of Hydra, which takes longer than many a
    training; there are a thousand commands. Files are merged in halves, and these in halves again,
    so that commands which differ in one option share most of them: merging is associative. Values
    are set and checked anew in each command. Folders of a test's own are always read.
    """
    files: dict[str, ConfigResult | None] = {}
    lists: dict[tuple[object, ...], DefaultsList] = {}
    merged: dict[tuple[object, ...], bytes] = {}
    load = ConfigRepository.load_config
    make_list = config_loader_impl.create_defaults_list
    merge = ConfigLoaderImpl._compose_config_from_defaults_list
    map_choices = defaults_list_module._create_interpolation_map

    def begin(repo: CachingConfigRepository, delegate: IConfigRepository) -> None:
        repo.delegate, repo.cache = copy.copy(delegate), {}  # Hydra copies the sources as well

    def packaged(repo: IConfigRepository) -> tuple[str, ...] | None:
        paths = tuple(source.path for source in repo.get_sources())
        return None if any(map(is_own, paths)) else paths

    def load_config(repo: ConfigRepository, config_path: str) -> ConfigResult | None:
        if any(is_own(each.path) and each.is_config(config_path) for each in repo.get_sources()):
            return load(repo, config_path)
        if config_path not in files:
            files[config_path] = load(repo, config_path)
        found = files[config_path]
        return found if packaged(repo) else copy.deepcopy(found)  # which Hydra merges, and changes

    def create_defaults_list(
        repo: IConfigRepository,
        config_name: str | None,
        overrides_list: list[Override],
        prepend_hydra: bool,
        skip_missing: bool,
    ) -> DefaultsList:
        paths = packaged(repo)
        known = [one for one in overrides_list if not one.is_sweep_override()]
        groups = [one for one in known if repo.group_exists(one.key_or_group)]
        if paths is None or any(isinstance(one.value(), dict) for one in groups):
            return make_list(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        key = (paths, config_name, *(one.input_line for one in groups), prepend_hydra, skip_missing)
        if key not in lists:
            lists[key] = make_list(repo, config_name, groups, prepend_hydra, skip_missing)
        return replace(lists[key], config_overrides=[one for one in known if one not in groups])

    def compose(
        loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        paths = packaged(repo)
        if paths is None:
            return merge(loader, defaults, repo)
        of_hydra = sum(str(default.config_path).startswith("hydra/") for default in defaults)
        keys = [astuple(default) for default in defaults]

        def part(first: int, end: int) -> DictConfig:
            key = (paths, *keys[first:end])
            found: DictConfig
            if key in merged:
                found = pickle.loads(merged[key])
                return found
            if end - first == 1 or end <= of_hydra:  # Hydra's own has a schema: in its order
                found = merge(loader, defaults[first:end], _Copies(repo))
            else:
                middle = of_hydra if first < of_hydra else (first + end) // 2
                found = part(first, middle)
                with flag_override(found, "no_deepcopy_set_nodes", True):
                    found.merge_with(part(middle, end))
            merged[key] = pickle.dumps(found)
            return found

        return part(0, len(defaults))

    def choices(
        overrides: Overrides, defaults_list: list[InputDefault], self_added: bool
    ) -> DictConfig:
        """What entries of a defaults list may refer to: nothing, where none of them refers."""
        if not any(entry.is_interpolation() for entry in defaults_list if not entry.is_self()):
            return OmegaConf.create()
        return map_choices(overrides, defaults_list, self_added)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachingConfigRepository, "__init__", begin)
        patch.setattr(ConfigRepository, "load_config", load_config)
        patch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
        patch.setattr(defaults_list_module, "_create_interpolation_map", choices)
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)
        yield


class _Copies(CachingConfigRepository):
    """What `repo` has read, for one who merges it into something else, and so changes it."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(self.delegate.load_config(config_path))


@contextmanager
def forked_processes_compose_likewise() -> Iterator[None]:
    """The process that jobs of a sweep are forked from imports `preloaded` as well."""
    run: Any = ForkServer.ensure_running

    def ensure_running(server: Any) -> None:
        if "preloaded" not in server._preload_modules:
            server._preload_modules = [*server._preload_modules, "preloaded"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
            run(server)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForkServer, "ensure_running", ensure_running)
        patch.setattr(forkserver, "ensure_running", forkserver._forkserver.ensure_running)
        yield
