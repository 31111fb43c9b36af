"""How a command ended, as a line of JSON for the program that started it (`--json`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vae_run.cli.exit_codes import Outcome

STATUS = {0: "completed", 4: "diverged"}
"""The status of a command by its exit code, where it is not "failed" or "interrupted"."""


@contextmanager
def told_to_programs(typed: Sequence[str]) -> Iterator[None]:
    """With `--json` among the words `typed`, the last line on standard output tells the end."""
    if "--json" not in typed:
        yield
        return
    from vae_run.system.machine_lines import on_standard_output, write_line

    with on_standard_output():
        code = 1
        try:
            yield
            code = Outcome.exit_code
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
            raise
        finally:
            write_line("end", **_end(code))


def _end(code: int) -> dict[str, Any]:
    """Path, status, exit code, metrics and message of a command."""
    folder = Outcome.directory
    interrupted = "interrupted" if code > 128 else "failed"
    return {
        "path": folder,
        "status": STATUS.get(code, interrupted),
        "exit_code": code,
        "metrics": {} if folder is None else _metrics(folder),
        "message": Outcome.error if code else "",
    }


def _metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a run by split; of a sweep those of each run, by its directory's name."""
    from vae_run.runs.saved_json import read_if_whole

    jobs = read_if_whole(folder / "ledger.json").get("jobs")
    if not isinstance(jobs, dict):
        return read_if_whole(folder / "metrics.json")
    names = [str(job["directory"]) for job in jobs.values()]
    return {name: read_if_whole(folder / name / "metrics.json") for name in names}
