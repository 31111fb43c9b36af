"""The settings of a run, as its report lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vae_run.config.keys import flat


def settings_rows(
    config: Mapping[str, Any], overrides: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> list[tuple[str, str, bool]]:
    """Every key, its value, and whether it was typed.

    `.hydra/config.yaml` keeps the length that a run was begun with; where a resumed run went past
    it, the length that it reached is told.
    """
    typed = {word.split("=", 1)[0].lstrip("+~") for word in overrides}
    found = []
    for key, value in flat(config):
        text = "null" if value is None else str(value)
        column = {"trainer.epochs": "epoch", "trainer.steps": "step"}.get(key)
        reached = rows[-1].get(column, 0) if rows and column else 0
        if isinstance(value, int) and reached > value:
            text += f" at the start, extended by task=resume: {reached:,.0f} were trained"
        found.append((key, text, key in typed))
    return found
