"""How Hydra composes the configurations of a sweep and of a single run."""

from __future__ import annotations

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig

from vae_run.cli.hydra_api import ConfigLoaderImpl

ADDED: tuple[list[str], ...] = ([], ["hydra.mode=RUN"])
"""What Hydra may add to the words of a command before it composes the job."""


class SweepLoader(ConfigLoaderImpl):
    """Hydra's loader, for which the configuration of a multirun may lack keys that are given.

    That configuration has the default of a group whose options are swept, and so perhaps not the
    keys of any of these options. Whether a job has them is told when it is composed.
    """

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        rest = (run_mode, from_shell, validate_sweep_overrides)
        words = list(overrides)
        while True:
            try:
                config = super().load_configuration(config_name, words, *rest)
                break
            except ConfigCompositionException as error:
                lacking = re.match(r"Could not override '(?!hydra\b)([^']+)'", str(error))
                left = [w for w in words if lacking is None or w.partition("=")[0] != lacking[1]]
                if run_mode is not RunMode.MULTIRUN or len(left) == len(words):
                    raise
                words = left
        if words != list(overrides):
            parsed = OverridesParser.create().parse_overrides(list(overrides))
            typed = [word.input_line for word in parsed if not word.is_hydra_override()]
            config.hydra.overrides.task = typed
        return config


class RunLoader(SweepLoader):
    """Hydra's loader for a command without -m, which composes once what Hydra composes twice.

    Hydra composes a first time to learn `hydra.mode`, which a file may set, then for the job.
    """

    _kept: tuple[list[str], DictConfig] | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        load = super().load_configuration
        words, rest = list(overrides), (from_shell, validate_sweep_overrides)
        if not validate_sweep_overrides:  # Hydra asks for the mode
            try:
                config = load(config_name, words, RunMode.RUN, *rest)
            except Exception:
                return load(config_name, words, run_mode, *rest)
            self._kept = words, config
            return config
        kept, self._kept = self._kept, None
        added = [] if kept is None else words[len(kept[0]) :]
        same = kept is not None and words[: len(kept[0])] == kept[0]
        if kept is None or not same or run_mode is not RunMode.RUN or added not in ADDED:
            return load(config_name, words, run_mode, *rest)
        parsed = OverridesParser.create().parse_overrides(words)
        self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        config = kept[1]
        if added:
            config.hydra.mode = run_mode
            config.hydra.overrides.hydra.append(added[0])
        return config
