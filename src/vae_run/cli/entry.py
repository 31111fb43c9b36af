"""The way in: completion is answered before anything slow is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:2] in (["-sc"], ["--shell-completion"]):
        from vae_run.cli.completion import answer

        if (text := answer(sys.argv[2:])) is not None:
            sys.stdout.write(text)
            return
    from vae_run.cli import main as command_line

    command_line.main()
