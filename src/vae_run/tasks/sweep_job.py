"""A job of a sweep: `task=train`, or resuming what an earlier attempt left."""

from __future__ import annotations

import logging

from vae_run.config.invocation import Call
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks import resume, train

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Train in `call.directory`, from its last checkpoint if it has one."""
    run = RunDirectory(call.directory)
    if resume.has_checkpoint(run):
        run.refuse_while_running()
        resume.go_on(run, call)
    else:
        train.main(call)
