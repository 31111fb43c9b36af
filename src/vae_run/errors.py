"""The ways a command can fail, each with the exit code that a script sees."""

from __future__ import annotations

import errno


class RunError(Exception):
    """A failure told to the user in one message, without a traceback."""

    exit_code = 1


class ConfigError(RunError):
    """The configuration is wrong: names the key, what was found and what was expected.

    Attributes:
        key: the full key that is wrong, where the error is about a single one and its value.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class DataError(RunError):
    """Data are missing or unreadable: names the file or folder and the remedy."""

    exit_code = 3


class CheckpointError(RunError):
    """A checkpoint or run directory is missing, damaged or foreign: names the file."""

    exit_code = 3


class DamagedError(CheckpointError):
    """A checkpoint is missing, or its bytes are not those that were written."""


class MemoryShortError(RunError):
    """The device's memory does not hold a step: names what to lower."""


class DivergedError(RunError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""

    exit_code = 4


class JobsFailedError(RunError):
    """Jobs of a sweep have no result, each of which was reported; the sweep itself has ended."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(RunError):
    """A signal ended the run at a step boundary, after its checkpoint was written."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def explain_os_error(error: OSError) -> str:
    """What the system refused, for a person: the file, why, and what to do."""
    remedy = {
        errno.ENOSPC: "Free some space, or choose another folder.",
        errno.EDQUOT: "Your quota is used up: free some space, or choose another folder.",
        errno.EROFS: "Choose a folder that can be written to.",
        errno.EACCES: "You have no permission: choose another folder, or change its permissions.",
        errno.ENAMETOOLONG: "Give a shorter name.",
    }.get(error.errno or 0, "")
    reason = error.strerror or str(error)
    return f"{error.filename or 'a file'}: {reason}. {remedy}".strip()


def first_line(error: Exception) -> str:
    """The first line that `error` says, without a full stop; its type, if it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
