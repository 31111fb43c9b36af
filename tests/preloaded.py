"""Imported by the process that jobs of a sweep are forked from, in tests: see `composed_once`."""

from __future__ import annotations

from contextlib import ExitStack

import hydra
from composed_once import options_are_composed_once

from vae_run.cli.hydra_api import composing
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.options import CONF

PATCHES = ExitStack()
"""Open as long as the process lives."""

PATCHES.enter_context(options_are_composed_once())
register_resolvers()
with composing(CONF):
    hydra.compose("config", return_hydra_config=True)
