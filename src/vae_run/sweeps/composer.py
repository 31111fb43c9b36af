"""The configurations of many jobs, composed in milliseconds each."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vae_run.cli.composition import plain, refuse_without_package, words_of
from vae_run.cli.hydra_api import apply_overrides, get_overrides_dirname


class Composer:
    """Composes jobs, and reads the files of each choice of options only once.

    Hydra takes about 80 ms to compose a job, most of it for reading files. Which files are read
    depends only on the options that are chosen for groups, never on values. So the files of each
    choice are composed once, and the values of every job are set in a copy of the result.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._whole: dict[tuple[str, ...], bytes] = {}
        self._choices: dict[tuple[str, ...], dict[str, str]] = {}
        self._groups: dict[str, bool] = {}

    def parse(self, words: Sequence[str]) -> list[Override]:
        """Overrides as Hydra reads them."""
        found: list[Override] = self._parser.parse_overrides(list(words))
        return found

    def compose(self, words: Sequence[str]) -> dict[str, Any]:
        """The configuration of one job, plain and without Hydra's own keys."""
        groups, values = self._sorted(self.parse(words))
        config = copy.deepcopy(self._base(groups))
        apply_overrides(config, values)
        return plain(config)

    def job(self, words: Sequence[str]) -> DictConfig:
        """The configuration of one job with Hydra's own keys, as Hydra's launchers compose it."""
        parsed = self.parse(words)
        groups, values = self._sorted(parsed)
        self._base(groups)
        # A copy; `deepcopy` takes seven times longer.
        config: DictConfig = pickle.loads(self._whole[groups])  # noqa: S301 (its own)
        hydra = config.hydra
        of_hydra = [one for one in parsed if one.is_hydra_override()]
        own = [one for one in parsed if not one.is_hydra_override()]
        apply_overrides(config, [*values, *of_hydra])
        hydra.overrides.task = [one.input_line for one in own]
        hydra.overrides.hydra += [one.input_line for one in of_hydra]
        how = hydra.job.config.override_dirname
        hydra.job.override_dirname = get_overrides_dirname(
            overrides=own,
            kv_sep=how.kv_sep,
            item_sep=how.item_sep,
            exclude_keys=how.exclude_keys,
        )
        return config

    def choices(self, words: Sequence[str]) -> dict[str, str]:
        """The option of each group in one job."""
        groups, _ = self._sorted(self.parse(words))
        self._base(groups)
        return self._choices[groups]

    def chooses_option(self, override: Override) -> bool:
        """Whether `override` chooses an option of a group, and does not set a value."""
        return not override.is_hydra_override() and self._is_group(override.key_or_group)

    def keys(self, groups: Sequence[str]) -> dict[str, Any]:
        """The keys that jobs with the options `groups` have, nested; values are as in the files."""
        found: Any = OmegaConf.to_container(self._base(tuple(groups)), resolve=False)
        return {str(key): value for key, value in found.items()}

    @property
    def places(self) -> list[Path]:
        """The folders of configuration files, the user's own included."""
        sources = self._master.hydra.runtime.config_sources
        return [Path(source.path) for source in sources if source.schema == "file"]

    def _sorted(self, parsed: Sequence[Override]) -> tuple[tuple[str, ...], list[Override]]:
        """Overrides that choose options, as typed, and those that set values."""
        groups: list[str] = []
        values: list[Override] = []
        for override in parsed:
            if override.is_hydra_override():
                continue
            if self._is_group(override.key_or_group):
                groups.append(str(override.input_line))
            else:
                values.append(override)
        return tuple(groups), values

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]

    def _base(self, groups: tuple[str, ...]) -> DictConfig:
        """The configuration with these options, before any value is set."""
        if groups not in self._bases:
            hydra_overrides = words_of(self._master.hydra.overrides.hydra)
            config = self._loader.load_configuration(
                config_name=self._master.hydra.job.config_name,
                overrides=[*hydra_overrides, *groups],
                run_mode=RunMode.RUN,
            )
            choices = config.hydra.runtime.choices
            refuse_without_package(config)
            self._choices[groups] = {str(key): str(choices[key]) for key in choices}
            OmegaConf.copy_cache(from_config=self._master, to_config=config)  # such as the time
            self._whole[groups] = pickle.dumps(config)
            with read_write(config), open_dict(config):
                del config["hydra"]
            self._bases[groups] = config
        return self._bases[groups]
