"""`task=export run=DIR output=FILE`: the model for use without vae-run."""

from __future__ import annotations

import logging
from pathlib import Path

from vae_run.config.invocation import Call
from vae_run.config.schema import Export
from vae_run.exports.export import FORMATS, export, format_of, need_packages
from vae_run.exports.graph import refuse_part
from vae_run.exports.source import source_of
from vae_run.system.console import console
from vae_run.system.files import write_atomically
from vae_run.system.formatting import short_path
from vae_run.tasks.trained_model import ALLOWED, refuse_keys_of_the_run
from vae_run.tasks.user_files import check_output

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Write the model, check the file against it, and print a script that uses it.

    The work is done on the CPU, whatever `device` says; the file runs on any.
    """
    fixed = call.settings.of(Export)
    refuse_keys_of_the_run(call, {*ALLOWED, "format", "part", "script"})
    path = check_output(fixed.output, (*FORMATS.values(),), overwrite=fixed.overwrite)
    chosen = format_of(path, fixed.format)
    if chosen == "safetensors" and "part" in call.typed_keys:
        log.warning("part=%s: a safetensors file has all weights, of both parts", fixed.part)
    need_packages(chosen)
    beside = None
    if fixed.script is not None:
        beside = check_output(fixed.script, (".py",), overwrite=fixed.overwrite, key="script")
    source = source_of(Path(fixed.run), fixed.checkpoint, fixed.trust)
    if chosen != "safetensors":
        refuse_part(source, fixed.part)
    done = export(source, path, chosen, fixed.part)
    if beside is not None:
        write_atomically(beside, done.script.encode())
    agrees = (
        "all tensors are those of the model"
        if chosen == "safetensors"
        else f"it differs from the model by {done.difference:.1e} of an output's largest value"
    )
    log.info("%s in %s (%.1f MB): %s", chosen, path, path.stat().st_size / 1e6, agrees)
    log.info("It is used like this%s:\n", f", also in {short_path(beside)}" if beside else "")
    console.verbatim(done.script)
