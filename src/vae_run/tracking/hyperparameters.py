"""The hyperparameters of a run, as trackers tabulate them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vae_run.config.keys import flat
from vae_run.runs.identity import Effect, has_effect


def hyperparameters(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """The options chosen in each group, and the values of `config` by full key.

    Left out are keys that cannot change the model, classes (their options stand for them), and the
    place of the run that the weights come from.
    """
    found = {group: option for group, option in choices.items() if not {"/", "@"} & set(group)}
    found |= {key: value for key, value in flat(config) if not key.endswith("_target_")}
    return {
        key: value
        for key, value in found.items()
        if key != "init_from" and not has_effect(key, Effect.NONE, Effect.MEASURED)
    }
