"""Imported once by the process that every job of a sweep is forked from: what jobs need.

The process leads a session of its own, so that Ctrl-C at the terminal reaches only the sweep, which
then ends its jobs in order. It ignores SIGTERM, because it ends by itself when the sweep does.
"""

import contextlib
import gc
import os
import signal
from importlib import import_module

with contextlib.suppress(PermissionError):  # it leads a session already
    os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)

import vae_run.cli.hydra_api  # noqa: E402
import vae_run.cli.main  # noqa: E402
import vae_run.evaluation.evaluation  # noqa: E402
import vae_run.reports.run  # noqa: E402
import vae_run.tasks.sweep_job  # noqa: E402
import vae_run.training.trainer  # noqa: E402
from vae_run.plots.backend import in_own_process, load  # noqa: E402
from vae_run.sweeps.executors.rehearsal import rehearse  # noqa: E402

LAZY = ("contourpy", "jinja2")
"""Modules that others import only when they first use them: every job would import them again."""

for name in LAZY:
    import_module(name)
in_own_process()
load()
vae_run.cli.hydra_api.find_plugins()
rehearse()
gc.freeze()  # the collector of a job neither looks at, nor so copies, what is there by now
