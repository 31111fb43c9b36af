"""The ways a command can fail, each with the exit code that a script sees."""

from __future__ import annotations


class RunError(Exception):
    """A failure told to the user in one message, without a traceback."""

    exit_code = 1


class ConfigError(RunError):
    """The configuration is wrong: names the key, what was found and what was expected."""


class DataError(RunError):
    """Data are missing or unreadable: names the file or folder and the remedy."""

    exit_code = 3


class CheckpointError(RunError):
    """A checkpoint or run directory is missing, damaged or foreign: names the file."""

    exit_code = 3


class DivergedError(RunError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""

    exit_code = 4


class Interrupted(RunError):
    """A signal ended the run at a step boundary, after its checkpoint was written."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
