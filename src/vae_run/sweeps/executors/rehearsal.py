"""What every job does first and Python then remembers, done once for all jobs.

Checking a configuration imports the classes of its parts and makes the validators of their keys;
the first override builds the tables of Hydra's parser, and the first picture looks up fonts. A
process that is forked afterwards inherits all of this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from PIL import Image

from vae_run import plots
from vae_run.evaluation.selection import own_pictures
from vae_run.reports.page import compile_template
from vae_run.runs.environment import remember
from vae_run.sweeps.executors.forking import EXAMPLE


def rehearse() -> None:
    """Do it for the job whose configuration is in the environment, and take that out."""
    config = json.loads(os.environ.pop(EXAMPLE, "null"))
    remember()
    own_pictures()  # whose captions a report looks up
    Image.preinit()
    for template in ("base.html", "report.html"):
        compile_template(template)
    plots.learning_curves({"train/loss": [2.0, 1.0], "val/loss": [2.0, 1.0]}, [1.0, 2.0], {})
    if config is not None and not outside(config):
        with suppress(Exception):  # the job itself tells what is wrong
            _import_parts(config)


def _import_parts(config: Mapping[str, Any]) -> None:
    from vae_run.config.check import check

    settings = check(config)
    if settings.parts["trainer"].get("compile") is True:
        import_module("torch._inductor.compile_fx")
    settings.build("evaluation").parts(settings.trust)


def outside(config: Mapping[str, Any]) -> list[str]:
    """What a configuration names that is not of this package.

    A user's module may start threads or use a GPU, which does not survive a fork: it is imported
    by the jobs.
    """
    return [word for word in _imported(config) if not word.startswith("vae_run.")]


def _imported(config: Mapping[str, Any]) -> Iterator[str]:
    """The dotted paths that a configuration has as parts, metrics or pictures."""
    for key, value in config.items():
        if key == "_target_":
            yield str(value)
        elif isinstance(value, Mapping):
            yield from _imported(value)
        elif key in ("metrics", "while_training", "figures") and isinstance(value, list):
            words = [one.get("_target_", "") if isinstance(one, Mapping) else one for one in value]
            yield from (str(word) for word in words if "." in str(word))
