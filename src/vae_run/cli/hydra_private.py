"""Everything that vae-run uses of Hydra's private interface. No other file imports it.

Known to work with Hydra 1.3 and 1.4; a test composes with it beside Hydra's public functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig


def apply_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Set in `config`, which is changed, the values that `overrides` give, as Hydra itself does.

    The public `hydra.compose` also reads every file of the configuration again, which takes about
    80 ms for each job of a sweep; this takes 4 ms.

    Raises:
        hydra.errors.HydraException: a key does not exist, or a value cannot be set.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)
