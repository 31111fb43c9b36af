"""How the failure of a tracker is told."""

from __future__ import annotations

from vae_run.errors import explain_os_error

LONGEST = 300
"""Characters of an error's message that are shown: HTTP clients put whole requests into theirs."""


def why(title: str, error: Exception) -> str:
    """The failure `error` of the tracker called `title`, as a sentence."""
    if isinstance(error, OSError) and error.errno is not None:
        reason, file = error.strerror or str(error), error.filename or title
        return explain_os_error(OSError(error.errno, reason, file))  # a full disk names no file
    text = str(error).split("\n")[0]
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{title}: {type(error).__name__}: {shown.removesuffix('.')}."
