"""The configurations of many jobs, composed in milliseconds each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from vae_run.cli import plain


class Composer:
    """Composes what differs in values from what was composed before.

    Hydra composes a job from its files in about 80 ms. Which files these are, options of groups
    decide and values never do: for each choice of options the files are composed once, and Hydra's
    own function puts the values on top.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def parse(self, words: Sequence[str]) -> list[Override]:
        """Overrides as Hydra reads them."""
        found: list[Override] = self._parser.parse_overrides(list(words))
        return found

    def compose(self, words: Sequence[str]) -> dict[str, Any]:
        """The configuration of one job, plain and without Hydra's own keys."""
        groups: list[Override] = []
        values: list[Override] = []
        for override in self.parse(words):
            if override.is_hydra_override():
                continue
            (groups if self._is_group(override) else values).append(override)
        config = copy.deepcopy(self._base(tuple(str(word.input_line) for word in groups)))
        self._loader._apply_overrides_to_config(values, config)
        return plain(config)

    def _is_group(self, override: Override) -> bool:
        return bool(self._loader.repository.group_exists(override.key_or_group))

    def _base(self, groups: tuple[str, ...]) -> DictConfig:
        if groups not in self._bases:
            hydra_overrides = [str(word) for word in self._master.hydra.overrides.hydra]
            config = self._loader.load_configuration(
                config_name=self._master.hydra.job.config_name,
                overrides=[*hydra_overrides, *groups],
                run_mode=RunMode.RUN,
            )
            with read_write(config), open_dict(config):
                del config["hydra"]
            self._bases[groups] = config
        return self._bases[groups]
