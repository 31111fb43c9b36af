"""What tells one run's configuration from another's, and the keys that cannot change a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vae_run.config.keys import flat
from vae_run.config.renamed import first

WITHOUT_EFFECT = (
    *("task", "run", "trust", "sweep", "device", "dataset.root"),
    *("trainer.log_every", "trainer.checkpoint_seconds", "trainer.compile"),
)
"""Keys, or groups, that cannot change what a run ends with: two jobs may differ in them."""


def identity(config: Mapping[str, Any]) -> str:
    """What tells a job from others: a hash of its resolved configuration, in 12 characters.

    Args:
        config: plain and nested, without Hydra's own; `WITHOUT_EFFECT` is left out of it.
    """
    text = json.dumps(telling(config), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def telling(config: Mapping[str, Any]) -> dict[str, Any]:
    """The full keys of `config`, with their values, that can change what a run ends with."""
    return {
        key: first(value) if key.endswith("_target_") and isinstance(value, str) else value
        for key, value in flat(config)
        if not any(key == name or key.startswith(f"{name}.") for name in WITHOUT_EFFECT)
    }
